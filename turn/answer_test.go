package turn

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

// request is one with a good integrity.
func (r *raw) request(c Credentials, kind stun.MessageType, more ...stun.Setter) []byte {
	r.t.Helper()
	m := r.ask(stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest)).Raw)
	var nonce stun.Nonce
	if m == nil || nonce.GetFrom(m) != nil {
		r.t.Fatal("no nonce in", m)
	}
	all := append([]stun.Setter{stun.TransactionID, kind}, more...)
	all = append(all, stun.NewUsername(c.Username), stun.NewRealm(realm), nonce, stun.NewLongTermIntegrity(c.Username, realm, c.Password))
	return stun.MustBuild(all...).Raw
}

var (
	allocateRequest = stun.NewType(stun.MethodAllocate, stun.ClassRequest)
	overUDP         = stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}}
)

// peer is an XOR-PEER-ADDRESS.
func peer(text string) stun.Setter { return peerAddress(netip.MustParseAddrPort(text)) }

// Every refusal has the code of RFC 8656, and of RFC 8489 for who does not show
// the key; an answer to somebody unknown with an integrity is shorter than what
// it answers.
func TestRefusalsHaveTheirCodes(t *testing.T) {
	l := newLaboratory(t, func(c *Config) {
		c.PerUser, c.MaxPermissions, c.MaxChannels, c.AllowPeers = 1, 2, 1, prefixes("10.0.0.0/8")
		c.Addresses = func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil }
	})
	kind := func(m stun.Method) stun.MessageType { return stun.NewType(m, stun.ClassRequest) }
	good, wrong := l.credentials(), l.credentials()
	wrong.Password = "north"
	overTCP := stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{6, 0, 0, 0}}
	family6 := stun.RawAttribute{Type: attrFamily, Value: []byte{familyIPv6, 0, 0, 0}}
	known, unknown, second := l.raw(t), l.raw(t), l.raw(t)
	for _, c := range []struct {
		what string
		from *raw
		c    Credentials
		kind stun.Method
		more []stun.Setter
		code stun.ErrorCode // zero for success
	}{
		{"a wrong password", unknown, wrong, stun.MethodAllocate, []stun.Setter{overUDP}, 401},
		{"an unknown user", unknown, Credentials{"1", "x"}, stun.MethodAllocate, []stun.Setter{overUDP}, 401},
		{"a refresh of nothing", unknown, good, stun.MethodRefresh, nil, 437},
		{"a permission of nothing", unknown, good, stun.MethodCreatePermission, []stun.Setter{peer("10.0.0.1:9")}, 437},
		{"a channel of nothing", unknown, good, stun.MethodChannelBind, []stun.Setter{channelNumber(0x4001), peer("10.0.0.1:9")}, 437},
		{"a relayed TCP port", unknown, good, stun.MethodAllocate, []stun.Setter{overTCP}, 442},
		{"a family that is not here", unknown, good, stun.MethodAllocate, []stun.Setter{overUDP, family6}, 440},
		{"an allocation", known, good, stun.MethodAllocate, []stun.Setter{overUDP}, 0},
		{"a second one", second, good, stun.MethodAllocate, []stun.Setter{overUDP}, 486},
		{"a peer inside", known, good, stun.MethodCreatePermission, []stun.Setter{peer("192.168.0.1:9")}, 403},
		{"a channel to one", known, good, stun.MethodChannelBind, []stun.Setter{channelNumber(0x4001), peer("192.168.0.1:9")}, 403},
		{"a peer of the other family", known, good, stun.MethodCreatePermission, []stun.Setter{peer("[2600::1]:9")}, 443},
		{"a channel", known, good, stun.MethodChannelBind, []stun.Setter{channelNumber(0x4001), peer("10.0.0.1:9")}, 0},
		{"one too many", known, good, stun.MethodChannelBind, []stun.Setter{channelNumber(0x4002), peer("10.0.0.1:10")}, 508},
		{"a permission", known, good, stun.MethodCreatePermission, []stun.Setter{peer("10.0.0.2:9")}, 0},
		{"too many at once", known, good, stun.MethodCreatePermission, []stun.Setter{peer("10.0.0.2:9"), peer("10.0.0.3:9")}, 508},
	} {
		p := c.from.request(c.c, kind(c.kind), c.more...)
		m := c.from.ask(p)
		if m == nil {
			t.Errorf("%s: no answer", c.what)
			continue
		}
		var code stun.ErrorCodeAttribute
		if code.GetFrom(m); code.Code != c.code || m.Type.Method != c.kind {
			t.Errorf("%s: %v, want %d", c.what, m, c.code)
		}
		if c.from != known && len(m.Raw) > len(p) {
			t.Errorf("%s: %d octets to %d", c.what, len(m.Raw), len(p))
		}
		if sealed := m.Contains(stun.AttrMessageIntegrity); sealed != (c.code != 401 && c.code != 437) {
			t.Errorf("%s: integrity is %v", c.what, sealed)
		} else if sealed {
			if err := stun.NewLongTermIntegrity(c.c.Username, realm, c.c.Password).Check(m); err != nil {
				t.Errorf("%s: %v", c.what, err)
			}
		}
	}
	// Ending what has ended is no mistake.
	m := unknown.ask(unknown.request(good, kind(stun.MethodRefresh), stun.RawAttribute{Type: stun.AttrLifetime, Value: []byte{0, 0, 0, 0}}))
	if m == nil || m.Type.Class != stun.ClassSuccessResponse {
		t.Error(m)
	}
}

// Who floods over UDP in the name of a network does not keep its connections
// out; and who comes by way of another program on this host is not relayed at
// loopback.
func TestClientsWithConnections(t *testing.T) {
	l := newLaboratory(t, func(c *Config) {
		c.Addresses = func() ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("fe80::1"), netip.MustParseAddr("10.0.0.9")}, nil
		}
	})
	local, client := netip.MustParseAddrPort("127.0.0.1:443"), netip.MustParseAddrPort("9.9.9.9:5000")
	udp := newDoor(l.Server, local)
	tcp, err := l.streamAt(local)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * strangerBurst {
		udp.stranger(client.Addr())
	}
	if udp.stranger(client.Addr()) || !tcp.stranger(client.Addr()) {
		t.Error("a flood over UDP is taken, or keeps connections out")
	}
	for from, want := range map[string]string{"9.9.9.9:5000": "10.0.0.9", "127.0.0.1:5000": "127.0.0.1"} {
		udp.from = netip.MustParseAddrPort(from)
		if ip, err := udp.relayIP(); err != nil || ip.String() != want {
			t.Errorf("%s is relayed at %v, %v", from, ip, err)
		}
	}
}

// FuzzRequests says anything, without an integrity and with a good one, as
// somebody who has an allocation: the library must live.
func FuzzRequests(f *testing.F) {
	for _, kind := range []byte{3, 4, 8, 9} {
		f.Add([]byte{0, kind, 0, 0x19, 0, 4, 17, 0, 0, 0, 0, 0x12, 0, 8, 0, 1, 0x21, 0x1B, 0x2B, 0x12, 0xA4, 0x43, 0, 0x0C, 0, 4, 0x40, 1, 0, 0})
	}
	f.Add([]byte{0, 3, 0, 0x18, 0, 1, 0x80, 0, 0x19, 0, 4, 17, 0, 0, 0})
	f.Add([]byte{0, 0x16, 0, 0x13, 0, 2, 1, 2, 0, 0x12, 0, 8, 0, 1, 0x21, 0x1B, 0x2B, 0x12, 0xA4, 0x43})
	f.Add([]byte{0, 0x16, 0, 0x13, 0, 4, 1, 2, 3, 4, 0, 0x12, 0, 0}) // a peer without an address, and nothing behind it
	l := newLaboratory(f, func(c *Config) { c.AllowPeers = prefixes("10.0.0.0/8"); c.BytesPerSecond = 1 << 40 })
	c := l.credentials()
	r := l.raw(f)
	m := r.ask(stun.MustBuild(stun.TransactionID, allocateRequest).Raw)
	var nonce stun.Nonce
	if m == nil || nonce.GetFrom(m) != nil {
		f.Fatal("no nonce in", m)
	}
	key := stun.NewLongTermIntegrity(c.Username, realm, c.Password)
	sealed := []stun.Setter{stun.NewUsername(c.Username), stun.NewRealm(realm), nonce, key}
	allocate := stun.MustBuild(append([]stun.Setter{stun.TransactionID, allocateRequest, overUDP}, sealed...)...)
	// Each sentence is two octets of type, and attributes: type, length, value.
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) < 2 || len(p) > 800 {
			return
		}
		var kind stun.MessageType
		kind.ReadValue(uint16(p[0])<<8 | uint16(p[1]))
		said := stun.MustBuild(stun.TransactionID, kind)
		for p = p[2:]; len(p) >= 4; {
			n := min(int(p[2])<<8|int(p[3]), len(p)-4)
			said.Add(stun.AttrType(uint16(p[0])<<8|uint16(p[1])), p[4:4+n])
			p = p[4+n:]
		}
		say := func(m *stun.Message) {
			if _, err := r.conn.Write(m.Raw); err != nil {
				t.Fatal(err)
			}
		}
		say(allocate) // what was said before may have ended it
		say(said)
		for _, s := range sealed {
			if err := s.AddTo(said); err != nil {
				return
			}
		}
		say(said)
		// It has been through with all of that when it answers this.
		alive := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
		say(alive)
		say(alive)
		r.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		for b, answered := make([]byte, 2000), false; !answered; {
			n, err := r.conn.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			answered = n >= headerSize && bytes.Equal(b[8:headerSize], alive.TransactionID[:])
		}
	})
}
