package acme

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// name is one subject of a certificate: a DNS name in lower case, or an IP
// address.
type name struct {
	dns string
	ip  netip.Addr
}

func (n name) String() string {
	if n.ip.IsValid() {
		return n.ip.String()
	}
	return n.dns
}

// unchecked tells a name for which peers and clients do not check the chain:
// one that begins with "_", or an address.
func (n name) unchecked() bool { return n.ip.IsValid() || strings.HasPrefix(n.dns, "_") }

// parseNames reads Config.Names and adds what a domain brings with it.
func parseNames(raw []string) ([]name, error) {
	var all []name
	for _, text := range raw {
		n, err := parseName(text)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	if len(all) == 0 {
		return nil, errors.New("no name")
	}
	if domain := all[0].dns; domain != "" {
		for _, prefix := range []string{"www.", "mta-sts."} {
			if len(prefix)+len(domain) <= 253 {
				all = append(all, name{dns: prefix + domain})
			}
		}
	}
	var unique []name
	for _, n := range all {
		if !slices.Contains(unique, n) {
			unique = append(unique, n)
		}
	}
	return unique, nil
}

// parseName reads one name or address.
func parseName(text string) (name, error) {
	if ip, ok := parseIP(text); ok {
		return name{ip: ip}, nil
	}
	dns := strings.ToLower(strings.TrimSuffix(text, "."))
	if len(dns) > 253 {
		return name{}, fmt.Errorf("the name %q is longer than 253 octets", text)
	}
	for label := range strings.SplitSeq(dns, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return name{}, fmt.Errorf("%q is neither a host name nor an address", text)
		}
	}
	return name{dns: dns}, nil
}

// parseIP reads an address, plain or as a literal (RFC 5321 section 4.1.3).
func parseIP(text string) (netip.Addr, bool) {
	if inner, ok := strings.CutPrefix(text, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); !ok {
			return netip.Addr{}, false
		}
		text = inner
		if len(text) > 5 && strings.EqualFold(text[:5], "IPv6:") {
			text = text[5:]
		}
	}
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Zone() != "" {
		return netip.Addr{}, false
	}
	return ip.Unmap(), true
}

// covers tells whether a certificate carries the name.
func covers(leaf *x509.Certificate, n name) bool {
	if n.ip.IsValid() {
		return slices.ContainsFunc(leaf.IPAddresses, net.IP(n.ip.AsSlice()).Equal)
	}
	return leaf.VerifyHostname(n.dns) == nil
}
