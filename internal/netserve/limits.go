package netserve

import (
	"net"
	"net/netip"
	"strings"

	"barid/internal/metrics"
)

// group counts the open connections of the listeners of one name. Guarded by
// the server's lock.
type group struct {
	name    string
	open    int
	refused int64
	clients map[netip.Addr]int // by key; only where there is a bound
}

// groupOf finds or makes the group of a listener. Called under the lock.
func (s *Server) groupOf(l Listener) *group {
	if g, ok := s.groups[l.Name]; ok {
		return g
	}
	g := &group{name: l.Name, clients: map[netip.Addr]int{}}
	s.groups[l.Name] = g
	s.cfg.Metrics.Limit(metrics.Limit{
		Name: metricName(l.Name) + "_connections", Help: "open connections of " + l.Name, Max: int64(l.Max),
		Use:     func() int64 { s.mu.Lock(); defer s.mu.Unlock(); return int64(g.open) },
		Refused: func() int64 { s.mu.Lock(); defer s.mu.Unlock(); return g.refused },
	})
	return g
}

// metricName makes a name fit for a metric.
func metricName(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
}

// admit counts a connection in, or names the bound it met.
func (a *acceptor) admit(c *Conn) (bound string) {
	s, g := a.s, a.group
	key := clientKey(c.client)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining:
		return "draining"
	case s.cfg.MaxConns > 0 && s.open >= s.cfg.MaxConns:
		s.over++
		g.refused++
		return "total"
	case a.Max > 0 && g.open >= a.Max:
		g.refused++
		return "listener"
	case a.PerClient > 0 && !c.client.IsLoopback() && g.clients[key] >= a.PerClient:
		g.refused++
		return "client"
	}
	s.open++
	g.open++
	g.clients[key]++
	c.list = g
	if c.next = s.first; s.first != nil {
		s.first.previous = c
	}
	s.first = c
	return ""
}

// forget counts a connection out again.
func (s *Server) forget(c *Conn) {
	g, key := c.list, clientKey(c.client)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	g.open--
	if g.clients[key]--; g.clients[key] == 0 {
		delete(g.clients, key)
	}
	if c.previous != nil {
		c.previous.next = c.next
	} else {
		s.first = c.next
	}
	if c.next != nil {
		c.next.previous = c.previous
	}
}

// clientKey is what counts as one client: an IPv4 address, or the /64 that a
// single IPv6 customer has for itself.
func clientKey(a netip.Addr) netip.Addr {
	if !a.Is6() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil { // cannot happen: 64 fits
		return a
	}
	return p.Addr()
}

// clientOf takes the client's address from the socket.
func clientOf(raw net.Conn) netip.Addr {
	t, ok := raw.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return t.AddrPort().Addr().Unmap().WithZone("")
}
