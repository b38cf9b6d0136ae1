package imap

import (
	"strings"

	"barid/imap/wire"
	"barid/internal/netserve"
)

// onlyArrivals tells whether the client is one that any line but EXISTS
// wakes for nothing: the Delta Chat core, which says so in ID where that is
// offered, and else never asks for CAPABILITY.
func (s *session) onlyArrivals() bool { return s.deltaID || !s.asked }

// idle begins IDLE (RFC 2177). What is pending follows the continuation:
// clients overlook what comes before it.
func (s *session) idle(c *wire.Command) (string, error) {
	if err := c.End(); err != nil {
		return noReply, err
	}
	if s.box.Mailbox != nil && s.box.cancel == nil {
		s.box.cancel = s.box.Subscribe(s)
	}
	s.tag = c.Tag
	s.idling.Store(true) // before the look at the mailbox: later changes ring
	s.sv.idle.Add(1)
	s.sv.keepAlives.join(s)
	s.conn.SetPace(netserve.Pace{Stall: stall}) // it may be silent for ever
	s.writer().Raw("+ idling\r\n")
	return noReply, s.tellIdle()
}

func (s *session) tellIdle() error {
	what := everything
	if s.onlyArrivals() {
		what = arrivals
	}
	return s.tell(what, nil)
}

// leaveIdle undoes what idle did.
func (s *session) leaveIdle() {
	if !s.idling.Swap(false) {
		return
	}
	s.sv.idle.Add(-1)
	s.sv.keepAlives.leave(s)
	s.conn.SetPace(netserve.Pace{Silence: silentAfter, Stall: stall})
}

// idleLine takes the line that ends IDLE.
func (s *session) idleLine() {
	line, err := s.in.Line(limitsBefore.Line)
	if err != nil {
		s.broken(err)
		return
	}
	s.leaveIdle()
	out := s.writer()
	tag := s.tag
	s.tag = ""
	if !strings.EqualFold(strings.TrimSpace(line), "DONE") {
		out.Raw(tag)
		out.Raw(" BAD Expected DONE\r\n")
		return
	}
	if !s.onlyArrivals() {
		if err := s.tell(everything, nil); err != nil {
			s.replyFor(nil, err)
			return
		}
	}
	out.Raw(tag)
	out.Raw(" OK Idle completed\r\n")
}

// Idle tells how many clients are in IDLE.
func (sv *Server) Idle() int64 { return sv.idle.Load() }

// Ring is the bell of the mailbox: somebody changed it. A session that does
// not idle looks by itself.
func (s *session) Ring() {
	if !s.idling.Load() || s.rung.Swap(true) {
		return
	}
	s.others.Add(1)
	go s.whileIdle(func() error {
		s.rung.Store(false) // before the look at the mailbox
		return s.tellIdle()
	})
}

// stillHere is the keep-alive. It is called under the lock of a queue.
func (s *session) stillHere() {
	s.others.Add(1)
	go s.whileIdle(func() error {
		s.writer().Raw("* OK Still here\r\n")
		return nil
	})
}

// whileIdle writes to an idle client. It is the body of a short goroutine,
// beside the one that waits for the client.
func (s *session) whileIdle(say func() error) {
	defer s.others.Done()
	defer s.caught()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.idling.Load() || s.over.Load() {
		s.rung.Store(false)
		return
	}
	if err := say(); err != nil {
		s.replyFor(nil, err)
	}
	s.flush()
	if s.over.Load() {
		s.conn.Close() // wakes the one who waits
	}
}
