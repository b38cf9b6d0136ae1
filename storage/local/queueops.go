package local

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"barid/internal/journal"
	"barid/smtp"
	"barid/storage"
)

// queueEdit is what one batch is about to do to the queue, whose lock is held.
type queueEdit struct {
	q       *queue
	added   int
	charged map[smtp.Address]int // entries added, by sender
	gone    map[storage.QueueID]recipientSet
	marks   map[storage.QueueID]storage.QueueMarks
	changed bool
}

func (q *queue) edit() *queueEdit {
	return &queueEdit{
		q: q, charged: map[smtp.Address]int{}, gone: map[storage.QueueID]recipientSet{}, marks: map[storage.QueueID]storage.QueueMarks{},
	}
}

// ofQueue tells the operations on the queue.
func ofQueue(op storage.Op) bool {
	switch op.(type) {
	case storage.Enqueue, storage.Dequeue, storage.MarkQueued:
		return true
	}
	return false
}

// doQueue decides an operation on the queue. places are those of the
// recipients of a Dequeue.
func (c *commit) doQueue(op storage.Op, places places, out *storage.Outcome) {
	var ch *change
	switch op := op.(type) {
	case storage.Enqueue:
		if ch, out.Err = c.edit.enqueue(&op); ch != nil {
			ch.content = c.number[op.Content]
			ch.at = c.s.clock.now().Unix()
			out.Queued = ch.queue.id
		}
	case storage.Dequeue:
		if out.Err = places.err; out.Err == nil {
			ch, out.Err = c.edit.dequeue(op.ID, places.list)
		}
	case storage.MarkQueued:
		ch, out.Err = c.edit.mark(op)
	}
	if ch != nil {
		c.edit.changed = true
		c.record.changes = append(c.record.changes, *ch)
	}
}

func (ed *queueEdit) enqueue(op *storage.Enqueue) (*change, error) {
	switch {
	case op.Content == nil:
		return nil, errors.New("enqueue: no content given")
	case op.Dest == "" || len(op.Dest) > maxQueueText:
		return nil, fmt.Errorf("enqueue: a destination of %d octets", len(op.Dest))
	case len(op.To) == 0 || len(op.To) > storage.MaxQueueRecipients:
		return nil, fmt.Errorf("enqueue: %d recipients", len(op.To))
	case len(op.Prefix) > storage.MaxQueuePrefix:
		return nil, fmt.Errorf("enqueue: a prefix of %d octets", len(op.Prefix))
	}
	for _, a := range append([]smtp.Address{op.From.Address, op.Sender}, op.To...) {
		if len(a.LocalPart) > maxQueueText || len(a.Domain) > maxQueueText {
			return nil, errors.New("enqueue: an address that is too long")
		}
	}
	q := ed.q
	n := ed.charged[op.Sender]
	if have := q.senders[op.Sender]; have != nil {
		n += have.n
	}
	if int(q.count.Load())+ed.added >= q.most || n >= max(q.most/queueShare, 1) {
		return nil, fmt.Errorf("enqueue: %w", storage.ErrQueueFull)
	}
	id := q.next + storage.QueueID(ed.added)
	ed.added++
	ed.charged[op.Sender]++
	return &change{kind: changeEnqueue, queue: &queueChange{id: id, env: &envelope{
		dest: op.Dest, sender: op.Sender, from: op.From, to: slices.Clone(op.To), prefix: slices.Clone(op.Prefix),
	}}}, nil
}

// goneFrom gives the recipients that the entry has ended for; not ok when that
// is all of them.
func (ed *queueEdit) goneFrom(id storage.QueueID) (e *queued, gone recipientSet, ok bool) {
	if e = ed.q.find(id); e == nil || id > ed.q.shown {
		return nil, nil, false
	}
	if gone, ok = ed.gone[id]; ok {
		return e, gone, gone.len() < e.to
	}
	gone = newRecipientSet(e.to)
	if e.gone != nil {
		copy(gone, *e.gone)
	}
	ed.gone[id] = gone
	return e, gone, true
}

// dequeue ends an entry for the recipients at those places.
func (ed *queueEdit) dequeue(id storage.QueueID, places []uint32) (*change, error) {
	_, gone, ok := ed.goneFrom(id)
	if !ok {
		return nil, fmt.Errorf("dequeue: %w", storage.ErrNotQueued)
	}
	qc := &queueChange{id: id}
	for _, at := range places {
		if !gone.has(at) {
			gone.add(at)
			qc.gone = append(qc.gone, at)
		}
	}
	if len(qc.gone) == 0 {
		return nil, nil
	}
	return &change{kind: changeDequeue, queue: qc}, nil
}

func (ed *queueEdit) mark(op storage.MarkQueued) (*change, error) {
	e, _, ok := ed.goneFrom(op.ID)
	if !ok {
		return nil, fmt.Errorf("mark queued: %w", storage.ErrNotQueued)
	}
	was, again := ed.marks[op.ID]
	if !again {
		was = e.marks
	}
	marks := (was | op.Set) &^ op.Unset
	if marks == was {
		return nil, nil
	}
	ed.marks[op.ID] = marks
	return &change{kind: changeMarks, queue: &queueChange{id: op.ID, marks: marks}}, nil
}

// places are where recipients stand in the envelope of an entry, ascending, or
// why that is not known.
type places struct {
	list []uint32
	err  error
}

// placesOf reads the envelope of an entry, which may lie on disk: so it is done
// before any lock is taken.
func (q *queue) placesOf(id storage.QueueID, to []smtp.Address) (p places) {
	_, env, err := q.look(id)
	if err != nil {
		p.err = err
		return p
	}
	for at, a := range env.to {
		if slices.Contains(to, a) {
			p.list = append(p.list, uint32(at))
		}
	}
	return p
}

// Done implements storage.Queue.
func (s *Store) Done(id storage.QueueID, to []smtp.Address) error {
	err := s.writable(context.Background())
	if err == nil {
		err = s.queue.done(id, to)
	}
	if err != nil {
		return fmt.Errorf("done with a queued message: %w", err)
	}
	return nil
}

func (q *queue) done(id storage.QueueID, to []smtp.Address) error {
	p := q.placesOf(id, to)
	if p.err != nil {
		return p.err
	}
	q.mu.Lock()
	ch, err := q.edit().dequeue(id, p.list)
	if err == nil && ch != nil {
		_, err = q.s.append(&record{changes: []change{*ch}}, nil, nil)
	}
	q.mu.Unlock()
	if err == nil {
		q.flusher.ring()
	}
	return err
}

// doneWithin is how long what Done wrote waits for others to flush it: a little
// less than promised.
const doneWithin = 40 * time.Millisecond

// queueFlusher flushes what nobody waits for.
type queueFlusher struct {
	q       *queue
	wake    chan struct{} // capacity one
	quit    chan struct{}
	once    sync.Once
	running sync.WaitGroup
}

func (f *queueFlusher) init(q *queue) {
	f.q, f.wake, f.quit = q, make(chan struct{}, 1), make(chan struct{})
}

func (f *queueFlusher) ring() {
	select {
	case f.wake <- struct{}{}:
	default: // it wakes already
	}
}

func (f *queueFlusher) start() { f.running.Go(f.run) }

func (f *queueFlusher) stop() {
	f.once.Do(func() { close(f.quit) })
	f.running.Wait()
}

func (f *queueFlusher) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-f.quit:
			return
		case <-f.wake:
		}
		timer.Reset(doneWithin)
		select {
		case <-f.quit: // Close flushes
			return
		case <-timer.C:
		}
		_ = f.q.flush() // the store says that it is read-only
	}
}

// flush makes everything durable that the queue came to, and hands it on.
func (q *queue) flush() error {
	q.mu.Lock()
	seq := q.seq
	q.mu.Unlock()
	if err := q.s.journal.Wait(journal.Seq(seq)); err != nil {
		return q.s.failed(err)
	}
	q.publish()
	q.s.settler.look(q.s.journal.Size())
	return nil
}
