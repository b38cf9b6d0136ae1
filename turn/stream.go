package turn

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// strangerTime is how long a connection may be without an allocation.
	strangerTime = 30 * time.Second
	// silentTime is how long a client with an allocation may say nothing: it
	// refreshes its allocation sooner.
	silentTime = 15 * time.Minute
	// stallTime is how long a client may take nothing of what is for it.
	stallTime = 10 * time.Second
	// waiting is how many messages wait for a client; more are dropped.
	waiting = 64
)

// streamDoor is a door for connections: to one address of the host, on
// whatever port and in whatever wrapping they came. Messages of all of them go
// through the library one by one, data of channels passes beside it.
type streamDoor struct {
	*door
	in    chan fromStream
	gone  chan struct{} // closed by end
	ended chan struct{} // closed when the library reads no more
	once  sync.Once

	clients sync.Mutex // guards the field below
	conns   map[netip.AddrPort]*streamConn
}

// fromStream is a message of a client. took is told when the library has it.
type fromStream struct {
	from netip.AddrPort
	p    []byte
	took chan struct{}
}

// streamConn is one connection of a client.
type streamConn struct {
	conn net.Conn
	out  chan []byte
	gone chan struct{} // closed with the connection
}

// streamAt gives the door for connections to an address of the host.
func (s *Server) streamAt(local netip.AddrPort) (*streamDoor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	if d := s.streams[local.Addr()]; d != nil {
		return d, nil
	}
	d := &streamDoor{
		door: newDoor(s, local), in: make(chan fromStream), gone: make(chan struct{}), ended: make(chan struct{}),
		conns: map[netip.AddrPort]*streamConn{},
	}
	d.send = d.queue
	d.strangers = s.connected
	if err := d.begin(d); err != nil {
		return nil, err
	}
	s.streams[local.Addr()] = d
	return d, nil
}

// ServeConn serves a connection until the client closes it or has nothing to
// do here, or ctx or the server ends; then it is closed. client is who it is
// for limits and answers, local the address of this host it came to.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn, client, local netip.AddrPort) {
	defer conn.Close()
	client, local = unmap(client), unmap(local)
	d, err := s.streamAt(local)
	if err != nil {
		return
	}
	c := &streamConn{conn: conn, out: make(chan []byte, waiting), gone: make(chan struct{})}
	if !d.enter(client, c) {
		d.drop("second connection")
		return
	}
	defer d.leave(client, c)
	var writer sync.WaitGroup
	writer.Go(c.write)
	defer writer.Wait()
	defer close(c.gone)
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer context.AfterFunc(s.ctx, func() { conn.Close() })()
	d.read(c, client)
}

// read takes what a client says until it errs or ends.
func (d *streamDoor) read(c *streamConn, client netip.AddrPort) {
	f := newFrames(c.conn)
	took := make(chan struct{})
	strangerUntil := time.Now().Add(strangerTime)
	for {
		until := strangerUntil
		if d.relay(client) != nil {
			until = time.Now().Add(silentTime)
			strangerUntil = time.Now().Add(strangerTime)
		}
		c.conn.SetReadDeadline(until)
		p, err := f.next()
		if err != nil {
			if err == errFrame {
				d.drop("malformed")
			}
			return
		}
		if r := d.relay(client); r != nil && isChannel(p) {
			r.fromChannel(p)
			continue
		}
		select {
		case d.in <- fromStream{client, p, took}:
			<-took
		case <-d.gone:
			return
		}
	}
}

// write sends what waits for a client.
func (c *streamConn) write() {
	for {
		select {
		case p := <-c.out:
			c.conn.SetWriteDeadline(time.Now().Add(stallTime))
			if _, err := c.conn.Write(p); err != nil {
				c.conn.Close() // the reader ends then
				return
			}
		case <-c.gone:
			return
		}
	}
}

// enter makes a connection known, if its client has no other one here.
func (d *streamDoor) enter(client netip.AddrPort, c *streamConn) bool {
	d.clients.Lock()
	defer d.clients.Unlock()
	if d.conns[client] != nil {
		return false
	}
	d.conns[client] = c
	return true
}

// leave forgets a connection, and ends its allocation.
func (d *streamDoor) leave(client netip.AddrPort, c *streamConn) {
	d.clients.Lock()
	if d.conns[client] == c {
		delete(d.conns, client)
	}
	d.clients.Unlock()
	d.endRelay(client)
}

// has tells whether a client has a connection.
func (d *streamDoor) has(client netip.AddrPort) bool {
	d.clients.Lock()
	defer d.clients.Unlock()
	return d.conns[client] != nil
}

// endRelay ends the allocation of a client, if it has one.
func (d *streamDoor) endRelay(client netip.AddrPort) {
	if r := d.relay(client); r != nil {
		r.Close()
	}
}

// queue puts a message in line for a client.
func (d *streamDoor) queue(p []byte, to netip.AddrPort) error {
	d.clients.Lock()
	c := d.conns[to]
	d.clients.Unlock()
	if c == nil {
		return net.ErrClosed
	}
	// In a stream, data of a channel has padding (RFC 8656 section 12.5).
	own := make([]byte, (len(p)+3)&^3)
	copy(own, p)
	select {
	case c.out <- own:
		return nil
	default:
		d.drop("client does not read")
		return nil
	}
}

// end closes the door and its allocations, and waits for the library.
func (d *streamDoor) end() {
	d.Close()
	<-d.ended
	d.endRelays()
}

// ReadFrom implements net.PacketConn for the library.
func (d *streamDoor) ReadFrom(p []byte) (int, net.Addr, error) {
	d.settle()
	if !d.has(d.from) { // it left while the library made its allocation
		d.endRelay(d.from)
	}
	for {
		select {
		case f := <-d.in:
			n := copy(p, f.p)
			f.took <- struct{}{}
			if msg := d.admit(p[:n], f.from); msg != nil {
				return copy(p, msg), net.TCPAddrFromAddrPort(f.from), nil
			}
		case <-d.gone:
			close(d.ended)
			return 0, nil, net.ErrClosed
		}
	}
}

// WriteTo implements net.PacketConn for the library.
func (d *streamDoor) WriteTo(p []byte, to net.Addr) (int, error) {
	d.write(p, addrPortOf(to))
	return len(p), nil
}

// LocalAddr implements net.PacketConn.
func (d *streamDoor) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(d.local) }

// Close implements net.PacketConn.
func (d *streamDoor) Close() error {
	d.once.Do(func() { close(d.gone) })
	return nil
}

// Deadlines are those of connections.

// SetDeadline implements net.PacketConn.
func (d *streamDoor) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.PacketConn.
func (d *streamDoor) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.PacketConn.
func (d *streamDoor) SetWriteDeadline(time.Time) error { return nil }
