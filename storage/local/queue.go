package local

import (
	"math/bits"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"barid/smtp"
	"barid/storage"
	"barid/storage/maildir"
)

const (
	defaultQueueMax = 250_000
	// queueShare is which part of the queue one sender may have.
	queueShare = 10
)

// queue is the mail for other servers. An entry costs about a hundred octets
// of memory; its envelope and content are there, too, until it is settled.
//
// Its changes are records like those of accounts: decided on the newest state,
// with mu held until the record has its place, and applied then. What others
// are told of (Watch) and what is done to files waits until the record is
// durable.
type queue struct {
	s    *Store
	most int
	dir  maildir.Dir

	count  atomic.Int64 // of entries
	broken atomic.Int64 // of them, put aside

	// mu guards the fields below. It comes after account.mu and pub, and before
	// all else.
	mu      sync.Mutex
	slots   []queueSlot // ascending
	holes   int         // slots of entries that ended
	next    storage.QueueID
	seq     uint64 // the last record that changed it
	version uint64 // counts what the index has to have
	senders map[smtp.Address]*queueSender
	dests   map[string]*queueDest
	pending []pendingQueue  // not durable yet, ascending
	shown   storage.QueueID // all up to here are durable
	watch   *watcher        // nil when nobody watches
	telling *watcher        // that is called at this moment
	told    sync.Cond       // telling or its place has changed

	pub   sync.Mutex   // held by who hands on what became durable
	waits atomic.Int64 // length of pending

	flusher queueFlusher

	// The rest belongs to who holds Store.disk, or to Open.
	made     bool                     // the directories were made
	written  atomic.Uint64            // the version that the index has
	rebuilt  bool                     // the entries were taken from their files, without an index
	lost     bool                     // there was an index, and it was not readable
	indexed  uint64                   // the last record that the index had when it was read
	replayed map[storage.QueueID]bool // while the journal is replayed and rebuilt is set: entries that it brings
	torn     []storage.QueueID        // envelope files that are not whole, likewise
}

// queueSlot is the place of an entry; the entry is nil once it ended.
type queueSlot struct {
	id storage.QueueID
	e  *queued
}

// queueSender is who has entries in the queue.
type queueSender struct {
	addr smtp.Address
	n    int
}

// queueDest is where entries go.
type queueDest struct {
	name string
	n    int
}

// queued is an entry. All but state is guarded by queue.mu; what is above gone
// never changes.
type queued struct {
	id     storage.QueueID
	dest   *queueDest
	sender *queueSender
	at     storage.Time
	size   int64  // of the content
	prefix uint32 // octets
	to     uint32 // recipients there were

	gone  *recipientSet // that it has ended for; nil is none
	fresh *freshEntry   // until it is settled or has ended
	marks storage.QueueMarks
	state atomic.Uint32
}

// The bits of queued.state.
const (
	queuedEnded   = 1 << iota // nothing more is written of it
	queuedSettled             // its files are written
	queuedFound               // an earlier run may have written files of it
	queuedBroken              // its files cannot be read: put aside
)

func (e *queued) is(bit uint32) bool { return e.state.Load()&bit != 0 }
func (e *queued) set(bit uint32)     { e.state.Or(bit) }

// freshEntry is what a file will have.
type freshEntry struct {
	env     *envelope
	content *content
}

// row gives the entry as its user sees it.
func (e *queued) row() storage.QueueEntry {
	return storage.QueueEntry{
		ID: e.id, Dest: e.dest.name, Sender: e.sender.addr, Size: e.size + int64(e.prefix), Queued: e.at, Marks: e.marks,
	}
}

// recipientSet has the places of recipients in their envelope.
type recipientSet []uint64

func newRecipientSet(n uint32) recipientSet { return make(recipientSet, (n+63)/64) }

func (r recipientSet) has(at uint32) bool { return int(at/64) < len(r) && r[at/64]>>(at%64)&1 != 0 }
func (r recipientSet) add(at uint32)      { r[at/64] |= 1 << (at % 64) }

func (r recipientSet) len() (n uint32) {
	for _, word := range r {
		n += uint32(bits.OnesCount64(word))
	}
	return n
}

// goneFor tells whether the entry has ended for the recipient at a place.
func (e *queued) goneFor(at uint32) bool { return e.gone != nil && e.gone.has(at) }

// pendingQueue is what a record did to the queue. It waits for its flush.
type pendingQueue struct {
	seq  uint64
	next storage.QueueID // after it
	jobs []job
}

func newQueue(s *Store) *queue {
	q := &queue{
		s: s, most: s.cfg.QueueMax, dir: maildir.At(s.fs, queueDir), next: 1,
		senders: map[smtp.Address]*queueSender{}, dests: map[string]*queueDest{},
	}
	q.told.L = &q.mu
	q.flusher.init(q)
	return q
}

// at gives the place of an ID, or where it belongs. mu is held.
func (q *queue) at(id storage.QueueID) (int, bool) {
	if n := len(q.slots); n == 0 || q.slots[n-1].id < id {
		return n, false
	}
	i := sort.Search(len(q.slots), func(i int) bool { return q.slots[i].id >= id })
	return i, q.slots[i].id == id
}

// find gives an entry that has not ended, nil when there is none. mu is held.
func (q *queue) find(id storage.QueueID) *queued {
	if i, ok := q.at(id); ok {
		return q.slots[i].e
	}
	return nil
}

// insert adds an entry that is new. mu is held.
func (q *queue) insert(e *queued, dest string, sender smtp.Address) {
	if e.dest = q.dests[dest]; e.dest == nil {
		e.dest = &queueDest{name: dest}
		q.dests[dest] = e.dest
	}
	if e.sender = q.senders[sender]; e.sender == nil {
		e.sender = &queueSender{addr: sender}
		q.senders[sender] = e.sender
	}
	e.dest.n++
	e.sender.n++
	i, found := q.at(e.id)
	if found {
		q.slots[i].e = e
		q.holes--
	} else {
		q.slots = slices.Insert(q.slots, i, queueSlot{e.id, e})
	}
	q.count.Add(1)
	q.next = max(q.next, e.id+1)
}

// end takes an entry out. mu is held.
func (q *queue) end(e *queued) {
	e.set(queuedEnded)
	if e.is(queuedBroken) {
		q.broken.Add(-1)
	}
	i, _ := q.at(e.id)
	q.slots[i].e = nil
	q.count.Add(-1)
	if e.dest.n--; e.dest.n == 0 {
		delete(q.dests, e.dest.name)
	}
	if e.sender.n--; e.sender.n == 0 {
		delete(q.senders, e.sender.addr)
	}
	if e.fresh != nil {
		q.s.bodies.Lock()
		q.s.letGoQueued(e.fresh)
		q.s.bodies.Unlock()
		e.fresh = nil
	}
	if q.holes++; q.holes > 64 && q.holes > len(q.slots)/2 {
		q.slots = slices.Clone(slices.DeleteFunc(q.slots, func(s queueSlot) bool { return s.e == nil }))
		q.holes = 0
	}
}

// apply does what a change says, now that its record has its place, and gives
// what is to be done once that is durable. mu is held.
func (q *queue) apply(c *change, seq uint64, contents []*content) (jobs []job) {
	qc := c.queue
	q.seq = max(q.seq, seq)
	if c.kind == changeEnqueue {
		env := qc.env
		e := &queued{
			id: qc.id, at: storage.Time(c.at), size: contents[c.content].size, prefix: uint32(len(env.prefix)), to: uint32(len(env.to)),
			fresh: &freshEntry{env, contents[c.content]},
		}
		q.insert(e, env.dest, env.sender)
		q.s.holdQueued(e.fresh, seq)
		return []job{{kind: jobSettle, q: e}}
	}
	e := q.find(qc.id)
	if e == nil {
		return nil // it ended already: so it is when a record is replayed that the index has
	}
	q.version++
	if c.kind == changeMarks {
		e.marks = qc.marks
		return nil
	}
	gone := newRecipientSet(e.to)
	if e.gone != nil {
		copy(gone, *e.gone)
	}
	for _, at := range qc.gone {
		if at < e.to {
			gone.add(at)
		}
	}
	if len(qc.gone) > 0 && gone.len() < e.to {
		e.gone = &gone
		return nil
	}
	q.end(e)
	if e.is(queuedSettled | queuedFound) {
		return []job{{kind: jobUnlink, q: e}}
	}
	return nil
}

// commit applies the changes of a record of that number. mu is held.
func (q *queue) commit(r *record, seq uint64, contents []*content) {
	p := pendingQueue{seq: seq}
	for i := range r.changes {
		if c := &r.changes[i]; c.kind.ofQueue() {
			p.jobs = append(p.jobs, q.apply(c, seq, contents)...)
		}
	}
	p.next = q.next
	q.pending = append(q.pending, p)
	q.waits.Add(1)
}

// publish hands on all that is durable, and returns when it is handed on,
// whoever did it.
func (q *queue) publish() {
	if q.waits.Load() == 0 {
		return
	}
	q.pub.Lock()
	durable := uint64(q.s.journal.Durable())
	q.mu.Lock()
	n := 0
	for n < len(q.pending) && q.pending[n].seq <= durable {
		n++
	}
	done := slices.Clone(q.pending[:n])
	q.pending = slices.Delete(q.pending, 0, n)
	q.waits.Add(-int64(n))
	q.mu.Unlock()
	for _, p := range done {
		q.s.settler.take(nil, p.jobs)
	}
	if n > 0 {
		q.mu.Lock()
		q.shown = done[n-1].next - 1
		q.mu.Unlock()
	}
	q.pub.Unlock()
	q.tell()
}

// watcher is who wants to know of entries.
type watcher struct {
	f    func(storage.QueueEntry)
	at   storage.QueueID // told up to here; guarded by queue.mu
	over atomic.Bool
}

// Watch implements storage.Queue.
func (s *Store) Watch(f func(storage.QueueEntry)) (cancel func()) {
	q := s.queue
	w := &watcher{f: f}
	q.mu.Lock()
	q.watch = w
	upTo := q.shown
	q.mu.Unlock()
	q.tell()
	q.mu.Lock()
	for q.watch == w && w.at < upTo { // somebody else is telling
		q.told.Wait()
	}
	q.mu.Unlock()
	return func() {
		w.over.Store(true)
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.watch == w {
			q.watch = nil
		}
		for q.telling == w {
			q.told.Wait()
		}
	}
}

// toldAtOnce is how many entries are told between two looks for more.
const toldAtOnce = 64

// tell tells the watcher what he does not know, with no lock held. Whoever
// comes while it is done leaves the rest to the one who does it.
func (q *queue) tell() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.telling != nil {
		return
	}
	rows := make([]storage.QueueEntry, 0, toldAtOnce)
	for w := q.watch; w != nil && w.at < q.shown; w = q.watch {
		rows = rows[:0]
		i, _ := q.at(w.at + 1)
		for ; i < len(q.slots) && q.slots[i].id <= q.shown && len(rows) < toldAtOnce; i++ {
			if e := q.slots[i].e; e != nil && !e.is(queuedBroken) {
				rows = append(rows, e.row())
			}
		}
		upTo := q.shown
		if len(rows) == toldAtOnce {
			upTo = rows[toldAtOnce-1].ID
		}
		q.telling = w
		q.mu.Unlock()
		for _, row := range rows {
			if !w.over.Load() {
				w.f(row)
			}
		}
		q.mu.Lock()
		q.telling, w.at = nil, upTo
		q.told.Broadcast()
	}
}

// QueueLen implements storage.Queue.
func (s *Store) QueueLen() (n, most int) { return int(s.queue.count.Load()), s.queue.most }
