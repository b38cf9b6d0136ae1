package turn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/stun/v3"
	"github.com/prometheus/client_golang/prometheus"

	"barid/internal/ratelimit"
)

const (
	// lookEvery is how often the host is asked for its addresses, and what is
	// idle is looked for.
	lookEvery = 30 * time.Second
	// Requests of a network (an IPv4 /24, an IPv6 /56) that has no allocation:
	// a request may have a forged sender, who gets the answer.
	strangerEvery = 20 * time.Millisecond
	strangerBurst = 400
)

// Server relays. Listen and ServeConn bring clients, Close ends everything.
type Server struct {
	cfg       Config
	log       *slog.Logger
	rule      peerRule
	strangers *ratelimit.Limiter[netip.Prefix]
	credit    *credit
	connected *ratelimit.Limiter[netip.Prefix] // the same for connections: whom others speak for over UDP still gets in
	refused   *prometheus.CounterVec           // requests, by reason
	dropped   *prometheus.CounterVec           // packets, by reason
	relayed   prometheus.Counter               // octets

	ctx  context.Context
	stop context.CancelFunc
	work sync.WaitGroup // goroutines, and allocations

	opening sync.Mutex // held by who opens or closes doors; before mu
	mu      sync.RWMutex
	// mu guards the fields below.
	closed  bool
	doors   map[netip.AddrPort][]*udpDoor // by the address they stand at
	streams map[netip.Addr]*streamDoor    // by the address that clients came to
	every   []netip.AddrPort              // unspecified addresses that are listened on
	own     []netip.Addr                  // of this host
	live    map[netip.AddrPort]*relay     // by the addresses that they are told as, and bound to
	count   int                           // of allocations
	budgets map[int]*budget
	over    int64 // allocations refused because of a bound
}

// New makes a server without doors.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	strangers := ratelimit.Config{Every: strangerEvery, Burst: strangerBurst, MaxKeys: 20000}
	s := &Server{
		cfg: cfg, log: cfg.Logger.With("part", "turn"), rule: peerRule{cfg.AllowPeers},
		strangers: ratelimit.New[netip.Prefix](strangers), credit: newCredit(), connected: ratelimit.New[netip.Prefix](strangers),
		refused: cfg.Metrics.Counters("turn_refused", "Requests of TURN refused, by reason.", "reason"),
		dropped: cfg.Metrics.Counters("turn_dropped", "Packets that TURN let fall, by reason.", "reason"),
		relayed: cfg.Metrics.Counter("turn_relayed_bytes", "Octets that TURN relayed, both ways."),
		doors:   map[netip.AddrPort][]*udpDoor{}, streams: map[netip.Addr]*streamDoor{},
		live: map[netip.AddrPort]*relay{}, budgets: map[int]*budget{},
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	cfg.Metrics.Limit(limitOf(s))
	s.lookAround()
	s.work.Go(s.run)
	return s, nil
}

// Allocations tells how many there are.
func (s *Server) Allocations() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.count
}

// Listen takes clients over UDP. An unspecified address is every address of
// the host, those that it gets later too; "[::]" has IPv4 with it. The address
// is returned with its port (0 becomes a real one, of one address only).
func (s *Server) Listen(addr netip.AddrPort) (netip.AddrPort, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	if !addr.Addr().IsUnspecified() {
		return s.open(addr)
	}
	if addr.Port() == 0 {
		return addr, errors.New("listen for TURN: every address and any port do not go together")
	}
	s.mu.Lock()
	s.every = append(s.every, addr)
	s.mu.Unlock()
	return addr, s.openMissing(addr)
}

// open opens the doors at one address. opening is held.
func (s *Server) open(addr netip.AddrPort) (netip.AddrPort, error) {
	list, err := openUDP(s, addr)
	if err != nil {
		return addr, fmt.Errorf("listen for TURN: %w", quiet(err))
	}
	addr = list[0].local
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.doors[addr] = list
	}
	s.mu.Unlock()
	if closed {
		closeAll(list)
		return addr, errClosed
	}
	return addr, nil
}

func closeAll(list []*udpDoor) {
	for _, d := range list {
		d.end()
	}
}

var errClosed = errors.New("the TURN server is closed")

// openMissing opens doors at addresses of the host that have none. opening is
// held. The first error is given when no door could be opened.
func (s *Server) openMissing(every netip.AddrPort) error {
	s.mu.RLock()
	own := s.own
	s.mu.RUnlock()
	var first error
	opened := 0
	for _, ip := range own {
		// What means something on one link only is no place to call at.
		if every.Addr().Is4() && !ip.Is4() || ip.IsLinkLocalUnicast() {
			continue
		}
		addr := netip.AddrPortFrom(ip, every.Port())
		s.mu.RLock()
		_, have := s.doors[addr]
		s.mu.RUnlock()
		if have {
			opened++
			continue
		}
		if _, err := s.open(addr); err == nil {
			opened++
		} else if first == nil {
			first = err
		}
	}
	if opened > 0 {
		if first != nil {
			s.log.Warn("not every address of this host can be listened on", "error", first)
		}
		return nil
	}
	if first == nil {
		first = errors.New("listen for TURN: this host has no address of that family")
	}
	return first
}

// lookAround learns the addresses of the host.
func (s *Server) lookAround() {
	own, err := s.cfg.Addresses()
	if err != nil {
		s.log.Warn("the addresses of this host are not known anew", "error", err)
		return
	}
	s.mu.Lock()
	s.own = own
	s.mu.Unlock()
}

// run looks after doors and allocations until Close.
func (s *Server) run() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
			s.lookAround()
			s.followAddresses()
			s.endIdle()
		}
	}
}

// followAddresses opens doors at new addresses and closes those at addresses
// that are gone.
func (s *Server) followAddresses() {
	s.opening.Lock()
	defer s.opening.Unlock()
	s.mu.Lock()
	every := s.every
	var gone []*udpDoor
	for addr, list := range s.doors {
		stands := func(e netip.AddrPort) bool { return e.Port() == addr.Port() }
		if slices.ContainsFunc(every, stands) && !slices.Contains(s.own, addr.Addr()) {
			gone = append(gone, list...)
			delete(s.doors, addr)
		}
	}
	closed := s.closed
	s.mu.Unlock()
	closeAll(gone)
	if closed {
		return
	}
	for _, e := range every {
		if err := s.openMissing(e); err != nil {
			s.log.Warn("no address can be listened on", "error", err)
		}
	}
}

// endIdle closes allocations through which nothing passes, and forgets budgets
// of yesterday.
func (s *Server) endIdle() {
	now := s.cfg.Now()
	today := now.Unix() / int64(day/time.Second)
	s.mu.Lock()
	idle := map[*relay]bool{}
	for _, r := range s.live {
		if now.Sub(time.Unix(r.used.Load(), 0)) > s.cfg.Idle {
			idle[r] = true
		}
	}
	for n, b := range s.budgets {
		b.mu.Lock()
		old := b.day != today
		b.mu.Unlock()
		if b.allocations == 0 && old {
			delete(s.budgets, n)
		}
	}
	s.mu.Unlock()
	for r := range idle {
		s.dropped.WithLabelValues("idle allocation").Inc()
		r.Close()
	}
}

// reserve takes one allocation from a budget and from all. It gives the reason
// when there is none, and what a client is told then.
func (s *Server) reserve(bucket int) (b *budget, reason string, code stun.ErrorCode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b = s.budgets[bucket]; b == nil {
		b = &budget{}
		s.budgets[bucket] = b
	}
	code = stun.CodeAllocQuotaReached
	switch {
	case s.closed:
		reason, code = "closed", stun.CodeInsufficientCapacity
	case s.count >= s.cfg.MaxAllocations:
		reason, code = "allocations", stun.CodeInsufficientCapacity
	case b.allocations >= s.cfg.PerUser:
		reason = "allocations of a user"
	case b.spent(s.cfg.Now(), s.cfg.BytesPerDay):
		reason = "octets of a day"
	}
	if reason != "" {
		s.over++
		return nil, reason, code
	}
	s.count++
	b.allocations++
	return b, "", 0
}

// giveBack is the opposite of reserve.
func (s *Server) giveBack(b *budget) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count--
	b.allocations--
}

// hands tells whether an address is one at which allocations are relayed now.
func (s *Server) hands(ip netip.Addr) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for addr := range s.live {
		if addr.Addr() == ip {
			return true
		}
	}
	return false
}

// isOwn tells whether an address is this host's, from inside or outside.
func (s *Server) isOwn(ip netip.Addr) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Contains(s.own, ip) || slices.Contains(s.cfg.External, ip)
}

// who tells whether an address is this host's, and which live allocation is
// relayed there, if any.
func (s *Server) who(addr netip.AddrPort) (r *relay, own bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ip := addr.Addr()
	own = ip.IsLoopback() || slices.Contains(s.own, ip) || slices.Contains(s.cfg.External, ip)
	return s.live[addr], own
}

// relayAt gives the live allocation that is relayed at an address, as it is
// told or as it is bound.
func (s *Server) relayAt(addr netip.AddrPort) *relay {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.live[addr]
}

// Close ends all allocations and closes all doors, and waits until nothing of
// the server is at work. Connections that were given to ServeConn end.
func (s *Server) Close() error {
	s.opening.Lock()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.opening.Unlock()
		return nil
	}
	s.closed = true
	var list []*udpDoor
	for _, at := range s.doors {
		list = append(list, at...)
	}
	var streams []*streamDoor
	for _, d := range s.streams {
		streams = append(streams, d)
	}
	s.mu.Unlock()
	s.opening.Unlock()
	s.stop()
	closeAll(list)
	for _, d := range streams {
		d.end()
	}
	s.work.Wait()
	return nil
}
