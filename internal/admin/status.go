package admin

import (
	"time"

	"barid/internal/finding"
	"barid/internal/metrics"
)

// Status is how a relay is at one moment. It names no account, no foreign
// address and no client.
type Status struct {
	Version string    `json:"version"`
	Commit  string    `json:"commit"`
	Domain  string    `json:"domain"` // ours
	Started time.Time `json:"started"`
	Now     time.Time `json:"now"` // when the Status was made; Uptime is the difference

	Store Store `json:"store"`
	// Registration says who may have a new account: "open", "by invitation", or
	// "closed by ..." and what closed it.
	Registration string `json:"registration,omitempty"`
	// Expiry says when old mail leaves; nil when nobody lets it.
	Expiry *Expiry `json:"expiry,omitempty"`
	// Queue is mail on its way to other servers; nil where none leaves.
	Queue *Queue `json:"queue,omitempty"`
	// Machine has what new accounts need of the machine.
	Machine   []Reading          `json:"machine,omitempty"`
	Listeners []Listener         `json:"listeners"`
	Limits    []Limit            `json:"limits"`
	Counters  map[string]float64 `json:"counters"` // by name, as in /metrics
	Findings  []finding.Finding  `json:"findings"` // worst first is not promised
}

// Uptime is how long the relay ran when the Status was made.
func (s Status) Uptime() time.Duration { return s.Now.Sub(s.Started) }

// Listener is one address that is listened on.
type Listener struct {
	Name string `json:"name"` // the key in the configuration, "imaps"
	Addr string `json:"addr"` // "[::]:993"
}

// Expiry is when old mail and unused accounts left last, and will next.
type Expiry struct {
	Last    time.Time `json:"last,omitzero"`  // zero before the first
	Says    string    `json:"says,omitempty"` // what left then, in words
	Next    time.Time `json:"next,omitzero"`
	Running bool      `json:"running,omitempty"`
}

// Queue is mail on its way to other servers, one entry for each message and
// destination.
type Queue struct {
	Entries  int     `json:"entries"`
	Most     int     `json:"most"` // that there may be
	Octets   int64   `json:"octets"`
	InFlight int     `json:"in_flight"`
	Held     int     `json:"held"`           // by the operator
	Broken   int     `json:"breakers_open"`  // destinations that are left alone for a while
	Oldest   float64 `json:"oldest_seconds"` // age of the oldest
}

// Reading is what the machine has of something, beside the limit past which no
// account is born.
type Reading struct {
	Name       string  `json:"name"` // "load", "memory", "disk", "inodes"
	Value      float64 `json:"value"`
	Limit      float64 `json:"limit"`             // zero means none
	AtMost     bool    `json:"at_most,omitempty"` // Limit is the most, else the least
	Octets     bool    `json:"octets,omitempty"`  // both are octets
	Refusing   bool    `json:"refusing,omitempty"`
	Unreadable bool    `json:"unreadable,omitempty"` // Value means nothing, and refuses nobody
}

// Limit is a bound, its use now and how often it refused since the start.
type Limit struct {
	Name    string `json:"name"`
	Help    string `json:"help,omitempty"`
	Use     int64  `json:"use"`
	Max     int64  `json:"max"` // zero means none
	Refused int64  `json:"refused"`
}

// Store is the state of the store: "ok", or a word for what it refuses
// ("read-only", "full") and why.
type Store struct {
	State string `json:"state"`
	Text  string `json:"text,omitempty"`
}

// LimitsOf reads the limits of a registry as they are now, by name.
func LimitsOf(r *metrics.Registry) []Limit {
	limits := []Limit{}
	for _, l := range r.Limits() {
		now := Limit{Name: l.Name, Help: l.Help, Use: l.Use(), Max: l.Max}
		if l.Refused != nil {
			now.Refused = l.Refused()
		}
		limits = append(limits, now)
	}
	return limits
}

// CountersOf reads those counters and gauges of a registry that are named and
// exist.
func CountersOf(r *metrics.Registry, names ...string) (map[string]float64, error) {
	values, err := r.Values()
	if err != nil {
		return nil, err
	}
	picked := map[string]float64{}
	for _, name := range names {
		if v, ok := values[name]; ok {
			picked[name] = v
		}
	}
	return picked, nil
}
