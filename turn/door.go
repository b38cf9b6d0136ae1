package turn

import (
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/pion/stun/v3"
	pion "github.com/pion/turn/v4"

	"barid/internal/ratelimit"
)

// door is a socket that clients come to, with a server of the library behind
// it. The library reads from it in one goroutine, and asks back for keys,
// quotas and permissions in the same one while it works on what it read; so
// what is known of that message needs no lock.
type door struct {
	s     *Server
	local netip.AddrPort // where clients come to
	// strangers bounds requests of networks that have no allocation.
	strangers *ratelimit.Limiter[netip.Prefix]
	// credit bounds answers to them; nil where senders cannot be forged.
	credit *credit
	// send writes to a client. What cannot be sent at once is dropped.
	send func(p []byte, to netip.AddrPort) error

	// Of the message that the library works on.
	msg     message
	raw     []byte // with the library's nonce
	asked   int    // octets, as it came
	from    netip.AddrPort
	bucket  int
	secret  []byte         // key of the user, nil when nobody has that name
	granted *budget        // reserved for the allocation that is being made
	told    stun.Nonce     // that it has and its sender was told, nil without
	refusal stun.ErrorCode // that the answer has, zero for what the library says

	nonces nonces

	mu     sync.Mutex                // guards the fields below
	relays map[netip.AddrPort]*relay // by client
	adding *adding                   // nil when the library adds no permission
}

// adding is a permission that the library is about to make. It puts it among
// the others first and gives it a timer then; an allocation that ends between
// the two would stop a timer that is not there, and end the process.
type adding struct {
	client netip.AddrPort
	peer   netip.Addr
	done   chan struct{} // closed when it has its timer
}

func newDoor(s *Server, local netip.AddrPort) *door {
	return &door{s: s, local: local, strangers: s.strangers, nonces: newNonces(), relays: map[netip.AddrPort]*relay{}}
}

// begin gives the door to the library.
func (d *door) begin(conn net.PacketConn) error {
	_, err := pion.NewServer(pion.ServerConfig{
		PacketConnConfigs: []pion.PacketConnConfig{{PacketConn: conn, RelayAddressGenerator: d, PermissionHandler: d.permit}},
		LoggerFactory:     silence{},
		Realm:             realm,
		AuthHandler:       d.key,
		QuotaHandler:      d.quota,
		EventHandler: pion.EventHandler{
			OnPermissionCreated: func(src, _ net.Addr, _, _, _ string, _ net.Addr, peer net.IP) { d.permission(src, peer, true) },
			OnPermissionDeleted: func(src, _ net.Addr, _, _, _ string, _ net.Addr, peer net.IP) { d.permission(src, peer, false) },
			OnChannelCreated:    func(src, _ net.Addr, _, _, _ string, _, peer net.Addr, n uint16) { d.channel(src, peer, n, true) },
			OnChannelDeleted:    func(src, _ net.Addr, _, _, _ string, _, peer net.Addr, n uint16) { d.channel(src, peer, n, false) },
			OnAuth: func(_, _ net.Addr, _, _, _, _ string, ok bool) {
				if !ok {
					d.refuse("integrity", stun.CodeUnauthorized)
				}
			},
		},
		InboundMTU: maxMessage + 100,
	})
	if err != nil {
		return fmt.Errorf("start TURN: %w", err)
	}
	return nil
}

// relay gives the allocation of a client, nil without one.
func (d *door) relay(client netip.AddrPort) *relay {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.relays[client]
}

// admit looks at what came from a client, and gives what the library gets of
// it: nil for nothing. Data of channels is relayed here.
func (d *door) admit(p []byte, from netip.AddrPort) []byte {
	r := d.relay(from)
	if isChannel(p) {
		if r == nil {
			d.drop("no allocation")
		} else {
			r.fromChannel(p)
		}
		return nil
	}
	msg, err := readMessage(p)
	switch {
	case err != nil:
		d.drop("malformed")
		return nil
	case r == nil && !msg.request:
		d.drop("no allocation")
		return nil
	case r == nil && !d.stranger(from.Addr()):
		d.drop("strangers' rate")
		return nil
	case r != nil && !r.charge(len(p), d.s.cfg.Now()):
		return nil
	}
	d.msg, d.raw, d.asked, d.from, d.bucket, d.secret, d.told, d.refusal = msg, p, len(p), from, 0, nil, nil, 0
	if r == nil && d.nothingHere() {
		return nil
	}
	if msg.integrity {
		d.raw = d.authenticate(p)
	}
	return d.raw
}

// settle is called when the library is done with a message.
func (d *door) settle() {
	if d.granted != nil { // the library made no allocation of it
		d.s.giveBack(d.granted)
		d.granted = nil
	}
	d.added()
}

// added tells those who wait that no permission is being added.
func (d *door) added() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.adding != nil {
		close(d.adding.done)
		d.adding = nil
	}
}

// add makes known that a permission is about to be added. One that is there
// already has its timer.
func (d *door) add(r *relay, peer netip.Addr) {
	if r.ways.Load().peers[peer] {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.adding = &adding{r.client, peer, make(chan struct{})}
}

// awaitAdded returns when a permission that goes is not being added any more.
// Who waits has it out of the library's list, and the library needs nothing
// that the waiter holds to come to an end.
func (d *door) awaitAdded(client netip.AddrPort, peer netip.Addr) {
	d.mu.Lock()
	a := d.adding
	d.mu.Unlock()
	if a != nil && a.client == client && a.peer == peer {
		<-a.done
	}
}

func (d *door) drop(reason string) { d.s.dropped.WithLabelValues(reason).Inc() }

// stranger takes one request of a network that has no allocation.
func (d *door) stranger(ip netip.Addr) bool {
	if ip.IsLoopback() {
		return true
	}
	bits := 56
	if ip.Is4() {
		bits = 24
	}
	network, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		return false
	}
	ok, _ := d.strangers.Allow(network)
	return ok
}

// key gives the library the key of who asks.
func (d *door) key(string, string, net.Addr) (key []byte, ok bool) {
	if d.secret == nil {
		return nil, d.refuse("user name", stun.CodeUnauthorized)
	}
	return d.secret, true
}

// quota reserves an allocation.
func (d *door) quota(string, string, net.Addr) bool {
	if d.msg.tcp {
		return d.refuse("transport", stun.CodeUnsupportedTransProto)
	}
	b, reason, code := d.s.reserve(d.bucket)
	if b == nil {
		return d.refuse(reason, code)
	}
	d.granted = b
	return true
}

// permit tells whether a client may have a permission for a peer, or a channel
// to it.
func (d *door) permit(client net.Addr, peer net.IP) bool {
	d.added() // what the same message asked for before
	r, ip := d.relay(addrPortOf(client)), ipOf(peer)
	if r == nil {
		return false
	}
	if ip.Is4() != r.local.Addr().Is4() {
		return d.refuse("family of a peer", stun.CodePeerAddrFamilyMismatch)
	}
	if !d.s.mayReach(ip) {
		return d.refuse("peer", stun.CodeForbidden)
	}
	if reason := r.room(ip, d.msg); reason != "" {
		return d.refuse(reason, stun.CodeInsufficientCapacity)
	}
	d.add(r, ip)
	return true
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

func (d *door) permission(client net.Addr, peer net.IP, is bool) {
	if !is {
		d.awaitAdded(addrPortOf(client), ipOf(peer))
	}
	if r := d.relay(addrPortOf(client)); r != nil {
		r.setPermission(ipOf(peer), is)
	}
}

func (d *door) channel(client, peer net.Addr, number uint16, is bool) {
	if r := d.relay(addrPortOf(client)); r != nil {
		r.setChannel(number, addrPortOf(peer), is)
	}
}

// Validate implements pion's RelayAddressGenerator.
func (d *door) Validate() error { return nil }

// AllocateConn implements pion's RelayAddressGenerator: nothing is relayed over
// TCP.
func (d *door) AllocateConn(string, int) (net.Conn, net.Addr, error) {
	return nil, nil, errNoTCP
}

// AllocatePacketConn implements pion's RelayAddressGenerator. Without a
// reservation the library only looks for a free even port.
func (d *door) AllocatePacketConn(_ string, port int) (net.PacketConn, net.Addr, error) {
	conn, local, public, err := d.bind(port)
	if err == errNoFamily {
		d.refuse("family", stun.CodeAddrFamilyNotSupported)
	} else if err != nil {
		d.refuse("ports", stun.CodeInsufficientCapacity)
	}
	if err != nil {
		if d.granted != nil {
			d.s.giveBack(d.granted)
			d.granted = nil
		}
		return nil, nil, err
	}
	if d.granted == nil {
		return conn, net.UDPAddrFromAddrPort(public), nil
	}
	r := newRelay(d, conn, local, public)
	d.granted = nil
	return r, net.UDPAddrFromAddrPort(public), nil
}

func addrPortOf(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.UDPAddr:
		return unmap(a.AddrPort())
	case *net.TCPAddr:
		return unmap(a.AddrPort())
	}
	return netip.AddrPort{}
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

func ipOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
