package relay

import (
	"sync"
	"time"
)

// scratch are two sizes of pooled memory for reading: one for more than a TLS
// record, and one for the largest frame with what carries it. They carry
// nothing from one use to the next.
var (
	small = sync.Pool{New: func() any { b := make([]byte, 20<<10); return &b }}
	large = sync.Pool{New: func() any { b := make([]byte, largeChunk+4<<10); return &b }}
)

// source reads a connection. It has memory only while there is something in
// it.
type source struct {
	b      *[]byte // from small or large; nil without
	r, w   int     // (*b)[r:w] waits to be used
	hiding bool    // the TLS layer may have more than it gave out
	begun  bool    // the time for the rest of a frame runs
	moved  bool    // a frame was complete since
}

// waiting gives what waits to be used.
func (s *source) waiting() []byte {
	if s.b == nil {
		return nil
	}
	return (*s.b)[s.r:s.w]
}

// used says that n octets of it are done with.
func (s *source) used(n int) { s.r += n }

// put places octets that somebody else has read, before the first read.
func (s *source) put(b []byte) {
	if len(b) > 0 {
		s.grow(len(b))
		s.w += copy((*s.b)[s.w:], b)
	}
	s.hiding = true // whoever read them may have made TLS keep more
}

// grow makes room for a frame of n octets in all, of which some are here, and
// for at least one more.
func (s *source) grow(n int) {
	if s.b == nil {
		s.b = small.Get().(*[]byte)
	}
	if n > len(*s.b) {
		b := large.Get().(*[]byte)
		s.w = copy(*b, s.waiting())
		s.r = 0
		small.Put(s.b)
		s.b = b
	}
	if room := len(*s.b) - s.r; s.r > 0 && (room < n || s.w == len(*s.b)) {
		s.w = copy(*s.b, s.waiting())
		s.r = 0
	}
}

// release gives the memory back; nothing waits in it.
func (s *source) release() {
	if s.b == nil {
		return
	}
	if len(*s.b) > 20<<10 {
		large.Put(s.b)
	} else {
		small.Put(s.b)
	}
	s.b, s.r, s.w = nil, 0, 0
}

// read waits for octets of a frame that needs so many in all. While there is
// nothing of one, it holds no memory and may wait for ever; else the rest has
// frameTime to come.
func (c *client) read(need int) error {
	s := &c.source
	switch {
	case s.r == s.w && !c.messages.Partial():
		if s.begun {
			s.begun = false
			c.stream.SetReadDeadline(time.Time{})
		}
		// Shutdown ends the context first and wakes readers then.
		if err := c.s.ctx.Err(); err != nil {
			return err
		}
		s.r, s.w = 0, 0
		if !s.hiding && c.below != nil && !c.below.Buffered() {
			s.release()
			if err := c.below.WaitReadable(); err != nil {
				return err
			}
		}
	case !s.begun || s.moved:
		s.begun, s.moved = true, false
		c.stream.SetReadDeadline(time.Now().Add(frameTime))
		if err := c.s.ctx.Err(); err != nil {
			return err
		}
	}
	s.grow(need)
	space := (*s.b)[s.w:]
	n, err := c.stream.Read(space)
	s.w += n
	s.hiding = n == len(space)
	if n == 0 {
		return err
	}
	c.heard.Store(int64(c.s.now()))
	return c.pay(n)
}
