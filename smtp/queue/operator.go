package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"barid/smtp"
	"barid/storage"
)

// Row is one entry as an operator sees it.
type Row struct {
	ID     storage.QueueID `json:"id"`
	Dest   string          `json:"destination"`
	Size   int64           `json:"octets"`
	Queued time.Time       `json:"queued"`
	Tries  int             `json:"tries"`
	State  string          `json:"state"` // "sending", "queued", "waiting", "held", "breaker"
	Next   time.Time       `json:"next,omitzero"`
	Why    string          `json:"why,omitempty"` // what was said last
}

// Which says which entries a verb is about: those of the IDs, or all to a
// destination, or, with All, every one.
type Which struct {
	IDs  []storage.QueueID `json:"ids,omitempty"`
	Dest string            `json:"destination,omitempty"`
	All  bool              `json:"all,omitempty"`
}

// together is how many entries one commit is about: what a record of the store
// takes, and what other mail waits for.
const together = 100

// ErrWhich refuses a verb that is about nothing.
var ErrWhich = errors.New("say which: IDs, a destination, or all")

// pick gives the entries meant, ascending; q.mu is held.
func (q *Queue) pick(w Which) (found []*entry, err error) {
	switch {
	case len(w.IDs) > 0:
		for _, id := range w.IDs {
			x := q.entries[id]
			if x == nil {
				return nil, fmt.Errorf("%d: %w", id, storage.ErrNotQueued)
			}
			found = append(found, x)
		}
	case w.Dest != "" || w.All:
		for _, x := range q.entries {
			if w.All || x.dest.name == w.Dest {
				found = append(found, x)
			}
		}
	default:
		return nil, ErrWhich
	}
	slices.SortFunc(found, func(a, b *entry) int { return cmp.Compare(a.id, b.id) })
	return found, nil
}

// List gives entries, ascending, at most that many.
func (q *Queue) List(w Which, most int) ([]Row, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	found, err := q.pick(w)
	if err != nil {
		return nil, err
	}
	rows := make([]Row, 0, min(len(found), most))
	for _, x := range found[:min(len(found), most)] {
		rows = append(rows, q.row(x))
	}
	return rows, nil
}

func (q *Queue) row(x *entry) Row {
	d := x.dest
	r := Row{ID: x.id, Dest: d.name, Size: int64(x.size), Queued: x.queued.Time(), Tries: int(x.tries)}
	if x.last != nil {
		r.Why = x.last.Wire()
	}
	switch x.state {
	case flying:
		r.State = "sending"
	case held:
		r.State = "held"
	case waiting:
		r.State, r.Next = "waiting", x.timer.at
	case queued:
		r.State = "queued"
		if d.breaker != nil {
			r.State, r.Next = "breaker", d.breaker.at
			if r.Why == "" {
				r.Why = d.lastError
			}
		}
	}
	return r
}

// Why explains in words what an entry waits for.
func (q *Queue) Why(id storage.QueueID) (string, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	x := q.entries[id]
	if x == nil {
		return "", fmt.Errorf("%d: %w", id, storage.ErrNotQueued)
	}
	d, now := x.dest, q.cfg.Now()
	in := func(at time.Time) time.Duration { return max(at.Sub(now), 0).Round(time.Second) }
	said := ""
	if x.last != nil {
		said = " The last reply was: " + x.last.Wire() + "."
	}
	switch {
	case x.state == flying:
		return "It is being sent right now." + said, nil
	case x.state == held:
		return "An operator holds it; \"barid queue release\" lets it go." + said, nil
	case x.state == waiting && x.tries == 0:
		return fmt.Sprintf("The relay was started a moment ago; it is tried in %v.", in(x.timer.at)), nil
	case x.state == waiting:
		return fmt.Sprintf("%s asked to try again later; the next try, after %d, is in %v.%s", d.name, x.tries, in(x.timer.at), said), nil
	case d.breaker != nil:
		return fmt.Sprintf("%s could not be reached %s, since %s; it is tried again in %v. The cause was: %s.",
			d.name, inARow(d.failures), d.badSince.UTC().Format(time.DateTime)+" UTC", in(d.breaker.at), d.lastError), nil
	case d.probing:
		return fmt.Sprintf("%s was out of reach; one message is sent to see whether it is back, the others wait for that.", d.name), nil
	case d.inFlight >= int(d.window):
		return fmt.Sprintf("%d messages to %s are under way, as many as it takes at the moment.", d.inFlight, d.name), nil
	case q.inFlight >= q.cfg.Slots:
		return fmt.Sprintf("All %d slots are in use; it is its destination's turn soon.", q.cfg.Slots), nil
	}
	return "It is about to be sent." + said, nil
}

func inARow(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times in a row", n)
}

// Hold keeps entries from being sent, over restarts too, and tells how many.
// What is under way lands first.
func (q *Queue) Hold(ctx context.Context, w Which) (int, error) {
	return q.mark(ctx, w, storage.MarkQueued{Set: storage.QueueHeld}, func(x *entry) {
		x.marks |= storage.QueueHeld
		if x.state == waiting || x.state == queued {
			q.ground(x)
			x.state = held
			x.dest.held++
		}
	})
}

// Release undoes Hold; the entries are tried at once.
func (q *Queue) Release(ctx context.Context, w Which) (int, error) {
	return q.mark(ctx, w, storage.MarkQueued{Unset: storage.QueueHeld}, func(x *entry) {
		x.marks &^= storage.QueueHeld
		if x.state == held {
			q.ground(x)
			q.enqueue(x, false)
		}
	})
}

func (q *Queue) mark(ctx context.Context, w Which, m storage.MarkQueued, do func(*entry)) (int, error) {
	q.mu.Lock()
	found, err := q.pick(w)
	q.mu.Unlock()
	if err != nil || len(found) == 0 {
		return 0, err
	}
	n := 0
	for part := range slices.Chunk(found, together) {
		var b storage.Batch
		for _, x := range part {
			m.ID = x.id
			b.Ops = append(b.Ops, m)
		}
		result, err := q.cfg.Store.Commit(ctx, b)
		if err != nil {
			return n, err
		}
		q.mu.Lock()
		for i, x := range part {
			if result.Per[i].Err == nil && q.entries[x.id] == x {
				do(x)
				n++
			}
		}
		q.mu.Unlock()
		q.nudge()
	}
	return n, nil
}

// Retry tries entries at once, whatever they wait for, their destinations'
// breakers included.
func (q *Queue) Retry(w Which) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	found, err := q.pick(w)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, x := range found {
		d := x.dest
		if d.breaker != nil {
			q.timers.stop(d.breaker)
			d.breaker = nil
		}
		switch x.state {
		case waiting:
			q.ground(x)
			q.enqueue(x, true)
			n++
		case queued:
			n++
		}
		q.place(d)
	}
	q.nudge()
	return n, nil
}

// Discard ends entries. With tell their senders hear of it.
func (q *Queue) Discard(ctx context.Context, w Which, tell bool) (int, error) {
	q.mu.Lock()
	found, err := q.pick(w)
	q.mu.Unlock()
	if err != nil {
		return 0, err
	}
	many := together
	if tell {
		many = 1 // each has its notification, with the header of its message
	}
	n := 0
	for part := range slices.Chunk(found, many) {
		if tell {
			err = q.discardTold(ctx, part[0])
		} else {
			err = q.discard(ctx, part)
		}
		if err != nil {
			return n, err
		}
		n += len(part)
		q.mu.Lock()
		for _, x := range part {
			if x.state == flying {
				x.doomed = true
			} else if q.entries[x.id] == x {
				q.ground(x)
				q.remove(x)
			}
		}
		q.mu.Unlock()
	}
	return n, nil
}

// discard ends entries in the store.
func (q *Queue) discard(ctx context.Context, part []*entry) error {
	var b storage.Batch
	for _, x := range part {
		item, err := q.cfg.Store.Queued(ctx, x.id)
		if errors.Is(err, storage.ErrNotQueued) {
			continue
		}
		if err != nil {
			return err
		}
		b.Ops = append(b.Ops, storage.Dequeue{ID: item.ID, To: item.To})
	}
	if len(b.Ops) == 0 {
		return nil
	}
	_, err := q.cfg.Store.Commit(ctx, b)
	return err
}

// discardTold ends one and tells its sender.
func (q *Queue) discardTold(ctx context.Context, x *entry) error {
	err := q.about(x.id, func(item storage.QueueItem, content storage.Content) error {
		var failures []Failure
		for _, to := range item.To {
			failures = append(failures, Failure{to, smtp.NewReply(554, "5.7.0", "Discarded by the operator")})
		}
		return q.giveUp(ctx, item, failures, content)
	})
	if errors.Is(err, storage.ErrNotQueued) {
		return nil
	}
	return err
}

// Peer is a destination as an operator sees it.
type Peer struct {
	Name      string    `json:"destination"`
	Waiting   int       `json:"waiting"`
	InFlight  int       `json:"in_flight"`
	Window    float64   `json:"window"`
	Breaker   string    `json:"breaker"` // "closed", "open", "half-open"
	Next      time.Time `json:"next,omitzero"`
	Channel   string    `json:"channel,omitempty"`
	Host      string    `json:"host,omitempty"`
	Took      Seconds   `json:"took_seconds,omitempty"` // a delivery, of late
	Sent      int64     `json:"sent"`                   // recipients, since the start
	Refused   int64     `json:"refused"`                // likewise, each try
	LastError string    `json:"last_error,omitempty"`
	Since     time.Time `json:"since,omitzero"` // it has been as it is
}

// Peers gives the destinations that are remembered, by name.
func (q *Queue) Peers() []Peer {
	q.mu.Lock()
	defer q.mu.Unlock()
	peers := make([]Peer, 0, len(q.dests))
	for _, d := range q.dests {
		p := Peer{Name: d.name, InFlight: d.inFlight, Window: d.window, Breaker: "closed", Waiting: d.waiting + d.held + d.queued,
			Channel: d.channel, Host: d.lastHost, Took: Seconds(d.took.Seconds()), Sent: d.sent, Refused: d.refused, LastError: d.lastError, Since: d.okSince}
		if !d.badSince.IsZero() {
			p.Since = d.badSince
		}
		switch {
		case d.breaker != nil:
			p.Breaker, p.Next = "open", d.breaker.at
		case d.probing:
			p.Breaker = "half-open"
		}
		peers = append(peers, p)
	}
	slices.SortFunc(peers, func(a, b Peer) int { return cmp.Compare(a.Name, b.Name) })
	return peers
}
