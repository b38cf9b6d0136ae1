// Package machine tells whether the machine under a relay has room for one
// account more: its load, its memory, its disk. What exists is served
// whatever the machine lacks; this is about growing only.
package machine

import (
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"barid/internal/metrics"
	"barid/internal/ratelimit"
)

const (
	// freshFor is how long a value that was read is believed.
	freshFor = time.Second
	// margin is the part of a limit by which a value must be past it again
	// before a refusal ends, so that it does not come and go.
	margin = 0.1
	// warnEvery is how often a value that cannot be read is told.
	warnEvery = 10 * time.Minute
)

// Limits are the bounds; zero is no bound.
type Limits struct {
	MaxLoad   float64 // of the last minute, as uptime(1) shows it
	MinMemory int64   // available, in octets
	MinDisk   int64   // free, in octets
	MinInodes int64   // free
}

// Config of a Watch.
type Config struct {
	Limits Limits
	// Load gives the load of the last minute. Default: the kernel's.
	Load func() (float64, error)
	// Memory gives the octets that are available without swapping. Default: the
	// machine's or the cgroup's, whichever is less.
	Memory func() (int64, error)
	// Disk gives what is free to us where mail is kept. Required.
	Disk func() (octets, inodes uint64, err error)

	Logger  *slog.Logger      // nil is silence
	Metrics *metrics.Registry // nil is fine
	Now     func() time.Time  // nil is time.Now
}

// Reading is one value beside its limit.
type Reading struct {
	Name     string // "load", "memory", "disk", "inodes"
	Value    float64
	Limit    float64 // zero is none
	AtMost   bool    // Limit is the most that is allowed; else the least
	Octets   bool    // both are octets
	Refusing bool    // too much, or too little, for another account
	Err      error   // the value could not be read; it refuses nobody then
}

// Shortage is why the machine takes no account more.
type Shortage struct {
	Name string // of the Reading
	text string
}

func (s *Shortage) Error() string { return s.text }

// Watch reads the values when somebody asks, at most once a second.
type Watch struct {
	cfg      Config
	log      *slog.Logger
	warnings *ratelimit.Limiter[string]

	mu    sync.Mutex // guards the fields below; held while values are read
	read  time.Time
	now   []Reading
	since [4]bool // which refuse, by place in now
}

// New makes a Watch. It reads nothing yet.
func New(cfg Config) *Watch {
	if cfg.Load == nil {
		cfg.Load = load
	}
	if cfg.Memory == nil {
		cfg.Memory = memory
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	w := &Watch{cfg: cfg, log: cfg.Logger}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	w.warnings = ratelimit.New[string](ratelimit.Config{Every: warnEvery, Burst: 1, MaxKeys: 100, Now: cfg.Now})
	for i, name := range []string{"load_1m", "available_memory_bytes", "free_disk_bytes", "free_inodes"} {
		help := "What the machine has, as the limits on new accounts see it: " + name + "."
		cfg.Metrics.Gauge("machine_"+name, help, func() float64 { return w.Readings()[i].Value })
		cfg.Metrics.Gauge("machine_"+name+"_limit", "Limit for new accounts, 0 for none: "+name+".", func() float64 { return w.Readings()[i].Limit })
	}
	cfg.Metrics.Gauge("machine_refuses", "1 while the machine has no room for new accounts.", func() float64 {
		if w.Admit() != nil {
			return 1
		}
		return 0
	})
	return w
}

// Admit tells whether there is room for an account more: nil, or a *Shortage
// that names the first value past its limit, in the order load, memory, disk,
// inodes. A value that cannot be read is passed over.
func (w *Watch) Admit() error {
	for _, r := range w.Readings() {
		if r.Refusing {
			return &Shortage{Name: r.Name, text: r.text()}
		}
	}
	return nil
}

// Readings gives the values, in the order of Admit. The caller may keep them.
func (w *Watch) Readings() []Reading {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.cfg.Now()
	if age := now.Sub(w.read); w.now == nil || age >= freshFor || age < 0 {
		w.read, w.now = now, w.readAll()
	}
	return append([]Reading(nil), w.now...)
}

// readAll reads every value. The lock is held.
func (w *Watch) readAll() []Reading {
	limits := w.cfg.Limits
	load, loadErr := w.cfg.Load()
	memory, memoryErr := w.cfg.Memory()
	octets, inodes, diskErr := w.cfg.Disk()
	all := []Reading{
		{Name: "load", Value: load, Limit: limits.MaxLoad, AtMost: true, Err: loadErr},
		{Name: "memory", Value: float64(memory), Limit: float64(limits.MinMemory), Octets: true, Err: memoryErr},
		{Name: "disk", Value: float64(octets), Limit: float64(limits.MinDisk), Octets: true, Err: diskErr},
		{Name: "inodes", Value: float64(inodes), Limit: float64(limits.MinInodes), Err: diskErr},
	}
	for i := range all {
		w.judge(&all[i], &w.since[i])
	}
	return all
}

// judge decides whether a value refuses. It does from the limit on, and until
// it is well past it again.
func (w *Watch) judge(r *Reading, refused *bool) {
	switch {
	case r.Err != nil:
		r.Value = 0
		if ok, _ := w.warnings.Allow(r.Name); ok && r.Limit != 0 {
			w.log.Warn("ignoring unreadable system limit", "part", "machine", "limit", r.Name, "error", r.Err)
		}
	case r.Limit == 0:
	default:
		at := r.Limit
		if *refused {
			at = r.end()
		}
		r.Refusing = r.AtMost && r.Value > at || !r.AtMost && r.Value < at
	}
	if r.Refusing != *refused && r.Limit != 0 {
		*refused = r.Refusing
		if r.Refusing {
			w.log.Warn("no new accounts: the machine has no room for more", "part", "machine", "limit", r.Name)
		} else {
			w.log.Info("the machine has room for new accounts again", "part", "machine", "limit", r.Name)
		}
	}
}

// end gives the value at which a refusal ends.
func (r *Reading) end() float64 {
	past := math.Abs(r.Limit) * margin
	if r.AtMost {
		past = -past
	}
	return r.Limit + past
}

// text says why a reading refuses, in the reference's words. Where the limit
// itself is kept and only the margin is missing, the limit is the one that
// counts now.
func (r *Reading) text() string {
	at := r.Limit
	if r.AtMost && r.Value <= at || !r.AtMost && r.Value >= at {
		at = r.end()
	}
	const mebi = 1 << 20
	switch r.Name {
	case "load":
		return fmt.Sprintf("load avg %.2f > %.2f", r.Value, at)
	case "memory":
		return fmt.Sprintf("available memory %.0fMB < %.0fMB", r.Value/mebi, at/mebi)
	case "disk":
		return fmt.Sprintf("free disk %.0fMB < %.0fMB", r.Value/mebi, at/mebi)
	}
	return fmt.Sprintf("free inodes %.0f < %.0f", r.Value, at)
}
