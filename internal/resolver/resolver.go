package resolver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"barid/internal/metrics"
)

// What a look-up can end with beside records. ErrNoName, ErrNoRecord,
// ErrTooLarge and ErrName are knowledge: asking again soon changes nothing.
var (
	// ErrNoName: the name does not exist (NXDOMAIN).
	ErrNoName = errors.New("no such name")
	// ErrNoRecord: the name exists without records of that type.
	ErrNoRecord = errors.New("no such record")
	// ErrTooLarge: there are records, more than anybody needs.
	ErrTooLarge = errors.New("records are too large")
	// ErrName: the string is no domain name, so nobody was asked.
	ErrName = errors.New("not a domain name")
	// ErrTemporary: nobody could tell: a timeout, SERVFAIL, a loop of CNAMEs,
	// an answer that makes no sense, too many questions under way.
	ErrTemporary = errors.New("cannot tell for now")
)

// Config of a Resolver.
type Config struct {
	// Servers are the recursive resolvers to ask, "address:port", in that order.
	// Default: those of /etc/resolv.conf, or 127.0.0.1:53 where it has none.
	Servers []string
	// Trusted says that the servers validate DNSSEC and that nobody on the way
	// can change what they say, so that their AD bit means something.
	Trusted bool
	// TryTime bounds one question to one server, Tries how often each server is
	// asked. Defaults 2s and 2. TCP has twice the time.
	TryTime time.Duration
	Tries   int
	// MaxTTL bounds how long records are believed, MaxNegative how long it is
	// that there are none; MinTTL is how long both are at least. Defaults 1h,
	// 1m and 5s.
	MaxTTL, MaxNegative, MinTTL time.Duration
	// MaxQuestions bounds the look-ups under way. Default 500.
	MaxQuestions int
	// MaxOctets bounds the memory of what is remembered, roughly. Default 8 MiB.
	MaxOctets int
	Logger    *slog.Logger
	Metrics   *metrics.Registry
	// Now is the clock of what is remembered. Default time.Now.
	Now func() time.Time
}

// trouble is how long a failure is remembered, so that a broken server is not
// asked for every message.
const trouble = 3 * time.Second

// Resolver looks names up. It is safe for many goroutines.
type Resolver struct {
	cfg      Config
	log      *slog.Logger
	asked    *prometheus.CounterVec // by result
	recalled prometheus.Counter

	base   context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	cache   cache
	flights map[question]*flight
	refused int64
	closed  bool
}

// question is a name, lower case with the dot at its end, and a type.
type question struct {
	name  string
	qtype uint16
}

// flight is a look-up under way; found is set when done is closed.
type flight struct {
	done  chan struct{}
	found *entry
}

// New makes a Resolver. The error names the server that is no address.
func New(cfg Config) (*Resolver, error) {
	if len(cfg.Servers) == 0 {
		cfg.Servers = system()
	}
	for _, s := range cfg.Servers {
		if _, err := netip.ParseAddrPort(s); err != nil {
			return nil, fmt.Errorf("resolver %q: not address:port", s)
		}
	}
	or(&cfg.TryTime, 2*time.Second)
	or(&cfg.Tries, 2)
	or(&cfg.MaxTTL, time.Hour)
	or(&cfg.MaxNegative, time.Minute)
	or(&cfg.MinTTL, 5*time.Second)
	or(&cfg.MaxQuestions, 500)
	or(&cfg.MaxOctets, 8<<20)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	r := &Resolver{
		cfg: cfg, log: cfg.Logger.With("part", "resolver"), flights: map[question]*flight{},
		cache:    newCache(cfg.MaxOctets),
		asked:    cfg.Metrics.Counters("dns_questions", "Look-ups that a DNS resolver was asked for, by what came of it.", "result"),
		recalled: cfg.Metrics.Counter("dns_remembered", "Look-ups answered from memory."),
	}
	r.base, r.cancel = context.WithCancel(context.Background())
	cfg.Metrics.Limit(metrics.Limit{
		Name: "dns_cache_octets", Help: "octets of remembered DNS answers", Max: int64(cfg.MaxOctets),
		Use: func() int64 { r.mu.Lock(); defer r.mu.Unlock(); return int64(r.cache.octets) },
	})
	cfg.Metrics.Limit(metrics.Limit{
		Name: "dns_look_ups", Help: "DNS look-ups under way", Max: int64(cfg.MaxQuestions),
		Use:     func() int64 { r.mu.Lock(); defer r.mu.Unlock(); return int64(len(r.flights)) },
		Refused: func() int64 { r.mu.Lock(); defer r.mu.Unlock(); return r.refused },
	})
	return r, nil
}

func or[T comparable](field *T, def T) {
	var zero T
	if *field == zero {
		*field = def
	}
}

// system gives the resolvers that the machine is set up with.
func system() []string {
	var servers []string
	if conf, err := dns.ClientConfigFromFile("/etc/resolv.conf"); err == nil {
		for _, s := range conf.Servers {
			if addr := net.JoinHostPort(s, conf.Port); len(servers) < 3 {
				if _, err := netip.ParseAddrPort(addr); err == nil {
					servers = append(servers, addr)
				}
			}
		}
	}
	if servers == nil {
		servers = []string{"127.0.0.1:53"}
	}
	return servers
}

// Close ends the look-ups under way, with ErrTemporary, and waits for them.
func (r *Resolver) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.work.Wait()
}

// always takes whatever is remembered and still valid.
const always = time.Duration(1<<63 - 1)

// lookUp gives what is known: from memory when it is not older than maxAge,
// else from a server. The entry is never nil without an error.
func (r *Resolver) lookUp(ctx context.Context, name string, qtype uint16, maxAge time.Duration) (*entry, error) {
	name, err := canonical(name)
	if err != nil {
		return nil, err
	}
	q := question{name, qtype}
	e, f := r.recall(q, maxAge)
	if e != nil {
		return e, nil
	}
	if f == nil {
		return nil, fmt.Errorf("look up %s: %w: too many look-ups", name, ErrTemporary)
	}
	select {
	case <-f.done:
		return f.found, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("look up %s: %w: %w", name, ErrTemporary, ctx.Err())
	}
}

// recall finds an entry in memory, or the flight that will have one; neither
// when there are too many flights.
func (r *Resolver) recall(q question, maxAge time.Duration) (*entry, *flight) {
	now := r.cfg.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.cache.get(q, now); e != nil && now.Sub(e.asked) <= maxAge {
		r.recalled.Inc()
		return e, nil
	}
	if f := r.flights[q]; f != nil {
		return nil, f
	}
	if len(r.flights) >= r.cfg.MaxQuestions || r.closed {
		r.refused++
		return nil, nil
	}
	f := &flight{done: make(chan struct{})}
	r.flights[q] = f
	r.work.Go(func() { r.fly(q, f) })
	return nil, f
}

// fly asks, remembers, and tells those who wait. It has a time of its own:
// the one who asked first may leave while others still wait.
func (r *Resolver) fly(q question, f *flight) {
	e := r.resolve(r.base, q)
	r.asked.WithLabelValues(e.result()).Inc()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.flights, q)
	r.cache.put(e)
	f.found = e
	close(f.done)
}
