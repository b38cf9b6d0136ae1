package local

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"barid/storage"
)

// put writes a file of another program.
func put(t *testing.T, text string, elem ...string) {
	t.Helper()
	name := filepath.Join(elem...)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func hashOf(t *testing.T, p storage.Password) string {
	t.Helper()
	hash, err := hashPassword(p, rounds)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// A relay of the reference is adopted in place: passwords, UIDs, flags,
// tokens, folders.
func TestAdoptsDovecotsAccounts(t *testing.T) {
	s, cfg, dir := onDisk(t, nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	alice := filepath.Join(dir, "alice@relay.test")
	put(t, hashOf(t, "a long password"), alice, "password")
	put(t, fmt.Sprintf(`{"devicetoken": {"1111": %d}}`, time.Now().Unix()), alice, "metadata.json")
	put(t, "seen", alice, "cur", "1775324677.M448978P3029757.exam,S=4,W=5:2,Sa")
	put(t, "fresh", alice, "new", "1775324678.M1P1.exam,S=5,W=6")
	put(t, "unlisted", alice, "new", "1775324600.M1P2.exam")
	put(t, "3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1\n25006 :1775324677.M448978P3029757.exam,S=4,W=5\n25017 :1775324678.M1P1.exam,S=5,W=6\n", alice, "dovecot-uidlist")
	put(t, "below", alice, ".DeltaChat", "cur", "1775324679.M1P3.exam,S=5:2,F")
	put(t, "DeltaChat\n", alice, "subscriptions")

	s = mustOpen(t, cfg)
	s.settler.stop()
	t.Cleanup(func() { s.Close() })
	must(t, s, login("alice"))
	for i := range 4 {
		v := view(t, s, "alice", "INBOX")
		if v.UIDValidity != 1275660208 || v.UIDNext != 25023 || len(v.Messages) != 3 {
			t.Fatalf("view %+v", v)
		}
		for i, want := range []storage.Message{
			{UID: 25006, Flags: storage.FlagSeen, Size: 4}, {UID: 25017, Size: 5}, {UID: 25022, Size: 8},
		} {
			m := v.Messages[i]
			if m.UID != want.UID || m.Flags != want.Flags || m.Size != want.Size {
				t.Errorf("message %+v, want %+v", m, want)
			}
		}
		if got := read(t, s, "alice", "INBOX", 25006) + read(t, s, "alice", "INBOX", 25022); got != "seenunlisted" {
			t.Errorf("read %q", got)
		}
		if m := v.Messages[2]; m.Received != 1775324600 {
			t.Errorf("received %v", m.Received)
		}
		if list, err := s.Entries(ctx, acct("alice"), "INBOX"); err != nil || len(list) != 1 || string(list[0].Value) != "1111" {
			t.Errorf("entries %v, %v", list, err)
		}
		if v := view(t, s, "alice", "DeltaChat"); len(v.Messages) != 1 || v.Messages[0].Flags != storage.FlagFlagged {
			t.Errorf("DeltaChat %+v", v)
		}
		list, err := s.Mailboxes(ctx, acct("alice"))
		if err != nil || len(list) != 2 || !list[1].Subscribed {
			t.Errorf("mailboxes %v, %v", list, err)
		}
		if i%2 == 0 {
			s = killed(t, s, cfg)
		} else {
			s = reopened(t, s, cfg)
		}
	}
	// Flags change, other keys and keywords of the name stay.
	must(t, s, ops("flags", storage.SetFlags{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{25006}, Mode: storage.AddFlags, Flags: storage.FlagFlagged}), checkpointNow)
	if got := names(t, filepath.Join(alice, "cur")); len(got) != 1 || got[0] != "1775324677.M448978P3029757.exam,S=4,W=5:2,FSa" {
		t.Errorf("cur %v", got)
	}
	must(t, s, ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{25006, 25022}}))
	s = killed(t, s, cfg)
	must(t, s, settleNow)
	if v := view(t, s, "alice", "INBOX"); len(v.Messages) != 1 {
		t.Errorf("expunged mail is back: %+v", v)
	}
	s = reopened(t, s, cfg)
	if v := view(t, s, "alice", "INBOX"); len(v.Messages) != 1 || v.UIDNext != 25023 {
		t.Errorf("expunged mail is back: %+v", v)
	}
}

// What another program does to the files while we are away is seen.
func TestForeignChanges(t *testing.T) {
	s, cfg, dir := onDisk(t, nil)
	alice := filepath.Join(dir, "alice@relay.test")
	must(t, s, login("alice"))
	for range 3 {
		must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 99)}))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files := names(t, filepath.Join(alice, "new"))
	if len(files) != 3 {
		t.Fatalf("new %v", files)
	}
	// The second is seen, the third gone, and one comes.
	if err := os.Rename(filepath.Join(alice, "new", files[1]), filepath.Join(alice, "cur", files[1]+":2,S")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(alice, "new", files[2])); err != nil {
		t.Fatal(err)
	}
	put(t, "from afar", alice, "new", "1900000000.foreign")
	s = mustOpen(t, cfg)
	s.settler.stop()
	t.Cleanup(func() { s.Close() })
	for range 3 {
		v := view(t, s, "alice", "INBOX")
		if len(v.Messages) != 3 || v.Messages[0].UID != 1 || v.Messages[1].Flags != storage.FlagSeen || v.Messages[2].UID != 4 {
			t.Fatalf("view %+v", v)
		}
		if got := read(t, s, "alice", "INBOX", 4); got != "from afar" {
			t.Errorf("read %q", got)
		}
		s = reopened(t, s, cfg)
	}
}

// Whatever is put into a mailbox by hand can be read: names without a flags
// part in cur, and a message of ours out of a backup.
func TestFilesPutThereByHand(t *testing.T) {
	s, cfg, dir := onDisk(t, nil)
	alice := filepath.Join(dir, "alice@relay.test")
	must(t, s, login("alice"),
		ops("deliver", storage.Deliver{To: at("alice"), Content: mail("first", 99)}),
		ops("deliver", storage.Deliver{To: at("alice"), Content: mail("second", 99)}), checkpointNow)
	file := names(t, filepath.Join(alice, "new"))[0]
	backup, err := os.ReadFile(filepath.Join(alice, "new", file))
	if err != nil {
		t.Fatal(err)
	}
	must(t, s, ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}}))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, string(backup), alice, "new", file)
	put(t, "bare", alice, "cur", "1900000000.foreign")
	s = mustOpen(t, cfg)
	s.settler.stop()
	for i := range 4 {
		v := view(t, s, "alice", "INBOX")
		if len(v.Messages) != 3 || v.Messages[1].UID != 3 || v.Messages[2].UID != 4 {
			t.Fatalf("start %d: view %+v", i, v)
		}
		if got := read(t, s, "alice", "INBOX", 3) + read(t, s, "alice", "INBOX", 4); got != string(backup)+"bare" {
			t.Errorf("start %d: read %q", i, got)
		}
		switch i {
		case 0:
			s = killed(t, s, cfg)
		case 1, 2: // flags come into the name, and go
			flags := storage.FlagSeen * storage.Flags(i%2)
			must(t, s, ops("flags", storage.SetFlags{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{3, 4}, Flags: flags}), checkpointNow)
			if got := read(t, s, "alice", "INBOX", 4); got != "bare" {
				t.Errorf("with flags %v: read %q", flags, got)
			}
			s = reopened(t, s, cfg)
		default:
			s = reopened(t, s, cfg)
		}
	}
}

// Without snapshots a mailbox is made from its files: UIDs stay, UIDNEXT
// jumps, UIDVALIDITY rises.
func TestRebuild(t *testing.T) {
	for _, damage := range []string{"missing", "torn"} {
		s, cfg, dir := onDisk(t, nil)
		alice := filepath.Join(dir, "alice@relay.test")
		must(t, s, login("alice"))
		for range 3 {
			must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 99)}))
		}
		must(t, s, ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{2, 3}}))
		before := *view(t, s, "alice", "INBOX")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(alice, "dovecot-uidlist")); err != nil {
			t.Fatal(err)
		}
		snapshot := filepath.Join(alice, "barid-mailbox")
		if damage == "torn" {
			put(t, strings.Repeat("\x00", 50), snapshot)
		} else if err := os.Remove(snapshot); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, cfg)
		s.settler.stop()
		first := *view(t, s, "alice", "INBOX")
		if len(first.Messages) != 1 || first.Messages[0].UID != 1 || first.UIDNext < 1<<20 || first.UIDValidity <= before.UIDValidity {
			t.Errorf("%s: %+v", damage, first)
		}
		s = reopened(t, s, cfg)
		again := *view(t, s, "alice", "INBOX")
		if again.UIDValidity != first.UIDValidity || again.UIDNext != first.UIDNext {
			t.Errorf("%s: %+v, was %+v", damage, again, first)
		}
	}
}

// Idle accounts leave memory and come back the same.
func TestIdleAccountsLeaveMemory(t *testing.T) {
	now := time.Now()
	s, _, _ := onDisk(t, func(c *Config) { c.Now = func() time.Time { return now } })
	must(t, s, login("alice"), ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 99)}))
	before := *view(t, s, "alice", "INBOX")
	now = now.Add(time.Hour)
	s.sweep(time.Minute)
	if len(s.accounts) != 1 {
		t.Error("an account with changes left memory before its snapshot")
	}
	must(t, s, checkpointNow)
	m, err := s.Open(ctx, acct("alice"), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	s.sweep(time.Minute)
	if len(s.accounts) != 1 {
		t.Error("an account in use left memory")
	}
	m.Close()
	s.sweep(time.Minute)
	if len(s.accounts) != 1 {
		t.Error("an account left memory too soon")
	}
	now = now.Add(time.Hour)
	s.sweep(time.Minute)
	if len(s.accounts) != 0 {
		t.Error("an idle account stays in memory")
	}
	after := *view(t, s, "alice", "INBOX")
	if after.UIDNext != before.UIDNext || after.HighestModSeq != before.HighestModSeq || len(after.Messages) != 1 {
		t.Errorf("%+v, was %+v", after, before)
	}
	for range 5 {
		if _, err := s.Lookup(ctx, at("nobody")); err == nil {
			t.Error("found nobody")
		}
	}
	if len(s.accounts) != 1 {
		t.Errorf("%d accounts in memory, of which one exists", len(s.accounts))
	}
}

// When the journal is lost, the mailboxes stay, and what comes after is as
// safe as before.
func TestLostJournal(t *testing.T) {
	s, cfg, _ := onDisk(t, nil)
	must(t, s, login("alice"))
	for range 5 {
		must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 99)}))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(cfg.Dir, "journal")); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, cfg)
	s.settler.stop()
	must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("after", 100)}))
	s = killed(t, s, cfg)
	if v := view(t, s, "alice", "INBOX"); len(v.Messages) != 6 || v.UIDNext != 7 {
		t.Errorf("%+v", v)
	}
}

// A directory that is not as it should be holds up nobody else.
func TestBrokenDirectoryHoldsUpNobodyElse(t *testing.T) {
	s, _, dir := onDisk(t, nil)
	must(t, s, login("alice"), login("bob"), settleNow)
	alice := filepath.Join(dir, "alice@relay.test")
	if err := os.Rename(alice, alice+".aside"); err != nil {
		t.Fatal(err)
	}
	put(t, "in the way", alice)
	must(t, s,
		ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 99)}),
		ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}}),
		ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 99)}),
		ops("deliver", storage.Deliver{To: at("bob"), Content: mail("x", 99)}))
	s.settler.due()
	s.disk.Lock()
	err := s.settler.round()
	s.disk.Unlock()
	if err == nil {
		t.Error("nobody tells of the broken directory")
	}
	if got := names(t, filepath.Join(dir, "bob@relay.test", "new")); len(got) != 1 {
		t.Errorf("bob has %v", got)
	}
	must(t, s, checkpointNow)
	if got := s.journal.Size(); got > 3000 {
		t.Errorf("the journal keeps %d octets", got)
	}
	if err := os.Remove(alice); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(alice+".aside", alice); err != nil {
		t.Fatal(err)
	}
	must(t, s, checkpointNow)
	if got := names(t, filepath.Join(alice, "new")); len(got) != 1 {
		t.Errorf("alice has %v", got)
	}
}

// However much mail waits for a broken directory, that of others gets its
// files.
func TestMuchMailForABrokenDirectoryHoldsUpNobodyElse(t *testing.T) {
	s, _, dir := onDisk(t, nil)
	must(t, s, login("alice"), login("bob"), settleNow)
	alice := filepath.Join(dir, "alice@relay.test")
	if err := os.RemoveAll(alice); err != nil {
		t.Fatal(err)
	}
	put(t, "in the way", alice)
	for range 2 * maxFailures {
		must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 99)}))
	}
	must(t, s, ops("deliver", storage.Deliver{To: at("bob"), Content: mail("x", 99)}))
	for range 3 {
		s.settler.due()
		s.disk.Lock()
		err := s.settler.round()
		s.disk.Unlock()
		if err == nil {
			t.Error("nobody tells of the broken directory")
		}
	}
	if got := names(t, filepath.Join(dir, "bob@relay.test", "new")); len(got) != 1 {
		t.Errorf("bob has %v", got)
	}
	if err := os.Remove(alice); err != nil {
		t.Fatal(err)
	}
	must(t, s, checkpointNow)
	if got := names(t, filepath.Join(alice, "new")); len(got) != 2*maxFailures {
		t.Errorf("alice has %d files", len(got))
	}
}

// An account whose password file was removed by hand is none. When it is born
// again it begins anew, also for the next start, and the old mail is kept apart.
func TestBornAgainAfterThePasswordFileWasRemoved(t *testing.T) {
	for _, how := range []string{"stopped", "running", "crashed"} {
		t.Run(how, func(t *testing.T) {
			s, cfg, dir := onDisk(t, nil)
			alice := filepath.Join(dir, "alice@relay.test")
			deliver := func(text string) step {
				return ops("deliver", storage.Deliver{To: at("alice"), Content: mail(text, 99)})
			}
			must(t, s, login("alice"), deliver("old"), ops("subscribe", storage.Subscribe{Account: acct("alice"), Name: "A"}), checkpointNow)
			if how == "crashed" {
				must(t, s, deliver("in the journal"))
			}
			before := view(t, s, "alice", "INBOX").UIDValidity
			if err := os.Remove(filepath.Join(alice, "password")); err != nil {
				t.Fatal(err)
			}
			switch how {
			case "stopped":
				s = reopened(t, s, cfg)
			case "running":
				s.sweep(0)
			case "crashed":
				s = killed(t, s, cfg)
			}
			must(t, s, login("alice"), deliver("new"))
			first := *view(t, s, "alice", "INBOX")
			if first.UIDValidity <= before || first.UIDNext != 2 || len(first.Messages) != 1 {
				t.Errorf("%+v, before %d", first, before)
			}
			for i := range 3 {
				if i == 1 {
					s = reopened(t, s, cfg)
				} else {
					s = killed(t, s, cfg)
				}
				again := *view(t, s, "alice", "INBOX")
				if again.UIDValidity != first.UIDValidity || again.UIDNext != 2 || len(again.Messages) != 1 {
					t.Errorf("start %d: %+v, was %+v", i, again, first)
				}
				if text := read(t, s, "alice", "INBOX", 1); !strings.HasPrefix(text, "Subject: new") {
					t.Errorf("start %d: read %q", i, text)
				}
				must(t, s, login("alice"))
			}
			list, err := s.Mailboxes(ctx, acct("alice"))
			if err != nil || len(list) != 1 {
				t.Errorf("mailboxes %v, %v", list, err)
			}
			moved := names(t, filepath.Join(cfg.Dir, "removed"))
			if len(moved) != 1 || len(names(t, filepath.Join(cfg.Dir, "removed", moved[0], "new"))) == 0 {
				t.Errorf("moved aside: %v", moved)
			}
		})
	}
}

// due makes everything due.
func (r *settler) due() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.fresh {
		r.fresh[i].due = time.Time{}
	}
}

// A mailbox whose snapshot is lost while the journal has mail for it keeps
// both; and what was adopted keeps its UIDs through a crash.
func TestRebuildUnderAJournal(t *testing.T) {
	for _, uidlist := range []bool{true, false} {
		s, cfg, dir := onDisk(t, nil)
		alice := filepath.Join(dir, "alice@relay.test")
		deliver := ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 99)})
		must(t, s, login("alice"), deliver, deliver, deliver,
			ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{2}}), checkpointNow,
			deliver, deliver, settleNow,
			ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1, 4}}), deliver)
		before := *view(t, s, "alice", "INBOX")
		put(t, "torn", alice, "barid-mailbox")
		if !uidlist {
			if err := os.Remove(filepath.Join(alice, "dovecot-uidlist")); err != nil {
				t.Fatal(err)
			}
		}
		put(t, "from afar", alice, "new", "1900000000.foreign")
		s = killed(t, s, cfg)
		first := *view(t, s, "alice", "INBOX")
		var got []storage.UID
		for _, m := range first.Messages {
			got = append(got, m.UID)
		}
		want := []storage.UID{3, 5, 6, 7}
		if !uidlist {
			want[3] += 1 << 20
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || first.HighestModSeq <= before.HighestModSeq || (first.UIDValidity == before.UIDValidity) != uidlist {
			t.Errorf("%v: %v, %+v, was %+v", uidlist, got, first, before)
		}
		if text := read(t, s, "alice", "INBOX", want[3]); text != "from afar" {
			t.Errorf("read %q", text)
		}
		must(t, s, deliver)
		for i := range 3 {
			if i == 1 {
				s = reopened(t, s, cfg)
			} else {
				s = killed(t, s, cfg)
			}
			again := *view(t, s, "alice", "INBOX")
			if again.UIDValidity != first.UIDValidity || again.UIDNext != first.UIDNext+1 || len(again.Messages) != 5 {
				t.Errorf("%v: %+v, was %+v", uidlist, again, first)
			}
			if text := read(t, s, "alice", "INBOX", want[3]) + read(t, s, "alice", "INBOX", 3)[:10]; text != "from afarSubject: x" {
				t.Errorf("read %q", text)
			}
		}
	}
}
