package turn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// udpDoor is a door for datagrams.
type udpDoor struct {
	*door
	conn  *socket
	ended chan struct{} // closed when the library reads no more
	once  sync.Once
}

// openUDP opens one socket per processor, up to four, at an address: the kernel
// shares clients out among them.
func openUDP(s *Server, addr netip.AddrPort) (list []*udpDoor, err error) {
	lc := net.ListenConfig{Control: reusePort}
	for range min(runtime.GOMAXPROCS(0), 4) {
		c, err := lc.ListenPacket(context.Background(), "udp", addr.String())
		if err == nil {
			addr = addrPortOf(c.LocalAddr())
			var d *udpDoor
			if d, err = newUDPDoor(s, addr, c.(*net.UDPConn)); err == nil {
				list = append(list, d)
				continue
			}
			c.Close()
		}
		closeAll(list)
		return nil, err
	}
	return list, nil
}

func newUDPDoor(s *Server, addr netip.AddrPort, c *net.UDPConn) (*udpDoor, error) {
	conn, err := newSocket(c)
	if err != nil {
		return nil, err
	}
	d := &udpDoor{door: newDoor(s, addr), conn: conn, ended: make(chan struct{})}
	d.send, d.credit = conn.send, s.credit
	// The kernel's default is some hundred packets.
	_ = conn.SetReadBuffer(1 << 20)
	_ = conn.SetWriteBuffer(1 << 20)
	return d, d.begin(d)
}

func reusePort(_, _ string, c syscall.RawConn) error {
	var failed error
	if err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); err != nil {
		return err
	}
	if failed != nil {
		return fmt.Errorf("share a port: %w", failed)
	}
	return nil
}

// end closes the door and its allocations, and waits for the library.
func (d *udpDoor) end() {
	d.conn.Close()
	<-d.ended
	d.endRelays()
}

// endRelays ends all allocations of a door.
func (d *door) endRelays() {
	d.mu.Lock()
	var list []*relay
	for _, r := range d.relays {
		list = append(list, r)
	}
	d.mu.Unlock()
	for _, r := range list {
		r.Close()
	}
}

// ReadFrom implements net.PacketConn for the library.
func (d *udpDoor) ReadFrom(p []byte) (int, net.Addr, error) {
	d.settle()
	for {
		n, from, err := d.conn.read(p)
		if errors.Is(err, net.ErrClosed) {
			d.once.Do(func() { close(d.ended) })
			return 0, nil, err
		}
		if err != nil { // any other error would end the library's loop for good
			d.drop("not read")
			time.Sleep(time.Millisecond)
			continue
		}
		if msg := d.admit(p[:n], from); msg != nil {
			return copy(p, msg), net.UDPAddrFromAddrPort(from), nil
		}
	}
}

// WriteTo implements net.PacketConn for the library.
func (d *udpDoor) WriteTo(p []byte, to net.Addr) (int, error) {
	d.write(p, addrPortOf(to))
	return len(p), nil
}

// LocalAddr implements net.PacketConn.
func (d *udpDoor) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(d.local) }

// Close implements net.PacketConn.
func (d *udpDoor) Close() error { return d.conn.Close() }

// The library sets no deadlines here.

// SetDeadline implements net.PacketConn.
func (d *udpDoor) SetDeadline(t time.Time) error { return d.conn.SetDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (d *udpDoor) SetReadDeadline(t time.Time) error { return d.conn.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn.
func (d *udpDoor) SetWriteDeadline(t time.Time) error { return d.conn.SetWriteDeadline(t) }
