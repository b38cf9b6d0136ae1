package turn

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

// asker is a client with an allocation that says each request as it likes.
type asker struct {
	*raw
	c     Credentials
	nonce stun.Nonce
}

func (l *laboratory) asker(t testing.TB, more ...stun.Setter) *asker {
	a := &asker{raw: l.raw(t), c: l.credentials()}
	if m := a.raw.ask(stun.MustBuild(stun.TransactionID, allocateRequest, overUDP).Raw); m == nil || a.nonce.GetFrom(m) != nil {
		t.Fatal("no nonce in", m)
	}
	if code := a.code(stun.MethodAllocate, append(more, overUDP)...); code != 0 {
		t.Fatal("no allocation:", code)
	}
	return a
}

// sealed is a request that shows the key.
func (a *asker) sealed(method stun.Method, more ...stun.Setter) *stun.Message {
	all := append([]stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}, more...)
	all = append(all, stun.NewUsername(a.c.Username), stun.NewRealm(realm), a.nonce, stun.NewLongTermIntegrity(a.c.Username, realm, a.c.Password))
	return stun.MustBuild(all...)
}

// code says a request and gives the code that it is refused with, zero for
// none. Whatever the answer is, it is sealed.
func (a *asker) code(method stun.Method, more ...stun.Setter) stun.ErrorCode {
	a.t.Helper()
	return a.codeOf(a.ask(a.sealed(method, more...).Raw))
}

func (a *asker) codeOf(m *stun.Message) stun.ErrorCode {
	a.t.Helper()
	if m == nil {
		a.t.Fatal("no answer")
	}
	if err := stun.NewLongTermIntegrity(a.c.Username, realm, a.c.Password).Check(m); err != nil {
		a.t.Error(err)
	}
	var code stun.ErrorCodeAttribute
	if code.GetFrom(m) != nil && m.Type.Class != stun.ClassSuccessResponse {
		a.t.Error("an error without a code")
	}
	return code.Code
}

func channelNumber(n uint16) stun.Setter {
	return stun.RawAttribute{Type: stun.AttrChannelNumber, Value: []byte{byte(n >> 8), byte(n), 0, 0}}
}

// Permissions hold five minutes and channels ten, from when they were last
// asked for; what has ended makes room.
func TestPermissionsAndChannelsEnd(t *testing.T) {
	var ahead atomic.Int64
	l := newLaboratory(t, func(c *Config) {
		c.MaxPermissions, c.MaxChannels, c.AllowPeers = 1, 1, prefixes("10.0.0.0/8")
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	a := l.asker(t)
	r := l.relayOf(a)
	for i, step := range []struct {
		after  time.Duration
		method stun.Method
		peer   string
		number uint16
		code   stun.ErrorCode
	}{
		{0, stun.MethodCreatePermission, "10.0.0.1:9", 0, 0},
		{0, stun.MethodCreatePermission, "10.0.0.2:9", 0, 508},
		{4 * time.Minute, stun.MethodCreatePermission, "10.0.0.1:9", 0, 0},
		{4 * time.Minute, stun.MethodCreatePermission, "10.0.0.2:9", 0, 508},
		{2 * time.Minute, stun.MethodChannelBind, "10.0.0.2:9", 0x4001, 0},
		{2 * time.Minute, stun.MethodChannelBind, "10.0.0.2:9", 0x4001, 0},
		{6 * time.Minute, stun.MethodChannelBind, "10.0.0.2:9", 0x4002, 400},
		{0, stun.MethodChannelBind, "10.0.0.2:10", 0x4001, 400},
		{0, stun.MethodChannelBind, "10.0.0.2:10", 0x4002, 508},
		{5 * time.Minute, stun.MethodChannelBind, "10.0.0.3:10", 0x4001, 0},
	} {
		ahead.Add(int64(step.after))
		more := []stun.Setter{peer(step.peer)}
		if step.number != 0 {
			more = append(more, channelNumber(step.number))
		}
		if code := a.code(step.method, more...); code != step.code {
			t.Errorf("step %d: %d, want %d", i, code, step.code)
		}
	}
	now, to := l.cfg.Now(), netip.MustParseAddrPort("10.0.0.3:10")
	w := r.ways.Load()
	for after, want := range map[time.Duration][3]bool{0: {true, true, true}, permissionLife - 2*time.Second: {true, true, true},
		permissionLife + time.Second: {false, false, true}, channelLife + time.Second: {false, false, false}} {
		at := now.Add(after)
		_, there := w.to(0x4001, at)
		number, back := w.from(to, at)
		if got := [3]bool{w.may(to.Addr(), at), there, back}; got != want || number != 0x4001 {
			t.Errorf("after %v: %v, want %v", after, got, want)
		}
	}
}

// relayOf gives the allocation of a client.
func (l *laboratory) relayOf(a *asker) *relay {
	client := addrPortOf(a.conn.LocalAddr())
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, r := range l.live {
		if r.client == client {
			return r
		}
	}
	a.t.Fatal("there is no allocation")
	return nil
}

// What a request says twice it says once, the first time; and behind the
// integrity nothing: no bound is walked around.
func TestWhatIsSaidTwice(t *testing.T) {
	l := newLaboratory(t, func(c *Config) { c.MaxChannels, c.AllowPeers = 2, prefixes("10.0.0.0/8") })
	a := l.asker(t)
	for i, want := range []stun.ErrorCode{0, 0, 508, 508} {
		to := peer(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 1}), uint16(1+i)).String())
		if code := a.code(stun.MethodChannelBind, to, channelNumber(uint16(0x4001+i)), channelNumber(0x4001)); code != want {
			t.Errorf("channel %d: %d, want %d", i, code, want)
		}
	}
	for what, c := range map[string]struct {
		method stun.Method
		more   []stun.Setter
	}{
		"no peer": {stun.MethodCreatePermission, nil}, "no channel": {stun.MethodChannelBind, []stun.Setter{peer("10.0.0.1:1")}},
		"two peers":         {stun.MethodChannelBind, []stun.Setter{channelNumber(0x4001), peer("10.0.0.1:1"), peer("10.0.0.2:1")}},
		"a number too low":  {stun.MethodChannelBind, []stun.Setter{channelNumber(0x3FFF), peer("10.0.0.1:9")}},
		"a number too high": {stun.MethodChannelBind, []stun.Setter{channelNumber(0x8000), peer("10.0.0.1:9")}},
	} {
		if code := a.code(c.method, c.more...); code != stun.CodeBadRequest {
			t.Errorf("%s: %d", what, code)
		}
	}
	m := a.sealed(stun.MethodChannelBind, peer("10.0.0.1:1"))
	if err := channelNumber(0x4001).AddTo(m); err != nil {
		t.Fatal(err)
	}
	if code := a.codeOf(a.ask(m.Raw)); code != stun.CodeBadRequest {
		t.Error("a channel behind the integrity:", code)
	}
	// One that is refused takes the others with it.
	if code := a.code(stun.MethodCreatePermission, peer("10.0.0.7:1"), peer("192.168.0.1:1")); code != stun.CodeForbidden {
		t.Error(code)
	}
	if l.relayOf(a).ways.Load().may(netip.MustParseAddr("10.0.0.7"), time.Now()) {
		t.Error("half of what was refused is granted")
	}
}

// Without a channel, data goes and comes in indications, with the address of
// the peer in them, in both families.
func TestIndications(t *testing.T) {
	for family, address := range map[byte]string{1: "127.0.0.1", familyIPv6: "::1"} {
		l := newLaboratory(t, nil)
		ask := stun.RawAttribute{Type: attrFamily, Value: []byte{family, 0, 0, 0}}
		if c, err := net.ListenPacket("udp", net.JoinHostPort(address, "0")); err != nil {
			t.Log("not over IPv6:", err)
			continue
		} else {
			c.Close()
		}
		alice, bob := l.asker(t, ask), l.asker(t, ask)
		at := map[*asker]netip.AddrPort{alice: l.relayOf(alice).local, bob: l.relayOf(bob).local}
		say := func(a *asker, to netip.AddrPort, more ...stun.Setter) {
			m := stun.MustBuild(append([]stun.Setter{stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication), peerAddress(to)}, more...)...)
			if _, err := a.conn.Write(m.Raw); err != nil {
				t.Fatal(err)
			}
		}
		data := stun.RawAttribute{Type: stun.AttrData, Value: []byte("hello")}
		if code := bob.code(stun.MethodCreatePermission, peerAddress(at[alice])); code != 0 {
			t.Fatal(code)
		}
		for _, way := range [][2]*asker{{alice, bob}, {bob, alice}} { // Alice has none
			say(way[0], at[way[1]], data)
			if m := way[1].hear(); m != nil {
				t.Error("heard without a permission:", m)
			}
		}
		if code := alice.code(stun.MethodCreatePermission, peerAddress(at[bob])); code != 0 {
			t.Fatal(code)
		}
		say(alice, at[bob]) // without data it is nothing
		say(alice, at[bob], data, peer("9.9.9.9:9"), stun.RawAttribute{Type: stun.AttrData, Value: []byte("twice")})
		m := bob.hear()
		var from stun.XORMappedAddress
		if m == nil || m.Type != stun.NewType(stun.MethodData, stun.ClassIndication) || from.GetFromAs(m, stun.AttrXORPeerAddress) != nil {
			t.Fatalf("family %d: %v", family, m)
		}
		ip, _ := netip.AddrFromSlice(from.IP)
		got, err := m.Get(stun.AttrData)
		if source := netip.AddrPortFrom(ip.Unmap(), uint16(from.Port)); err != nil || string(got) != "hello" || source != at[alice] {
			t.Errorf("%q from %v, %v", got, source, err)
		}
		if l.count("dropped", "no permission") != 2 || l.count("dropped", "malformed") != 1 {
			t.Error("not counted by reason")
		}
	}
}

// A channel whose permission has ended carries nothing, in neither direction,
// also where two clients here have a short way between them.
func TestChannelWithoutPermission(t *testing.T) {
	var ahead atomic.Int64
	l := newLaboratory(t, func(c *Config) { c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) } })
	alice, bob := l.asker(t), l.asker(t)
	for a, other := range map[*asker]*asker{alice: bob, bob: alice} {
		if code := a.code(stun.MethodChannelBind, peerAddress(l.relayOf(other).local), channelNumber(0x4001)); code != 0 {
			t.Fatal(code)
		}
	}
	say := func(a *asker) {
		if _, err := a.conn.Write([]byte{0x40, 1, 0, 2, 'h', 'i'}); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, 100)
	say(alice)
	bob.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := bob.conn.Read(b); err != nil || string(b[:n]) != "\x40\x01\x00\x02hi" {
		t.Fatalf("%q, %v", b[:n], err)
	}
	ahead.Add(int64(permissionLife + time.Minute))
	if code := alice.code(stun.MethodCreatePermission, peerAddress(l.relayOf(bob).local)); code != 0 {
		t.Fatal(code)
	}
	for _, way := range [][2]*asker{{alice, bob}, {bob, alice}} {
		say(way[0])
		way[1].conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, err := way[1].conn.Read(b); err == nil {
			t.Errorf("heard %q", b[:n])
		}
	}
}

// Whoever has a key has it for his own allocations.
func TestKeyOfAnother(t *testing.T) {
	l := newLaboratory(t, func(c *Config) { c.AllowPeers = prefixes("10.0.0.0/8") })
	a := l.asker(t)
	own := a.c
	a.c = l.secrets.Issue("bob@relay.test", time.Now())
	for _, method := range []stun.Method{stun.MethodCreatePermission, stun.MethodRefresh} {
		if code := a.code(method, peer("10.0.0.1:9")); code != stun.CodeWrongCredentials {
			t.Errorf("%v: %d", method, code)
		}
	}
	a.c = own
	if code := a.code(stun.MethodRefresh); code != 0 {
		t.Error(code)
	}
}

// Datagrams with nothing in them cost their headers.
func TestEmptyDatagramsAreBounded(t *testing.T) {
	l := newLaboratory(t, nil)
	_, b, ours := pair(t, l, false)
	ours.budget.mu.Lock()
	ours.budget.octets = l.cfg.BytesPerDay - 3*datagramHeaders
	ours.budget.mu.Unlock()
	heard := 0
	for range 5 {
		ours.fromChannel([]byte{0x40, 1, 0, 0})
		b.relayed.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, _, err := b.relayed.ReadFrom(make([]byte, 10)); err == nil && n == 0 {
			heard++
		}
	}
	if refused := l.count("dropped", "octets of a day"); heard != 3 || refused != 2 {
		t.Errorf("%d were heard, %v refused", heard, refused)
	}
}
