package config

import (
	"net/netip"
	"strings"
	"time"
)

func (k *checker) dns(d *DNS) {
	if len(d.Addresses) > 16 {
		k.bad("dns.addresses", "has more than 16 elements")
	}
	for i, text := range d.Addresses {
		if a, err := netip.ParseAddr(text); err != nil || a.Zone() != "" || a.Is4In6() || !a.IsGlobalUnicast() && !a.IsLoopback() {
			k.badElement("dns.addresses", i, `must be an IP address such as "192.0.2.7" or "2001:db8::7", not %s`, quoteShort(text))
		}
	}
	if d.Resolver == "" {
		return
	}
	if addr, err := netip.ParseAddrPort(d.Resolver); err != nil || addr.Port() == 0 {
		k.bad("dns.resolver", `must be address:port, such as "127.0.0.1:53" or "[::1]:53"`)
	}
}

// Values of Federation.Outgoing.
const (
	OutgoingOn    = "on"
	OutgoingHTTPS = "https"
	OutgoingOff   = "off"
)

func (k *checker) federation(f *Federation) {
	k.oneOf("federation.address_literals", f.AddressLiterals, LiteralsChecked, LiteralsAny, LiteralsOff)
	k.oneOf("federation.outgoing", f.Outgoing, OutgoingOn, OutgoingHTTPS, OutgoingOff)
	if len(f.CleartextDomains) > maxElements {
		k.bad("federation.cleartext_domains", "has more than %d elements", maxElements)
	}
	for i, d := range f.CleartextDomains {
		if why := checkDomain(d); why != "" {
			k.badElement("federation.cleartext_domains", i, "%s", why)
		}
	}
	k.sources(f.SourceAddresses)
	k.between("federation.smtp_port", f.SMTPPort, 1, 65535)
	k.between("federation.https_port", f.HTTPSPort, 1, 65535)
	k.durationBetween("federation.first_retry", f.FirstRetry, time.Second, 24*time.Hour)
	k.durationBetween("federation.max_retry", f.MaxRetry, time.Second, 24*time.Hour)
	if f.FirstRetry > f.MaxRetry {
		k.badPair("federation.first_retry", "federation.max_retry", `first_retry ("%s") is above max_retry ("%s")`, f.FirstRetry, f.MaxRetry)
	}
	k.durationBetween("federation.lifetime", f.Lifetime, time.Minute, 30*24*time.Hour)
	if f.WarnAfter != 0 {
		k.durationBetween("federation.warn_after", f.WarnAfter, time.Minute, 30*24*time.Hour)
	}
	k.between("federation.max_attempts", f.MaxAttempts, 10, 2000)
	k.between("federation.max_queued", f.MaxQueued, 1000, 1_000_000)
}

// sources wants at most one address of each family.
func (k *checker) sources(list []string) {
	var families [2]bool
	for i, text := range list {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" || a.IsMulticast() || a.IsUnspecified() {
			k.badElement("federation.source_addresses", i, `must be an IP address such as "192.0.2.7" or "2001:db8::7", not %s`, quoteShort(text))
			continue
		}
		family := 0
		if a.Unmap().Is6() {
			family = 1
		}
		if families[family] {
			k.badElement("federation.source_addresses", i, "is a second address of its family")
		}
		families[family] = true
	}
}

func (k *checker) dkim(d *DKIM) {
	switch {
	case d.Selector == "" && d.Key != "":
		k.badPair("dkim.selector", "dkim.key", "dkim.key wants dkim.selector")
	case d.Selector != "" && d.Key == "":
		k.badPair("dkim.key", "dkim.selector", "dkim.selector wants dkim.key")
	case d.Selector != "" && !isSelector(d.Selector):
		k.bad("dkim.selector", "must be letters, digits, hyphens and dots, at most 63 of them")
	}
}

// isSelector is sub-domain of RFC 6376 section 3.1, in lower case.
func isSelector(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return len(s) <= 63
}
