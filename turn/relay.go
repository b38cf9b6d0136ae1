package turn

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// relay is the socket of one allocation, towards peers. The library has it to
// end the allocation with; it gets nothing of what passes.
type relay struct {
	d      *door
	client netip.AddrPort
	bucket int // of the user
	budget *budget
	conn   *socket
	local  netip.AddrPort // that it is bound to
	public netip.AddrPort // that it is told as

	pace pace
	used atomic.Int64 // seconds of the Unix epoch
	ways atomic.Pointer[ways]

	mu     sync.Mutex // held by who changes ways; guards the field below
	closed bool
}

// newRelay makes the allocation of the client whose message is worked on.
func newRelay(d *door, conn *socket, local, public netip.AddrPort) *relay {
	r := &relay{d: d, client: d.from, bucket: d.bucket, budget: d.granted, conn: conn, local: local, public: public}
	r.ways.Store(&ways{})
	r.used.Store(d.s.cfg.Now().Unix())
	d.s.work.Add(1) // until it is closed, by whomever
	d.mu.Lock()
	d.relays[r.client] = r
	d.mu.Unlock()
	d.s.mu.Lock()
	d.s.live[local], d.s.live[public] = r, r
	d.s.mu.Unlock()
	return r
}

// Close ends the allocation: the library forgets it when it cannot read here
// any more.
func (r *relay) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	d := r.d
	defer d.s.work.Done()
	d.mu.Lock()
	if d.relays[r.client] == r {
		delete(d.relays, r.client)
	}
	d.mu.Unlock()
	d.s.mu.Lock()
	for _, addr := range []netip.AddrPort{r.local, r.public} {
		if d.s.live[addr] == r {
			delete(d.s.live, addr)
		}
	}
	d.s.mu.Unlock()
	d.s.giveBack(r.budget)
	return r.conn.Close()
}

// datagramHeaders are those of UDP and IPv4: a datagram costs them besides what
// is in it, so that empty ones are not free.
const datagramHeaders = 28

// use counts octets that are about to pass between client and peer.
func (r *relay) use(n int, now time.Time) bool {
	if !r.charge(n+datagramHeaders, now) {
		return false
	}
	r.used.Store(now.Unix())
	r.d.s.relayed.Add(float64(n))
	return true
}

// charge counts octets, or tells that they are too many.
func (r *relay) charge(n int, now time.Time) bool {
	cfg := &r.d.s.cfg
	if !r.pace.pass(n, now, cfg.BytesPerSecond) {
		r.d.drop("octets per second")
		return false
	}
	if !r.budget.take(n, now, cfg.BytesPerDay) {
		r.d.drop("octets of a day")
		return false
	}
	return true
}

// fromChannel relays data of a channel to its peer.
func (r *relay) fromChannel(p []byte) {
	number, data, ok := readChannel(p)
	if !ok {
		r.d.drop("malformed")
		return
	}
	now := r.d.s.cfg.Now()
	peer, ok := r.ways.Load().to(number, now)
	if !ok {
		r.d.drop("no channel")
		return
	}
	r.toPeer(data, peer, now)
}

// toPeer writes to a peer. What must not or cannot go is dropped, as a network
// may.
func (r *relay) toPeer(p []byte, to netip.AddrPort, now time.Time) {
	s := r.d.s
	if other, own := s.who(to); own {
		// Only where another allocation is, and there straight to its socket: a
		// NAT before us may not lead back.
		if other == nil {
			r.d.drop("own address")
			return
		}
		if r.handOver(p, other, now) {
			return
		}
		to = other.local
	}
	if to.Port() == 0 || !r.use(len(p), now) {
		return
	}
	if r.conn.send(p, to) != nil {
		r.d.drop("not sent to a peer")
	}
}

// frameBuffers has room for data of a channel with its header.
var frameBuffers = sync.Pool{New: func() any { return new([maxMessage]byte) }}

// handOver gives data to the client of another allocation here without a way
// through two sockets, where that client has a channel for it: half of the work
// for two clients of one relay. Otherwise it gives false and does nothing.
func (r *relay) handOver(p []byte, other *relay, now time.Time) bool {
	w := other.ways.Load()
	number, bound := w.from(r.public, now)
	if !bound || !w.may(r.public.Addr(), now) {
		return false
	}
	if !r.use(len(p), now) || !other.use(len(p), now) {
		return true
	}
	b := frameBuffers.Get().(*[maxMessage]byte)
	defer frameBuffers.Put(b)
	binary.BigEndian.PutUint16(b[:], number)
	binary.BigEndian.PutUint16(b[2:], uint16(len(p)))
	if other.d.send(b[:channelHeader+copy(b[channelHeader:], p)], other.client) != nil {
		other.d.drop("not sent to a client")
	}
	return true
}

// WriteTo implements net.PacketConn. The library has nobody to write to.
func (r *relay) WriteTo(p []byte, _ net.Addr) (int, error) { return len(p), nil }

// ReadFrom implements net.PacketConn for the library, which ends the allocation
// when this returns. It relays to the client what peers with a permission say.
func (r *relay) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		// Room for the header of a channel stays in front.
		n, from, err := r.conn.read(p[channelHeader:])
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return 0, nil, err
			}
			time.Sleep(time.Millisecond) // no socket fails for long without being closed
			continue
		}
		other, own := r.d.s.who(from)
		switch {
		case other != nil:
			from = other.public
		case own: // as nothing of ours but allocations can be called, nothing else answers
			r.d.drop("own address")
			continue
		}
		w, now := r.ways.Load(), r.d.s.cfg.Now()
		if !w.may(from.Addr(), now) {
			r.d.drop("no permission")
			continue
		}
		if n > maxMessage-channelHeader {
			r.d.drop("too long")
			continue
		}
		if !r.use(n, now) {
			continue
		}
		number, bound := w.from(from, now)
		if !bound {
			r.toIndication(p[channelHeader:channelHeader+n], from)
			continue
		}
		binary.BigEndian.PutUint16(p, number)
		binary.BigEndian.PutUint16(p[2:], uint16(n))
		if r.d.send(p[:channelHeader+n], r.client) != nil {
			r.d.drop("not sent to a client")
		}
	}
}

// LocalAddr implements net.PacketConn.
func (r *relay) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(r.local) }

// The library sets no deadlines here.

// SetDeadline implements net.PacketConn.
func (r *relay) SetDeadline(t time.Time) error { return r.conn.SetDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (r *relay) SetReadDeadline(t time.Time) error { return r.conn.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn.
func (r *relay) SetWriteDeadline(t time.Time) error { return r.conn.SetWriteDeadline(t) }
