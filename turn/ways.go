package turn

import (
	"maps"
	"net/netip"
	"time"

	"github.com/pion/stun/v3"
)

// Permissions and channels are ours, not the library's: they are looked at for
// every packet, and what the library does when one of its timers ends it is
// not safe beside a request.

const (
	// permissionLife and channelLife are how long each holds after it was asked
	// for (RFC 8656 sections 9 and 12).
	permissionLife = 5 * time.Minute
	channelLife    = 10 * time.Minute
)

// ways are the permissions and channels of an allocation. They never change: a
// new value takes their place.
type ways struct {
	peers    map[netip.Addr]time.Time // until when each holds, by the clock that nobody sets
	channels map[uint16]channel
	bound    map[netip.AddrPort]channel // the same ones, by peer
}

// channel is one that is bound.
type channel struct {
	number uint16
	peer   netip.AddrPort
	until  time.Time
}

// may tells whether there is a permission for a peer.
func (w *ways) may(peer netip.Addr, now time.Time) bool { return w.peers[peer].After(now) }

// to gives the peer of a channel.
func (w *ways) to(number uint16, now time.Time) (peer netip.AddrPort, ok bool) {
	c := w.channels[number]
	return c.peer, c.until.After(now) && w.may(c.peer.Addr(), now)
}

// from gives the channel of a peer.
func (w *ways) from(peer netip.AddrPort, now time.Time) (number uint16, ok bool) {
	c := w.bound[peer]
	return c.number, c.until.After(now)
}

// without gives a copy of what has not ended, to be changed.
func (w *ways) without(now time.Time) *ways {
	next := &ways{peers: map[netip.Addr]time.Time{}, channels: map[uint16]channel{}, bound: map[netip.AddrPort]channel{}}
	maps.Copy(next.peers, w.peers)
	maps.DeleteFunc(next.peers, func(_ netip.Addr, until time.Time) bool { return !until.After(now) })
	for number, c := range w.channels {
		if c.until.After(now) {
			next.channels[number], next.bound[c.peer] = c, c
		}
	}
	return next
}

// serve answers a request for an allocation whose sender has shown the key, as
// far as it is not for the library, and tells whether it did. The answer tells
// a refusal by its code (RFC 8656 sections 5, 10.2 and 12.2).
func (d *door) serve(r *relay) bool {
	var code stun.ErrorCode
	switch {
	case d.bucket != r.bucket:
		code = r.refuse("user of another allocation", stun.CodeWrongCredentials)
	case d.msg.method == methodCreatePermission || d.msg.method == methodChannelBind:
		code = r.grant(d.msg, d.raw)
	default:
		return false
	}
	m, err := d.build(stun.ClassSuccessResponse, stun.MessageIntegrity(d.secret))
	if code != 0 {
		m, err = d.refusalOf(code, stun.MessageIntegrity(d.secret))
	}
	if err != nil {
		d.drop("no answer")
		return true
	}
	d.reply(m, d.from)
	return true
}

// grant does what a CreatePermission or ChannelBind asks for, all of it or
// nothing. It gives the code of a refusal, zero for none.
func (r *relay) grant(msg message, p []byte) stun.ErrorCode {
	now := r.d.s.cfg.Now()
	var peers []netip.AddrPort
	for attr, value := range attributes(p) {
		if attr == attrPeer {
			peers = append(peers, readPeer(value, p))
		}
	}
	binds := msg.method == methodChannelBind
	if len(peers) == 0 || binds && (len(peers) != 1 || !isChannelNumber(msg.channel)) {
		return r.refuse("malformed", stun.CodeBadRequest)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return r.refuse("no allocation", stun.CodeAllocMismatch)
	}
	w := r.ways.Load().without(now)
	for _, peer := range peers {
		ip := peer.Addr()
		switch {
		case ip.Is4() != r.local.Addr().Is4():
			return r.refuse("family of a peer", stun.CodePeerAddrFamilyMismatch)
		case !r.d.s.mayReach(ip):
			return r.refuse("peer", stun.CodeForbidden)
		}
		w.peers[ip] = now.Add(permissionLife)
	}
	if len(w.peers) > r.d.s.cfg.MaxPermissions {
		return r.refuse("permissions", stun.CodeInsufficientCapacity)
	}
	if binds {
		c := channel{msg.channel, peers[0], now.Add(channelLife)}
		if old, have := w.channels[c.number]; have && old.peer != c.peer {
			return r.refuse("channel of another peer", stun.CodeBadRequest)
		}
		if old, have := w.bound[c.peer]; have && old.number != c.number {
			return r.refuse("peer of another channel", stun.CodeBadRequest)
		}
		w.channels[c.number], w.bound[c.peer] = c, c
		if len(w.channels) > r.d.s.cfg.MaxChannels {
			return r.refuse("channels", stun.CodeInsufficientCapacity)
		}
	}
	r.ways.Store(w)
	return 0
}

// refuse counts a refusal by its reason.
func (r *relay) refuse(reason string, code stun.ErrorCode) stun.ErrorCode {
	r.d.s.refused.WithLabelValues(reason).Inc()
	return code
}

// fromIndication relays data of a Send indication to its peer (RFC 8656 section
// 11.2). What is wrong with it is dropped.
func (r *relay) fromIndication(p []byte) {
	var peer netip.AddrPort
	var data []byte
	found := 0
	for attr, value := range attributes(p) {
		switch { // the first of each counts
		case attr == attrPeer && found&1 == 0:
			peer = readPeer(value, p)
			found |= 1
		case attr == attrData && found&2 == 0:
			data = value
			found |= 2
		}
	}
	now := r.d.s.cfg.Now()
	switch {
	case found != 3:
		r.d.drop("malformed")
	case !r.ways.Load().may(peer.Addr(), now):
		r.d.drop("no permission")
	default:
		r.toPeer(data, peer, now)
	}
}

// toIndication sends what a peer said to the client, in a Data indication.
func (r *relay) toIndication(p []byte, from netip.AddrPort) {
	m, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodData, stun.ClassIndication), peerAddress(from),
		stun.RawAttribute{Type: stun.AttrData, Value: p})
	if err != nil {
		r.d.drop("not sent to a client")
		return
	}
	r.d.sendTo(m.Raw, r.client)
}

// peerAddress is an XOR-PEER-ADDRESS.
type peerAddress netip.AddrPort

// AddTo implements stun.Setter.
func (a peerAddress) AddTo(m *stun.Message) error {
	addr := netip.AddrPort(a)
	return stun.XORMappedAddress{IP: addr.Addr().AsSlice(), Port: int(addr.Port())}.AddToAs(m, stun.AttrXORPeerAddress)
}

// mayReach is the rule for peers, our own addresses included.
func (s *Server) mayReach(ip netip.Addr) bool {
	if s.isOwn(ip) || ip.IsLoopback() {
		return s.hands(ip) // the port is looked at for each packet
	}
	if v4 := behindNAT64(ip); s.isOwn(v4) {
		return false
	}
	return s.rule.allows(ip)
}
