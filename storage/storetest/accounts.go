package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"barid/smtp"
	"barid/storage"
)

func firstLogin(e *env) {
	a := e.login("alice")
	equal(e.t, "born", a.Born, true)
	equal(e.t, "address", a.Address, address("alice"))
	b := e.login("alice")
	equal(e.t, "born again", b.Born, false)
	equal(e.t, "address", b.Address, a.Address)
	e.refused("alice", "another password")
	v := e.view(a, "INBOX")
	equal(e.t, "UIDNEXT", v.UIDNext, storage.UID(1))
	if v.UIDValidity == 0 {
		e.t.Error("UIDVALIDITY is zero")
	}
	same(e.t, "mailboxes", e.names(a), "INBOX")
	e.reopen()
	equal(e.t, "born after reopening", e.login("alice").Born, false)
	e.refused("alice", "another password")
}

func (e *env) refused(local string, p storage.Password) {
	e.t.Helper()
	if _, err := e.Login(ctx, address(local), p, storage.Origin{}); !errors.Is(err, storage.ErrRefused) {
		e.t.Errorf("login %q: %v, want ErrRefused", local, err)
	}
}

func rules(e *env) {
	for _, local := range []string{
		"ab", "abcdefghijk", "a b cde", "abc+def", "abc!def", "ab@cdef", "abc/def", `abc\def`, `"abcdef"`, "abc[def]", "", "ümlaut",
	} {
		e.refused(local, password)
	}
	for _, local := range []string{"abc", "abcdefghij", "a.b-c_d", "123"} {
		e.login(local)
	}
	e.refused("short", "8 chars!")
	e.refused("empty", "")
	// Characters count, not octets.
	e.refused("bytes", "üüüü")
	if _, err := e.Login(ctx, address("runes"), "üüüüüüüüü", storage.Origin{}); err != nil {
		e.t.Errorf("nine characters: %v", err)
	}
	odd := storage.Password(`"'\/ {}%$ü`)
	if _, err := e.Login(ctx, address("odd"), odd, storage.Origin{}); err != nil {
		e.t.Errorf("odd password: %v", err)
	}
	if _, err := e.Login(ctx, address("odd"), odd, storage.Origin{}); err != nil {
		e.t.Errorf("odd password again: %v", err)
	}
	if _, err := e.Login(ctx, smtp.Address{LocalPart: "alice", Domain: "elsewhere.test"}, password, storage.Origin{}); !errors.Is(err, storage.ErrRefused) {
		e.t.Errorf("another domain: %v", err)
	}
}

func spellings(e *env) {
	a := e.login("Alice")
	equal(e.t, "folded", a.Address, address("alice"))
	equal(e.t, "born", e.login("ALICE").Born, false)
	for _, local := range []string{"alice", "Alice", "alice+tag", "ALICE+Some.Tag"} {
		found, err := e.Lookup(ctx, address(local))
		if err != nil {
			e.t.Errorf("look up %q: %v", local, err)
		}
		equal(e.t, "found", found.Address, address("alice"))
		e.must(storage.Deliver{To: address(local), Content: content("x")})
	}
	equal(e.t, "messages", len(e.view(a, "inbox").Messages), 4)
}

func togetherOne(e *env) {
	var born atomic.Int32
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			a, err := e.Login(ctx, address("alice"), password, storage.Origin{})
			if err != nil {
				e.t.Errorf("login: %v", err)
			}
			if a.Born {
				born.Add(1)
			}
		})
	}
	for i := range 20 {
		all.Go(func() {
			if _, err := e.Login(ctx, address(fmt.Sprintf("user%d", i%5)), password, storage.Origin{}); err != nil {
				e.t.Errorf("login: %v", err)
			}
		})
	}
	all.Wait()
	equal(e.t, "born", born.Load(), 1)
}

func togetherMany(e *env) {
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			p := storage.Password(fmt.Sprintf("password number %d", i))
			switch _, err := e.Login(ctx, address("alice"), p, storage.Origin{}); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, storage.ErrRefused):
				e.t.Errorf("login: %v", err)
			}
		})
	}
	all.Wait()
	equal(e.t, "winners", won.Load(), 1)
}

func escapes(e *env) {
	e.login("alice")
	for _, local := range []string{"..", ".", "../alice", "/alice", "alice/", "a/../alice", "alice\x00", ".alice/.."} {
		a := address(local)
		if local == ".." || local == "." {
			// Too short, or harmless: the address has its domain.
			continue
		}
		e.refused(local, password)
		if _, err := e.Lookup(ctx, a); !errors.Is(err, storage.ErrNoAccount) {
			e.t.Errorf("look up %q: %v", local, err)
		}
		e.fails(storage.Deliver{To: a, Content: content("x")}, storage.ErrNoAccount)
	}
}

func changedPassword(e *env) {
	a := e.login("alice")
	e.must(storage.SetPassword{Account: a, Password: "another password"})
	e.refused("alice", password)
	if _, err := e.Login(ctx, a.Address, "another password", storage.Origin{}); err != nil {
		e.t.Errorf("login: %v", err)
	}
	e.reopen()
	e.refused("alice", password)
	if _, err := e.Login(ctx, a.Address, "another password", storage.Origin{}); err != nil {
		e.t.Errorf("login after reopening: %v", err)
	}
}

func notFound(e *env) {
	nobody := storage.Account{Address: address("nobody")}
	if _, err := e.Lookup(ctx, nobody.Address); !errors.Is(err, storage.ErrNoAccount) {
		e.t.Errorf("look up: %v", err)
	}
	if _, err := e.Open(ctx, nobody, "INBOX"); !errors.Is(err, storage.ErrNoAccount) {
		e.t.Errorf("open: %v", err)
	}
	if _, err := e.Mailboxes(ctx, nobody); !errors.Is(err, storage.ErrNoAccount) {
		e.t.Errorf("mailboxes: %v", err)
	}
	if _, err := e.Entries(ctx, nobody, ""); !errors.Is(err, storage.ErrNoAccount) {
		e.t.Errorf("entries: %v", err)
	}
	if _, err := e.Usage(ctx, nobody); !errors.Is(err, storage.ErrNoAccount) {
		e.t.Errorf("usage: %v", err)
	}
	for _, op := range []storage.Op{
		storage.Deliver{To: nobody.Address, Content: content("x")},
		storage.Append{Account: nobody, Mailbox: "INBOX", Content: content("x")},
		storage.SetFlags{Account: nobody, Mailbox: "INBOX"},
		storage.Expunge{Account: nobody, Mailbox: "INBOX"},
		storage.Copy{Account: nobody, Mailbox: "INBOX", Dest: "INBOX"},
		storage.Move{Account: nobody, Mailbox: "INBOX", Dest: "INBOX"},
		storage.SetEntry{Account: nobody, Name: "/private/x"},
		storage.CreateMailbox{Account: nobody, Name: "x"},
		storage.DeleteMailbox{Account: nobody, Name: "x"},
		storage.RenameMailbox{Account: nobody, From: "x", To: "y"},
		storage.Subscribe{Account: nobody, Name: "x"},
		storage.SetPassword{Account: nobody, Password: password},
		storage.DeleteAccount{Account: nobody},
	} {
		e.fails(op, storage.ErrNoAccount)
	}
	a := e.login("alice")
	if _, err := e.Open(ctx, a, "nowhere"); !errors.Is(err, storage.ErrNoMailbox) {
		e.t.Errorf("open: %v", err)
	}
	if _, err := e.Entries(ctx, a, "nowhere"); !errors.Is(err, storage.ErrNoMailbox) {
		e.t.Errorf("entries: %v", err)
	}
	for _, op := range []storage.Op{
		storage.Append{Account: a, Mailbox: "nowhere", Content: content("x")},
		storage.SetFlags{Account: a, Mailbox: "nowhere"},
		storage.Expunge{Account: a, Mailbox: "nowhere"},
		storage.Copy{Account: a, Mailbox: "INBOX", Dest: "nowhere"},
		storage.Move{Account: a, Mailbox: "INBOX", Dest: "nowhere"},
		storage.SetEntry{Account: a, Mailbox: "nowhere", Name: "/private/x", Value: []byte("x")},
		storage.DeleteMailbox{Account: a, Name: "nowhere"},
		storage.RenameMailbox{Account: a, From: "nowhere", To: "y"},
	} {
		e.fails(op, storage.ErrNoMailbox)
	}
}

func bornAgain(e *env) {
	a := e.login("alice")
	e.deliver(a, "old mail")
	before := e.view(a, "INBOX").UIDValidity
	e.must(storage.DeleteAccount{Account: a})
	equal(e.t, "born", e.login("alice").Born, true)
	v := e.view(a, "INBOX")
	if v.UIDValidity <= before {
		e.t.Errorf("UIDVALIDITY %d, was %d", v.UIDValidity, before)
	}
	equal(e.t, "messages", len(v.Messages), 0)
	e.deliver(a, "new mail")
	e.reopen()
	same(e.t, "mail", e.read(a, "INBOX", storage.Whole, 1, 2), "new mail")
	equal(e.t, "UIDVALIDITY", e.view(a, "INBOX").UIDValidity, v.UIDValidity)
}

func deleteAccount(e *env) {
	a, b := e.login("alice"), e.login("bob")
	e.deliver(a, "x")
	m := e.open(a, "INBOX")
	e.must(storage.DeleteAccount{Account: a})
	if _, err := m.View(ctx); !errors.Is(err, storage.ErrNoMailbox) {
		e.t.Errorf("view: %v", err)
	}
	if _, err := e.Lookup(ctx, a.Address); !errors.Is(err, storage.ErrNoAccount) {
		e.t.Errorf("look up: %v", err)
	}
	m.Close()
	e.reopen()
	if _, err := e.Lookup(ctx, a.Address); !errors.Is(err, storage.ErrNoAccount) {
		e.t.Errorf("look up after reopening: %v", err)
	}
	if _, err := e.Lookup(ctx, b.Address); err != nil {
		e.t.Errorf("look up the other: %v", err)
	}
	equal(e.t, "born", e.login("alice").Born, true)
}

func closed(e *env) {
	a := e.login("alice")
	if err := e.Health(ctx); err != nil {
		e.t.Errorf("health: %v", err)
	}
	m := e.open(a, "INBOX")
	id := e.must(leaving(a, content("x"), "bob")).Queued
	if err := e.Close(); err != nil {
		e.t.Fatal(err)
	}
	if _, err := e.Login(ctx, a.Address, password, storage.Origin{}); !errors.Is(err, storage.ErrClosed) {
		e.t.Errorf("login: %v", err)
	}
	if _, err := e.Commit(ctx, storage.Batch{Ops: []storage.Op{storage.Deliver{To: a.Address, Content: content("x")}}}); !errors.Is(err, storage.ErrClosed) {
		e.t.Errorf("commit: %v", err)
	}
	if _, err := e.Draft(ctx, 0); !errors.Is(err, storage.ErrClosed) {
		e.t.Errorf("draft: %v", err)
	}
	if err := e.Health(ctx); !errors.Is(err, storage.ErrClosed) {
		e.t.Errorf("health: %v", err)
	}
	if _, err := e.Queued(ctx, id); !errors.Is(err, storage.ErrClosed) {
		e.t.Errorf("queued: %v", err)
	}
	if err := e.Done(id, []smtp.Address{far("bob")}); !errors.Is(err, storage.ErrClosed) {
		e.t.Errorf("done: %v", err)
	}
	m.Close()
	if err := e.Close(); err != nil {
		e.t.Errorf("second close: %v", err)
	}
}
