package turn

import "net/netip"

// inside are the networks that no client may reach through us, after IANA's
// registries of special-purpose addresses, and what clouds answer at.
var inside = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8",
	"169.254.0.0/16", // link-local; 169.254.169.254 tells a cloud's secrets
	"172.16.0.0/12",
	"192.0.0.0/24", // 192.0.0.192 is the same elsewhere
	"192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
	"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
	"168.63.129.16/32", // the host below a machine in a cloud
	"224.0.0.0/4", "240.0.0.0/4",

	"2001::/23", "2001:db8::/32", "3fff::/20",
	"2002::/16", // has an IPv4 address inside, like Teredo in 2001::/23
)

// global has all IPv6 addresses that IANA gave to anybody; whatever lies
// outside is inside, or a translator's name for an IPv4 address.
var global = netip.MustParsePrefix("2000::/3")

// nat64 has the IPv4 address of a peer in its last octets (RFC 6052).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

func prefixes(list ...string) (all []netip.Prefix) {
	for _, text := range list {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// peerRule says which addresses may be peers, but for our own.
type peerRule struct{ allow []netip.Prefix }

// allows tells whether ip may be a peer. An IPv4 address in IPv6 dress counts
// as what it is.
func (r peerRule) allows(ip netip.Addr) bool {
	if !ip.IsValid() || ip.Zone() != "" {
		return false
	}
	ip = ip.Unmap()
	if ip.IsUnspecified() || ip.IsLoopback() || ip.IsMulticast() || ip == broadcast {
		return false // this host, or many; no list can mean them
	}
	for _, p := range r.allow {
		if p.Contains(ip) {
			return true
		}
	}
	if v4 := behindNAT64(ip); v4.IsValid() {
		return r.allows(v4)
	}
	for _, p := range inside {
		if p.Contains(ip) {
			return false
		}
	}
	return ip.Is4() || global.Contains(ip)
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// behindNAT64 gives the IPv4 address that a translator leads to, or none.
func behindNAT64(ip netip.Addr) (v4 netip.Addr) {
	if nat64.Contains(ip) {
		octets := ip.As16()
		v4 = netip.AddrFrom4([4]byte(octets[12:]))
	}
	return v4
}
