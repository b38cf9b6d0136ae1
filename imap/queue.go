package imap

import (
	"sync"
	"time"
)

// queue holds sessions that wait for one and the same span of time: who
// joined first is due first. All of them share one timer.
type queue struct {
	began time.Time
	span  time.Duration
	fire  func(*session) // called under the lock, so that whoever left is not called; must be quick

	mu    sync.Mutex // guards the fields below, and the links of the sessions
	head  *session
	tail  *session
	timer *time.Timer
}

// link is a session's place in a queue.
type link struct {
	prev, next *session
	in         *queue
	due        time.Duration // since the queue began: there are many links
}

func (q *queue) init(span time.Duration, fire func(*session)) {
	q.began, q.span, q.fire = time.Now(), span, fire
}

// join puts s at the end. A session is in one queue at a time.
func (q *queue) join(s *session) {
	if q.span <= 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.push(s)
}

func (q *queue) push(s *session) {
	s.queued = link{prev: q.tail, in: q, due: time.Since(q.began) + q.span}
	if q.tail != nil {
		q.tail.queued.next = s
	} else {
		q.head = s
	}
	q.tail = s
	if q.head == s {
		q.arm()
	}
}

// leave takes s out; nothing happens when it is not in.
func (q *queue) leave(s *session) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s.queued.in == q {
		q.unlink(s)
	}
}

func (q *queue) unlink(s *session) {
	l := s.queued
	if l.prev != nil {
		l.prev.queued.next = l.next
	} else {
		q.head = l.next
	}
	if l.next != nil {
		l.next.queued.prev = l.prev
	} else {
		q.tail = l.prev
	}
	s.queued = link{}
	if q.head == nil && q.timer != nil {
		q.timer.Stop()
	}
}

// arm sets the timer for the head.
func (q *queue) arm() {
	d := q.head.queued.due - time.Since(q.began)
	if q.timer == nil {
		q.timer = time.AfterFunc(d, q.tick)
		return
	}
	q.timer.Reset(d)
}

// tick serves everybody who is due and puts them at the end again.
func (q *queue) tick() {
	q.mu.Lock()
	defer q.mu.Unlock()
	var due []*session
	now := time.Since(q.began)
	for q.head != nil && q.head.queued.due <= now {
		s := q.head
		q.unlink(s)
		due = append(due, s)
	}
	for _, s := range due {
		q.push(s)
		q.fire(s)
	}
	if q.head != nil {
		q.arm()
	}
}
