package turn

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// turnLength is how many datagrams a reader takes in a row where it never has
	// to wait for one, about a millisecond of work. Calls that the scheduler does
	// not know of give it no occasion to look at other sockets, so who floods one
	// would hold up all others of the process for ten milliseconds at a time.
	turnLength = 128
	// restLength is how long it rests then. To only stand aside for whoever can
	// run is not enough: the scheduler asks for what has arrived elsewhere when
	// nobody can. Much shorter, and the rest is over before it has asked.
	restLength = 50 * time.Microsecond
)

// socket is a connection for datagrams that reads and sends by itself. Package
// net tells the scheduler of each call to the kernel, since a call may take
// long; from rest that wakes a thread that watches over such calls, and cost a
// fifth of what relaying costs. These here never wait in the kernel, and go
// there straight; a reader that is kept busy rests for a moment now and then.
type socket struct {
	*net.UDPConn
	raw     syscall.RawConn
	is4     bool // else IPv6
	reading call // of the one goroutine that reads
}

// newSocket takes a connection that is bound to one address.
func newSocket(conn *net.UDPConn) (*socket, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("calls of a socket: %w", err)
	}
	s := &socket{UDPConn: conn, raw: raw, is4: addrPortOf(conn.LocalAddr()).Addr().Is4()}
	s.reading.run = s.reading.receive
	return s, nil
}

// read waits for a datagram. A zone of its sender is a number. Errors are those
// of the kernel, and net.ErrClosed. One goroutine may read.
func (s *socket) read(p []byte) (n int, from netip.AddrPort, err error) {
	c := &s.reading
	if c.turn++; c.turn > turnLength {
		c.turn = 0
		time.Sleep(restLength)
	}
	c.p = p
	if err := s.raw.Read(c.run); err != nil {
		return 0, from, err
	}
	if c.errno != 0 {
		return 0, from, c.errno
	}
	return c.n, c.from(), nil
}

// send sends a datagram, from any goroutine. While the kernel has too many of
// the socket on their way, the error is EAGAIN at once: who waited here would
// hold up all who share his door, for seconds where a peer on the link does not
// say where it is.
func (s *socket) send(p []byte, to netip.AddrPort) error {
	c := sendings.Get().(*call)
	defer sendings.Put(c)
	if !c.to(to, s.is4) {
		return unix.EAFNOSUPPORT
	}
	c.p = p
	if err := s.raw.Write(c.run); err != nil {
		return err
	}
	if c.errno != 0 {
		return c.errno
	}
	return nil
}

// call is one call to the kernel.
type call struct {
	p     []byte
	n     int                   // octets that were read
	addr  unix.RawSockaddrInet6 // with room for one of IPv4, whose port is at the same place
	size  uint32                // of addr
	errno syscall.Errno
	turn  int                          // datagrams that were read since others had the processor
	run   func(fd uintptr) (done bool) // receive or send; made once, as it would be made anew for each call
}

var sendings = sync.Pool{New: func() any {
	c := &call{}
	c.run = c.send
	return c
}}

// receive reads one datagram. It is false when there is none yet.
func (c *call) receive(fd uintptr) bool {
	for {
		c.size = unix.SizeofSockaddrInet6
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(c.p))), uintptr(len(c.p)),
			unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&c.addr)), uintptr(unsafe.Pointer(&c.size)))
		if errno == unix.EAGAIN {
			c.turn = 0 // others have the processor while we wait
			return false
		}
		if errno != unix.EINTR {
			c.n, c.errno = int(n), errno
			return true
		}
	}
}

// send sends one datagram, or tells why not.
func (c *call) send(fd uintptr) bool {
	for {
		_, _, c.errno = unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(c.p))), uintptr(len(c.p)),
			unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&c.addr)), uintptr(c.size))
		if c.errno != unix.EINTR {
			return true
		}
	}
}

// port is where addr has the port, in the order of the network.
func (c *call) port() []byte { return (*[2]byte)(unsafe.Pointer(&c.addr.Port))[:] }

// addr4 is addr where it is one of IPv4.
func (c *call) addr4() *unix.RawSockaddrInet4 {
	return (*unix.RawSockaddrInet4)(unsafe.Pointer(&c.addr))
}

// to says where a datagram goes. It is false when a socket of that family does
// not reach it.
func (c *call) to(addr netip.AddrPort, is4 bool) bool {
	ip := addr.Addr()
	if !ip.IsValid() || ip.Is4() != is4 {
		return false
	}
	if is4 {
		*c.addr4() = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: ip.As4()}
		c.size = unix.SizeofSockaddrInet4
	} else {
		var zone uint64
		if name := ip.Zone(); name != "" {
			var err error
			if zone, err = strconv.ParseUint(name, 10, 32); err != nil {
				return false
			}
		}
		c.addr = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: ip.As16(), Scope_id: uint32(zone)}
		c.size = unix.SizeofSockaddrInet6
	}
	binary.BigEndian.PutUint16(c.port(), addr.Port())
	return true
}

// from tells where a datagram came from.
func (c *call) from() netip.AddrPort {
	port := binary.BigEndian.Uint16(c.port())
	if c.addr.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4(c.addr4().Addr), port)
	}
	ip := netip.AddrFrom16(c.addr.Addr).Unmap()
	if c.addr.Scope_id != 0 {
		ip = ip.WithZone(strconv.FormatUint(uint64(c.addr.Scope_id), 10))
	}
	return netip.AddrPortFrom(ip, port)
}
