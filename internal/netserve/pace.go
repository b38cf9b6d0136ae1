package netserve

import (
	"errors"
	"os"
	"time"
)

// Pace says how slow a peer may be. A zero field means no bound.
type Pace struct {
	// Silence is the longest wait for the next octet.
	Silence time.Duration
	// Floor is the least octets per second that a peer must keep up while it
	// is sending something long; Silence bounds its pauses.
	//
	// A peer starts with a credit of waiting time (twice the Silence, at least
	// 30 s), gets a second for every Floor octets, never more than it started
	// with, and pays for the time in which we wait for it. Our own delays cost
	// it nothing.
	Floor int
	// Stall is the longest time in which a write makes no progress. It is
	// noticed after at most twice that time.
	Stall time.Duration
}

// credit is the waiting time that a peer starts with when there is a Floor.
func (p Pace) credit() time.Duration { return max(2*p.Silence, 30*time.Second) }

// SetPace sets how slow the peer may be from now on. It may be called while
// another goroutine reads or writes; the new bounds begin now. A new
// connection has no bounds.
func (c *Conn) SetPace(p Pace) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pace = p
	c.slack = p.credit()
	now := time.Now()
	c.Conn.SetReadDeadline(c.readDeadline(now))
	c.Conn.SetWriteDeadline(c.writeDeadline(now))
}

// SetDeadline sets a fixed end for reads and writes, beside the Pace.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets a fixed end for reads, beside the Pace.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readBy = t
	return private(c.Conn.SetReadDeadline(c.readDeadline(time.Now())))
}

// SetWriteDeadline sets a fixed end for writes, beside the Pace.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeBy = t
	return private(c.Conn.SetWriteDeadline(c.writeDeadline(time.Now())))
}

// readDeadline is the end of a read that begins now. Called under the lock.
func (c *Conn) readDeadline(now time.Time) time.Time {
	by := c.readBy
	if c.pace.Silence > 0 {
		by = earlier(by, now.Add(c.pace.Silence))
	}
	if c.pace.Floor > 0 {
		by = earlier(by, now.Add(max(c.slack, 0)))
	}
	return by
}

// writeDeadline is the end of a write that begins now, if nothing moves.
// Called under the lock.
func (c *Conn) writeDeadline(now time.Time) time.Time {
	if c.pace.Stall > 0 {
		return earlier(c.writeBy, now.Add(c.pace.Stall))
	}
	return c.writeBy
}

// earlier gives the earlier of two deadlines, of which a may be unset.
func earlier(a, b time.Time) time.Time {
	if !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}

// beginRead renews the deadline for a read. The time it returns is for
// endRead. Without a Pace it touches nothing.
func (c *Conn) beginRead() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pace.Silence <= 0 && c.pace.Floor <= 0 {
		return time.Time{}
	}
	now := time.Now()
	c.Conn.SetReadDeadline(c.readDeadline(now))
	return now
}

// endRead settles what a read of n octets earned and cost by the Floor.
func (c *Conn) endRead(began time.Time, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	floor := c.pace.Floor
	if floor <= 0 || began.IsZero() {
		return
	}
	earned := time.Duration(float64(n) / float64(floor) * float64(time.Second))
	c.slack = min(c.slack-time.Since(began)+earned, c.pace.credit())
}

// beginWrite renews the deadline for a write and tells whether it is the
// Stall that ends it, so that progress buys more time.
func (c *Conn) beginWrite() (byStall bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pace.Stall <= 0 {
		return false
	}
	by := c.writeDeadline(time.Now())
	c.Conn.SetWriteDeadline(by)
	return !by.Equal(c.writeBy)
}

// Write writes all of p. A write that moves, however slowly, goes on; one
// that makes no progress for a Stall ends with os.ErrDeadlineExceeded.
func (c *Conn) Write(p []byte) (int, error) {
	if c.shake != nil {
		c.shake.answered = true
	}
	for done := 0; ; {
		more := c.beginWrite()
		n, err := c.Conn.Write(p[done:])
		done += n
		if err == nil || n == 0 || !more || !errors.Is(err, os.ErrDeadlineExceeded) {
			return done, private(err)
		}
	}
}
