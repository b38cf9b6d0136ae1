package push

import (
	stdheap "container/heap"
	"math"
	"time"
)

// queue is what waits, in memory, bounded. It decides and does no I/O; the
// Sender's lock guards it.
type queue struct {
	maxEntries int
	maxOctets  int64 // of their lines in the file

	items   map[key]*item
	fresh   heap // never failed
	retries heap
	oldest  *item // ends of the list by queued
	newest  *item
	order   uint64
	octets  int64
	flying  int
	again   int // of flying: those that failed before and are not slow
	slow    int // of flying: those that have been for longer than patience

	recent  map[digest]int64 // when a token was last posted, for the length of apart
	expires []posted         // the same in order
	looked  int              // of expires: how many were looked at for being slow

	dirty   []*item // to be written
	removed []key   // written, and to be unwritten
}

type posted struct {
	it    *item
	token digest
	at    int64
}

func newQueue(maxEntries int, maxOctets int64) *queue {
	return &queue{maxEntries: maxEntries, maxOctets: maxOctets, items: map[key]*item{}, recent: map[digest]int64{}}
}

// add has a token posted now. What waits already begins anew: its message is
// as new as any. It tells how many old items had to go.
func (q *queue) add(k key, now int64) (discarded int) {
	it := q.items[k]
	switch {
	case it == nil:
		it = &item{key: k, queued: now, due: now, place: -1}
		q.insert(it)
		return q.shrink(it)
	case it.flying:
		it.again = now
		return 0
	}
	q.leaveHeap(it)
	q.unlink(it)
	it.queued, it.due, it.attempts, it.down = now, now, 0, false
	q.link(it)
	q.enterHeap(it)
	q.touch(it)
	return 0
}

func (q *queue) insert(it *item) {
	q.items[it.key] = it
	q.octets += lineSize(it.key)
	q.link(it)
	q.enterHeap(it)
	q.touch(it)
}

// shrink removes the oldest until the bounds hold. What is on its way is in
// nobody's way for long; newcomer stays.
func (q *queue) shrink(newcomer *item) (discarded int) {
	for it := q.oldest; it != nil && (len(q.items) > q.maxEntries || q.octets > q.maxOctets); {
		next := it.newer
		if !it.flying && it != newcomer {
			q.remove(it)
			discarded++
		}
		it = next
	}
	return discarded
}

// remove ends an item.
func (q *queue) remove(it *item) {
	if it.flying {
		q.land(it)
	}
	q.leaveHeap(it)
	q.unlink(it)
	delete(q.items, it.key)
	q.octets -= lineSize(it.key)
	it.gone = true
	if it.saved {
		q.removed = append(q.removed, it.key)
	}
}

// touch has the item's state written.
func (q *queue) touch(it *item) {
	if !it.dirty {
		it.dirty = true
		q.dirty = append(q.dirty, it)
	}
}

// take gives an item that may be posted now, or nil. First tries go before
// repeated ones, which never have more than half of the slots.
func (q *queue) take(now int64, slots int) *item {
	q.pass(now)
	for _, h := range []*heap{&q.fresh, &q.retries} {
		for len(*h) > 0 && (*h)[0].due <= now && (h == &q.fresh || q.again < max(slots/2, 1)) {
			it := (*h)[0]
			if last, ok := q.recent[it.token]; ok {
				it.due = last + apart.Milliseconds()
				stdheap.Fix(h, 0)
				continue
			}
			q.leaveHeap(it)
			it.flying = true
			q.flying++
			if it.attempts > 0 {
				q.again++
			}
			q.recent[it.token] = now
			q.expires = append(q.expires, posted{it, it.token, now})
			return it
		}
	}
	return nil
}

// pass takes notice of the time: it finds requests that became slow, and
// forgets tokens that may be posted again.
func (q *queue) pass(now int64) {
	for ; q.looked < len(q.expires) && q.expires[q.looked].at+patience.Milliseconds() <= now; q.looked++ {
		// It is the same flight: the next with its token is apart from it.
		if it := q.expires[q.looked].it; it.flying && !it.slow {
			it.slow = true
			q.slow++
			if it.attempts > 0 {
				q.again--
			}
		}
	}
	n := 0
	for n < len(q.expires) && (q.expires[n].at+apart.Milliseconds() <= now || q.expires[n].at > now) {
		delete(q.recent, q.expires[n].token)
		n++
	}
	q.looked = max(q.looked-n, 0)
	if q.expires = q.expires[n:]; len(q.expires) == 0 {
		q.expires = nil
	}
}

// nextSlow gives the time at which a request may become slow.
func (q *queue) nextSlow() int64 {
	if q.looked < len(q.expires) {
		return q.expires[q.looked].at + patience.Milliseconds()
	}
	return math.MaxInt64
}

// next gives the time at which take may have something.
func (q *queue) next() int64 {
	at := int64(math.MaxInt64)
	for _, h := range []heap{q.fresh, q.retries} {
		if len(h) > 0 {
			at = min(at, h[0].due)
		}
	}
	return at
}

// land ends an item's flight.
func (q *queue) land(it *item) {
	it.flying = false
	q.flying--
	switch {
	case it.slow:
		it.slow = false
		q.slow--
	case it.attempts > 0:
		q.again--
	}
}

// done ends an item that was posted, or lets it wait once more for the
// messages that came meanwhile.
func (q *queue) done(it *item) {
	if it.gone {
		return
	}
	if it.again == 0 {
		q.remove(it)
		return
	}
	q.land(it)
	q.unlink(it)
	it.queued, it.due, it.again, it.attempts = it.again, it.again, 0, 0
	q.link(it)
	q.enterHeap(it)
	q.touch(it)
}

// failure says how a request ended that did not do what it should.
type failure int

const (
	ours    failure = iota // nothing about the item or the gateway
	itsOwn                 // the gateway refused it: after the last try it is over
	gateway                // the gateway is down: the item is over at its deadline only
)

// later lets an item wait after a failure. It tells whether the item had its
// last chance, and is gone.
func (q *queue) later(it *item, now int64, wait time.Duration, why failure) (over bool) {
	if it.gone {
		return false
	}
	it.down = why == gateway
	if it.again != 0 {
		q.done(it)
		// No sooner than a first failure allows: the newer message is no reason to
		// ask more often.
		q.leaveHeap(it)
		it.due = max(it.due, now+min(wait, firstPause).Milliseconds())
		q.enterHeap(it)
		return false
	}
	q.land(it)
	it.due = now + wait.Milliseconds()
	last, end := it.attempts == maxAttempts-1, it.queued+deadline.Milliseconds()
	if why == gateway && now < end {
		it.due = min(it.due, end) // the gateway may be back before
	}
	if why == itsOwn && last || it.due > end {
		q.remove(it)
		return true
	}
	if why != ours && !last {
		it.attempts++
	}
	q.enterHeap(it)
	q.touch(it)
	return false
}

// release has everything posted that waits only because the gateway was down.
func (q *queue) release(now int64) {
	for _, h := range []*heap{&q.fresh, &q.retries} {
		for _, it := range *h {
			if it.down && it.due > now {
				it.due = now
			}
		}
		stdheap.Init(h)
	}
}

// firstPause is the pause after a first failure.
const firstPause = 8 * time.Second

// expire removes what waits longer than the deadline and tells how many.
func (q *queue) expire(now int64) (n int) {
	for it := q.oldest; it != nil && it.queued+deadline.Milliseconds() <= now; {
		next := it.newer
		if !it.flying {
			q.remove(it)
			n++
		}
		it = next
	}
	return n
}

// heapOf gives the heap in which an item waits.
func (q *queue) heapOf(it *item) *heap {
	if it.attempts == 0 {
		return &q.fresh
	}
	return &q.retries
}

func (q *queue) enterHeap(it *item) {
	q.order++
	it.order = q.order
	stdheap.Push(q.heapOf(it), it)
}

func (q *queue) leaveHeap(it *item) {
	if it.place >= 0 {
		stdheap.Remove(q.heapOf(it), it.place)
	}
}

// link puts an item into the list by queued, almost always at its end.
func (q *queue) link(it *item) {
	older := q.newest
	for older != nil && older.queued > it.queued {
		older = older.older
	}
	it.older = older
	if older == nil {
		it.newer, q.oldest = q.oldest, it
	} else {
		it.newer, older.newer = older.newer, it
	}
	if it.newer == nil {
		q.newest = it
	} else {
		it.newer.older = it
	}
}

func (q *queue) unlink(it *item) {
	if it.older == nil {
		q.oldest = it.newer
	} else {
		it.older.newer = it.newer
	}
	if it.newer == nil {
		q.newest = it.older
	} else {
		it.newer.older = it.older
	}
	it.older, it.newer = nil, nil
}
