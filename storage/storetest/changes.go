package storetest

import (
	"errors"
	"sync"
	"sync/atomic"

	"barid/storage"
)

func since(e *env) {
	a := e.login("alice")
	m := e.open(a, "INBOX")
	start := e.see(m).HighestModSeq
	for range 4 {
		e.deliver(a, "x")
	}
	delta := func(from storage.ModSeq) storage.Delta {
		e.t.Helper()
		d, err := m.Since(ctx, from)
		if err != nil {
			e.t.Fatalf("since %d: %v", from, err)
		}
		return d
	}
	d := delta(start)
	same(e.t, "changed", d.Changed, 1, 2, 3, 4)
	equal(e.t, "vanished", len(d.Vanished), 0)
	at := d.View.HighestModSeq
	d = delta(at)
	equal(e.t, "changed and vanished", len(d.Changed)+len(d.Vanished), 0)
	e.must(storage.SetFlags{Account: a, Mailbox: "INBOX", UIDs: []storage.UID{3}, Mode: storage.AddFlags, Flags: storage.FlagSeen})
	e.must(storage.Expunge{Account: a, Mailbox: "INBOX", UIDs: []storage.UID{4}})
	e.must(storage.Expunge{Account: a, Mailbox: "INBOX", UIDs: []storage.UID{1}})
	e.deliver(a, "y")
	d = delta(at)
	same(e.t, "changed", d.Changed, 3, 5)
	same(e.t, "vanished", d.Vanished, 1, 4)
	same(e.t, "view", uids(d.View), 2, 3, 5)
	d = delta(d.View.HighestModSeq)
	equal(e.t, "changed and vanished", len(d.Changed)+len(d.Vanished), 0)
	m.Close()
	// What was seen last is always known, older may be forgotten.
	high := e.view(a, "INBOX").HighestModSeq
	e.reopen()
	m = e.open(a, "INBOX")
	d = delta(high)
	equal(e.t, "changed and vanished", len(d.Changed)+len(d.Vanished), 0)
	if d, err := m.Since(ctx, at); err == nil {
		same(e.t, "vanished", d.Vanished, 1, 4)
	} else if !errors.Is(err, storage.ErrTooOld) {
		e.t.Errorf("since before: %v", err)
	}
}

func viewStays(e *env) {
	a := e.login("alice")
	for range 3 {
		e.deliver(a, "x")
	}
	m := e.open(a, "INBOX")
	v := e.see(m)
	before := append([]storage.Message(nil), v.Messages...)
	e.must(storage.SetFlags{Account: a, Mailbox: "INBOX", UIDs: []storage.UID{2}, Mode: storage.AddFlags, Flags: storage.FlagSeen})
	e.must(storage.Expunge{Account: a, Mailbox: "INBOX", UIDs: []storage.UID{3}})
	e.deliver(a, "y")
	same(e.t, "view", v.Messages, before...)
	equal(e.t, "UIDNEXT", v.UIDNext, 4)
	same(e.t, "new view", uids(e.see(m)), 1, 2, 4)
}

func bells(e *env) {
	a, b := e.login("alice"), e.login("bob")
	m, other := e.open(a, "INBOX"), e.open(b, "INBOX")
	var rung, otherRung atomic.Int32
	m.Subscribe(bell{func() { rung.Add(1) }})
	m.Subscribe(bell{func() { rung.Add(1) }})
	other.Subscribe(bell{func() { otherRung.Add(1) }})
	rings := func(what string, op storage.Op) {
		e.t.Helper()
		rung.Store(0)
		e.must(op)
		if n := rung.Load(); n < 2 {
			e.t.Errorf("%s: %d rings", what, n)
		}
	}
	rings("deliver", storage.Deliver{To: a.Address, Content: content("x")})
	rings("append", storage.Append{Account: a, Mailbox: "INBOX", Content: content("x")})
	rings("flags", storage.SetFlags{Account: a, Mailbox: "INBOX", UIDs: []storage.UID{1}, Mode: storage.AddFlags, Flags: storage.FlagSeen})
	rings("expunge", storage.Expunge{Account: a, Mailbox: "INBOX", UIDs: []storage.UID{1}})
	equal(e.t, "rings of the other", otherRung.Load(), 0)
}

func cancelledBells(e *env) {
	a := e.login("alice")
	m := e.open(a, "INBOX")
	var gone atomic.Bool
	check := bell{func() {
		if gone.Load() {
			e.t.Error("rung after cancel")
		}
	}}
	cancel := m.Subscribe(check)
	var all sync.WaitGroup
	all.Go(func() {
		for range 20 {
			e.deliver(a, "x")
		}
	})
	cancel()
	gone.Store(true)
	all.Wait()
	cancel()

	second := e.open(a, "INBOX")
	var closed atomic.Bool
	second.Subscribe(bell{func() {
		if closed.Load() {
			e.t.Error("rung after close")
		}
	}})
	second.Close()
	closed.Store(true)
	e.deliver(a, "x")
}

func noGaps(e *env) {
	a := e.login("alice")
	m := e.open(a, "INBOX")
	const writers, each = 8, 25
	// Whoever looks sees each UID only with all before it, and UIDs and
	// MODSEQs never go back.
	look := func() {
		v, err := m.View(ctx)
		if err != nil {
			e.t.Errorf("view: %v", err)
			return
		}
		for i, msg := range v.Messages {
			if msg.UID != storage.UID(i+1) {
				e.t.Errorf("message %d has UID %d", i+1, msg.UID)
				return
			}
		}
		if v.UIDNext != storage.UID(len(v.Messages)+1) {
			e.t.Errorf("UIDNEXT %d with %d messages", v.UIDNext, len(v.Messages))
		}
	}
	ringing := make(chan struct{}, 1)
	cancel := m.Subscribe(bell{func() {
		select {
		case ringing <- struct{}{}:
		default:
		}
	}})
	var looking, all sync.WaitGroup
	looking.Go(func() {
		for range ringing {
			look()
		}
	})
	for range writers {
		all.Go(func() {
			last := storage.UID(0)
			for range each {
				o, err := e.Commit(ctx, storage.Batch{Ops: []storage.Op{storage.Deliver{To: a.Address, Content: content("x")}}})
				if err != nil || o.Per[0].Err != nil || o.Per[0].UID <= last {
					e.t.Errorf("after UID %d: %+v, %v", last, o, err)
					return
				}
				last = o.Per[0].UID
				if v, err := m.View(ctx); err != nil || v.UIDNext <= last {
					e.t.Errorf("own message is not visible: %v", err)
				}
			}
		})
	}
	all.Wait()
	cancel()
	close(ringing)
	looking.Wait()
	look()
	equal(e.t, "messages", len(e.see(m).Messages), writers*each)
}
