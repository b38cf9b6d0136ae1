package local

import (
	"sync"
	"time"
)

// maxJump is how far the clock may move beside the one that nobody sets, and
// a start may lie from the last time noted, before nothing expires.
const maxJump = 24 * time.Hour

// clock is the time of day, judged by a clock that nobody sets and by what
// was noted before the start. While it lies, what is stored gets the time that
// it should be: a mail of the year 1970 would be gone the moment the clock is
// put right, one of 2099 would stay for ever.
type clock struct {
	wall    func() time.Time
	elapsed func() time.Duration

	mu   sync.Mutex    // guards the fields below
	good time.Time     // it was this
	at   time.Duration // when elapsed gave that
}

// newClock trusts the clock as it is now.
func newClock(cfg *Config) *clock {
	c := &clock{wall: cfg.Now, elapsed: cfg.Elapsed}
	c.set(c.wall())
	return c
}

// set says that it is t now.
func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.good, c.at = t.Round(0), c.elapsed()
}

// noted takes what an earlier run noted for the last time it knew.
func (c *clock) noted(t time.Time) {
	if d := c.wall().Sub(t); d > maxJump || d < -maxJump {
		c.set(t)
	}
}

// off tells how far the clock is from where it should be.
func (c *clock) off() time.Duration {
	wall := c.wall().Round(0)
	c.mu.Lock()
	defer c.mu.Unlock()
	return wall.Sub(c.good.Add(c.elapsed() - c.at))
}

// lies tells whether the clock is more than a day off, and how much.
func (c *clock) lies() (off time.Duration, lies bool) {
	off = c.off()
	return off, off > maxJump || off < -maxJump
}

// noteworthy is what a later run may be told: the time, or, while it lies, the
// last that was known.
func (c *clock) noteworthy() time.Time {
	if _, lies := c.lies(); !lies {
		return c.wall()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.good
}

// now is the time that can be believed.
func (c *clock) now() time.Time {
	wall := c.wall()
	if off, lies := c.lies(); lies {
		return wall.Round(0).Add(-off)
	}
	return wall
}
