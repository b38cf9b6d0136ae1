package ratelimit

import "net/netip"

// Network gives what one subscriber or one house usually has, to count them
// as one: the IPv4 /24 or the IPv6 /48 of a client. All clients whose address
// is not known are the zero Prefix.
func Network(client netip.Addr) netip.Prefix {
	client = client.Unmap().WithZone("")
	bits := 48
	if client.Is4() {
		bits = 24
	}
	prefix, _ := client.Prefix(bits) // fails for the zero Addr alone, and then it is the zero Prefix
	return prefix
}
