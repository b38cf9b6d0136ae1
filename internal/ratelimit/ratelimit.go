// Package ratelimit counts who does how much: a bucket per key that leaks
// one unit per interval (GCRA). It forgets a key whose bucket is empty.
package ratelimit

import (
	"hash/maphash"
	"sync"
	"time"
)

// Config of a Limiter.
type Config struct {
	// Every is the time in which one unit comes back.
	Every time.Duration
	// Burst is how many units may go at once. At least 1.
	Burst int
	// MaxKeys bounds the keys that are remembered. Beyond it the one that needs
	// remembering least, of a few, is forgotten. Default 100000.
	MaxKeys int
	// Now is the clock, monotonic. Default time.Now.
	Now func() time.Time
}

// Limiter limits by key. It is safe for many goroutines and needs none of its
// own: what is stale is removed by those who come later.
type Limiter[K comparable] struct {
	every, slack time.Duration
	perShard     int
	now          func() time.Time
	start        time.Time
	seed         maphash.Seed
	shards       [shards]shard[K]
}

const (
	shards = 16
	// sample is how many keys a newcomer looks at to find stale ones. Two
	// would keep up with one that is added; more shrink faster.
	sample = 8
)

type shard[K comparable] struct {
	mu sync.Mutex // guards the field below
	// free has, per key, the time since start at which its bucket is empty.
	free map[K]time.Duration
}

// New makes a Limiter.
func New[K comparable](cfg Config) *Limiter[K] {
	if cfg.MaxKeys <= 0 {
		cfg.MaxKeys = 100000
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l := &Limiter[K]{
		every: cfg.Every, slack: cfg.Every * time.Duration(max(cfg.Burst, 1)-1),
		perShard: max(cfg.MaxKeys/shards, 1), now: cfg.Now, start: cfg.Now(), seed: maphash.MakeSeed(),
	}
	for i := range l.shards {
		l.shards[i].free = map[K]time.Duration{}
	}
	return l
}

// Allow takes one unit of key, or takes nothing and tells after how long one
// will be there.
func (l *Limiter[K]) Allow(key K) (ok bool, after time.Duration) {
	now := l.now().Sub(l.start)
	s := &l.shards[maphash.Comparable(l.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	free, known := s.free[key]
	free = max(free, now)
	if over := free - now - l.slack; over > 0 {
		return false, over
	}
	if !known {
		s.makeRoom(now, l.perShard)
	}
	s.free[key] = free + l.every
	return true, 0
}

// makeRoom removes stale keys among a few, and when the shard is full the one
// that is stale soonest.
func (s *shard[K]) makeRoom(now time.Duration, most int) {
	var soonest K
	var when time.Duration
	looked := 0
	for key, free := range s.free { // in random order
		if free <= now {
			delete(s.free, key)
		} else if when == 0 || free < when {
			soonest, when = key, free
		}
		if looked++; looked == sample {
			break
		}
	}
	if len(s.free) >= most {
		delete(s.free, soonest)
	}
}

// Keys tells how many keys are remembered.
func (l *Limiter[K]) Keys() int {
	n := 0
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += len(s.free)
		s.mu.Unlock()
	}
	return n
}
