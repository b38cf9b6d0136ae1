package storetest

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"barid/storage"
)

func createMailboxes(e *env) {
	a := e.login("alice")
	o := e.must(storage.CreateMailbox{Account: a, Name: "B.C.D"})
	equal(e.t, "UIDVALIDITY", o.UIDValidity, e.view(a, "B.C.D").UIDValidity)
	e.must(storage.CreateMailbox{Account: a, Name: "A"})
	for range 2 {
		same(e.t, "mailboxes", e.names(a), "INBOX", "A", "B", "B.C", "B.C.D")
		e.reopen()
	}
	e.fails(storage.CreateMailbox{Account: a, Name: "A"}, storage.ErrMailboxExists)
	e.fails(storage.CreateMailbox{Account: a, Name: "B.C"}, storage.ErrMailboxExists)
	e.fails(storage.CreateMailbox{Account: a, Name: "InBox"}, storage.ErrMailboxExists)
	e.must(storage.CreateMailbox{Account: a, Name: "inbox.x"})
	same(e.t, "mailboxes", e.names(a), "INBOX", "A", "B", "B.C", "B.C.D", "INBOX.x")
}

func badMailboxes(e *env) {
	a := e.login("alice")
	e.must(storage.CreateMailbox{Account: a, Name: "A"})
	for _, name := range []string{
		"", ".", "..", "../x", "a/b", "/", "a..b", ".a", "a.", "a\x00b", "a\r\nb", "a*", "a%", "INBOX.", strings.Repeat("x", 5000),
	} {
		e.fails(storage.CreateMailbox{Account: a, Name: name}, storage.ErrMailboxName)
		e.fails(storage.RenameMailbox{Account: a, From: "A", To: name}, storage.ErrMailboxName)
		e.fails(storage.DeleteMailbox{Account: a, Name: name}, storage.ErrNoMailbox)
		if _, err := e.Open(ctx, a, name); !errors.Is(err, storage.ErrNoMailbox) {
			e.t.Errorf("open %.20q: %v", name, err)
		}
	}
	e.fails(storage.DeleteMailbox{Account: a, Name: "Inbox"}, storage.ErrMailboxName)
	same(e.t, "mailboxes", e.names(a), "INBOX", "A")
}

func deleteMailbox(e *env) {
	a := e.login("alice")
	e.must(storage.CreateMailbox{Account: a, Name: "A.B"})
	e.must(storage.Append{Account: a, Mailbox: "A", Content: content("x")})
	m := e.open(a, "A")
	rung := 0
	m.Subscribe(bell{func() { rung++ }})
	e.must(storage.DeleteMailbox{Account: a, Name: "A"})
	if _, err := m.View(ctx); !errors.Is(err, storage.ErrNoMailbox) {
		e.t.Errorf("view: %v", err)
	}
	if _, err := m.Since(ctx, 0); !errors.Is(err, storage.ErrNoMailbox) {
		e.t.Errorf("since: %v", err)
	}
	if rung == 0 {
		e.t.Error("nobody was told")
	}
	m.Close()
	same(e.t, "mailboxes", e.names(a), "INBOX", "A.B")
	e.fails(storage.DeleteMailbox{Account: a, Name: "A"}, storage.ErrNoMailbox)
	e.reopen()
	same(e.t, "mailboxes", e.names(a), "INBOX", "A.B")
	u, _ := e.Usage(ctx, a)
	equal(e.t, "octets", u.Octets, 0)
}

func mailboxBornAgain(e *env) {
	a := e.login("alice")
	e.must(storage.CreateMailbox{Account: a, Name: "A"})
	e.must(storage.Append{Account: a, Mailbox: "A", Content: content("old")})
	before := e.view(a, "A").UIDValidity
	e.must(storage.DeleteMailbox{Account: a, Name: "A"})
	e.must(storage.CreateMailbox{Account: a, Name: "A"})
	e.must(storage.Append{Account: a, Mailbox: "A", Content: content("new")})
	for range 2 {
		v := e.view(a, "A")
		if v.UIDValidity <= before {
			e.t.Errorf("UIDVALIDITY %d, was %d", v.UIDValidity, before)
		}
		same(e.t, "mail", e.read(a, "A", storage.Whole, 1), "new")
		e.reopen()
	}
}

func renameMailbox(e *env) {
	a := e.login("alice")
	e.must(storage.CreateMailbox{Account: a, Name: "A.B"})
	e.must(storage.CreateMailbox{Account: a, Name: "Taken"})
	e.must(storage.Append{Account: a, Mailbox: "A", Flags: storage.FlagSeen, Content: content("in A")})
	e.must(storage.Append{Account: a, Mailbox: "A.B", Content: content("in A.B")})
	before := e.view(a, "A").UIDValidity
	e.fails(storage.RenameMailbox{Account: a, From: "A", To: "Taken"}, storage.ErrMailboxExists)
	e.fails(storage.RenameMailbox{Account: a, From: "A", To: "INBOX"}, storage.ErrMailboxExists)
	e.fails(storage.RenameMailbox{Account: a, From: "A", To: "A"}, storage.ErrMailboxExists)
	m := e.open(a, "A")
	e.must(storage.RenameMailbox{Account: a, From: "A", To: "X.Y"})
	if _, err := m.View(ctx); !errors.Is(err, storage.ErrNoMailbox) {
		e.t.Errorf("view: %v", err)
	}
	m.Close()
	for range 2 {
		same(e.t, "mailboxes", e.names(a), "INBOX", "Taken", "X", "X.Y", "X.Y.B")
		v := e.view(a, "X.Y")
		equal(e.t, "flags", v.Messages[0].Flags, storage.FlagSeen)
		if v.UIDValidity <= before {
			e.t.Errorf("UIDVALIDITY %d, was %d", v.UIDValidity, before)
		}
		same(e.t, "mail", e.read(a, "X.Y", storage.Whole, v.Messages[0].UID), "in A")
		same(e.t, "mail", e.read(a, "X.Y.B", storage.Whole, e.view(a, "X.Y.B").Messages[0].UID), "in A.B")
		e.reopen()
	}
	e.must(storage.RenameMailbox{Account: a, From: "X.Y", To: "A"})
	same(e.t, "mailboxes", e.names(a), "INBOX", "A", "A.B", "Taken", "X")
}

func renameInbox(e *env) {
	a := e.login("alice")
	e.must(storage.CreateMailbox{Account: a, Name: "INBOX.below"})
	e.deliver(a, "one")
	e.deliver(a, "two")
	before := *e.view(a, "INBOX")
	e.must(storage.RenameMailbox{Account: a, From: "inbox", To: "Old"})
	for range 2 {
		v := e.view(a, "INBOX")
		equal(e.t, "messages", len(v.Messages), 0)
		equal(e.t, "UIDVALIDITY", v.UIDValidity, before.UIDValidity)
		equal(e.t, "UIDNEXT", v.UIDNext, before.UIDNext)
		same(e.t, "mail", e.read(a, "Old", storage.Whole, uids(e.view(a, "Old"))...), "one", "two")
		same(e.t, "mailboxes", e.names(a), "INBOX", "INBOX.below", "Old")
		e.reopen()
	}
}

func subscriptions(e *env) {
	a := e.login("alice")
	e.must(storage.CreateMailbox{Account: a, Name: "A"})
	e.must(storage.Subscribe{Account: a, Name: "A"})
	e.must(storage.Subscribe{Account: a, Name: "A"})
	e.must(storage.Subscribe{Account: a, Name: "not.there"})
	for range 2 {
		same(e.t, "mailboxes", e.boxes(a), "INBOX", "A subscribed", "not.there subscribed missing")
		e.reopen()
	}
	e.must(storage.CreateMailbox{Account: a, Name: "not.there"})
	e.must(storage.Subscribe{Account: a, Name: "A", Remove: true})
	e.must(storage.Subscribe{Account: a, Name: "A", Remove: true})
	e.reopen()
	same(e.t, "mailboxes", e.boxes(a), "INBOX", "A", "not", "not.there subscribed")
	e.must(storage.DeleteMailbox{Account: a, Name: "not.there"})
	e.must(storage.Subscribe{Account: a, Name: "iNbOx"})
	e.must(storage.Subscribe{Account: a, Name: "B"})
	same(e.t, "mailboxes", e.boxes(a), "INBOX subscribed", "A", "B subscribed missing", "not", "not.there subscribed missing")
	if _, err := e.Open(ctx, a, "B"); !errors.Is(err, storage.ErrNoMailbox) {
		e.t.Errorf("open what is only subscribed to: %v", err)
	}
}

// boxes describes the account's mailboxes.
func (e *env) boxes(a storage.Account) (list []string) {
	e.t.Helper()
	infos, err := e.Mailboxes(ctx, a)
	if err != nil {
		e.t.Fatal(err)
	}
	for _, m := range infos {
		text := m.Name
		if m.Subscribed {
			text += " subscribed"
		}
		if m.ID == (storage.MailboxID{}) {
			text += " missing"
		}
		list = append(list, text)
	}
	return list
}

// mailboxIDs follows mailboxes through their renames.
func mailboxIDs(e *env) {
	a := e.login("alice")
	known := map[storage.MailboxID]string{} // what each was first called
	check := func(want ...string) {         // "name now=first name"
		e.t.Helper()
		for range 2 {
			list, err := e.Mailboxes(ctx, a)
			if err != nil || len(list) != len(want) {
				e.t.Fatalf("mailboxes %v, want %v, %v", list, want, err)
			}
			for i, m := range list {
				name, first, _ := strings.Cut(want[i], "=")
				if v := e.view(a, m.Name); m.ID == (storage.MailboxID{}) || v.ID != m.ID || m.Name != name {
					e.t.Errorf("%s has ID %v, its view %v", m.Name, m.ID, v.ID)
				}
				if was, have := known[m.ID]; !have {
					known[m.ID] = first
				} else if was != first {
					e.t.Errorf("%s has the ID of %s, want %s", m.Name, was, first)
				}
			}
			e.reopen()
		}
		if n := len(known); n != len(slices.Compact(slices.Sorted(maps.Values(known)))) {
			e.t.Errorf("a mailbox changed its ID: %v", known)
		}
	}
	check("INBOX=inbox")
	o := e.must(storage.CreateMailbox{Account: a, Name: "A.B"})
	equal(e.t, "ID", o.Mailbox, e.view(a, "A.B").ID)
	check("INBOX=inbox", "A=a", "A.B=b")
	e.deliver(a, "one")
	e.must(storage.RenameMailbox{Account: a, From: "A", To: "X.Y"})
	check("INBOX=inbox", "X=x", "X.Y=a", "X.Y.B=b")
	e.must(storage.CreateMailbox{Account: a, Name: "A"})
	check("INBOX=inbox", "A=second a", "X=x", "X.Y=a", "X.Y.B=b")
	e.must(storage.DeleteMailbox{Account: a, Name: "X.Y.B"})
	e.must(storage.CreateMailbox{Account: a, Name: "X.Y.B"})
	e.must(storage.RenameMailbox{Account: a, From: "INBOX", To: "Old"})
	check("INBOX=inbox", "A=second a", "Old=old", "X=x", "X.Y=a", "X.Y.B=second b")
	e.must(storage.DeleteMailbox{Account: a, Name: "A"})
	e.must(storage.RenameMailbox{Account: a, From: "X.Y", To: "A"})
	check("INBOX=inbox", "A=a", "A.B=second b", "Old=old", "X=x")
	// Another account has other ones.
	b := e.login("bob")
	if _, have := known[e.view(b, "INBOX").ID]; have {
		e.t.Error("two accounts share an ID")
	}
}

const token = "/private/devicetoken"

func (e *env) values(a storage.Account, mailbox, name string) []string {
	e.t.Helper()
	list, err := e.Entries(ctx, a, mailbox)
	if err != nil {
		e.t.Fatalf("entries: %v", err)
	}
	var values []string
	for _, entry := range list {
		if entry.Name == name {
			values = append(values, string(entry.Value))
		}
	}
	return values
}

func tokens(e *env) {
	a := e.login("alice")
	set := func(v string) {
		e.must(storage.SetEntry{Account: a, Mailbox: "INBOX", Name: token, Value: []byte(v)})
	}
	set("1111")
	set("2222")
	same(e.t, "tokens", e.values(a, "INBOX", token), "1111", "2222")
	set("1111")
	e.must(storage.SetEntry{Account: a, Mailbox: "INBOX", Name: token, Value: nil})
	for range 2 {
		same(e.t, "tokens", e.values(a, "INBOX", token), "1111", "2222")
		list, err := e.Entries(ctx, a, "INBOX")
		if err != nil {
			e.t.Fatal(err)
		}
		for _, entry := range list {
			if age := time.Since(entry.Set); age < -time.Minute || age > time.Hour {
				e.t.Errorf("set at %v", entry.Set)
			}
		}
		e.reopen()
	}
	e.fails(storage.SetEntry{Account: a, Mailbox: "INBOX", Name: token, Value: []byte("with\nline")}, storage.ErrEntry)
}

func entries(e *env) {
	a := e.login("alice")
	e.must(storage.CreateMailbox{Account: a, Name: "A"})
	e.must(storage.SetEntry{Account: a, Name: "/private/comment", Value: []byte("of the account")})
	e.must(storage.SetEntry{Account: a, Mailbox: "A", Name: "/Private/Comment", Value: []byte("first")})
	e.must(storage.SetEntry{Account: a, Mailbox: "A", Name: "/private/comment", Value: []byte("of A")})
	e.must(storage.SetEntry{Account: a, Mailbox: "A", Name: "/private/other", Value: []byte("")})
	for range 2 {
		same(e.t, "of the account", e.values(a, "", "/private/comment"), "of the account")
		same(e.t, "of A", e.values(a, "A", "/private/comment"), "of A")
		same(e.t, "empty", e.values(a, "A", "/private/other"), "")
		same(e.t, "of INBOX", e.values(a, "INBOX", "/private/comment"))
		e.reopen()
	}
	e.must(storage.SetEntry{Account: a, Mailbox: "A", Name: "/private/other"})
	same(e.t, "removed", e.values(a, "A", "/private/other"))
	e.must(storage.RenameMailbox{Account: a, From: "A", To: "B"})
	same(e.t, "of B", e.values(a, "B", "/private/comment"), "of A")
	e.must(storage.DeleteMailbox{Account: a, Name: "B"})
	e.must(storage.CreateMailbox{Account: a, Name: "B"})
	same(e.t, "of the new B", e.values(a, "B", "/private/comment"))
	for _, name := range []string{"", "/private", "/shared/comment", "private/comment", "/private/a*b", "/private/a b"} {
		e.fails(storage.SetEntry{Account: a, Name: name, Value: []byte("x")}, storage.ErrEntry)
	}
	e.fails(storage.SetEntry{Account: a, Name: "/private/big", Value: make([]byte, 1<<20)}, storage.ErrEntry)
}

func reopened(e *env) {
	a := e.login("alice")
	e.must(storage.CreateMailbox{Account: a, Name: "A"})
	e.deliver(a, "one")
	e.deliver(a, "two")
	e.must(storage.SetFlags{Account: a, Mailbox: "INBOX", UIDs: []storage.UID{2}, Mode: storage.AddFlags, Flags: storage.FlagSeen})
	e.must(storage.Move{Account: a, Mailbox: "INBOX", Dest: "A", UIDs: []storage.UID{1}})
	before, beforeA := *e.view(a, "INBOX"), *e.view(a, "A")
	for range 3 {
		e.reopen()
		for name, want := range map[string]storage.View{"INBOX": before, "A": beforeA} {
			v := e.view(a, name)
			same(e.t, name, v.Messages, want.Messages...)
			equal(e.t, "UIDNEXT", v.UIDNext, want.UIDNext)
			equal(e.t, "UIDVALIDITY", v.UIDValidity, want.UIDValidity)
			equal(e.t, "HIGHESTMODSEQ", v.HighestModSeq, want.HighestModSeq)
		}
	}
}
