package storetest

import (
	"errors"
	"fmt"
	"slices"

	"barid/smtp"
	"barid/storage"
)

// accounts gives the local-parts that Accounts tells, and sees to it that
// About tells the same.
func (e *env) accounts(prefix string) []string {
	e.t.Helper()
	var locals []string
	err := e.Accounts(ctx, prefix, func(info storage.AccountInfo) error {
		locals = append(locals, info.Address.LocalPart)
		equal(e.t, "domain", info.Address.Domain, Domain)
		if info.LastLogin.IsZero() {
			e.t.Errorf("%s never logged in", info.Address.LocalPart)
		}
		same, err := e.About(ctx, storage.Account{Address: info.Address})
		if err != nil || same != info {
			e.t.Errorf("about %s: %+v, %v; Accounts says %+v", info.Address.LocalPart, same, err, info)
		}
		return nil
	})
	if err != nil {
		e.t.Fatalf("accounts: %v", err)
	}
	return locals
}

func listAccounts(e *env) {
	same(e.t, "at first", e.accounts(""))
	var want []string
	for i := range 20 {
		local := fmt.Sprintf("user%02d", i*7%20)
		e.login(local)
		want = append(want, local)
	}
	slices.Sort(want)
	same(e.t, "in memory", e.accounts(""), want...)
	same(e.t, "by prefix", e.accounts("user1"), want[10:]...)
	same(e.t, "of another prefix", e.accounts("USER"))
	e.must(storage.DeleteAccount{Account: storage.Account{Address: address("user07")}})
	want = slices.Delete(want, 7, 8)
	same(e.t, "after one was deleted", e.accounts(""), want...)
	e.reopen()
	same(e.t, "after opening anew", e.accounts(""), want...)
	stop, n := errors.New("enough"), 0
	if err := e.Accounts(ctx, "", func(storage.AccountInfo) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		e.t.Errorf("%d calls, %v", n, err)
	}
	for _, local := range []string{"user07", "nobody", "../user01", ""} {
		if _, err := e.About(ctx, storage.Account{Address: address(local)}); !errors.Is(err, storage.ErrNoAccount) {
			e.t.Errorf("about %q: %v", local, err)
		}
	}
}

func (e *env) freeze(a storage.Account, frozen bool) {
	e.t.Helper()
	if err := e.Freeze(ctx, a, frozen); err != nil {
		e.t.Fatalf("freeze %v: %v", frozen, err)
	}
}

// isFrozen sees to it that everything says the same.
func (e *env) isFrozen(a storage.Account, frozen bool) {
	e.t.Helper()
	if may, err := e.MayMail(ctx, a); err != nil || may == frozen {
		e.t.Errorf("frozen %v: may mail %v, %v", frozen, may, err)
	}
	if info, err := e.About(ctx, a); err != nil || info.Frozen != frozen {
		e.t.Errorf("frozen %v: about says %v, %v", frozen, info.Frozen, err)
	}
	var want error
	if frozen {
		want = storage.ErrNoAccount
	}
	if o := e.commit(storage.Deliver{To: a.Address, Content: content("x")})[0]; !errors.Is(o.Err, want) || (want == nil) != (o.Err == nil) {
		e.t.Errorf("frozen %v: deliver: %v", frozen, o.Err)
	}
	e.login(a.Address.LocalPart)
}

func freeze(e *env) {
	a, b := e.login("alice"), e.login("bob")
	e.isFrozen(a, false)
	for range 2 {
		e.freeze(a, true)
		e.isFrozen(a, true)
		e.isFrozen(b, false)
	}
	e.must(storage.Append{Account: a, Mailbox: "INBOX", Content: content("its own")})
	for range 2 {
		e.freeze(a, false)
		e.isFrozen(a, false)
	}
	e.freeze(a, true)
	e.must(storage.DeleteAccount{Account: a})
	for _, frozen := range []bool{true, false} {
		if err := e.Freeze(ctx, a, frozen); !errors.Is(err, storage.ErrNoAccount) {
			e.t.Errorf("freeze what is gone: %v", err)
		}
	}
	e.isFrozen(e.login("alice"), false) // another life
}

func frozenStays(e *env) {
	a, b := e.login("alice"), e.login("bob")
	e.freeze(a, true)
	e.freeze(b, true)
	e.freeze(b, false)
	e.reopen()
	e.isFrozen(a, true)
	e.isFrozen(b, false)
	e.freeze(a, false)
	e.reopen()
	e.isFrozen(a, false)
}

func registration(e *env) {
	is := func(open bool) {
		e.t.Helper()
		if got, err := e.Registration(ctx); err != nil || got != open {
			e.t.Errorf("open %v, %v; want %v", got, err, open)
		}
	}
	set := func(open bool) {
		e.t.Helper()
		if err := e.SetRegistration(ctx, open); err != nil {
			e.t.Fatal(err)
		}
		is(open)
	}
	is(true)
	e.login("alice")
	for range 2 {
		set(false)
		e.refused("bob", password)
		e.login("alice")
	}
	e.reopen()
	is(false)
	e.refused("bob", password)
	e.login("alice")
	for range 2 {
		set(true)
	}
	e.login("bob")
	e.reopen()
	is(true)
	e.login("carol")
	if _, err := e.Lookup(ctx, smtp.Address{LocalPart: "dave", Domain: Domain}); !errors.Is(err, storage.ErrNoAccount) {
		e.t.Errorf("look up: %v", err)
	}
}
