package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"barid/internal/metrics"
	"barid/smtp"
	"barid/storage"
)

// shelf is a Store of a test, in memory.
type shelf struct {
	mu      sync.Mutex // guards the fields below
	next    storage.QueueID
	items   map[storage.QueueID]storage.QueueItem
	watch   func(storage.QueueEntry)
	notices []Notice
	batches []storage.Batch
	broken  error
}

func newShelf() *shelf { return &shelf{items: map[storage.QueueID]storage.QueueItem{}} }

func (s *shelf) Watch(f func(storage.QueueEntry)) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []storage.QueueID
	for id := range s.items {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		f(s.items[id].QueueEntry)
	}
	s.watch = f
	return func() { s.mu.Lock(); s.watch = nil; s.mu.Unlock() }
}

func (s *shelf) Queued(_ context.Context, id storage.QueueID) (storage.QueueItem, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it, ok := s.items[id]
	if !ok {
		return it, storage.ErrNotQueued
	}
	return it, nil
}

func (s *shelf) ReadQueued(_ context.Context, id storage.QueueID, f func(storage.Content) error) error {
	if _, err := s.Queued(context.Background(), id); err != nil {
		return err
	}
	return f(text{strings.NewReader("Subject: x\r\n\r\n")})
}

type text struct{ *strings.Reader }

func (s *shelf) Done(id storage.QueueID, to []smtp.Address) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(id, to)
	return nil
}

func (s *shelf) drop(id storage.QueueID, to []smtp.Address) {
	it := s.items[id]
	it.To = slices.DeleteFunc(slices.Clone(it.To), func(a smtp.Address) bool { return slices.Contains(to, a) })
	if len(it.To) == 0 {
		delete(s.items, id)
	} else {
		s.items[id] = it
	}
}

func (s *shelf) QueueLen() (int, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.items), 250000
}

func (s *shelf) Commit(_ context.Context, b storage.Batch) (r storage.Result, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return r, s.broken
	}
	s.batches = append(s.batches, b)
	r.Per = make([]storage.Outcome, len(b.Ops))
	for i, op := range b.Ops {
		switch op := op.(type) {
		case storage.Dequeue:
			s.drop(op.ID, op.To)
		case storage.MarkQueued:
			it, ok := s.items[op.ID]
			if !ok {
				r.Per[i].Err = storage.ErrNotQueued
				continue
			}
			it.Marks = it.Marks&^op.Unset | op.Set
			s.items[op.ID] = it
		}
	}
	return r, nil
}

func (s *shelf) left() int { return len(s.all()) }

func (s *shelf) all() map[storage.QueueID]storage.QueueItem {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.items)
}

func (s *shelf) told() []Notice {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.notices)
}

func (s *shelf) commits() []storage.Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.batches)
}

// put queues a message.
func (s *shelf) put(dest, sender string, size int64, to ...string) storage.QueueID {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	it := storage.QueueItem{QueueEntry: storage.QueueEntry{ID: s.next, Dest: dest, Sender: smtp.Address{LocalPart: sender, Domain: "relay.test"},
		Size: size, Queued: storage.TimeOf(time.Now())}}
	it.From = smtp.Path{Address: it.Sender}
	for _, name := range to {
		it.To = append(it.To, smtp.Address{LocalPart: name, Domain: dest})
	}
	s.items[s.next] = it
	if s.watch != nil {
		s.watch(it.QueueEntry)
	}
	return s.next
}

// postman delivers as a test wants, and remembers what it tried.
type postman struct {
	mu    sync.Mutex // guards the fields below
	tries []try
	how   func(dest string, item storage.QueueItem) Attempt
	most  map[string]int // under way at once
	now   map[string]int
	took  time.Duration
}

type try struct {
	id   storage.QueueID
	dest string
	at   time.Time
}

func (p *postman) deliver(ctx context.Context, item storage.QueueItem, _ storage.Content) Attempt {
	p.mu.Lock()
	p.tries = append(p.tries, try{item.ID, item.Dest, time.Now()})
	if p.now == nil {
		p.now, p.most = map[string]int{}, map[string]int{}
	}
	p.now[item.Dest]++
	p.most[item.Dest] = max(p.most[item.Dest], p.now[item.Dest])
	how, took := p.how, p.took
	p.mu.Unlock()
	select {
	case <-time.After(took):
	case <-ctx.Done():
	}
	defer func() { p.mu.Lock(); p.now[item.Dest]--; p.mu.Unlock() }()
	if how == nil {
		return delivered(item)
	}
	return how(item.Dest, item)
}

// peak is how many to a destination were under way at once.
func (p *postman) peak(dest string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.most[dest]
}

func (p *postman) tried(dest string) (all []try) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.tries {
		if t.dest == dest || dest == "" {
			all = append(all, t)
		}
	}
	return all
}

func reply(item storage.QueueItem, reached bool, r *smtp.Reply) Attempt {
	a := Attempt{Reached: reached, Took: time.Millisecond}
	for range item.To {
		a.Per = append(a.Per, r)
	}
	return a
}

func delivered(item storage.QueueItem) Attempt {
	return reply(item, true, smtp.NewReply(250, "2.0.0", "OK"))
}

func unreachable(item storage.QueueItem) Attempt {
	return reply(item, false, smtp.NewReply(421, "4.4.1", "connection refused"))
}

// started is a queue at work inside a bubble; it ends with the test.
func started(t *testing.T, s *shelf, p *postman, change func(*Config)) *Queue {
	cfg := Config{Store: s, Deliver: p.deliver, Tell: func(_ context.Context, n Notice) []storage.Op {
		n.Content = nil
		s.mu.Lock()
		defer s.mu.Unlock()
		s.notices = append(s.notices, n)
		return []storage.Op{storage.Deliver{To: n.Item.From.Address}}
	}}
	if change != nil {
		change(&cfg)
	}
	q := New(cfg)
	q.Start()
	t.Cleanup(q.Stop)
	return q
}

// within runs a test in a bubble of fake time.
func within(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }

func TestMailIsSentAtOnce(t *testing.T) {
	within(t, func(t *testing.T) {
		s, p := newShelf(), &postman{}
		q := started(t, s, p, nil)
		began := time.Now()
		s.put("peer.test", "a", 3000, "x", "y")
		synctest.Wait()
		if got := p.tried("peer.test"); len(got) != 1 || got[0].at.Sub(began) != 0 || s.left() != 0 {
			t.Errorf("tries %v, left %v", got, s.all())
		}
		if sum := q.Summary(); sum.Entries != 0 || sum.InFlight != 0 || sum.Octets != 0 {
			t.Errorf("%+v", sum)
		}
	})
}

// A destination that does not answer is tried now and then, however much mail
// waits, and the others do not notice.
func TestADeadDestinationCostsNobodyElse(t *testing.T) {
	within(t, func(t *testing.T) {
		s := newShelf()
		p := &postman{took: 10 * time.Second, how: func(dest string, item storage.QueueItem) Attempt {
			if dest == "dead.test" {
				return unreachable(item)
			}
			return delivered(item)
		}}
		started(t, s, p, nil)
		for i := range 10000 {
			s.put("dead.test", fmt.Sprint("sender", i%50), 3000, "x")
		}
		time.Sleep(5 * time.Second)
		p.mu.Lock()
		p.took = 0
		p.mu.Unlock()
		for i := range 100 {
			began := time.Now()
			s.put("good.test", "a", 3000, "x")
			synctest.Wait()
			got := p.tried("good.test")
			if len(got) != i+1 || got[i].at != began {
				t.Fatalf("message %d to a good destination: %v", i, got)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		// 2 at first, then 60 s, 120 s ... an hour.
		if n := len(p.tried("dead.test")); n < 20 || n > 45 {
			t.Errorf("the dead one was tried %d times in a day", n)
		}
		if p.peak("dead.test") > 2 {
			t.Errorf("%d at once", p.peak("dead.test"))
		}
	})
}

// When it is back, one message finds out, and then all go.
func TestABreakerHalfOpensClosesAndOpensTheWindow(t *testing.T) {
	within(t, func(t *testing.T) {
		s := newShelf()
		up := false
		p := &postman{took: time.Second}
		p.how = func(_ string, item storage.QueueItem) Attempt {
			if !up {
				return unreachable(item)
			}
			return delivered(item)
		}
		q := started(t, s, p, nil)
		for range 500 {
			s.put("peer.test", "a", 3000, "x")
		}
		time.Sleep(10 * time.Second)
		peer := q.Peers()[0]
		if peer.Breaker != "open" || peer.LastError != "connection refused" || len(p.tried("")) != 2 {
			t.Fatalf("%+v after %d tries", peer, len(p.tried("")))
		}
		if wait := time.Until(peer.Next); wait < 30*time.Second || wait > 80*time.Second {
			t.Errorf("the first pause is %v", wait)
		}
		row, err := q.List(Which{Dest: "peer.test"}, 3)
		if err != nil || len(row) != 3 || row[2].State != "breaker" {
			t.Errorf("%+v, %v", row, err)
		}
		if why, err := q.Why(3); err != nil || !strings.Contains(why, "could not be reached") || !strings.Contains(why, "connection refused") {
			t.Errorf("%s, %v", why, err)
		}
		p.mu.Lock()
		up = true
		p.mu.Unlock()
		time.Sleep(80 * time.Second)
		synctest.Wait()
		if p.peak("peer.test") > 10 {
			t.Errorf("%d at once", p.peak("peer.test"))
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if s.left() != 0 || p.peak("peer.test") != 10 {
			t.Errorf("%d left, window up to %d", s.left(), p.peak("peer.test"))
		}
		if peer := q.Peers()[0]; peer.Breaker != "closed" || peer.Sent != 500 {
			t.Errorf("%+v", peer)
		}
	})
}

// Senders take turns, by octets: one with much mail does not hold up another.
// A message at which the peer hangs up each time is not the one by which its
// destination is judged for ever.
func TestAMessageThatNoPeerBearsHoldsUpNoOther(t *testing.T) {
	for what, sender := range map[string]string{"of the same sender": "a", "of another": "b"} {
		t.Run(what, func(t *testing.T) {
			within(t, func(t *testing.T) {
				var bad storage.QueueID
				s, p := newShelf(), &postman{how: func(_ string, item storage.QueueItem) Attempt {
					if item.ID == bad {
						return unreachable(item)
					}
					return delivered(item)
				}}
				bad = s.put("peer.test", "a", 3000, "x")
				started(t, s, p, nil)
				for range 20 { // breaks
					time.Sleep(10 * time.Minute)
				}
				for range 5 {
					s.put("peer.test", sender, 3000, "x")
				}
				time.Sleep(3 * time.Hour)
				if n := s.left(); n != 1 {
					t.Errorf("%d are left", n)
				}
			})
		})
	}
}

// Much that is given up at once, at a disk that takes its time, delays nobody.
func TestGivingUpHoldsUpNothing(t *testing.T) {
	within(t, func(t *testing.T) {
		s, p := newShelf(), &postman{how: func(dest string, item storage.QueueItem) Attempt {
			if dest == "dead.test" {
				return unreachable(item)
			}
			return delivered(item)
		}}
		started(t, s, p, func(c *Config) {
			tell := c.Tell
			c.Tell = func(ctx context.Context, n Notice) []storage.Op {
				time.Sleep(time.Second)
				return tell(ctx, n)
			}
		})
		for range 1000 {
			s.put("dead.test", "a", 3000, "x")
		}
		time.Sleep(48*time.Hour + 2*time.Minute)
		if n := len(s.told()); n == 0 || n == 2000 {
			t.Fatalf("%d notices: it is not under way", n)
		}
		id := s.put("healthy.test", "b", 3000, "x")
		time.Sleep(100 * time.Millisecond)
		if _, err := s.Queued(t.Context(), id); err == nil {
			t.Error("the mail of others waits")
		}
	})
}

func TestSendersTakeTurns(t *testing.T) {
	within(t, func(t *testing.T) {
		s, p := newShelf(), &postman{took: time.Second}
		started(t, s, p, nil)
		for range 1000 {
			s.put("peer.test", "loud", 60000, "x")
		}
		time.Sleep(3 * time.Second)
		before := len(p.tried(""))
		quiet := s.put("peer.test", "quiet", 3000, "x")
		time.Sleep(3 * time.Second)
		at := slices.IndexFunc(p.tried(""), func(t try) bool { return t.id == quiet })
		if at < 0 || at-before > 12 {
			t.Errorf("the quiet one's turn came after %d of the loud one's", at-before)
		}
	})
}

// Nobody takes all slots while others wait, and some are kept for newcomers.
func TestNoDestinationTakesAllSlots(t *testing.T) {
	within(t, func(t *testing.T) {
		s, p := newShelf(), &postman{took: time.Hour}
		q := started(t, s, p, func(c *Config) { c.Slots = 20 })
		for d := range 40 {
			for range 20 {
				s.put(fmt.Sprintf("peer%d.test", d), "a", 3000, "x")
			}
		}
		synctest.Wait()
		if sum := q.Summary(); sum.InFlight != 20 {
			t.Errorf("%d of 20 slots are used", sum.InFlight)
		}
		for d, n := range p.most {
			if n > 5 {
				t.Errorf("%s has %d of 20", d, n)
			}
		}
		if len(p.most) < 10 {
			t.Errorf("%d destinations are served", len(p.most))
		}
	})
}

// The same for one whose window is wide open.
func TestAWideWindowLeavesRoomForOthers(t *testing.T) {
	within(t, func(t *testing.T) {
		s, p := newShelf(), &postman{}
		q := started(t, s, p, func(c *Config) { c.Slots = 20 })
		for range 200 {
			s.put("busy.test", "a", 3000, "x")
		}
		synctest.Wait()
		p.mu.Lock()
		p.took = time.Hour
		p.most = map[string]int{}
		p.mu.Unlock()
		for range 100 { // they wait before the busy one comes
			for d := range 9 {
				s.put(fmt.Sprintf("another%d.test", d), "a", 3000, "x")
			}
		}
		for range 100 {
			s.put("busy.test", "a", 3000, "x")
		}
		synctest.Wait()
		if n := p.peak("busy.test"); n > 5 {
			t.Errorf("the busy one has %d of 20 while others wait", n)
		}
		for _, peer := range q.Peers() {
			if peer.Name == "busy.test" && peer.Window < 9 {
				t.Errorf("its window is %v", peer.Window)
			}
		}
	})
}

// What is discarded while it is under way does not come back.
func TestADiscardedMessageLands(t *testing.T) {
	within(t, func(t *testing.T) {
		s := newShelf()
		p := &postman{took: time.Minute, how: func(_ string, item storage.QueueItem) Attempt { return unreachable(item) }}
		q := started(t, s, p, nil)
		id := s.put("peer.test", "a", 3000, "x")
		synctest.Wait()
		if n, err := q.Discard(t.Context(), Which{IDs: []storage.QueueID{id}}, false); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if sum := q.Summary(); sum.Entries != 0 || len(s.told()) != 0 || len(p.tried("")) != 1 {
			t.Errorf("%+v, %d tries", sum, len(p.tried("")))
		}
	})
}

func TestEachRecipientHasItsOwnEnd(t *testing.T) {
	within(t, func(t *testing.T) {
		s, p := newShelf(), &postman{}
		later := smtp.NewReply(450, "4.2.1", "later")
		p.how = func(_ string, item storage.QueueItem) Attempt {
			a := Attempt{Reached: true}
			for _, to := range item.To {
				switch to.LocalPart {
				case "good":
					a.Per = append(a.Per, smtp.NewReply(250, "2.0.0", "OK"))
				case "gone":
					a.Per = append(a.Per, smtp.NewReply(550, "5.1.1", "nobody"))
				default:
					a.Per = append(a.Per, later)
				}
			}
			return a
		}
		q := started(t, s, p, nil)
		id := s.put("peer.test", "a", 3000, "good", "gone", "later")
		synctest.Wait()
		if it := s.all()[id]; len(it.To) != 1 || it.To[0].LocalPart != "later" {
			t.Errorf("left: %v", it.To)
		}
		if len(s.told()) != 1 || len(s.told()[0].Failures) != 1 || s.told()[0].Failures[0].Recipient.LocalPart != "gone" || s.told()[0].Delayed {
			t.Errorf("notices: %+v", s.told())
		}
		if len(s.commits()) != 1 || len(s.commits()[0].Ops) != 2 {
			t.Errorf("the notice and the end are not one: %+v", s.commits())
		}
		if row, _ := q.List(Which{All: true}, 10); len(row) != 1 || row[0].State != "waiting" || row[0].Why != "450 4.2.1 later" {
			t.Errorf("%+v", row)
		}
		time.Sleep(90 * time.Second)
		if n := len(p.tried("")); n != 2 {
			t.Errorf("%d tries after 90 s", n)
		}
		p.mu.Lock()
		later = smtp.NewReply(250, "2.0.0", "OK")
		p.mu.Unlock()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if s.left() != 0 {
			t.Errorf("left: %v", s.all())
		}
	})
}

// A host with room for fewer recipients gets the rest at once.
func TestTooManyRecipientsGoInPieces(t *testing.T) {
	within(t, func(t *testing.T) {
		s, p := newShelf(), &postman{}
		p.how = func(_ string, item storage.QueueItem) Attempt {
			a := delivered(item)
			for i := 2; i < len(a.Per); i++ {
				a.Per[i] = smtp.NewReply(452, "4.5.3", "too many")
			}
			return a
		}
		started(t, s, p, nil)
		s.put("peer.test", "a", 3000, "a", "b", "c", "d", "e")
		synctest.Wait()
		if s.left() != 0 || len(p.tried("")) != 3 {
			t.Errorf("%d left after %d tries", s.left(), len(p.tried("")))
		}
	})
}

func TestOldMailIsGivenUpAndItsSenderTold(t *testing.T) {
	within(t, func(t *testing.T) {
		s := newShelf()
		p := &postman{how: func(_ string, item storage.QueueItem) Attempt { return unreachable(item) }}
		started(t, s, p, nil)
		for range 5 {
			s.put("dead.test", "a", 3000, "x", "y")
		}
		time.Sleep(4*time.Hour + 2*time.Minute)
		synctest.Wait()
		if len(s.told()) != 5 || !s.told()[0].Delayed || len(s.told()[0].Failures) != 2 || time.Until(s.told()[0].Until) < 43*time.Hour {
			t.Fatalf("after four hours: %+v", s.told())
		}
		time.Sleep(43 * time.Hour)
		synctest.Wait()
		if len(s.told()) != 5 || s.left() != 5 {
			t.Fatalf("%d notices and %d entries before the end", len(s.told()), s.left())
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if s.left() != 0 || len(s.told()) != 10 {
			t.Fatalf("%d left, %d notices", s.left(), len(s.told()))
		}
		f := s.told()[9].Failures[0]
		if s.told()[9].Delayed || !strings.Contains(f.Reply.Text, "connection refused") || !strings.HasPrefix(f.Reply.Text, "Given up after 48h") {
			t.Errorf("it says %q", f.Reply.Text)
		}
	})
}

func TestAfterAStartEverythingIsTriedWithinAMinute(t *testing.T) {
	within(t, func(t *testing.T) {
		s, p := newShelf(), &postman{}
		for d := range 300 {
			s.put(fmt.Sprintf("peer%d.test", d), "a", 3000, "x")
		}
		began := time.Now()
		started(t, s, p, nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		tries := p.tried("")
		if len(tries) != 300 {
			t.Fatalf("%d tries", len(tries))
		}
		early := 0
		for _, x := range tries {
			if x.at.Sub(began) < 20*time.Second {
				early++
			}
		}
		if early < 60 || early > 140 {
			t.Errorf("%d of 300 in the first third", early)
		}
	})
}

func TestHoldReleaseRetryDiscard(t *testing.T) {
	within(t, func(t *testing.T) {
		s := newShelf()
		p := &postman{how: func(_ string, item storage.QueueItem) Attempt { return unreachable(item) }}
		q := started(t, s, p, nil)
		ctx := t.Context()
		var ids []storage.QueueID
		for range 4 {
			ids = append(ids, s.put("peer.test", "a", 3000, "x"))
		}
		synctest.Wait()
		if n, err := q.Hold(ctx, Which{IDs: ids[:1]}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		p.mu.Lock()
		p.how = nil
		p.mu.Unlock()
		if n, err := q.Retry(Which{Dest: "peer.test"}); n != 3 || err != nil {
			t.Errorf("retry: %d, %v", n, err)
		}
		synctest.Wait()
		if s.left() != 1 || s.all()[ids[0]].Marks != storage.QueueHeld {
			t.Fatalf("left: %v", s.all())
		}
		if why, _ := q.Why(ids[0]); !strings.Contains(why, "holds it") {
			t.Error(why)
		}
		time.Sleep(100 * time.Hour)
		synctest.Wait()
		if s.left() != 1 {
			t.Error("what is held was given up")
		}
		if n, err := q.Release(ctx, Which{All: true}); n != 1 || err != nil {
			t.Errorf("release: %d, %v", n, err)
		}
		synctest.Wait()
		if s.left() != 0 {
			t.Errorf("left: %v", s.all())
		}
		p.mu.Lock()
		p.how = func(_ string, item storage.QueueItem) Attempt { return unreachable(item) }
		p.mu.Unlock()
		s.put("other.test", "a", 3000, "x")
		s.put("other.test", "a", 3000, "x")
		synctest.Wait()
		before := len(s.told())
		if n, err := q.Discard(ctx, Which{Dest: "other.test"}, true); n != 2 || err != nil || len(s.told()) != before+2 || s.left() != 0 {
			t.Errorf("discard: %d, %v, %d notices", n, err, len(s.told())-before)
		}
		if _, err := q.Hold(ctx, Which{IDs: []storage.QueueID{99}}); !errors.Is(err, storage.ErrNotQueued) {
			t.Error(err)
		}
		if _, err := q.Retry(Which{}); !errors.Is(err, ErrWhich) {
			t.Error(err)
		}
		if sum := q.Summary(); sum.Entries != 0 || sum.Held != 0 || sum.Octets != 0 {
			t.Errorf("%+v", sum)
		}
	})
}

// What is under way when the queue stops is neither lost nor blamed.
// What an operator does with all that waits is done in pieces that a store
// takes, and costs no commit for each.
func TestVerbsAboutManyGoInPieces(t *testing.T) {
	within(t, func(t *testing.T) {
		s, p := newShelf(), &postman{how: func(_ string, item storage.QueueItem) Attempt { return unreachable(item) }}
		q := started(t, s, p, nil)
		const many = 2050
		for range many {
			s.put("peer.test", "a", 3000, "x")
		}
		time.Sleep(time.Second)
		for what, verb := range map[string]func() (int, error){
			"hold":    func() (int, error) { return q.Hold(t.Context(), Which{All: true}) },
			"release": func() (int, error) { return q.Release(t.Context(), Which{All: true}) },
		} {
			if n, err := verb(); n != many || err != nil {
				t.Errorf("%s: %d, %v", what, n, err)
			}
		}
		if n, err := q.Discard(t.Context(), Which{All: true}, false); n != many || err != nil || s.left() != 0 || q.Summary().Entries != 0 {
			t.Errorf("discard: %d, %v; %d and %d are left", n, err, s.left(), q.Summary().Entries)
		}
		commits := s.commits()
		if len(commits) > 3*(many/100+1) {
			t.Errorf("%d commits", len(commits))
		}
		for _, b := range commits {
			if len(b.Ops) > 100 {
				t.Fatalf("a commit of %d operations", len(b.Ops))
			}
		}
	})
}

func TestAStopInterruptsAndLosesNothing(t *testing.T) {
	within(t, func(t *testing.T) {
		s, p := newShelf(), &postman{took: time.Hour, how: func(_ string, item storage.QueueItem) Attempt { return unreachable(item) }}
		q := started(t, s, p, nil)
		for range 5 {
			s.put("peer.test", "a", 3000, "x")
		}
		synctest.Wait()
		began := time.Now()
		q.Stop()
		if time.Since(began) != 0 || s.left() != 5 || len(s.told()) != 0 {
			t.Errorf("took %v, left %d, %d notices", time.Since(began), s.left(), len(s.told()))
		}
	})
}

// A store that fails for a while makes nothing disappear.
func TestAFaultOfTheStoreIsTriedAgain(t *testing.T) {
	within(t, func(t *testing.T) {
		s := newShelf()
		p := &postman{how: func(_ string, item storage.QueueItem) Attempt {
			return reply(item, true, smtp.NewReply(550, "5.1.1", "nobody"))
		}}
		s.broken = storage.ErrFull
		started(t, s, p, nil)
		s.put("peer.test", "a", 3000, "x")
		synctest.Wait()
		if s.left() != 1 {
			t.Fatal("it is gone")
		}
		s.mu.Lock()
		s.broken = nil
		s.mu.Unlock()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if s.left() != 0 || len(s.commits()) != 1 {
			t.Errorf("left %d, %d batches", s.left(), len(s.commits()))
		}
	})
}

// Mail of very many senders costs each of them what it costs one alone: whole
// cities write to a relay that is away.
func TestManySendersCostNoMoreThanOne(t *testing.T) {
	const many = 100_000
	q := New(Config{Store: newShelf()})
	d := q.destination("peer.test")
	all := make([]*entry, many)
	for i := range all {
		all[i] = &entry{id: storage.QueueID(i), dest: d, size: 5000, sender: smtp.Address{LocalPart: strconv.Itoa(i), Domain: "relay.test"}}
	}
	began := time.Now()
	for _, x := range all {
		q.enqueue(x, false)
	}
	for i, x := range all {
		if i%2 == 0 {
			d.take(x)
		}
	}
	var got []storage.QueueID
	for d.queued > 0 {
		got = append(got, d.pop().id)
	}
	// A second is thousands of times what it takes, and a hundredth of what it
	// took when each looked at all the others.
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("%v for %d senders", took, many)
	}
	if len(got) != many/2 || got[0] != 1 || got[1] != 3 || d.turn != nil || len(d.lines) != 0 {
		t.Errorf("%d popped, first %v, turn %v", len(got), got[:2], d.turn)
	}
}

// A line keeps its order when entries leave from anywhere and come back first.
func TestALineKeepsItsOrder(t *testing.T) {
	q := New(Config{Store: newShelf()})
	d := q.destination("peer.test")
	var all []*entry
	for i := range 6 {
		all = append(all, &entry{id: storage.QueueID(i), dest: d, size: 1})
		q.enqueue(all[i], false)
	}
	for _, i := range []int{0, 5, 2} {
		d.take(all[i])
	}
	q.enqueue(all[2], true)
	q.enqueue(all[0], false)
	var got []storage.QueueID
	for d.queued > 0 {
		got = append(got, d.pop().id)
	}
	if want := []storage.QueueID{2, 1, 3, 4, 0}; !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
}

// A sender that is null gets no notice, so none is counted.
func TestOnlyNoticesAreCounted(t *testing.T) {
	for name, told := range map[string]float64{"null": 0, "somebody": 1} {
		within(t, func(t *testing.T) {
			s := newShelf()
			p := &postman{how: func(_ string, item storage.QueueItem) Attempt { return unreachable(item) }}
			m := metrics.New()
			started(t, s, p, func(cfg *Config) {
				cfg.Metrics = m
				if told == 0 {
					cfg.Tell = func(context.Context, Notice) []storage.Op { return nil }
				}
			})
			s.put("dead.test", "a", 3000, "x", "y")
			time.Sleep(5 * time.Hour)
			synctest.Wait()
			values, err := m.Values()
			if got := values["queue_delay_notices"]; err != nil || got != told {
				t.Errorf("%s: %v notices, %v", name, got, err)
			}
		})
	}
}
