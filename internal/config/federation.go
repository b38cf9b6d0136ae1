package config

import (
	"net/netip"
	"strings"
)

func (k *checker) dns(d *DNS) {
	if d.Resolver == "" {
		return
	}
	if addr, err := netip.ParseAddrPort(d.Resolver); err != nil || addr.Port() == 0 {
		k.bad("dns.resolver", `must be address:port, such as "127.0.0.1:53" or "[::1]:53"`)
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
