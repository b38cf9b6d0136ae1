package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"barid/smtp"
	"barid/storage"
)

// attempt brings an entry out once and does what follows.
func (q *Queue) attempt(x *entry) {
	item, err := q.cfg.Store.Queued(q.ctx, x.id)
	if err == nil {
		err = q.cfg.Store.ReadQueued(q.ctx, x.id, func(content storage.Content) error {
			at := q.cfg.Deliver(q.ctx, item, content)
			if q.ctx.Err() != nil && !at.Reached {
				return q.ctx.Err() // interrupted: nobody's fault
			}
			return q.conclude(x, item, content, at)
		})
	}
	switch {
	case errors.Is(err, storage.ErrNotQueued):
		q.end(x)
	case err != nil:
		if q.ctx.Err() == nil {
			q.log.Error("queued message cannot be handled", "error", err)
		}
		q.land(x, func() { q.later(x, q.pause(1)) })
	}
}

// land ends the flight of an entry; then says where it goes.
func (q *Queue) land(x *entry, then func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	x.dest.inFlight--
	q.inFlight--
	if x.doomed {
		q.remove(x)
	} else {
		then()
	}
	if x.marks&storage.QueueHeld != 0 && q.entries[x.id] == x {
		q.ground(x) // it was held while it was under way
		x.state = held
		x.dest.held++
	}
	q.place(x.dest)
	q.nudge()
}

// end forgets an entry that the store does not have any more.
func (q *Queue) end(x *entry) { q.land(x, func() { q.remove(x) }) }

// remove forgets an entry; q.mu is held.
func (q *Queue) remove(x *entry) {
	if q.entries[x.id] != x {
		return
	}
	delete(q.entries, x.id)
	q.octets -= int64(x.size)
	d := x.dest
	if d.used = q.cfg.Now(); d.empty() {
		q.idle++
	}
}

// sorted are the recipients of an item by what became of them.
type sorted struct {
	sent     []smtp.Address
	refused  []Failure // for good
	deferred []Failure
}

func sort(item storage.QueueItem, per []*smtp.Reply) (s sorted) {
	for i, to := range item.To {
		reply := smtp.NewReply(451, "4.3.0", "No answer about this recipient")
		if i < len(per) && per[i] != nil {
			reply = per[i]
		}
		switch reply.Code / 100 {
		case 2:
			s.sent = append(s.sent, to)
		case 5:
			s.refused = append(s.refused, Failure{to, reply})
		default:
			s.deferred = append(s.deferred, Failure{to, reply})
		}
	}
	return s
}

// conclude writes down what an attempt came to. An error is the store's; then
// the entry is tried again, and may be doubled.
func (q *Queue) conclude(x *entry, item storage.QueueItem, content storage.Content, at Attempt) error {
	s := sort(item, at.Per)
	if q.tooOld(item.QueueEntry) {
		for _, f := range s.deferred {
			f.Reply = smtp.NewReply(f.Reply.Code, f.Reply.Enhanced, "Given up after %v; the last reply was: %s", q.cfg.Lifetime, f.Reply.Text)
			s.refused = append(s.refused, f)
		}
		q.expired.WithLabelValues().Add(float64(len(s.deferred)))
		s.deferred = nil
	}
	if len(s.sent) > 0 {
		if err := q.cfg.Store.Done(x.id, s.sent); err != nil {
			return fmt.Errorf("note what was sent: %w", err)
		}
		q.sent.WithLabelValues().Add(float64(len(s.sent)))
	}
	if len(s.refused) > 0 {
		if err := q.giveUp(q.ctx, item, s.refused, content); err != nil {
			return err
		}
		q.failed.WithLabelValues().Add(float64(len(s.refused)))
	}
	q.land(x, func() { q.after(x, s, at) })
	return nil
}

// after learns from an attempt, and lets what is left wait. q.mu is held.
func (q *Queue) after(x *entry, s sorted, at Attempt) {
	d := x.dest
	d.sent += int64(len(s.sent))
	d.refused += int64(len(s.refused) + len(s.deferred))
	d.lastHost, d.channel = at.Host, at.Channel
	if at.Reached {
		q.succeeded(d)
		if len(s.sent) > 0 {
			if d.took == 0 {
				d.took = at.Took
			}
			d.took += (at.Took - d.took) / 4
		}
	}
	if len(s.deferred) == 0 {
		q.remove(x)
		if !at.Reached && len(s.refused) > 0 {
			d.lastError = s.refused[0].Reply.Text
		}
		return
	}
	x.last = s.deferred[0].Reply
	switch {
	case !at.Reached:
		x.tries = min(x.tries+1, 1000)
		q.broke(d, x.last.Text)
		q.enqueue(x, x.tries < patience) // it had its turn; the destination is what must wait
	case len(s.sent) > 0 && allTooMany(s.deferred):
		q.enqueue(x, true)
	default:
		x.tries = min(x.tries+1, 1000)
		q.later(x, q.pause(int(x.tries)))
	}
}

// allTooMany tells whether a host took some recipients and wants the others in
// another transaction (RFC 5321 section 4.5.3.1.10).
func allTooMany(deferred []Failure) bool {
	for _, f := range deferred {
		if f.Reply.Code != 452 || f.Reply.Enhanced != "4.5.3" {
			return false
		}
	}
	return true
}

func (q *Queue) tooOld(e storage.QueueEntry) bool {
	return q.cfg.Now().Sub(e.Queued.Time()) >= q.cfg.Lifetime
}

// giveUp ends an item for recipients and tells its sender, as one.
func (q *Queue) giveUp(ctx context.Context, item storage.QueueItem, failures []Failure, content storage.Content) error {
	ops := q.cfg.Tell(ctx, Notice{Item: item, Failures: failures, Content: content})
	end := storage.Dequeue{ID: item.ID}
	for _, f := range failures {
		end.To = append(end.To, f.Recipient)
	}
	result, err := q.cfg.Store.Commit(ctx, storage.Batch{Ops: append(ops, end)})
	if err != nil {
		return fmt.Errorf("give up a queued message: %w", err)
	}
	for _, per := range result.Per[:len(ops)] {
		if per.Err != nil {
			q.untold.WithLabelValues().Inc()
			q.log.Warn("a sender cannot be told of a failure", "error", per.Err)
		}
	}
	return nil
}

// sweeps looks for old entries again and again, beside run: each of thousands
// that are given up costs a commit, and nobody else's mail waits for that.
func (q *Queue) sweeps() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-q.ctx.Done():
			return
		case <-tick.C:
			q.sweep()
		}
	}
}

// sweep gives up what is too old though nothing is tried any more, and tells
// senders whose mail is late.
func (q *Queue) sweep() {
	var old, late []storage.QueueID
	now := q.cfg.Now()
	q.mu.Lock()
	for id, x := range q.entries {
		age := now.Sub(x.queued.Time())
		switch {
		case x.state == flying || x.state == held:
		case age >= q.cfg.Lifetime:
			old = append(old, id)
		case q.cfg.WarnAfter > 0 && age >= q.cfg.WarnAfter && x.marks&storage.QueueWarned == 0:
			late = append(late, id)
		}
	}
	q.mu.Unlock()
	for _, id := range old {
		if q.ctx.Err() != nil {
			return
		}
		q.expire(id)
	}
	for _, id := range late {
		if q.ctx.Err() != nil {
			return
		}
		q.warn(id)
	}
}

// expire gives an entry up that nobody is trying.
func (q *Queue) expire(id storage.QueueID) {
	x, last := q.lift(id)
	if x == nil {
		return
	}
	err := q.about(id, func(item storage.QueueItem, content storage.Content) error {
		var failures []Failure
		for _, to := range item.To {
			failures = append(failures, Failure{to, smtp.NewReply(450, "4.4.7", "Given up after %v; the last reply was: %s", q.cfg.Lifetime, last)})
		}
		q.expired.WithLabelValues().Add(float64(len(failures)))
		return q.giveUp(q.ctx, item, failures, content)
	})
	if err == nil || errors.Is(err, storage.ErrNotQueued) {
		q.end(x)
		return
	}
	q.log.Error("old message cannot be given up", "error", err)
	q.land(x, func() { q.later(x, q.pause(1)) })
}

// lift takes an entry out of whatever it waits in, as if it were under way,
// and gives the last thing that was said about it. Nil when it cannot be had.
func (q *Queue) lift(id storage.QueueID) (x *entry, last string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	x = q.entries[id]
	if x == nil || x.state == flying {
		return nil, ""
	}
	q.ground(x)
	x.state = flying
	x.dest.inFlight++
	q.inFlight++
	last = x.dest.lastError
	if x.last != nil {
		last = x.last.Text
	}
	if last == "" {
		last = "none"
	}
	return x, last
}

// ground takes an entry out of what it waits in; q.mu is held.
func (q *Queue) ground(x *entry) {
	d := x.dest
	switch x.state {
	case waiting:
		q.timers.stop(x.timer)
		x.timer = nil
		d.waiting--
	case queued:
		d.take(x)
	case held:
		d.held--
	}
	q.place(d)
}

// about reads an item with its content.
func (q *Queue) about(id storage.QueueID, f func(storage.QueueItem, storage.Content) error) error {
	item, err := q.cfg.Store.Queued(q.ctx, id)
	if err != nil {
		return err
	}
	return q.cfg.Store.ReadQueued(q.ctx, id, func(c storage.Content) error { return f(item, c) })
}

// warn tells a sender that his mail is late, once.
func (q *Queue) warn(id storage.QueueID) {
	q.mu.Lock()
	x := q.entries[id]
	if x == nil {
		q.mu.Unlock()
		return
	}
	x.marks |= storage.QueueWarned
	reply := x.last
	if reply == nil {
		reply = smtp.NewReply(451, "4.4.1", "%s", x.dest.lastError)
	}
	q.mu.Unlock()
	told := false
	err := q.about(id, func(item storage.QueueItem, content storage.Content) error {
		n := Notice{Item: item, Delayed: true, Content: content, Until: item.Queued.Time().Add(q.cfg.Lifetime)}
		for _, to := range item.To {
			n.Failures = append(n.Failures, Failure{to, reply})
		}
		ops := q.cfg.Tell(q.ctx, n)
		told = len(ops) > 0 // a null sender is not
		ops = append(ops, storage.MarkQueued{ID: id, Set: storage.QueueWarned})
		_, err := q.cfg.Store.Commit(q.ctx, storage.Batch{Ops: ops})
		return err
	})
	switch {
	case err == nil && told:
		q.warned.WithLabelValues().Inc()
	case err != nil && !errors.Is(err, storage.ErrNotQueued) && q.ctx.Err() == nil:
		q.log.Warn("a sender cannot be told of a delay", "error", err)
	}
}

// Seconds is a duration, in seconds as JSON and metrics have it.
type Seconds float64

// Duration gives it.
func (s Seconds) Duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }

// Summary is the state of a queue in a few figures.
type Summary struct {
	Entries  int     `json:"entries"`
	Most     int     `json:"most"`
	Octets   int64   `json:"octets"`
	InFlight int     `json:"in_flight"`
	Held     int     `json:"held"`
	Broken   int     `json:"breakers_open"`
	Oldest   Seconds `json:"oldest_seconds"` // of those that nobody holds
	// Destinations that have mail, or that are left alone.
	Destinations int `json:"destinations"`
}

// Summary gives it.
func (q *Queue) Summary() Summary {
	_, most := q.cfg.Store.QueueLen()
	q.mu.Lock()
	defer q.mu.Unlock()
	s := Summary{Entries: len(q.entries), Most: most, Octets: q.octets, InFlight: q.inFlight}
	now := q.cfg.Now()
	for _, x := range q.entries {
		if x.state != held {
			s.Oldest = max(s.Oldest, Seconds(now.Sub(x.queued.Time()).Seconds()))
		}
	}
	for _, d := range q.dests {
		s.Held += d.held
		if !d.empty() || d.breaker != nil {
			s.Destinations++
		}
		if d.breaker != nil {
			s.Broken++
		}
	}
	return s
}
