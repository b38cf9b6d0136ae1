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
// it. The library reads from it in one goroutine, and asks back for keys and
// quotas in the same one while it works on what it read; so what is known of
// that message needs no lock.
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
}

func newDoor(s *Server, local netip.AddrPort) *door {
	return &door{s: s, local: local, strangers: s.strangers, nonces: newNonces(), relays: map[netip.AddrPort]*relay{}}
}

// begin gives the door to the library.
func (d *door) begin(conn net.PacketConn) error {
	_, err := pion.NewServer(pion.ServerConfig{
		PacketConnConfigs: []pion.PacketConnConfig{{PacketConn: conn, RelayAddressGenerator: d, PermissionHandler: nobody}},
		LoggerFactory:     silence{},
		Realm:             realm,
		AuthHandler:       d.key,
		QuotaHandler:      d.quota,
		EventHandler: pion.EventHandler{
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

// nobody gets a permission from the library, which is asked for none.
func nobody(net.Addr, net.IP) bool { return false }

// relay gives the allocation of a client, nil without one.
func (d *door) relay(client netip.AddrPort) *relay {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.relays[client]
}

// admit looks at what came from a client, and gives what the library gets of
// it: nil for nothing. Data is relayed here, and permissions and channels are
// given here.
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
	case r != nil && msg.request && !r.charge(len(p), d.s.cfg.Now()):
		return nil
	}
	if !msg.request {
		if msg.method == methodSend {
			r.fromIndication(p)
		}
		return nil
	}
	d.msg, d.raw, d.asked, d.from, d.bucket, d.secret, d.told, d.refusal = msg, p, len(p), from, 0, nil, nil, 0
	if r == nil && d.nothingHere() {
		return nil
	}
	if !msg.integrity {
		return p
	}
	raw, shown := d.authenticate(p)
	d.raw = raw
	if shown && r != nil && d.serve(r) {
		return nil
	}
	return d.raw
}

// settle is called when the library is done with a message.
func (d *door) settle() {
	if d.granted != nil { // the library made no allocation of it
		d.s.giveBack(d.granted)
		d.granted = nil
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
