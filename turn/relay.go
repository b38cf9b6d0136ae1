package turn

import (
	"encoding/binary"
	"errors"
	"maps"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// relay is the socket of one allocation, towards peers. The library reads from
// it and writes to it, but for data of channels, which passes here.
type relay struct {
	d      *door
	client netip.AddrPort
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

// ways are the permissions and channels of an allocation. They never change:
// a new value takes their place.
type ways struct {
	peers  map[netip.Addr]bool
	to     map[uint16]netip.AddrPort
	number map[netip.AddrPort]uint16
}

// newRelay makes the allocation of the client whose message is worked on.
func newRelay(d *door, conn *socket, local, public netip.AddrPort) *relay {
	r := &relay{d: d, client: d.from, budget: d.granted, conn: conn, local: local, public: public}
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

// room tells why an allocation may have no permission for a peer, or, when the
// message asks for one, no channel to it. An empty reason is a yes.
func (r *relay) room(peer netip.Addr, msg message) string {
	w := r.ways.Load()
	if !w.peers[peer] && len(w.peers) >= r.d.s.cfg.MaxPermissions {
		return "permissions"
	}
	if _, have := w.to[msg.channel]; msg.method == methodChannelBind && !have && len(w.to) >= r.d.s.cfg.MaxChannels {
		return "channels"
	}
	return ""
}

func (r *relay) setPermission(peer netip.Addr, is bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := *r.ways.Load()
	w.peers = maps.Clone(w.peers)
	if is {
		if w.peers == nil {
			w.peers = map[netip.Addr]bool{}
		}
		w.peers[peer] = true
	} else {
		delete(w.peers, peer)
	}
	r.ways.Store(&w)
}

func (r *relay) setChannel(number uint16, peer netip.AddrPort, is bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := *r.ways.Load()
	w.to, w.number = maps.Clone(w.to), maps.Clone(w.number)
	if is {
		if w.to == nil {
			w.to, w.number = map[uint16]netip.AddrPort{}, map[netip.AddrPort]uint16{}
		}
		w.to[number], w.number[peer] = peer, number
	} else {
		delete(w.to, number)
		delete(w.number, peer)
	}
	r.ways.Store(&w)
}

// use counts octets that are about to pass between client and peer.
func (r *relay) use(n int) bool {
	now := r.d.s.cfg.Now()
	if !r.charge(n, now) {
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
	w := r.ways.Load()
	peer, ok := w.to[number]
	if !ok || !w.peers[peer.Addr()] {
		r.d.drop("no channel")
		return
	}
	r.toPeer(data, peer)
}

// toPeer writes to a peer. What must not or cannot go is dropped, as a network
// may.
func (r *relay) toPeer(p []byte, to netip.AddrPort) {
	s := r.d.s
	if other, own := s.who(to); own {
		// Only where another allocation is, and there straight to its socket: a
		// NAT before us may not lead back.
		if other == nil {
			r.d.drop("own address")
			return
		}
		if r.handOver(p, other) {
			return
		}
		to = other.local
	}
	if to.Port() == 0 || !r.use(len(p)) {
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
func (r *relay) handOver(p []byte, other *relay) bool {
	w := other.ways.Load()
	number, bound := w.number[r.public]
	if !bound || !w.peers[r.public.Addr()] || len(p) > maxMessage-channelHeader {
		return false
	}
	if !r.use(len(p)) || !other.use(len(p)) {
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

// WriteTo implements net.PacketConn for the library, which has looked for the
// permission.
func (r *relay) WriteTo(p []byte, to net.Addr) (int, error) {
	r.toPeer(p, addrPortOf(to))
	return len(p), nil
}

// ReadFrom implements net.PacketConn for the library. It gives what is not for
// a channel, from peers with a permission.
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
		w := r.ways.Load()
		if !w.peers[from.Addr()] {
			r.d.drop("no permission")
			continue
		}
		if n > maxMessage-channelHeader || !r.use(n) {
			continue
		}
		number, bound := w.number[from]
		if !bound {
			copy(p, p[channelHeader:channelHeader+n])
			return n, net.UDPAddrFromAddrPort(from), nil
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
