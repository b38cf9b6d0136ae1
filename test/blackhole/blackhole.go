// Package blackhole is a place on loopback that packets go into and nothing
// comes out of: who connects waits until he is tired. A firewall that drops
// looks like that, and this one needs no root.
//
// It is a socket that listens and has no room for one more connection: Linux
// then drops the packet that asks for one (listen(2),
// net.ipv4.tcp_abort_on_overflow off).
package blackhole

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Hole is open until it is closed.
type Hole struct {
	fd   int
	fill []net.Conn
}

// fillers is more than has room in a queue of length zero.
const fillers = 8

// Open makes one at an IPv4 address and port.
func Open(at netip.AddrPort) (*Hole, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("black hole: %w", err)
	}
	h := &Hole{fd: fd}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()})
	}
	if err == nil {
		err = unix.Listen(fd, 0)
	}
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("black hole: %w", err)
	}
	for range fillers {
		conn, err := net.DialTimeout("tcp4", at.String(), 200*time.Millisecond)
		if err != nil {
			return h, nil // it is full
		}
		h.fill = append(h.fill, conn)
	}
	h.Close()
	return nil, fmt.Errorf("black hole: the system takes more than %d connections that nobody accepts", fillers)
}

// Close lets everybody go.
func (h *Hole) Close() {
	for _, c := range h.fill {
		c.Close()
	}
	unix.Close(h.fd)
}
