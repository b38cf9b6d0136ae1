package storetest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"barid/storage"
)

func threeAccounts(e *env) {
	accounts := []storage.Account{e.login("alice"), e.login("bob"), e.login("carol")}
	d, err := e.Draft(ctx, 0)
	if err != nil {
		e.t.Fatal(err)
	}
	defer d.Discard()
	if _, err := io.WriteString(d, "Subject: group\r\n\r\nhello\r\n"); err != nil {
		e.t.Fatal(err)
	}
	var ops []storage.Op
	for _, a := range accounts {
		ops = append(ops, storage.Deliver{To: a.Address, Content: d})
	}
	for i, o := range e.commit(ops...) {
		if o.Err != nil || o.UID != 1 || o.ModSeq == 0 || o.UIDValidity != e.view(accounts[i], "INBOX").UIDValidity {
			e.t.Errorf("outcome %d: %+v", i, o)
		}
	}
	d.Discard()
	for range 2 {
		for _, a := range accounts {
			same(e.t, "mail", e.read(a, "INBOX", storage.Whole, 1), "Subject: group\r\n\r\nhello\r\n")
		}
		e.reopen()
	}
}

func failsAlone(e *env) {
	a := e.login("alice")
	b := e.login("bob")
	c := content("hello")
	out := e.commit(
		storage.Deliver{To: a.Address, Content: c},
		storage.Deliver{To: address("nobody"), Content: c},
		storage.Deliver{To: b.Address, Content: c},
	)
	if out[0].Err != nil || !errors.Is(out[1].Err, storage.ErrNoAccount) || out[2].Err != nil {
		e.t.Errorf("outcomes %+v", out)
	}
	equal(e.t, "mail", len(e.view(a, "INBOX").Messages)+len(e.view(b, "INBOX").Messages), 2)
}

func allOrNone(e *env) {
	a := e.login("alice")
	before := *e.view(a, "INBOX")
	_, err := e.Commit(ctx, storage.Batch{AllOrNone: true, Ops: []storage.Op{
		storage.Deliver{To: a.Address, Content: content("x")},
		storage.CreateMailbox{Account: a, Name: "Folder"},
		storage.Deliver{To: address("nobody"), Content: content("x")},
	}})
	if !errors.Is(err, storage.ErrNoAccount) {
		e.t.Errorf("commit: %v", err)
	}
	after := e.view(a, "INBOX")
	equal(e.t, "UIDNEXT", after.UIDNext, before.UIDNext)
	equal(e.t, "HIGHESTMODSEQ", after.HighestModSeq, before.HighestModSeq)
	same(e.t, "mailboxes", e.names(a), "INBOX")
	e.deliver(a, "y")
	same(e.t, "mail", e.read(a, "INBOX", storage.Whole, 1), "y")
}

func quota(e *env) {
	a, b := e.login("alice"), e.login("bob")
	half := strings.Repeat("x", Quota/2)
	e.deliver(a, half)
	e.deliver(a, half)
	u, err := e.Usage(ctx, a)
	if err != nil || u != (storage.Usage{Octets: Quota, MaxOctets: Quota, Messages: 2}) {
		e.t.Errorf("usage %+v, %v", u, err)
	}
	c := content("x")
	out := e.commit(storage.Deliver{To: a.Address, Content: c}, storage.Deliver{To: b.Address, Content: c})
	if !errors.Is(out[0].Err, storage.ErrQuota) || out[1].Err != nil {
		e.t.Errorf("outcomes %+v", out)
	}
	e.fails(storage.Append{Account: a, Mailbox: "INBOX", Content: content("x")}, storage.ErrQuota)
	e.must(storage.CreateMailbox{Account: a, Name: "Other"})
	e.fails(storage.Copy{Account: a, Mailbox: "INBOX", Dest: "Other", UIDs: []storage.UID{1}}, storage.ErrQuota)
	e.must(storage.Move{Account: a, Mailbox: "INBOX", Dest: "Other", UIDs: []storage.UID{1}})
	e.reopen()
	u, err = e.Usage(ctx, a)
	if err != nil || u.Octets != Quota || u.Messages != 2 {
		e.t.Errorf("usage %+v, %v", u, err)
	}
	e.must(storage.Expunge{Account: a, Mailbox: "INBOX", UIDs: []storage.UID{2}})
	e.deliver(a, "fits again")
}

// Copies that double a mailbox of tiny messages meet a bound long before they
// meet the quota in octets.
func manyTiny(e *env) {
	a := e.login("alice")
	e.deliver(a, "x")
	for range 20 {
		v := e.view(a, "INBOX")
		uids := make([]storage.UID, 0, len(v.Messages))
		for _, m := range v.Messages {
			uids = append(uids, m.UID)
		}
		out := e.commit(storage.Copy{Account: a, Mailbox: "INBOX", Dest: "INBOX", UIDs: uids})
		if errors.Is(out[0].Err, storage.ErrQuota) {
			return
		}
		if out[0].Err != nil {
			e.t.Fatal(out[0].Err)
		}
	}
	e.t.Error("a million messages of one octet were taken")
}

func contents(e *env) {
	for i, size := range []int{0, 1, 5000, 70_000} {
		a := e.login(fmt.Sprintf("size%d", i))
		s := noise(size)
		uid := e.deliver(a, s)
		for range 2 {
			if got := e.read(a, "INBOX", storage.Whole, uid); len(got) != 1 || got[0] != s {
				e.t.Errorf("%d octets come back otherwise", size)
			}
			equal(e.t, "size", e.view(a, "INBOX").Messages[0].Size, int64(size))
			e.reopen()
		}
	}
}

func noise(size int) string {
	r := rand.New(rand.NewPCG(1, uint64(size)))
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(r.UintN(256))
	}
	return string(b)
}

func drafts(e *env) {
	a := e.login("alice")
	d, err := e.Draft(ctx, 3)
	if err != nil {
		e.t.Fatal(err)
	}
	for range 100 {
		if n, err := io.WriteString(d, "0123456789"); n != 10 || err != nil {
			e.t.Fatalf("write: %d, %v", n, err)
		}
	}
	equal(e.t, "size", d.Size(), 1000)
	var b [12]byte
	n, err := d.ReadAt(b[:], 995)
	if n != 5 || err != io.EOF || string(b[:5]) != "56789" {
		e.t.Errorf("read at the end: %q, %v", b[:n], err)
	}
	e.must(storage.Deliver{To: a.Address, Content: d})
	// The same draft once more.
	e.must(storage.Deliver{To: a.Address, Content: d})
	d.Discard()
	d.Discard()
	for _, got := range e.read(a, "INBOX", storage.Whole, 1, 2) {
		equal(e.t, "mail", got, strings.Repeat("0123456789", 100))
	}
	d, err = e.Draft(ctx, 0)
	if err != nil {
		e.t.Fatal(err)
	}
	defer d.Discard()
	chunk := make([]byte, 1<<20)
	for range 4096 {
		if _, err = d.Write(chunk); err != nil {
			break
		}
	}
	if !errors.Is(err, storage.ErrFull) {
		e.t.Errorf("4 GiB: %v, want ErrFull", err)
	}
}

func headers(e *env) {
	a := e.login("alice")
	for _, test := range []struct{ whole, header string }{
		{"A: b\r\nC: d\r\n\r\nbody\r\n\r\nmore", "A: b\r\nC: d\r\n\r\n"},
		{"A: b\n\nbody", "A: b\n\n"},
		{"\r\nbody", "\r\n"},
		{"A: b\r\n", "A: b\r\n"},
		{"", ""},
		{"A: " + strings.Repeat("b", 20_000) + "\r\n\r\n" + strings.Repeat("c", 20_000), "A: " + strings.Repeat("b", 20_000) + "\r\n\r\n"},
	} {
		uid := e.deliver(a, test.whole)
		for range 2 {
			if got := e.read(a, "INBOX", storage.Header, uid); len(got) != 1 || got[0] != test.header {
				e.t.Errorf("header of %.20q: %.40q", test.whole, got)
			}
			e.reopen()
		}
	}
}

func readMissing(e *env) {
	a := e.login("alice")
	for i := range 4 {
		e.deliver(a, fmt.Sprint(i+1))
	}
	e.must(storage.Expunge{Account: a, Mailbox: "INBOX", UIDs: []storage.UID{2}})
	same(e.t, "mail", e.read(a, "INBOX", storage.Whole, 4, 2, 9, 1, 4), "4", "1", "4")
	m := e.open(a, "INBOX")
	stop := errors.New("enough")
	n := 0
	err := m.Read(ctx, []storage.UID{1, 3, 4}, storage.Whole, func(storage.UID, storage.Content) error {
		n++
		return stop
	})
	if n != 1 || err != stop {
		e.t.Errorf("%d calls, %v", n, err)
	}
}

func uidsRise(e *env) {
	a := e.login("alice")
	for want := range storage.UID(3) {
		equal(e.t, "UID", e.deliver(a, "x"), want+1)
	}
	e.must(storage.Expunge{Account: a, Mailbox: "INBOX", UIDs: []storage.UID{1, 2, 3}})
	before := *e.view(a, "INBOX")
	e.reopen()
	after := e.view(a, "INBOX")
	equal(e.t, "UIDNEXT", after.UIDNext, before.UIDNext)
	equal(e.t, "UIDVALIDITY", after.UIDValidity, before.UIDValidity)
	equal(e.t, "HIGHESTMODSEQ", after.HighestModSeq, before.HighestModSeq)
	equal(e.t, "UID", e.deliver(a, "x"), 4)
	e.must(storage.Expunge{Account: a, Mailbox: "INBOX", UIDs: []storage.UID{4}})
	e.reopen()
	e.reopen()
	equal(e.t, "UID", e.deliver(a, "x"), 5)
}

func appendKeeps(e *env) {
	a := e.login("alice")
	when := time.Date(2020, 2, 29, 12, 30, 59, 123456, time.UTC)
	flags := storage.FlagSeen | storage.FlagFlagged
	o := e.must(storage.Append{Account: a, Mailbox: "inbox", Flags: flags, Received: when, Content: content("x")})
	e.must(storage.Append{Account: a, Mailbox: "INBOX", Content: content("y")})
	for range 2 {
		m := e.view(a, "INBOX").Messages
		if m[0].Flags != flags || m[0].Received != storage.TimeOf(when) || m[0].UID != o.UID || m[0].ModSeq != o.ModSeq {
			e.t.Errorf("message %+v", m[0])
		}
		if age := time.Since(m[1].Received.Time()); age < -time.Minute || age > time.Hour || m[1].Flags != 0 {
			e.t.Errorf("message %+v", m[1])
		}
		e.reopen()
	}
}

func flagModes(e *env) {
	a := e.login("alice")
	for range 3 {
		e.deliver(a, "x")
	}
	set := func(mode storage.FlagMode, flags storage.Flags, list ...storage.UID) storage.Outcome {
		e.t.Helper()
		return e.must(storage.SetFlags{Account: a, Mailbox: "INBOX", UIDs: list, Mode: mode, Flags: flags})
	}
	high := e.view(a, "INBOX").HighestModSeq
	o := set(storage.AddFlags, storage.FlagSeen, 1, 3, 7)
	same(e.t, "changed", o.Changed, 1, 3)
	if o.ModSeq <= high {
		e.t.Errorf("MODSEQ %d, was %d", o.ModSeq, high)
	}
	o = set(storage.AddFlags, storage.FlagSeen, 1)
	if len(o.Changed) != 0 || o.ModSeq != 0 {
		e.t.Errorf("nothing changed: %+v", o)
	}
	set(storage.AddFlags, storage.FlagFlagged, 1)
	set(storage.RemoveFlags, storage.FlagSeen, 1)
	set(storage.ReplaceFlags, storage.FlagDraft|storage.FlagAnswered, 2)
	for range 2 {
		v := e.view(a, "INBOX")
		equal(e.t, "flags of 1", v.Messages[0].Flags, storage.FlagFlagged)
		equal(e.t, "flags of 2", v.Messages[1].Flags, storage.FlagDraft|storage.FlagAnswered)
		equal(e.t, "flags of 3", v.Messages[2].Flags, storage.FlagSeen)
		equal(e.t, "HIGHESTMODSEQ", v.HighestModSeq, v.Messages[1].ModSeq)
		same(e.t, "mail", e.read(a, "INBOX", storage.Whole, 1, 2, 3), "x", "x", "x")
		e.reopen()
	}
}

func unchangedSince(e *env) {
	a := e.login("alice")
	e.deliver(a, "x")
	e.deliver(a, "y")
	before := e.view(a, "INBOX").HighestModSeq
	e.must(storage.SetFlags{Account: a, Mailbox: "INBOX", UIDs: []storage.UID{1}, Mode: storage.AddFlags, Flags: storage.FlagSeen})
	o := e.must(storage.SetFlags{
		Account: a, Mailbox: "INBOX", UIDs: []storage.UID{1, 2}, Mode: storage.AddFlags, Flags: storage.FlagFlagged, UnchangedSince: &before,
	})
	same(e.t, "changed", o.Changed, 2)
	same(e.t, "skipped", o.Skipped, 1)
	v := e.view(a, "INBOX")
	equal(e.t, "flags of 1", v.Messages[0].Flags, storage.FlagSeen)
	equal(e.t, "flags of 2", v.Messages[1].Flags, storage.FlagFlagged)
	zero := storage.ModSeq(0)
	o = e.must(storage.SetFlags{Account: a, Mailbox: "INBOX", UIDs: []storage.UID{1}, Flags: storage.FlagDraft, UnchangedSince: &zero})
	same(e.t, "skipped", o.Skipped, 1)
}

func expunge(e *env) {
	a := e.login("alice")
	for range 4 {
		e.deliver(a, "x")
	}
	e.must(storage.SetFlags{Account: a, Mailbox: "INBOX", UIDs: []storage.UID{1, 3}, Mode: storage.AddFlags, Flags: storage.FlagDeleted})
	o := e.must(storage.Expunge{Account: a, Mailbox: "INBOX", UIDs: []storage.UID{1, 2}, OnlyDeleted: true})
	same(e.t, "expunged", o.Changed, 1)
	o = e.must(storage.Expunge{Account: a, Mailbox: "INBOX", UIDs: []storage.UID{1, 4, 99}})
	same(e.t, "expunged", o.Changed, 4)
	if o.ModSeq == 0 {
		e.t.Error("no MODSEQ")
	}
	for range 2 {
		same(e.t, "left", uids(e.view(a, "INBOX")), 2, 3)
		e.reopen()
	}
	o = e.must(storage.Expunge{Account: a, Mailbox: "INBOX", UIDs: []storage.UID{1}})
	if o.ModSeq != 0 || len(o.Changed) != 0 {
		e.t.Errorf("nothing to expunge: %+v", o)
	}
}

func copies(e *env) {
	a := e.login("alice")
	when := time.Unix(1_600_000_000, 0)
	e.must(storage.CreateMailbox{Account: a, Name: "Other"})
	e.must(storage.Append{Account: a, Mailbox: "Other", Content: content("already there")})
	e.must(storage.Append{Account: a, Mailbox: "INBOX", Flags: storage.FlagSeen, Received: when, Content: content("one")})
	e.deliver(a, "two")
	o := e.must(storage.Copy{Account: a, Mailbox: "INBOX", Dest: "Other", UIDs: []storage.UID{1, 2, 5}})
	same(e.t, "copied", o.Copied, storage.Copied{Source: 1, Dest: 2}, storage.Copied{Source: 2, Dest: 3})
	equal(e.t, "UIDVALIDITY", o.UIDValidity, e.view(a, "Other").UIDValidity)
	for range 2 {
		m := e.view(a, "Other").Messages[1]
		if m.UID != 2 || m.Flags != storage.FlagSeen || m.Received != storage.TimeOf(when) || m.Size != 3 {
			e.t.Errorf("copy %+v", m)
		}
		same(e.t, "sources", uids(e.view(a, "INBOX")), 1, 2)
		same(e.t, "mail", e.read(a, "Other", storage.Whole, 1, 2, 3), "already there", "one", "two")
		e.reopen()
	}
	o = e.must(storage.Copy{Account: a, Mailbox: "INBOX", Dest: "INBOX", UIDs: []storage.UID{1}})
	same(e.t, "copied", o.Copied, storage.Copied{Source: 1, Dest: 3})
	o = e.must(storage.Copy{Account: a, Mailbox: "INBOX", Dest: "Other", UIDs: []storage.UID{99}})
	equal(e.t, "copied", len(o.Copied), 0)
}

func moves(e *env) {
	a := e.login("alice")
	e.must(storage.CreateMailbox{Account: a, Name: "Other"})
	for i := range 3 {
		e.deliver(a, fmt.Sprint(i+1))
	}
	o := e.must(storage.Move{Account: a, Mailbox: "INBOX", Dest: "Other", UIDs: []storage.UID{1, 3, 8}})
	same(e.t, "copied", o.Copied, storage.Copied{Source: 1, Dest: 1}, storage.Copied{Source: 3, Dest: 2})
	equal(e.t, "UIDVALIDITY", o.UIDValidity, e.view(a, "Other").UIDValidity)
	for range 2 {
		same(e.t, "left", uids(e.view(a, "INBOX")), 2)
		same(e.t, "moved", e.read(a, "Other", storage.Whole, 1, 2), "1", "3")
		e.reopen()
	}
	// Within one mailbox a move gives new UIDs.
	o = e.must(storage.Move{Account: a, Mailbox: "INBOX", Dest: "INBOX", UIDs: []storage.UID{2}})
	same(e.t, "copied", o.Copied, storage.Copied{Source: 2, Dest: 4})
	same(e.t, "left", uids(e.view(a, "INBOX")), 4)
	same(e.t, "mail", e.read(a, "INBOX", storage.Whole, 4), "2")
}

func copyOutlives(e *env) {
	a := e.login("alice")
	e.must(storage.CreateMailbox{Account: a, Name: "Other"})
	e.deliver(a, "one")
	e.reopen() // so that it lies where it stays
	e.must(storage.Copy{Account: a, Mailbox: "INBOX", Dest: "Other", UIDs: []storage.UID{1}})
	same(e.t, "mail", e.read(a, "Other", storage.Whole, 1), "one")
	e.must(storage.Expunge{Account: a, Mailbox: "INBOX", UIDs: []storage.UID{1}})
	same(e.t, "mail", e.read(a, "Other", storage.Whole, 1), "one")
	e.must(storage.RenameMailbox{Account: a, From: "Other", To: "Third"})
	same(e.t, "mail", e.read(a, "Third", storage.Whole, 1), "one")
	e.must(storage.DeleteMailbox{Account: a, Name: "Third"})
	e.reopen()
	same(e.t, "mailboxes", e.names(a), "INBOX")
}

func earlierLife(e *env) {
	a := e.login("alice")
	born := func() storage.UIDValidity {
		e.must(storage.CreateMailbox{Account: a, Name: "Other"})
		e.must(storage.Append{Account: a, Mailbox: "Other", Flags: storage.FlagDeleted, Content: content("x")})
		return e.view(a, "Other").UIDValidity
	}
	ops := func(v storage.UIDValidity) []storage.Op {
		one := []storage.UID{1}
		return []storage.Op{
			storage.SetFlags{Account: a, Mailbox: "Other", UIDValidity: v, UIDs: one, Mode: storage.AddFlags, Flags: storage.FlagSeen},
			storage.Copy{Account: a, Mailbox: "Other", Dest: "INBOX", UIDValidity: v, UIDs: one},
			storage.Move{Account: a, Mailbox: "Other", Dest: "Other", UIDValidity: v, UIDs: one},
			storage.Expunge{Account: a, Mailbox: "Other", UIDValidity: v, UIDs: []storage.UID{1, 2}, OnlyDeleted: true},
		}
	}
	old := born()
	e.must(storage.DeleteMailbox{Account: a, Name: "Other"})
	now := born()
	before := e.view(a, "Other")
	for _, op := range ops(old) {
		e.fails(op, storage.ErrNoMailbox)
	}
	after := e.view(a, "Other")
	equal(e.t, "HIGHESTMODSEQ", after.HighestModSeq, before.HighestModSeq)
	equal(e.t, "message", after.Messages[0], before.Messages[0])
	equal(e.t, "messages in INBOX", len(e.view(a, "INBOX").Messages), 0)
	for _, op := range ops(now) {
		e.must(op)
	}
	equal(e.t, "messages", len(e.view(a, "Other").Messages), 0)
	equal(e.t, "messages in INBOX", len(e.view(a, "INBOX").Messages), 1)
	// What the batch itself does counts: the mailbox dies before the operation.
	out := e.commit(storage.DeleteMailbox{Account: a, Name: "Other"}, ops(now)[0])
	if out[0].Err != nil || !errors.Is(out[1].Err, storage.ErrNoMailbox) {
		e.t.Errorf("outcomes %+v", out)
	}
}

func identities(e *env) {
	a := e.login("alice")
	e.must(storage.CreateMailbox{Account: a, Name: "Other"})
	e.deliver(a, "one")
	e.deliver(a, "one")
	e.must(storage.Append{Account: a, Mailbox: "INBOX", Received: time.Unix(1_600_000_000, 0), Content: content("three")})
	id := map[uint64]storage.UID{}
	var ids []uint64
	for _, m := range e.view(a, "INBOX").Messages {
		if first, twice := id[m.ID]; twice {
			e.t.Errorf("messages %d and %d share their ID", first, m.UID)
		}
		id[m.ID] = m.UID
		ids = append(ids, m.ID)
	}
	e.must(storage.Copy{Account: a, Mailbox: "INBOX", Dest: "Other", UIDs: []storage.UID{1, 3}})
	e.must(storage.Move{Account: a, Mailbox: "INBOX", Dest: "Other", UIDs: []storage.UID{2}})
	e.must(storage.SetFlags{Account: a, Mailbox: "Other", UIDs: []storage.UID{1}, Flags: storage.FlagSeen})
	for range 2 {
		same(e.t, "IDs in INBOX", idsOf(e.view(a, "INBOX")), ids[0], ids[2])
		same(e.t, "IDs of copies", idsOf(e.view(a, "Other")), ids[0], ids[2], ids[1])
		e.reopen()
	}
	e.must(storage.RenameMailbox{Account: a, From: "Other", To: "Third"})
	e.must(storage.Expunge{Account: a, Mailbox: "INBOX", UIDs: []storage.UID{1, 3}})
	for range 2 {
		same(e.t, "IDs after the rename", idsOf(e.view(a, "Third")), ids[0], ids[2], ids[1])
		e.reopen()
	}
	e.deliver(a, "one")
	if m := e.view(a, "INBOX").Messages[0]; id[m.ID] != 0 {
		e.t.Errorf("a new message has the ID of message %d", id[m.ID])
	}
	// A batch may copy what it has just brought.
	next := e.view(a, "Third").UIDNext
	for _, o := range e.commit(
		storage.Append{Account: a, Mailbox: "Third", Content: content("four")},
		storage.SetFlags{Account: a, Mailbox: "Third", UIDs: []storage.UID{next}, Flags: storage.FlagSeen},
		storage.Copy{Account: a, Mailbox: "Third", Dest: "INBOX", UIDs: []storage.UID{1, next}},
		storage.Copy{Account: a, Mailbox: "INBOX", Dest: "INBOX", UIDs: []storage.UID{5, 6}},
		storage.Expunge{Account: a, Mailbox: "Third", UIDs: []storage.UID{1}},
	) {
		if o.Err != nil {
			e.t.Error(o.Err)
		}
	}
	for range 2 {
		fourth := e.view(a, "Third").Messages[2].ID
		got := idsOf(e.view(a, "INBOX"))
		same(e.t, "IDs in INBOX", got[1:], ids[0], fourth, ids[0], fourth)
		if id[fourth] != 0 || fourth == got[0] {
			e.t.Error("a new message has the ID of an earlier one")
		}
		e.reopen()
	}
}

func idsOf(v *storage.View) []uint64 {
	var list []uint64
	for _, m := range v.Messages {
		list = append(list, m.ID)
	}
	return list
}

func saved(e *env) {
	a := e.login("alice")
	when := time.Unix(1_600_000_000, 0)
	before := storage.TimeOf(time.Now())
	e.deliver(a, "one")
	e.must(storage.Append{Account: a, Mailbox: "INBOX", Received: when, Content: content("two")})
	e.must(storage.CreateMailbox{Account: a, Name: "Other"})
	e.must(storage.Copy{Account: a, Mailbox: "INBOX", Dest: "Other", UIDs: []storage.UID{1, 2}})
	after := storage.TimeOf(time.Now())
	var was []storage.Message
	for _, box := range []string{"INBOX", "Other"} {
		for _, m := range e.view(a, box).Messages {
			if m.Saved < before || m.Saved > after {
				e.t.Errorf("%s: message %d was saved at %v", box, m.UID, m.Saved.Time())
			}
			was = append(was, m)
		}
	}
	if was[0].Received != was[0].Saved || was[1].Received != storage.TimeOf(when) || was[3].Received != was[1].Received {
		e.t.Errorf("received at other times: %+v", was)
	}
	e.must(storage.RenameMailbox{Account: a, From: "Other", To: "Third"})
	for range 2 {
		for i, m := range append(slices.Clone(e.view(a, "INBOX").Messages), e.view(a, "Third").Messages...) {
			if m.Saved != was[i].Saved || m.Received != was[i].Received {
				e.t.Errorf("%+v became %+v", was[i], m)
			}
		}
		e.reopen()
	}
}
