package zone

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// The bounds of looking for servers.
const (
	maxLabels  = 30 // climbed from the domain up to its zone
	maxServers = 8  // of a zone that are asked
)

// server is one that answers for the zone.
type server struct {
	name string // "ns1.relay.test"
	addr string // "192.0.2.53:53"
}

// place is where the domain's records are kept.
type place struct {
	apex    string // the zone, with the dot at its end
	servers []server
	signed  bool // the zone above vouches for it (DNSSEC)
	// remarks are what is wrong with the delegation.
	remarks []string
}

var errNoZone = errors.New("the domain is not registered, or its zone is not delegated: no resolver knows a zone that it belongs to")

// locate finds the zone of a domain and the servers that its delegation names.
func (c *checker) locate(ctx context.Context, domain string) (p place, err error) {
	if p.apex, err = c.zoneOf(ctx, domain); err != nil {
		return p, err
	}
	named, glue := c.delegation(ctx, p.apex)
	if len(named) == 0 {
		// The servers above do not say, or cannot be reached from here: what
		// resolvers know.
		a, err := c.resolve(ctx, p.apex, dns.TypeNS)
		if err != nil {
			return p, err
		}
		for _, rr := range a.records {
			named = append(named, strings.ToLower(rr.(*dns.NS).Ns))
		}
	}
	if len(named) == 0 {
		return p, errNoZone
	}
	for _, name := range named {
		addr := c.addressOf(ctx, name, glue[name])
		if !addr.IsValid() {
			p.remarks = append(p.remarks, "The name server "+strings.TrimSuffix(name, ".")+", to which the zone is delegated, has no address.")
			continue
		}
		p.servers = append(p.servers, server{strings.TrimSuffix(name, "."), netip.AddrPortFrom(addr, c.cfg.Port).String()})
	}
	c.onlyUseful(ctx, &p)
	if a, err := c.resolve(ctx, p.apex, dns.TypeDS); err == nil {
		p.signed = len(a.records) > 0
	}
	return p, nil
}

// onlyUseful leaves out the servers that say nothing of the zone, so that
// nobody waits for them again and again.
func (c *checker) onlyUseful(ctx context.Context, p *place) {
	problems := make([]string, len(p.servers))
	c.each(len(p.servers), func(i int) {
		var m *dns.Msg
		err := errRefused
		for range c.asker.tries {
			if m, err = c.asker.exchange(ctx, p.servers[i].addr, p.apex, dns.TypeSOA, false); err == nil {
				break
			}
		}
		switch {
		case err != nil:
			problems[i] = "The name server " + p.servers[i].name + " is of no use: " + err.Error() + "."
		case !m.Authoritative:
			problems[i] = "The name server " + p.servers[i].name + " does not know the zone " + p.apex + " that is delegated to it."
		}
	})
	var useful []server
	for i, s := range p.servers {
		if problems[i] == "" {
			useful = append(useful, s)
		} else {
			p.remarks = append(p.remarks, problems[i])
		}
	}
	p.servers = useful
}

// zoneOf climbs from a name to the zone that it is in.
func (c *checker) zoneOf(ctx context.Context, name string) (string, error) {
	at := dns.Fqdn(name)
	var last error
	for range maxLabels {
		a, err := c.resolve(ctx, at, dns.TypeSOA)
		switch {
		case err != nil:
			last = err
		case len(a.records) > 0 && a.alias == "":
			return at, nil
		case a.soa != "" && a.soa != "." && a.soa != at && dns.IsSubDomain(a.soa, at):
			return a.soa, nil
		}
		i, end := dns.NextLabel(at, 0)
		if end {
			break
		}
		at = at[i:]
	}
	if last != nil {
		return "", last
	}
	return "", errNoZone
}

// delegation asks the zone above for the servers of a zone, and gives their
// names with what addresses were told along.
func (c *checker) delegation(ctx context.Context, apex string) (named []string, glue map[string]netip.Addr) {
	i, end := dns.NextLabel(apex, 0)
	if end {
		return nil, nil
	}
	above, err := c.zoneOf(ctx, apex[i:])
	if err != nil {
		return nil, nil
	}
	a, err := c.resolve(ctx, above, dns.TypeNS)
	if err != nil {
		return nil, nil
	}
	for n, rr := range a.records {
		addr := c.addressOf(ctx, strings.ToLower(rr.(*dns.NS).Ns), netip.Addr{})
		if !addr.IsValid() || n >= 3 {
			continue
		}
		m, err := c.asker.exchange(ctx, netip.AddrPortFrom(addr, c.cfg.Port).String(), apex, dns.TypeNS, false)
		if err != nil {
			continue
		}
		if named, glue = referral(m, apex); len(named) > 0 {
			return named, glue
		}
	}
	return nil, nil
}

// referral reads the servers of a zone out of an answer of the zone above, or
// of a server that has both.
func referral(m *dns.Msg, apex string) (named []string, glue map[string]netip.Addr) {
	for _, rr := range slices.Concat(m.Ns, m.Answer) {
		if ns, ok := rr.(*dns.NS); ok && strings.EqualFold(ns.Hdr.Name, apex) && len(named) < maxServers {
			if name := strings.ToLower(ns.Ns); !slices.Contains(named, name) {
				named = append(named, name)
			}
		}
	}
	glue = map[string]netip.Addr{}
	for _, rr := range m.Extra {
		name := strings.ToLower(rr.Header().Name)
		if addr := addrOf(rr); addr.IsValid() && slices.Contains(named, name) && !glue[name].Is4() {
			glue[name] = addr
		}
	}
	return named, glue
}

// addrOf gives the address in an A or AAAA record.
func addrOf(rr dns.RR) (addr netip.Addr) {
	switch rr := rr.(type) {
	case *dns.A:
		addr, _ = netip.AddrFromSlice(rr.A)
	case *dns.AAAA:
		addr, _ = netip.AddrFromSlice(rr.AAAA)
	}
	return addr.Unmap()
}

// addressOf gives an address of a name server: what was told along, else what
// resolvers know, IPv4 first because that is everywhere.
func (c *checker) addressOf(ctx context.Context, name string, told netip.Addr) netip.Addr {
	if told.IsValid() {
		return told
	}
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		if a, err := c.resolve(ctx, name, kind); err == nil && len(a.records) > 0 {
			return addrOf(a.records[0])
		}
	}
	return netip.Addr{}
}
