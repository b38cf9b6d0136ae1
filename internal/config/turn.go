package config

import (
	"net/netip"
	"time"
)

func (k *checker) turn(t *TURN) {
	if t.Announce != "" {
		if why := checkDomain(t.Announce); why != "" {
			k.bad("turn.announce", "%s", why)
		}
	}
	k.external(t.External)
	k.between("turn.min_port", t.MinPort, 1024, 65535)
	k.between("turn.max_port", t.MaxPort, 1024, 65535)
	if t.MinPort > t.MaxPort {
		k.badPair("turn.min_port", "turn.max_port", "turn.min_port must not be above turn.max_port")
	}
	if len(t.AllowPeers) > maxElements {
		k.bad("turn.allow_peers", "has more than %d elements", maxElements)
	}
	for i, text := range t.AllowPeers {
		if _, err := parseNetwork(text); err != nil {
			k.badElement("turn.allow_peers", i, `%s: must be a network such as "10.1.0.0/16", or an address`, quoteShort(text))
		}
	}
	k.between("turn.max_allocations", t.MaxAllocations, 1, 100_000)
	k.between("turn.per_account", t.PerAccount, 1, 100_000)
	k.sizeBetween("turn.bytes_per_second", t.BytesPerSecond, 16*Kibi, 16*Gibi)
	k.sizeBetween("turn.bytes_per_day", t.BytesPerDay, Mebi, 1024*Tebi)
	k.durationBetween("turn.idle", t.Idle, time.Minute, time.Hour)
}

// external judges the addresses of a host behind a NAT.
func (k *checker) external(list []string) {
	if len(list) > 2 {
		k.bad("turn.external", "has more than one address of each family")
		return
	}
	seen := map[bool]bool{}
	for i, text := range list {
		ip, err := netip.ParseAddr(text)
		switch {
		case err != nil || ip.Zone() != "" || !ip.Unmap().IsGlobalUnicast():
			k.badElement("turn.external", i, "%s: must be an IP address that the world can reach", quoteShort(text))
		case seen[ip.Unmap().Is4()]:
			k.badElement("turn.external", i, "%s: is a second address of its family", quoteShort(text))
		default:
			seen[ip.Unmap().Is4()] = true
		}
	}
}

// ExternalAddrs gives the addresses of turn.external.
func (t *TURN) ExternalAddrs() (list []netip.Addr) {
	for _, text := range t.External {
		if ip, err := netip.ParseAddr(text); err == nil {
			list = append(list, ip.Unmap())
		}
	}
	return list
}

// PeerNetworks gives the networks of turn.allow_peers.
func (t *TURN) PeerNetworks() (list []netip.Prefix) {
	for _, text := range t.AllowPeers {
		if p, err := parseNetwork(text); err == nil {
			list = append(list, p)
		}
	}
	return list
}
