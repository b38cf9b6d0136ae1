package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// The bounds of an answer.
const (
	maxHops    = 8        // CNAMEs, from name to name
	maxRecords = 100      // of the type asked for
	maxOctets  = 16 << 10 // of those, on the wire
	// udpSize is what is announced (RFC 6891): it passes every network whole.
	udpSize = 1232
)

// chain is a look-up that follows CNAMEs.
type chain struct {
	name      string
	seen      map[string]bool
	authentic bool
	ttl       time.Duration
	denied    time.Duration // the TTL of "none", where a server told
}

// resolve asks until it knows, and gives the entry to remember.
func (r *Resolver) resolve(ctx context.Context, q question) *entry {
	c := &chain{name: q.name, seen: map[string]bool{q.name: true}, authentic: true, ttl: r.cfg.MaxTTL, denied: r.cfg.MaxNegative}
	records, err := r.follow(ctx, c, q.qtype)
	now := r.cfg.Now()
	e := &entry{q: q, name: c.name, records: records, err: err, asked: now, authentic: c.authentic && r.cfg.Trusted, octets: entryCost + len(q.name) + len(c.name)}
	ttl := min(c.ttl, r.cfg.MaxTTL)
	switch {
	case err == nil:
		for _, rr := range records {
			e.octets += 2 * dns.Len(rr)
		}
	case errors.Is(err, ErrTemporary):
		e.authentic = false
		r.log.Debug("look-up failed", "error", err)
		e.until = now.Add(trouble)
		return e
	default:
		ttl = min(ttl, c.denied, r.cfg.MaxNegative)
	}
	e.until = now.Add(max(ttl, r.cfg.MinTTL))
	return e
}

// follow asks for the name of c, and for where CNAMEs lead from there.
func (r *Resolver) follow(ctx context.Context, c *chain, qtype uint16) ([]dns.RR, error) {
	for {
		at := c.name
		fail := func(err error) ([]dns.RR, error) { return nil, fmt.Errorf("look up %s: %w", at, err) }
		m, err := r.ask(ctx, question{c.name, qtype})
		if err != nil {
			return fail(err)
		}
		c.authentic = c.authentic && m.AuthenticatedData
		if err := c.walk(m, qtype); err != nil {
			return fail(err)
		}
		records, err := c.records(m, qtype)
		switch {
		case err != nil || len(records) > 0:
			if err != nil {
				return fail(err)
			}
			return records, nil
		case m.Rcode == dns.RcodeNameError:
			c.deny(m)
			return fail(ErrNoName)
		case c.name == at || c.deny(m):
			return fail(ErrNoRecord)
		}
		// The server knew the alias and not what it stands for.
	}
}

// walk follows the CNAMEs of one answer.
func (c *chain) walk(m *dns.Msg, qtype uint16) error {
	if qtype == dns.TypeCNAME {
		return nil
	}
	next := map[string]*dns.CNAME{}
	for _, rr := range m.Answer {
		if cname, ok := rr.(*dns.CNAME); ok {
			next[strings.ToLower(cname.Hdr.Name)] = cname
		}
	}
	for {
		cname := next[c.name]
		if cname == nil {
			return nil
		}
		to, err := canonical(cname.Target)
		if err != nil {
			return fmt.Errorf("%w: a CNAME to what is no name", ErrTemporary)
		}
		if c.seen[to] || len(c.seen) > maxHops {
			return fmt.Errorf("%w: CNAMEs go round in a circle, or over %d of them", ErrTemporary, maxHops)
		}
		c.seen[to] = true
		c.name = to
		c.ttl = min(c.ttl, seconds(cname.Hdr.Ttl))
	}
}

// records takes those of the type that belong to the name.
func (c *chain) records(m *dns.Msg, qtype uint16) ([]dns.RR, error) {
	var records []dns.RR
	octets := 0
	for _, rr := range m.Answer {
		h := rr.Header()
		if h.Rrtype != qtype || h.Class != dns.ClassINET || !strings.EqualFold(h.Name, c.name) {
			continue
		}
		records = append(records, rr)
		octets += dns.Len(rr)
		c.ttl = min(c.ttl, seconds(h.Ttl))
	}
	if len(records) > maxRecords || octets > maxOctets {
		return nil, fmt.Errorf("%w: %d records, %d octets", ErrTooLarge, len(records), octets)
	}
	return records, nil
}

// deny reads how long "none" holds (RFC 2308 section 5), and tells whether
// the answer says so with a SOA record.
func (c *chain) deny(m *dns.Msg) bool {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			c.denied = min(c.denied, seconds(soa.Hdr.Ttl), seconds(soa.Minttl))
			return true
		}
	}
	return false
}

// seconds reads a TTL; one with the highest bit set is zero (RFC 2181
// section 8).
func seconds(ttl uint32) time.Duration {
	if ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

// ask puts one question to the servers in turn until one answers. The error
// wraps ErrTemporary.
func (r *Resolver) ask(ctx context.Context, q question) (*dns.Msg, error) {
	var last error
	for range r.cfg.Tries {
		for _, server := range r.cfg.Servers {
			m, err := r.exchange(ctx, server, q)
			if err == nil {
				return m, nil
			}
			last = err
			if ctx.Err() != nil {
				return nil, fmt.Errorf("%w: %w", ErrTemporary, ctx.Err())
			}
		}
	}
	return nil, fmt.Errorf("%w: %w", ErrTemporary, last)
}

// ErrOtherQuestion is given for an answer to something else than was asked.
var ErrOtherQuestion = errors.New("it answered another question")

var errCut = errors.New("the answer is cut short")

// exchange asks one server: over UDP, over TCP when the answer does not fit,
// and without EDNS when it does not know that.
func (r *Resolver) exchange(ctx context.Context, server string, q question) (*dns.Msg, error) {
	m, err := r.send(ctx, "udp", server, q, true)
	if err == nil && (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented) {
		m, err = r.send(ctx, "udp", server, q, false)
	}
	if unreadable := err != nil && !isNet(err); unreadable || err == nil && m.Truncated {
		m, err = r.send(ctx, "tcp", server, q, true)
		if err == nil && m.Truncated {
			err = errCut
		}
	}
	switch {
	case err != nil:
		return nil, err
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return nil, fmt.Errorf("the resolver says %s", dns.RcodeToString[m.Rcode])
	}
	return m, nil
}

// isNet tells trouble with the network from trouble with what came over it.
func isNet(err error) bool {
	_, ok := errors.AsType[net.Error](err)
	return ok
}

// send asks one server in one way.
func (r *Resolver) send(ctx context.Context, network, server string, q question, edns bool) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(q.name, q.qtype)
	m.AuthenticatedData = true // that is: tell us
	if edns {
		m.SetEdns0(udpSize, false)
	}
	limit := r.cfg.TryTime
	if network == "tcp" {
		limit *= 2
	}
	return Exchange(ctx, network, server, m, limit)
}

// Exchange puts a message with one question to one server ("192.0.2.53:53"),
// over network ("udp", "tcp"), for at most limit, and sees that what comes back
// is an answer to that question: ErrOtherQuestion if it is not. It reads nothing
// else of it.
func Exchange(ctx context.Context, network, server string, m *dns.Msg, limit time.Duration) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	client := dns.Client{Net: network, Timeout: limit}
	conn, err := client.DialContext(ctx, server)
	if err != nil {
		return nil, err
	}
	// The library knows the deadline of a context and does not see its end.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer func() {
		if stop() {
			conn.Close()
		}
	}()
	a, _, err := client.ExchangeWithConnContext(ctx, m, conn)
	if err != nil {
		return nil, err
	}
	q := m.Question[0]
	if !a.Response || len(a.Question) != 1 || a.Question[0].Qtype != q.Qtype ||
		a.Question[0].Qclass != q.Qclass || !strings.EqualFold(a.Question[0].Name, q.Name) {
		return nil, ErrOtherQuestion
	}
	return a, nil
}
