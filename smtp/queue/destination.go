package queue

import (
	"math/rand/v2"
	"time"

	"barid/smtp"
	"barid/storage"
)

// state of an entry.
type state uint8

const (
	waiting state = iota // for its own time, in timers
	queued               // for its turn, in its sender's line
	flying               // under way
	held                 // by the operator
)

// entry is one message for one destination: 100,000 of them are some 10 MB.
type entry struct {
	id     storage.QueueID
	dest   *destination
	sender smtp.Address
	queued storage.Time
	last   *smtp.Reply // of the last failure
	timer  *timer      // while waiting
	size   int32
	tries  uint16
	state  state
	marks  storage.QueueMarks
	doomed bool // to be discarded, or given up, when it has landed

	line       *line  // while queued
	prev, next *entry // in it
}

// line is the mail of one sender to one destination, oldest first. Those of a
// destination form a circle, so that any number of them, and of entries,
// comes and goes at the same cost.
type line struct {
	sender     smtp.Address
	head, tail *entry
	deficit    int64
	prev, next *line
}

// destination is a domain and how it fares.
type destination struct {
	name  string
	lines map[smtp.Address]*line // those with mail
	turn  *line                  // whose turn it is, nil when there is none

	window   float64
	failures int    // to connect, since the last success
	breaker  *timer // until when nothing is tried
	probing  bool   // the breaker is half open: one attempt tells

	inFlight, waiting, held int
	queued                  int // in lines
	readyAt                 int // in the ring, -1 when not there

	// For the operator.
	okSince, badSince time.Time
	lastError         string
	lastHost, channel string
	took              time.Duration // of a delivery, averaged
	sent, refused     int64
	used              time.Time
}

// destination gives the one of that name, made when it is new. A new one has
// no entries and is counted as idle.
func (q *Queue) destination(name string) *destination {
	d := q.dests[name]
	if d == nil {
		q.forgetIdle()
		d = &destination{name: name, window: firstWindow, readyAt: -1, used: q.cfg.Now()}
		q.dests[name] = d
		q.idle++
	}
	return d
}

// forgetIdle makes room among destinations without mail.
func (q *Queue) forgetIdle() {
	if q.idle < keptIdle {
		return
	}
	var oldest *destination
	seen := 0
	for _, d := range q.dests {
		if !d.empty() {
			continue
		}
		if oldest == nil || d.used.Before(oldest.used) {
			oldest = d
		}
		if seen++; seen == 8 {
			break
		}
	}
	if oldest != nil {
		if oldest.breaker != nil {
			q.timers.stop(oldest.breaker)
		}
		delete(q.dests, oldest.name)
		q.idle--
	}
}

func (d *destination) empty() bool {
	return d.queued == 0 && d.waiting == 0 && d.held == 0 && d.inFlight == 0
}

// enqueue puts an entry into its sender's line, at its head when it has had
// its turn already.
func (q *Queue) enqueue(x *entry, first bool) {
	d := x.dest
	x.state = queued
	l := d.lineOf(x.sender)
	x.line = l
	switch {
	case l.head == nil:
		l.head, l.tail = x, x
	case first:
		x.next, l.head.prev = l.head, x
		l.head = x
	default:
		x.prev, l.tail.next = l.tail, x
		l.tail = x
	}
	d.queued++
	q.place(d)
}

// lineOf gives the line of a sender; a new one has its turn last.
func (d *destination) lineOf(sender smtp.Address) *line {
	l := d.lines[sender]
	if l != nil {
		return l
	}
	l = &line{sender: sender}
	if d.lines == nil {
		d.lines = map[smtp.Address]*line{}
	}
	d.lines[sender] = l
	if d.turn == nil {
		l.prev, l.next = l, l
		d.turn = l
		return l
	}
	l.prev, l.next = d.turn.prev, d.turn
	l.prev.next, l.next.prev = l, l
	return l
}

// pop takes the entry whose turn it is: senders in turn, by deficit round
// robin (M. Shreedhar, G. Varghese, 1995).
func (d *destination) pop() *entry {
	for {
		l := d.turn
		x := l.head
		if l.deficit < int64(x.size) {
			l.deficit += quantum
			d.turn = l.next
			continue
		}
		l.deficit -= int64(x.size)
		d.take(x)
		return x
	}
}

// take takes an entry out of its line, and a line that is empty then out of
// the circle.
func (d *destination) take(x *entry) {
	l := x.line
	if x.prev == nil {
		l.head = x.next
	} else {
		x.prev.next = x.next
	}
	if x.next == nil {
		l.tail = x.prev
	} else {
		x.next.prev = x.prev
	}
	x.line, x.prev, x.next = nil, nil, nil
	d.queued--
	if l.head != nil {
		return
	}
	l.prev.next, l.next.prev = l.next, l.prev
	if d.turn == l {
		d.turn = l.next
	}
	delete(d.lines, l.sender)
	if len(d.lines) == 0 {
		d.turn, d.lines = nil, nil
	}
}

// may tells whether the destination can have one more attempt.
func (d *destination) may() bool {
	switch {
	case d.queued == 0 || d.breaker != nil:
		return false
	case d.probing:
		return d.inFlight == 0
	}
	return d.inFlight < int(d.window)
}

// place puts a destination into the ring of those that may send, or takes it
// out.
func (q *Queue) place(d *destination) {
	switch may := d.may(); {
	case may && d.readyAt < 0:
		q.ready.add(d)
	case !may && d.readyAt >= 0:
		q.ready.remove(d)
	}
}

// succeeded opens the window.
func (q *Queue) succeeded(d *destination) {
	if d.probing {
		d.probing, d.window = false, firstWindow
	} else {
		d.window = min(d.window+1/d.window, maxWindow)
	}
	d.failures = 0
	if d.okSince.IsZero() {
		d.okSince = q.cfg.Now()
	}
	d.badSince, d.lastError = time.Time{}, ""
}

// broke narrows the window, and opens the breaker when nothing is left.
func (q *Queue) broke(d *destination, why string) {
	d.okSince, d.lastError = time.Time{}, why
	if d.badSince.IsZero() {
		d.badSince = q.cfg.Now()
	}
	if d.breaker != nil {
		return // another attempt has said so
	}
	if d.window--; d.window >= 1 && !d.probing {
		return
	}
	d.failures++
	d.probing, d.window = true, 1
	d.breaker = q.timers.add(q.cfg.Now().Add(q.pause(d.failures)), func() {
		d.breaker = nil
		q.place(d)
	})
	q.place(d)
}

// pause is how long to wait after so many failures in a row: doubling, with a
// jitter of a quarter.
func (q *Queue) pause(failures int) time.Duration {
	p := q.cfg.FirstRetry
	for n := 1; n < failures && p < q.cfg.MaxRetry; n++ {
		p *= 2
	}
	p = min(p, q.cfg.MaxRetry)
	return p*3/4 + rand.N(p/2)
}

// later lets an entry wait by itself.
func (q *Queue) later(x *entry, pause time.Duration) {
	d := x.dest
	x.state = waiting
	d.waiting++
	x.timer = q.timers.add(q.cfg.Now().Add(pause), func() {
		x.timer = nil
		d.waiting--
		q.enqueue(x, false)
	})
}
