package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"barid/smtp"
	"barid/storage"
)

// far gives an address at another server.
func far(local string) smtp.Address { return smtp.Address{LocalPart: local, Domain: "far.test"} }

// leaving is an Enqueue for recipients at far.test.
func leaving(sender storage.Account, text storage.Content, to ...string) storage.Enqueue {
	op := storage.Enqueue{Dest: "far.test", From: smtp.Path{Address: sender.Address}, Sender: sender.Address, Prefix: []byte("X-Prefix: 1\r\n"), Content: text}
	for _, local := range to {
		op.To = append(op.To, far(local))
	}
	return op
}

// told is a watcher that keeps what it is told.
type told struct {
	mu   sync.Mutex
	list []storage.QueueEntry
}

func (w *told) add(e storage.QueueEntry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, e)
}

func (w *told) ids() (ids []storage.QueueID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.list {
		ids = append(ids, e.ID)
	}
	return ids
}

// queuedNow lists what is queued.
func (e *env) queuedNow() []storage.QueueEntry {
	var w told
	e.Watch(w.add)()
	return w.list
}

func (e *env) item(id storage.QueueID) storage.QueueItem {
	e.t.Helper()
	item, err := e.Queued(ctx, id)
	if err != nil {
		e.t.Fatalf("queued %d: %v", id, err)
	}
	return item
}

func (e *env) notQueued(id storage.QueueID) {
	e.t.Helper()
	if _, err := e.Queued(ctx, id); !errors.Is(err, storage.ErrNotQueued) {
		e.t.Errorf("queued %d: %v", id, err)
	}
	err := e.ReadQueued(ctx, id, func(storage.Content) error { e.t.Error("content of what is not queued"); return nil })
	if !errors.Is(err, storage.ErrNotQueued) {
		e.t.Errorf("read %d: %v", id, err)
	}
}

func (e *env) readQueued(id storage.QueueID) string {
	e.t.Helper()
	var b bytes.Buffer
	err := e.ReadQueued(ctx, id, func(c storage.Content) error {
		_, err := io.Copy(&b, io.NewSectionReader(c, 0, c.Size()))
		return err
	})
	if err != nil {
		e.t.Fatalf("read queued %d: %v", id, err)
	}
	return b.String()
}

func queueTogether(e *env) {
	a, b := e.login("alice"), e.login("bob")
	c := content("hello")
	other := leaving(a, c, "dave")
	other.Dest, other.To[0].Domain = "other.test", "other.test"
	out := e.commit(storage.Deliver{To: b.Address, Content: c}, leaving(a, c, "carol", "dave"), other)
	if out[0].Err != nil || out[1].Err != nil || out[2].Err != nil || out[1].Queued == 0 || out[2].Queued <= out[1].Queued {
		e.t.Fatalf("outcomes %+v", out)
	}
	_, err := e.Commit(ctx, storage.Batch{AllOrNone: true, Ops: []storage.Op{
		leaving(a, c, "carol"), storage.Deliver{To: address("nobody"), Content: c},
	}})
	if !errors.Is(err, storage.ErrNoAccount) {
		e.t.Errorf("all or none: %v", err)
	}
	for range 2 {
		same(e.t, "local mail", e.read(b, "INBOX", storage.Whole, 1), "hello")
		list := e.queuedNow()
		if len(list) != 2 || list[0].ID != out[1].Queued || list[1].ID != out[2].Queued {
			e.t.Fatalf("queued %+v", list)
		}
		item := e.item(list[0].ID)
		if item.QueueEntry != list[0] || item.Dest != "far.test" || item.Sender != a.Address || item.Size != 5+13 || item.Marks != 0 ||
			item.Queued == 0 || item.From.Address != a.Address || string(item.Prefix) != "X-Prefix: 1\r\n" {
			e.t.Errorf("item %+v", item)
		}
		same(e.t, "recipients", item.To, far("carol"), far("dave"))
		equal(e.t, "destination", e.item(list[1].ID).Dest, "other.test")
		for _, q := range list {
			equal(e.t, "content", e.readQueued(q.ID), "hello")
		}
		n, most := e.QueueLen()
		equal(e.t, "entries", n, 2)
		equal(e.t, "most", most, QueueMax)
		e.reopen()
	}
}

func queueEnds(e *env) {
	a := e.login("alice")
	id := e.must(leaving(a, content("for three"), "bob", "carol", "dave")).Queued
	last := e.must(leaving(a, content("for one"), "bob")).Queued
	if err := e.Done(id, []smtp.Address{far("carol"), far("nobody")}); err != nil {
		e.t.Fatal(err)
	}
	same(e.t, "after Done", e.item(id).To, far("bob"), far("dave"))
	e.must(storage.Dequeue{ID: id, To: []smtp.Address{far("bob"), far("carol")}})
	e.reopen()
	same(e.t, "after Dequeue", e.item(id).To, far("dave"))
	equal(e.t, "content", e.readQueued(id), "for three")
	// The end, and what tells the sender of it.
	out := e.commit(storage.Dequeue{ID: id, To: []smtp.Address{far("dave")}}, storage.Deliver{To: a.Address, Content: content("failed")},
		storage.Dequeue{ID: id, To: []smtp.Address{far("dave")}})
	if out[0].Err != nil || out[1].Err != nil || !errors.Is(out[2].Err, storage.ErrNotQueued) {
		e.t.Errorf("outcomes %+v", out)
	}
	for range 2 {
		e.notQueued(id)
		same(e.t, "told", e.read(a, "INBOX", storage.Whole, 1), "failed")
		e.fails(storage.Dequeue{ID: id, To: []smtp.Address{far("dave")}}, storage.ErrNotQueued)
		e.fails(storage.MarkQueued{ID: id, Set: storage.QueueHeld}, storage.ErrNotQueued)
		if err := e.Done(id, []smtp.Address{far("dave")}); !errors.Is(err, storage.ErrNotQueued) {
			e.t.Errorf("done: %v", err)
		}
		equal(e.t, "entries", len(e.queuedNow()), 1)
		e.reopen()
	}
	if err := e.Done(last, []smtp.Address{far("bob")}); err != nil {
		e.t.Fatal(err)
	}
	e.notQueued(last)
	e.notQueued(last + 1)
	e.notQueued(0)
	n, _ := e.QueueLen()
	equal(e.t, "entries", n, 0)
	next := e.must(leaving(a, content("next"), "bob")).Queued
	if next <= last {
		e.t.Errorf("ID %d after %d", next, last)
	}
	e.must(storage.Dequeue{ID: next, To: []smtp.Address{far("bob")}})
	e.reopen()
	equal(e.t, "entries", len(e.queuedNow()), 0)
	if again := e.must(leaving(a, content("next"), "bob")).Queued; again <= next {
		e.t.Errorf("ID %d after %d", again, next)
	}
}

func queueTogetherNot(e *env) {
	a := e.login("alice")
	id := e.must(leaving(a, content("x"), "bob")).Queued
	_, err := e.Commit(ctx, storage.Batch{AllOrNone: true, Ops: []storage.Op{
		storage.Dequeue{ID: id, To: []smtp.Address{far("bob")}}, storage.MarkQueued{ID: id, Set: storage.QueueHeld},
	}})
	if !errors.Is(err, storage.ErrNotQueued) {
		e.t.Errorf("commit: %v", err)
	}
	same(e.t, "recipients", e.item(id).To, far("bob"))
}

func queueMarks(e *env) {
	a := e.login("alice")
	id := e.must(leaving(a, content("x"), "bob")).Queued
	e.commit(storage.MarkQueued{ID: id, Set: storage.QueueHeld}, storage.MarkQueued{ID: id, Set: storage.QueueWarned})
	for range 2 {
		equal(e.t, "marks", e.item(id).Marks, storage.QueueHeld|storage.QueueWarned)
		e.reopen()
	}
	e.must(storage.MarkQueued{ID: id, Unset: storage.QueueHeld})
	for range 2 {
		equal(e.t, "marks", e.item(id).Marks, storage.QueueWarned)
		equal(e.t, "marks told", e.queuedNow()[0].Marks, storage.QueueWarned)
		e.reopen()
	}
}

func queueBounds(e *env) {
	a, b := e.login("alice"), e.login("bob")
	c := content("x")
	var ops []storage.Op
	for range QueueMax/10 + 1 {
		ops = append(ops, leaving(a, c, "carol"))
	}
	ops = append(ops, storage.Deliver{To: b.Address, Content: c}, leaving(b, c, "carol"))
	out := e.commit(ops...)
	for i, o := range out {
		want := error(nil)
		if i == QueueMax/10 {
			want = storage.ErrQueueFull
		}
		if !errors.Is(o.Err, want) || o.Err != nil && want == nil {
			e.t.Errorf("outcome %d: %+v", i, o)
		}
	}
	e.reopen()
	e.fails(leaving(a, c, "carol"), storage.ErrQueueFull)
	if err := e.Done(out[0].Queued, []smtp.Address{far("carol")}); err != nil {
		e.t.Fatal(err)
	}
	e.must(leaving(a, c, "carol")) // there is room for one
	for n, most := e.QueueLen(); n < most; n, most = e.QueueLen() {
		op := leaving(a, c, "carol")
		op.Sender = address(fmt.Sprint("someone", n))
		e.must(op)
	}
	e.fails(leaving(b, c, "carol"), storage.ErrQueueFull)
	equal(e.t, "mail", len(e.view(b, "INBOX").Messages), 1)
	for _, bad := range []storage.Enqueue{
		{}, {Dest: "far.test", To: []smtp.Address{far("x")}}, {Dest: "far.test", Content: c}, {Content: c, To: []smtp.Address{far("x")}},
		{Dest: "far.test", To: []smtp.Address{far("x")}, Content: c, Prefix: make([]byte, storage.MaxQueuePrefix+1)},
	} {
		if o := e.commit(bad)[0]; o.Err == nil {
			e.t.Errorf("taken: %+v", bad)
		}
	}
}

func queueContents(e *env) {
	a := e.login("alice")
	sizes := []int{0, 1, 5000, 300_000, 1_000_000}
	var ids []storage.QueueID
	for _, size := range sizes {
		d, err := e.Draft(ctx, 0)
		if err != nil {
			e.t.Fatal(err)
		}
		if _, err := io.WriteString(d, strings.Repeat("y", size)); err != nil {
			e.t.Fatal(err)
		}
		ops := []storage.Op{leaving(a, d, "bob"), leaving(a, d, "carol")}
		if size < Quota/2 {
			ops = append(ops, storage.Deliver{To: a.Address, Content: d})
		}
		out := e.commit(ops...)
		d.Discard()
		for _, o := range out {
			if o.Err != nil {
				e.t.Fatal(o.Err)
			}
		}
		ids = append(ids, out[0].Queued, out[1].Queued)
	}
	v := e.view(a, "INBOX")
	e.must(storage.Expunge{Account: a, Mailbox: "INBOX", UIDs: uids(v)})
	for range 2 {
		for i, id := range ids {
			equal(e.t, "content", e.readQueued(id) == strings.Repeat("y", sizes[i/2]), true)
		}
		e.reopen()
	}
	// Content stays readable while it is read, whatever becomes of the entry.
	err := e.ReadQueued(ctx, ids[len(ids)-1], func(c storage.Content) error {
		e.must(storage.Dequeue{ID: ids[len(ids)-1], To: []smtp.Address{far("carol")}})
		text, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
		equal(e.t, "content", string(text) == strings.Repeat("y", 1_000_000), true)
		return err
	})
	if err != nil {
		e.t.Error(err)
	}
	wrong := errors.New("wrong")
	if err := e.ReadQueued(ctx, ids[0], func(storage.Content) error { return wrong }); !errors.Is(err, wrong) {
		e.t.Errorf("error of f: %v", err)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := e.Queued(over, ids[0]); !errors.Is(err, context.Canceled) {
		e.t.Errorf("cancelled: %v", err)
	}
}

func queueOutlivesSender(e *env) {
	a := e.login("alice")
	id := e.must(leaving(a, content("goodbye"), "bob")).Queued
	e.must(storage.DeleteAccount{Account: a})
	for range 2 {
		equal(e.t, "sender", e.item(id).Sender, a.Address)
		equal(e.t, "content", e.readQueued(id), "goodbye")
		e.reopen()
	}
}

func queueWatch(e *env) {
	a := e.login("alice")
	for range 3 {
		e.must(leaving(a, content("old"), "bob"))
	}
	e.reopen()
	var w told
	var calls atomic.Int32
	all23 := make(chan struct{})
	cancel := e.Watch(func(q storage.QueueEntry) {
		if calls.Add(1) != 1 {
			e.t.Error("called twice at a time")
		}
		e.QueueLen() // no lock is held
		if _, err := e.Queued(ctx, q.ID); err != nil {
			e.t.Errorf("told of %d: %v", q.ID, err)
		}
		w.add(q)
		if len(w.ids()) == 23 {
			close(all23)
		}
		calls.Add(-1)
	})
	equal(e.t, "told at once", len(w.ids()), 3)
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 5 {
				op := leaving(a, content("new"), "bob")
				op.Sender = address(fmt.Sprint("sender", g, i))
				if r, err := e.Commit(ctx, storage.Batch{Ops: []storage.Op{op}}); err != nil || r.Per[0].Err != nil {
					e.t.Errorf("commit: %v %v", err, r)
				}
			}
		})
	}
	all.Wait()
	<-all23 // who tells may be behind who commits
	cancel()
	ids := w.ids()
	equal(e.t, "told", len(ids), 23)
	if !slices.IsSorted(ids) || len(slices.Compact(ids)) != len(w.ids()) {
		e.t.Errorf("told %v", ids)
	}
	e.must(leaving(a, content("nobody watches"), "bob"))
	equal(e.t, "told", len(w.ids()), 23)
}
