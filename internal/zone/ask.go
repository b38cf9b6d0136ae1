package zone

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"barid/internal/resolver"
)

// The bounds of asking.
const (
	udpSize    = 1232 // RFC 6891, as resolvers announce it
	maxRecords = 100  // of an answer
	maxHops    = 8    // CNAMEs
)

var (
	errRefused = errors.New("it does not answer for this zone")
	errLoop    = errors.New("aliases (CNAME) go round in a circle, or over too many names")
	errLarge   = errors.New("it has more records than anybody needs")
)

// asker puts questions to servers. It never follows what an answer says
// further than maxHops, and takes at most tryTime for one try.
type asker struct {
	tryTime time.Duration
	tries   int
}

// answer is what one server says about a name and a type.
type answer struct {
	records []dns.RR // of the type, at the name or where its aliases lead
	alias   string   // the first CNAME's target, if the name is an alias
	outside bool     // the alias leads to where this server says nothing
	below   bool     // the server hands the name on to others (a referral)
	soa     string   // the zone that a negative answer speaks for
	noName  bool
	ttl     uint32 // the least of the records
}

// ask asks one server for a name (with the dot at its end) and a type.
func (a asker) ask(ctx context.Context, server, name string, kind uint16, recurse bool) (answer, error) {
	var err error
	for range a.tries {
		var m *dns.Msg
		if m, err = a.exchange(ctx, server, name, kind, recurse); err == nil {
			return read(m, name, kind)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return answer{}, err
}

// exchange asks once: over UDP, without EDNS where that is not understood, and
// over TCP where the answer does not fit.
func (a asker) exchange(ctx context.Context, server, name string, kind uint16, recurse bool) (*dns.Msg, error) {
	m, err := a.send(ctx, "udp", server, name, kind, recurse, true)
	if err == nil && (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented) {
		m, err = a.send(ctx, "udp", server, name, kind, recurse, false)
	}
	_, network := errors.AsType[net.Error](err)
	if unreadable := err != nil && !network && err != resolver.ErrOtherQuestion; unreadable || err == nil && m.Truncated {
		m, err = a.send(ctx, "tcp", server, name, kind, recurse, true)
	}
	switch {
	case err != nil:
		return nil, plain(err)
	case m.Rcode == dns.RcodeRefused || m.Rcode == dns.RcodeNotAuth:
		return nil, errRefused
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return nil, fmt.Errorf("it says %s", dns.RcodeToString[m.Rcode])
	}
	return m, nil
}

func (a asker) send(ctx context.Context, network, server, name string, kind uint16, recurse, edns bool) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(name, kind)
	m.RecursionDesired = recurse
	if edns {
		m.SetEdns0(udpSize, false)
	}
	return resolver.Exchange(ctx, network, server, m, a.tryTime)
}

// plain says in words what the network did.
func plain(err error) error {
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() || errors.Is(err, net.ErrClosed) || errors.Is(err, context.DeadlineExceeded) {
		return errors.New("it does not answer in time")
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err // without the addresses on both sides
	}
	return err
}

// read takes out of an answer what belongs to the question.
func read(m *dns.Msg, name string, kind uint16) (answer, error) {
	a := answer{noName: m.Rcode == dns.RcodeNameError, ttl: ttl}
	at, seen := strings.ToLower(name), map[string]bool{}
	for kind != dns.TypeCNAME {
		next := aliasOf(m.Answer, at)
		if next == "" {
			break
		}
		seen[at] = true
		if a.alias == "" {
			a.alias = next
		}
		if at = next; seen[at] || len(seen) > maxHops {
			return a, errLoop
		}
	}
	for _, rr := range m.Answer {
		h := rr.Header()
		if h.Rrtype == kind && h.Class == dns.ClassINET && strings.EqualFold(h.Name, at) {
			a.records = append(a.records, rr)
			a.ttl = min(a.ttl, h.Ttl)
		}
	}
	if len(a.records) > maxRecords {
		return a, errLarge
	}
	for _, rr := range m.Ns {
		switch rr := rr.(type) {
		case *dns.SOA:
			a.soa = strings.ToLower(rr.Hdr.Name)
		case *dns.NS:
			a.below = a.below || len(m.Answer) == 0 && !m.Authoritative && dns.IsSubDomain(strings.ToLower(rr.Hdr.Name), at)
		}
	}
	a.outside = a.alias != "" && len(a.records) == 0 && a.soa == ""
	return a, nil
}

// aliasOf gives the target of the CNAME at a name, or "".
func aliasOf(records []dns.RR, name string) string {
	for _, rr := range records {
		if c, ok := rr.(*dns.CNAME); ok && strings.EqualFold(c.Hdr.Name, name) {
			return strings.ToLower(c.Target)
		}
	}
	return ""
}

// system gives the resolvers of /etc/resolv.conf, three at most, or the one
// on this machine where that names none.
func system() (servers []string) {
	if conf, err := dns.ClientConfigFromFile("/etc/resolv.conf"); err == nil {
		for _, s := range conf.Servers {
			addr := net.JoinHostPort(s, conf.Port)
			if _, err := netip.ParseAddrPort(addr); err == nil && len(servers) < 3 {
				servers = append(servers, addr)
			}
		}
	}
	if servers == nil {
		servers = []string{"127.0.0.1:53"}
	}
	return servers
}
