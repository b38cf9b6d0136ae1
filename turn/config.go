package turn

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"barid/internal/metrics"
)

// Config of a Server.
type Config struct {
	// Secrets credentials are checked with. Not nil.
	Secrets *Secrets
	// External are the addresses that the world knows this host by, where a NAT
	// stands before it: at most one of each family. Relayed addresses are told
	// with them. None means that they are told as they are bound.
	External []netip.Addr
	// MinPort and MaxPort bound the ports that are relayed. Default 49152 and
	// 65535.
	MinPort, MaxPort int
	// AllowPeers are networks that clients may reach although they are inside:
	// the relay's own addresses are never among them.
	AllowPeers []netip.Prefix
	// MaxAllocations bounds all allocations, PerUser those of one budget (of one
	// account, nearly always). Default 1000 and 10.
	MaxAllocations, PerUser int
	// BytesPerSecond bounds what passes through one allocation over time, both
	// ways together and with 28 octets for the headers of each datagram; two
	// seconds of it may pass at once. Default 1 MiB.
	BytesPerSecond int64
	// BytesPerDay bounds what passes for one budget in a day of UTC, counted in
	// the same way. Default 20 GiB.
	BytesPerDay int64
	// MaxPermissions and MaxChannels bound those of one allocation. Default 64.
	MaxPermissions, MaxChannels int
	// Idle is how long an allocation stays through which nothing passes.
	// Default 10 minutes.
	Idle time.Duration
	// Addresses gives the addresses of this host. Nil asks its interfaces.
	Addresses func() ([]netip.Addr, error)
	Logger    *slog.Logger      // nil is silence
	Metrics   *metrics.Registry // nil is fine
	Now       func() time.Time  // nil is time.Now
}

func (c Config) withDefaults() (Config, error) {
	set := func(v *int, to int) {
		if *v <= 0 {
			*v = to
		}
	}
	set(&c.MinPort, 49152)
	set(&c.MaxPort, 65535)
	set(&c.MaxAllocations, 1000)
	set(&c.PerUser, 10)
	set(&c.MaxPermissions, 64)
	set(&c.MaxChannels, 64)
	if c.BytesPerSecond <= 0 {
		c.BytesPerSecond = 1 << 20
	}
	if c.BytesPerDay <= 0 {
		c.BytesPerDay = 20 << 30
	}
	if c.Idle <= 0 {
		c.Idle = 10 * time.Minute
	}
	if c.Addresses == nil {
		c.Addresses = hostAddresses
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	switch {
	case c.Secrets == nil:
		return c, errors.New("turn: no secrets given")
	case c.MinPort > c.MaxPort || c.MaxPort > 65535:
		return c, fmt.Errorf("turn: no ports from %d to %d", c.MinPort, c.MaxPort)
	}
	seen := map[bool]bool{}
	for _, a := range c.External {
		if seen[a.Is4()] {
			return c, errors.New("turn: two external addresses of one family")
		}
		seen[a.Is4()] = true
	}
	return c, nil
}

// hostAddresses gives the addresses of all interfaces.
func hostAddresses() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("addresses of this host: %w", err)
	}
	var list []netip.Addr
	for _, a := range all {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		if ip, ok := netip.AddrFromSlice(n.IP); ok {
			list = append(list, ip.Unmap())
		}
	}
	return list, nil
}
