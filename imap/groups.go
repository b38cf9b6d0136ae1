package imap

import (
	"context"
	"sync"
)

// groups keeps the sessions by the context they were served with, so that
// its end costs one watcher and not one per session.
type groups struct {
	mu sync.Mutex // guards the field below, its groups, and the member links of the sessions
	by map[<-chan struct{}]*group
}

// group is the sessions of one context.
type group struct {
	done  <-chan struct{}
	ctx   context.Context // the same without its end: what is begun is finished
	head  *session
	ended bool
	stop  func() bool
}

// member is a session's place in its group.
type member struct {
	group      *group
	prev, next *session
}

// enter takes in a session, whose ctx is the one it is served with and then
// becomes one that never ends.
func (gs *groups) enter(s *session) {
	ctx := s.ctx
	gs.mu.Lock()
	defer gs.mu.Unlock()
	g := gs.by[ctx.Done()]
	if g == nil {
		g = &group{done: ctx.Done(), ctx: context.WithoutCancel(ctx)}
		if gs.by == nil {
			gs.by = map[<-chan struct{}]*group{}
		}
		gs.by[g.done] = g
		g.stop = context.AfterFunc(ctx, func() { gs.drain(g) })
	}
	s.ctx = g.ctx
	s.member = member{group: g, next: g.head}
	if g.head != nil {
		g.head.member.prev = s
	}
	g.head = s
	if g.ended {
		s.drain()
	}
}

func (gs *groups) leave(s *session) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	m := s.member
	if m.prev != nil {
		m.prev.member.next = m.next
	} else {
		m.group.head = m.next
	}
	if m.next != nil {
		m.next.member.prev = m.prev
	}
	s.member = member{}
	if m.group.head == nil {
		m.group.stop()
		delete(gs.by, m.group.done)
	}
}

// drain tells every session of the group to end.
func (gs *groups) drain(g *group) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	g.ended = true
	for s := g.head; s != nil; s = s.member.next {
		s.drain()
	}
}
