package storetest

import (
	"context"
	"errors"
	"time"

	"barid/storage"
)

// aMoment is an age that all has that was there before.
const aMoment = time.Nanosecond

// expire runs an expiry and gives what it said of all, and of each account.
func (e *env) expire(p storage.ExpiryPolicy) (total storage.Expired, each []storage.Expired) {
	e.t.Helper()
	err := e.Expire(ctx, p, func(x storage.Expired) {
		if x.Account.IsZero() {
			total = x
		} else {
			each = append(each, x)
		}
	})
	if err != nil {
		e.t.Fatalf("expire: %v", err)
	}
	return total, each
}

// settled makes the store write what it has, so that an expiry sees it: after
// opening anew some may wait yet.
func (e *env) settled() {
	e.t.Helper()
	e.reopen()
	if s, ok := e.Store.(interface{ Settle(context.Context) error }); ok {
		if err := s.Settle(ctx); err != nil {
			e.t.Fatal(err)
		}
	}
}

func expireMail(e *env) {
	alice, bob := e.login("alice"), e.login("bob")
	e.must(storage.CreateMailbox{Account: alice, Name: "A"})
	e.deliver(alice, "one")
	e.must(storage.Append{Account: alice, Mailbox: "A", Content: content("two")})
	e.settled()
	if total, each := e.expire(storage.ExpiryPolicy{Mail: time.Hour, Large: time.Hour, Accounts: 48 * time.Hour}); len(each) > 0 || total.Messages > 0 {
		e.t.Errorf("nothing is due: %+v %+v", total, each)
	}
	m := e.open(alice, "INBOX")
	before := e.see(m).HighestModSeq
	dry, told := e.expire(storage.ExpiryPolicy{Mail: aMoment, DryRun: true})
	equal(e.t, "messages after a dry run", len(e.view(alice, "INBOX").Messages)+len(e.view(alice, "A").Messages), 2)

	total, each := e.expire(storage.ExpiryPolicy{Mail: aMoment})
	equal(e.t, "told before", dry, total)
	same(e.t, "told before of each", told, each...)
	equal(e.t, "messages", total.Messages, 2)
	equal(e.t, "octets", total.Octets, 6)
	same(e.t, "of each", each, storage.Expired{Account: alice.Address, Messages: 2, Octets: 6})
	equal(e.t, "messages left", len(e.view(alice, "INBOX").Messages)+len(e.view(alice, "A").Messages), 0)
	delta, err := m.Since(ctx, before)
	if err != nil {
		e.t.Fatal(err)
	}
	same(e.t, "vanished", delta.Vanished, 1)
	equal(e.t, "the next UID", e.deliver(alice, "three"), 2)
	m.Close()
	e.reopen()
	equal(e.t, "messages of later", len(e.view(alice, "INBOX").Messages), 1)
	if _, err := e.Lookup(ctx, bob.Address); err != nil {
		e.t.Errorf("bob: %v", err)
	}
}

func expireAccounts(e *env) {
	alice, bob := e.login("alice"), e.login("bob")
	e.deliver(bob, "one")
	e.settled()
	open := e.open(alice, "INBOX")
	total, each := e.expire(storage.ExpiryPolicy{Accounts: aMoment}) // logins count from the midnight before
	equal(e.t, "accounts", total.Accounts, 1)
	same(e.t, "of each", each, storage.Expired{Account: bob.Address, Accounts: 1})
	if _, err := e.Lookup(ctx, bob.Address); !errors.Is(err, storage.ErrNoAccount) {
		e.t.Errorf("bob: %v", err)
	}
	equal(e.t, "alice, who is here, has", len(e.see(open).Messages), 0)
	open.Close()
	e.reopen()
	if _, err := e.Lookup(ctx, bob.Address); !errors.Is(err, storage.ErrNoAccount) {
		e.t.Errorf("bob, later: %v", err)
	}
	bob = e.login("bob")
	equal(e.t, "messages of a new life", len(e.view(bob, "INBOX").Messages), 0)
}

func expireNothing(e *env) {
	alice := e.login("alice")
	e.deliver(alice, "one")
	e.settled()
	for _, p := range []storage.ExpiryPolicy{{}, {DryRun: true}, {ConfirmClock: true}} {
		if err := e.Expire(ctx, p, nil); err != nil {
			e.t.Errorf("%+v: %v", p, err)
		}
	}
	equal(e.t, "messages", len(e.view(alice, "INBOX").Messages), 1)
}
