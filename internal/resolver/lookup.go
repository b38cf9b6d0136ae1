package resolver

import (
	"context"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Answer is what the DNS says about a name. Together with an error that is
// knowledge its other fields hold, too.
type Answer[R any] struct {
	Records []R // never empty without an error; the caller's own
	// Name has the records: lower case, no dot at its end. It is another one
	// than was asked for where there are CNAMEs.
	Name string
	// Authentic says that a trusted resolver vouches for all of it, CNAMEs
	// included, by DNSSEC.
	Authentic bool
	// Age is how long ago it was asked for; about zero when that was now.
	Age time.Duration
}

// MX is one mail exchanger (RFC 5321 section 5.1). Host is lower case, without
// the dot at its end; empty for the null MX (RFC 7505).
type MX struct {
	Preference uint16
	Host       string
}

// TLSA says which certificate a server has (RFC 6698).
type TLSA struct {
	Usage, Selector, Matching uint8
	Data                      []byte
}

// TXT gives the texts of a name, the strings of each record joined.
func (r *Resolver) TXT(ctx context.Context, name string) (Answer[string], error) {
	return r.FreshTXT(ctx, name, always)
}

// FreshTXT is TXT that believes only what was asked for within maxAge.
func (r *Resolver) FreshTXT(ctx context.Context, name string, maxAge time.Duration) (Answer[string], error) {
	e, err := r.lookUp(ctx, name, dns.TypeTXT, maxAge)
	return answer(r, e, err, func(rr *dns.TXT) (string, bool) { return strings.Join(rr.Txt, ""), true })
}

// MX gives the mail exchangers of a domain, by preference and then by host.
// Without any it is ErrNoRecord, and the domain itself takes the mail.
func (r *Resolver) MX(ctx context.Context, domain string) (Answer[MX], error) {
	e, err := r.lookUp(ctx, domain, dns.TypeMX, always)
	a, err := answer(r, e, err, func(rr *dns.MX) (MX, bool) {
		if rr.Mx == "." {
			return MX{rr.Preference, ""}, true
		}
		host, err := canonical(rr.Mx)
		return MX{rr.Preference, strings.TrimSuffix(host, ".")}, err == nil
	})
	slices.SortFunc(a.Records, func(x, y MX) int {
		if x.Preference != y.Preference {
			return int(x.Preference) - int(y.Preference)
		}
		return strings.Compare(x.Host, y.Host)
	})
	return a, err
}

// TLSA gives the records at a name such as "_25._tcp.mx.relay.test".
func (r *Resolver) TLSA(ctx context.Context, name string) (Answer[TLSA], error) {
	e, err := r.lookUp(ctx, name, dns.TypeTLSA, always)
	return answer(r, e, err, func(rr *dns.TLSA) (TLSA, bool) {
		data, err := hex.DecodeString(rr.Certificate)
		return TLSA{rr.Usage, rr.Selector, rr.MatchingType, data}, err == nil
	})
}

// CNAME gives the one name that a name stands for, without following it.
func (r *Resolver) CNAME(ctx context.Context, name string) (Answer[string], error) {
	e, err := r.lookUp(ctx, name, dns.TypeCNAME, always)
	return answer(r, e, err, func(rr *dns.CNAME) (string, bool) {
		target, err := canonical(rr.Target)
		return strings.TrimSuffix(target, "."), err == nil
	})
}

// Addrs gives the addresses of a host: IPv6 first, each in the order of the
// answer. An error of one family does not count when the other has some.
func (r *Resolver) Addrs(ctx context.Context, host string) (Answer[netip.Addr], error) {
	if name, err := canonical(host); err == nil {
		r.recall(question{name, dns.TypeA}, always) // both at the same time
	}
	e, err := r.lookUp(ctx, host, dns.TypeAAAA, always)
	six, sixErr := answer(r, e, err, func(rr *dns.AAAA) (netip.Addr, bool) { return netip.AddrFromSlice(rr.AAAA) })
	e, err = r.lookUp(ctx, host, dns.TypeA, always)
	four, fourErr := answer(r, e, err, func(rr *dns.A) (netip.Addr, bool) {
		ip, ok := netip.AddrFromSlice(rr.A)
		return ip.Unmap(), ok
	})
	switch {
	case sixErr == nil && fourErr == nil:
		six.Records = append(six.Records, four.Records...)
		six.Authentic = six.Authentic && four.Authentic
		six.Age = max(six.Age, four.Age)
		return six, nil
	case sixErr == nil:
		return six, nil
	case fourErr == nil:
		return four, nil
	case errors.Is(sixErr, ErrTemporary):
		return six, sixErr
	}
	return four, fourErr
}

// answer makes an Answer of an entry. Records that read leaves out do not
// count.
func answer[RR dns.RR, R any](r *Resolver, e *entry, err error, read func(RR) (R, bool)) (Answer[R], error) {
	if err != nil {
		return Answer[R]{}, err
	}
	a := Answer[R]{Name: strings.TrimSuffix(e.name, "."), Authentic: e.authentic, Age: max(r.cfg.Now().Sub(e.asked), 0)}
	if e.err != nil {
		return a, e.err
	}
	for _, rr := range e.records {
		if typed, ok := rr.(RR); ok {
			if record, ok := read(typed); ok {
				a.Records = append(a.Records, record)
			}
		}
	}
	if len(a.Records) == 0 {
		return a, ErrNoRecord
	}
	return a, nil
}
