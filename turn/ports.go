package turn

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

var (
	errNoTCP    = errors.New("nothing is relayed over TCP")
	errNoPort   = errors.New("no port is free for an allocation")
	errNoFamily = errors.New("this host has no address of that family")
)

// portTries bounds how many ports are tried for one allocation.
const portTries = 200

// bind opens a socket for an allocation: at the address that the client came
// to, or, when it asks for the other family, at one of that. port zero is any.
func (d *door) bind(port int) (conn *socket, local, public netip.AddrPort, err error) {
	ip, err := d.relayIP()
	if err != nil {
		return nil, local, public, err
	}
	first, n := port, 1
	if port == 0 {
		n = d.s.cfg.MaxPort - d.s.cfg.MinPort + 1
		first = d.s.cfg.MinPort + rand.IntN(n)
	}
	for i := range min(n, portTries) {
		try := first
		if port == 0 {
			try = d.s.cfg.MinPort + (first-d.s.cfg.MinPort+i)%n
		}
		local = netip.AddrPortFrom(ip, uint16(try))
		if d.msg.evenPort && try%2 != 0 || d.s.relayAt(local) != nil {
			continue
		}
		if conn, err = listenRelayed(local); err == nil {
			return conn, local, d.publicOf(local), nil
		}
	}
	return nil, local, public, errNoPort
}

// listenRelayed opens the socket of an allocation, without the leave to send
// to all hosts of a network, which package net asks for: an address that means
// them is known by the kernel alone.
func listenRelayed(local netip.AddrPort) (*socket, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 0) })
		return errors.Join(err, failed)
	}}
	c, err := lc.ListenPacket(context.Background(), "udp", local.String())
	if err != nil {
		return nil, err
	}
	s, err := newSocket(c.(*net.UDPConn))
	if err != nil {
		c.Close()
	}
	return s, err
}

// relayIP chooses the address of this host that is relayed.
func (d *door) relayIP() (netip.Addr, error) {
	came := d.local.Addr()
	// Behind something on this host that passes connections on, clients come to
	// loopback from elsewhere, where no peer would be met.
	loopback := came.IsLoopback() && d.from.Addr().IsLoopback()
	if came.Is4() != d.msg.ipv6 && came.IsLoopback() == loopback {
		return came, nil
	}
	d.s.mu.RLock()
	defer d.s.mu.RUnlock()
	var best netip.Addr
	for _, ip := range d.s.own {
		if ip.Is4() == d.msg.ipv6 || ip.IsLoopback() != loopback || ip.IsLinkLocalUnicast() {
			continue
		}
		if !best.IsValid() || best.IsPrivate() && !ip.IsPrivate() {
			best = ip
		}
	}
	if !best.IsValid() {
		return best, errNoFamily
	}
	return best, nil
}

// publicOf gives the address that an allocation is told as.
func (d *door) publicOf(local netip.AddrPort) netip.AddrPort {
	for _, ip := range d.s.cfg.External {
		if ip.Is4() == local.Addr().Is4() && !local.Addr().IsLoopback() {
			return netip.AddrPortFrom(ip, local.Port())
		}
	}
	return local
}
