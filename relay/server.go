package relay

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"barid/internal/metrics"
)

// Times, as both generations of clients expect them.
const (
	loginTime    = 10 * time.Second // from the upgrade to the end of the login
	frameTime    = 10 * time.Second // for the rest of a frame that began
	writeTime    = 10 * time.Second // a write, however slowly it moves
	silence      = 15 * time.Second // until we ask; 1 to 5 s more, at random
	answerTime   = 5 * time.Second  // for the answer
	oldClients   = 16               // connections kept of a key beside the newest
	remembered   = 1024             // peers of a key that hear when it leaves
	frameCost    = 100              // octets that a frame counts beside its own: work, not traffic
	queueFrames  = 512              // packets that wait for a client
	controlBytes = 16 << 10         // answers and notices that wait for a client
)

// Config of a Server.
type Config struct {
	// MaxClients bounds the connections in all; zero for no bound.
	MaxClients int
	// PerClient bounds the connections of one address, an IPv6 /64 counting as
	// one; zero for no bound. Loopback addresses are exempt, and so are those
	// that Client does not know.
	PerClient int
	// BytesPerSecond is how much one connection may send over time, Burst how
	// much at once, both in octets, of which each frame counts 100 more than it
	// has. Who sends more is read more slowly. Zero BytesPerSecond means no bound;
	// Burst is at least 64 KiB.
	BytesPerSecond, Burst int64
	// QueueBytes bounds the memory of what waits for one client, Memory what
	// waits for all of them and the peers that are remembered, in octets. Default
	// 2 MiB and 128 MiB. The last quarter of Memory is for the first 16 KiB that
	// wait for a client: many who read slowly take nothing from those who do not.
	// An eighth of it at most goes to peers.
	QueueBytes, Memory int64
	// Stall is how long a write to a client may make no progress. Default 2s.
	Stall time.Duration
	// Client gives the address of the client of a request; the zero Addr when
	// it is not known. Default: what RemoteAddr says.
	Client func(*http.Request) netip.Addr
	// Logger may be nil, Metrics too.
	Logger  *slog.Logger
	Metrics *metrics.Registry
}

func (cfg Config) withDefaults() Config {
	cfg.QueueBytes = cmp.Or(cfg.QueueBytes, 2<<20)
	cfg.Memory = cmp.Or(cfg.Memory, 128<<20)
	cfg.Stall = cmp.Or(cfg.Stall, 2*time.Second)
	cfg.Burst = max(cfg.Burst, 64<<10)
	if cfg.Client == nil {
		cfg.Client = func(r *http.Request) netip.Addr {
			peer, _ := netip.ParseAddrPort(r.RemoteAddr)
			return peer.Addr()
		}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// Server is a relay. It is an http.Handler for the paths of the package
// comment, and needs a server that speaks HTTP/1.1 and lets a connection be
// taken over.
type Server struct {
	cfg    Config
	log    *slog.Logger
	count  counters
	hub    *hub
	memory memory
	began  time.Time

	ctx  context.Context // ends with Shutdown
	stop context.CancelFunc
	work sync.WaitGroup // connections, and writers beside them

	mu      sync.Mutex // guards the fields below
	clients map[*client]struct{}
	places  map[netip.Addr]int // connections by address; only where there is a bound
	refused int64
}

// New makes a relay without clients.
func New(cfg Config) *Server {
	cfg = cfg.withDefaults()
	s := &Server{
		cfg: cfg, log: cfg.Logger.With("part", "relay"), count: newCounters(cfg.Metrics), began: time.Now(),
		clients: map[*client]struct{}{}, places: map[netip.Addr]int{},
	}
	s.memory.max = cfg.Memory
	s.hub = newHub(&s.memory)
	s.ctx, s.stop = context.WithCancel(context.Background())
	cfg.Metrics.Limit(metrics.Limit{
		Name: "iroh_clients", Help: "connections to the iroh relay", Max: int64(cfg.MaxClients),
		Use:     func() int64 { s.mu.Lock(); defer s.mu.Unlock(); return int64(len(s.clients)) },
		Refused: func() int64 { s.mu.Lock(); defer s.mu.Unlock(); return s.refused },
	})
	cfg.Metrics.Limit(metrics.Limit{
		Name: "iroh_memory_bytes", Help: "memory of packets that wait in the iroh relay, and of peers that it remembers", Max: cfg.Memory,
		Use: s.memory.held.Load, Refused: s.memory.full.Load,
	})
	cfg.Metrics.Limit(metrics.Limit{
		Name: "iroh_peers_bytes", Help: "the part of it that peers have, which hear when a client of the iroh relay is gone", Max: s.memory.forPeers(),
		Use: s.memory.peers.Load, Refused: s.memory.forgotten.Load,
	})
	return s
}

// Shutdown ends every connection and takes no new ones. Clients come back by
// themselves. It waits for all of them until ctx ends, then gives its cause;
// the rest follows within writeTime.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.stop()
	for c := range s.clients {
		c.wake()
	}
	s.mu.Unlock()
	quiet := make(chan struct{})
	go func() {
		s.work.Wait()
		close(quiet)
	}()
	select {
	case <-quiet:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// enter counts a connection in, or gives the status of a refusal.
func (s *Server) enter(c *client) (status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ctx.Err() != nil:
		return http.StatusServiceUnavailable
	case s.cfg.MaxClients > 0 && len(s.clients) >= s.cfg.MaxClients:
		s.refused++
		return http.StatusServiceUnavailable
	case s.cfg.PerClient > 0 && c.place.IsValid() && s.places[c.place] >= s.cfg.PerClient:
		s.refused++
		return http.StatusTooManyRequests
	}
	s.clients[c] = struct{}{}
	if c.place.IsValid() {
		s.places[c.place]++
	}
	s.work.Add(1)
	return 0
}

// leave counts it out again.
func (s *Server) leave(c *client) {
	s.mu.Lock()
	delete(s.clients, c)
	if c.place.IsValid() {
		if s.places[c.place]--; s.places[c.place] == 0 {
			delete(s.places, c.place)
		}
	}
	s.mu.Unlock()
	s.work.Done()
}

// placeOf is what counts as one client; the zero Addr for one that is not
// counted.
func placeOf(a netip.Addr) netip.Addr {
	if a = a.Unmap().WithZone(""); !a.IsValid() || a.IsLoopback() {
		return netip.Addr{}
	}
	if a.Is6() {
		p, err := a.Prefix(64)
		if err != nil { // cannot happen: 64 fits
			return a
		}
		return p.Addr()
	}
	return a
}

// now is the time since the relay was made.
func (s *Server) now() time.Duration { return time.Since(s.began) }
