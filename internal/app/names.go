package app

import "net/netip"

// names are the forms in which a relay's one configured name appears.
type names struct {
	mail string // in addresses: "chat.example.org", "[192.0.2.7]"
	host string // what clients connect to: "chat.example.org", "192.0.2.7"
}

// namesOf derives them from the configuration's domain.
func namesOf(domain string) names {
	if ip, err := netip.ParseAddr(domain); err == nil && ip.Is4() {
		return names{mail: "[" + domain + "]", host: domain}
	}
	return names{mail: domain, host: domain}
}
