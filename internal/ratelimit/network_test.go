package ratelimit

import (
	"net/netip"
	"testing"
)

// Neighbours count as one, whichever way their address is written.
func TestNetwork(t *testing.T) {
	for client, want := range map[string]string{
		"192.0.2.1": "192.0.2.0/24", "192.0.2.255": "192.0.2.0/24", "::ffff:192.0.2.7": "192.0.2.0/24", "192.0.3.1": "192.0.3.0/24",
		"2001:db8:1:ffff::1": "2001:db8:1::/48", "2001:db8:2::1": "2001:db8:2::/48", "fe80::1%eth0": "fe80::/48",
	} {
		if got := Network(netip.MustParseAddr(client)).String(); got != want {
			t.Errorf("%s: %s, want %s", client, got, want)
		}
	}
	if Network(netip.Addr{}) != (netip.Prefix{}) {
		t.Error("an unknown client has a network")
	}
}
