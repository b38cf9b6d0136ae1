package turn

import (
	"sync"
	"time"
)

// budget is what one user of many may use: the allocations, and the octets of
// a day. Server.mu guards allocations.
type budget struct {
	allocations int

	mu     sync.Mutex // guards the fields below
	day    int64      // since the Unix epoch
	octets int64
}

// take counts octets, or tells that the day has no more of them.
func (b *budget) take(n int, now time.Time, perDay int64) bool {
	today := now.Unix() / int64(day/time.Second)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.day != today {
		b.day, b.octets = today, 0
	}
	if b.octets+int64(n) > perDay {
		return false
	}
	b.octets += int64(n)
	return true
}

// spent tells whether the day has nothing left.
func (b *budget) spent(now time.Time, perDay int64) bool { return !b.take(1, now, perDay) }

// pace bounds what passes over time; two seconds of it may pass at once.
type pace struct {
	mu   sync.Mutex // guards the field below
	free time.Time  // when all that passed is paid for
}

// pass takes n octets at so many per second, or tells that they are too many.
func (p *pace) pass(n int, now time.Time, perSecond int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free.Before(now) {
		p.free = now
	}
	if p.free.Sub(now) > 2*time.Second {
		return false
	}
	p.free = p.free.Add(time.Duration(n) * time.Second / time.Duration(perSecond))
	return true
}
