package transmit

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"barid/internal/resolver"
	"barid/smtp"
)

// maxHosts bounds the hosts of a destination that are tried.
const maxHosts = 8

// trust says what a host's certificate must be.
type trust int

const (
	verified       trust = iota // valid for the host's name
	anyCertificate              // TLS, but nobody can vouch for the name
	cleartext                   // TLS if the host has it
)

// route is the way to a destination.
type route struct {
	dest  string
	trust trust
	hosts []host // in the order in which they are tried
	// secure says that DNSSEC vouches for the hosts, which is what DANE needs.
	secure bool
}

// host is one mail exchanger: a name, or an address.
type host struct {
	name string
	addr netip.Addr // of a literal
}

// route finds the hosts of a destination (RFC 5321 section 5.1).
func (t *Transmitter) route(ctx context.Context, dest string) (*route, *smtp.Reply) {
	r := &route{dest: dest, trust: t.trustOf(dest)}
	if r.trust == anyCertificate && t.cfg.NoLiterals {
		return nil, smtp.NewReply(550, "5.7.1", "This relay sends no mail to %s, whose certificate nobody can vouch for", dest)
	}
	if strings.HasPrefix(dest, "[") {
		addr, ok := literal(dest)
		if !ok {
			return nil, smtp.NewReply(501, "5.1.2", "Bad address literal")
		}
		r.hosts = []host{{name: addr.String(), addr: addr}}
		return r, nil
	}
	mx, err := t.cfg.Resolver.MX(ctx, dest)
	switch {
	case err == nil:
		if len(mx.Records) == 1 && mx.Records[0].Host == "" {
			return nil, smtp.NewReply(556, "5.1.10", "Permanent failure: Recipient address has null MX")
		}
		before := beforeUs(mx.Records, t.cfg.Names)
		if len(before) == 0 && len(mx.Records) > 0 {
			return nil, loop(dest).reply
		}
		r.hosts = inOrder(before)
		r.secure = mx.Authentic
	case errors.Is(err, resolver.ErrNoRecord):
		r.hosts = []host{{name: dest}}
		r.secure = mx.Authentic
	case errors.Is(err, resolver.ErrNoName):
		return nil, smtp.NewReply(512, "5.1.2", "Domain %s does not exist", dest)
	case errors.Is(err, resolver.ErrName), errors.Is(err, resolver.ErrTooLarge):
		return nil, smtp.NewReply(501, "5.1.2", "Bad domain or unusable records: %s", dest)
	default:
		return nil, smtp.NewReply(421, "4.4.3", "DNS resolution failed for %s", dest)
	}
	if len(r.hosts) == 0 {
		return nil, smtp.NewReply(556, "5.1.10", "Permanent failure: no usable MX of %s", dest)
	}
	if r.trust == verified {
		return t.underPolicy(ctx, r)
	}
	return r, nil
}

// trustOf says how a destination is spoken to.
func (t *Transmitter) trustOf(dest string) trust {
	switch {
	case slices.Contains(t.cfg.Cleartext, dest):
		return cleartext
	case strings.HasPrefix(dest, "["), strings.HasPrefix(dest, "_"):
		return anyCertificate
	}
	return verified
}

// beforeUs leaves out this host as an exchanger, and those that are no nearer
// to the destination than it is: they would send the mail back here (RFC 5321
// section 5.1).
func beforeUs(records []resolver.MX, names []string) []resolver.MX {
	nearest := 1 << 16
	for _, mx := range records {
		if slices.Contains(names, mx.Host) {
			nearest = min(nearest, int(mx.Preference))
		}
	}
	return slices.DeleteFunc(slices.Clone(records), func(mx resolver.MX) bool { return int(mx.Preference) >= nearest })
}

// loop refuses what would come back to us.
func loop(name string) *refusal {
	return &refusal{smtp.NewReply(554, "5.4.6", "Mail for %s would come back to this relay, which does not take it", name)}
}

// inOrder sorts exchangers by preference, equals at random (RFC 5321 section
// 5.1), and leaves out what is no host.
func inOrder(records []resolver.MX) []host {
	records = slices.Clone(records)
	rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	slices.SortStableFunc(records, func(a, b resolver.MX) int { return int(a.Preference) - int(b.Preference) })
	var hosts []host
	for _, mx := range records {
		h := host{name: mx.Host}
		if mx.Host != "" && !slices.Contains(hosts, h) && len(hosts) < maxHosts {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// literal reads an address literal (RFC 5321 section 4.1.3).
func literal(dest string) (netip.Addr, bool) {
	text, ok := strings.CutSuffix(strings.TrimPrefix(dest, "["), "]")
	if !ok {
		return netip.Addr{}, false
	}
	if len(text) > 5 && strings.EqualFold(text[:5], "IPv6:") {
		text = text[5:]
	}
	addr, err := netip.ParseAddr(text)
	return addr.Unmap(), err == nil && addr.Zone() == ""
}
