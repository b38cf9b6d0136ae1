package turn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	pion "github.com/pion/turn/v4"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"barid/internal/metrics"
)

// laboratory is a server on loopback.
type laboratory struct {
	*Server
	addr    string
	secrets *Secrets
	tcp     net.Listener
}

func newLaboratory(t testing.TB, change func(*Config)) *laboratory {
	t.Helper()
	secrets, err := OpenSecrets(filepath.Join(t.TempDir(), "secrets"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Secrets: secrets, Metrics: metrics.New()}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := &laboratory{Server: s, secrets: secrets}
	addr, err := s.Listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	l.addr = addr.String()
	if l.tcp, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.tcp.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				s.ServeConn(context.Background(), c, c.RemoteAddr().(*net.TCPAddr).AddrPort(), c.LocalAddr().(*net.TCPAddr).AddrPort())
			})
		}
	})
	t.Cleanup(func() {
		l.tcp.Close()
		s.Close()
		work.Wait()
		if n := s.Allocations(); n != 0 {
			t.Errorf("%d allocations are left", n)
		}
	})
	return l
}

func (l *laboratory) credentials() Credentials {
	return l.secrets.Issue("alice@relay.test", time.Now())
}

func (l *laboratory) client(t testing.TB, network string, c Credentials) *end {
	t.Helper()
	e, err := l.try(network, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	return e
}

func (l *laboratory) try(network string, c Credentials) (*end, error) {
	addr := l.addr
	if network == "tcp" {
		addr = l.tcp.Addr().String()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return newEnd(ctx, network, addr, c)
}

func (l *laboratory) count(of string, reason string) float64 {
	if of == "refused" {
		return testutil.ToFloat64(l.refused.WithLabelValues(reason))
	}
	return testutil.ToFloat64(l.dropped.WithLabelValues(reason))
}

// Two clients of one relay reach each other through it, over UDP and TCP.
func TestTwoClientsMeetAtTheRelaysOwnAddress(t *testing.T) {
	l := newLaboratory(t, nil)
	for _, network := range []string{"udp", "tcp"} {
		addr := l.addr
		if network == "tcp" {
			addr = l.tcp.Addr().String()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if err := Probe(ctx, network, addr, l.credentials()); err != nil {
			t.Errorf("%s: %v", network, err)
		}
		cancel()
	}
}

// receive gives what comes next from a relayed address.
func receive(t testing.TB, e *end) string {
	t.Helper()
	b := make([]byte, 2000)
	e.relayed.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, _, err := e.relayed.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// Long and short packets pass in channels, which the library's client binds
// after its first packet, and both ways.
func TestChannelsCarryEverySize(t *testing.T) {
	l := newLaboratory(t, nil)
	for _, network := range []string{"udp", "tcp"} {
		a, b := l.client(t, network, l.credentials()), l.client(t, network, l.credentials())
		for i := range 30 {
			text := fmt.Sprintf("%0*d", 1+i*45, i)
			for _, way := range [][2]*end{{a, b}, {b, a}} {
				from, to := way[0], way[1]
				if err := from.client.CreatePermission(to.relayed.LocalAddr()); err != nil {
					t.Fatal(err)
				}
				if err := to.client.CreatePermission(from.relayed.LocalAddr()); err != nil {
					t.Fatal(err)
				}
				if _, err := from.relayed.WriteTo([]byte(text), to.relayed.LocalAddr()); err != nil {
					t.Fatal(err)
				}
				if got := receive(t, to); got != text {
					t.Fatalf("%s: sent %d octets, got %d", network, len(text), len(got))
				}
			}
			if i == 2 {
				time.Sleep(50 * time.Millisecond) // the client binds its channels in the background
			}
		}
	}
}

// A channel carries what is smaller than the header of a message, over streams
// too.
func TestSmallDataOverAStream(t *testing.T) {
	l := newLaboratory(t, nil)
	a, b := l.client(t, "tcp", l.credentials()), l.client(t, "tcp", l.credentials())
	if err := errors.Join(a.client.CreatePermission(b.relayed.LocalAddr()), b.client.CreatePermission(a.relayed.LocalAddr())); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if _, err := a.relayed.WriteTo([]byte{byte(i)}, b.relayed.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, b); got != string([]byte{byte(i)}) {
			t.Fatalf("%q", got)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Nobody gets in with an expired, forged or foreign name, or a wrong password.
func TestCredentials(t *testing.T) {
	l := newLaboratory(t, nil)
	good := l.credentials()
	now := time.Now().Unix()
	expired := strconv.FormatInt(now-1, 10)
	far := strconv.FormatInt(now+30*86400, 10)
	for name, c := range map[string]Credentials{
		"wrong password":           {good.Username, good.Password + "x"},
		"expired":                  {expired, password(l.secrets.list[0].key, expired)},
		"good for too long":        {far, password(l.secrets.list[0].key, far)},
		"of another form":          {good.Username + ":alice", good.Password},
		"another moment":           {strconv.FormatInt(now+86400, 10), good.Password},
		"of an empty name":         {"", ""},
		"of the reference's relay": {good.Username, "north"},
	} {
		if e, err := l.try("udp", c); err == nil {
			e.close()
			t.Errorf("%s: let in", name)
		}
	}
	if _, err := l.try("udp", good); err != nil {
		t.Error(err)
	}
	ends, err := strconv.ParseInt(good.Username, 10, 64)
	if left := time.Duration(ends-now) * time.Second; err != nil || left < 5*day-time.Minute || left > 7*day {
		t.Errorf("good for %v", left)
	}
	if again := l.credentials(); again != good {
		t.Error("other credentials on one day")
	}
	if l.secrets.Issue("bob@relay.test", time.Now()).Username == good.Username {
		t.Error("two accounts have one budget") // one in 86,400 runs may
	}
}

// A rotated secret makes other credentials; those from before stay good, and
// the file tells the next process the same.
func TestRotationKeepsOldCredentials(t *testing.T) {
	l := newLaboratory(t, nil)
	before := l.credentials()
	if err := l.secrets.Rotate(time.Now()); err != nil {
		t.Fatal(err)
	}
	after := l.credentials()
	if after == before {
		t.Fatal("the same credentials")
	}
	for _, c := range []Credentials{before, after} {
		if _, err := l.try("udp", c); err != nil {
			t.Error(err)
		}
	}
	if e, err := l.try("udp", Credentials{before.Username, after.Password}); err == nil {
		e.close()
		t.Error("a mixture was let in")
	}
	again, err := OpenSecrets(l.secrets.path, time.Now())
	if err != nil || again.Issue("alice@relay.test", time.Now()) != after {
		t.Error("not read again", err)
	}
	// What a week has ended is forgotten.
	if err := again.Rotate(time.Now().Add(8 * day)); err != nil || len(again.list) != 2 {
		t.Errorf("%d secrets, %v", len(again.list), err)
	}
	if info, err := os.Stat(l.secrets.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
}

// Who got hold of a secret that was rotated away makes nothing with it that is
// good after the last that the secret made itself.
func TestStolenSecretEnds(t *testing.T) {
	now := time.Now()
	s, err := OpenSecrets(filepath.Join(t.TempDir(), "secrets"), now.Add(-10*day))
	if err != nil {
		t.Fatal(err)
	}
	stolen := s.list[0].key
	forged := func(ends time.Time) (fits bool) {
		username := strconv.FormatInt(ends.Unix(), 10)
		passwords, _, err := s.of(username, now)
		return err == nil && slices.Contains(passwords, password(stolen, username))
	}
	if !forged(now.Add(day)) {
		t.Fatal("the only secret makes nothing")
	}
	if err := s.Rotate(now.Add(-2 * day)); err != nil {
		t.Fatal(err)
	}
	last := now.Add(-2 * day).UTC().Truncate(day).Add(longest)
	if !forged(last.Add(-time.Second)) {
		t.Error("what was given before the rotation is not good")
	}
	if forged(last) || forged(now.Add(6*day)) {
		t.Error("the earlier secret makes credentials that it never gave")
	}
	if c := s.Issue("alice@relay.test", now); forged(now.Add(day)) == false || c.Password == password(stolen, c.Username) {
		t.Error("new credentials are made of the earlier secret")
	}
}

func TestSecretsThatCannotBeRead(t *testing.T) {
	for _, text := range []string{"", "x", "1 00", "1 " + fmt.Sprintf("%064d", 0) + "0", "x " + fmt.Sprintf("%064d", 0)} {
		if _, err := readSecrets([]byte(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
	if list, err := readSecrets([]byte("17 " + fmt.Sprintf("%064d", 0) + "\n")); err != nil || len(list) != 1 || list[0].made != 17 {
		t.Error(list, err)
	}
}

// The rule for peers, address by address.
func TestPeerRule(t *testing.T) {
	rule := peerRule{prefixes("10.1.0.0/16")}
	for text, want := range map[string]bool{
		"9.9.9.9": true, "1.1.1.1": true, "172.32.0.1": true, "100.128.0.1": true, "10.1.2.3": true,
		"2600::1": true, "2a00:1450::1": true, "64:ff9b::9.9.9.9": true, "::ffff:9.9.9.9": true, "::ffff:10.1.2.3": true,
		"10.0.0.1": false, "10.2.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false,
		"127.0.0.1": false, "127.255.255.254": false, "0.0.0.0": false, "0.1.2.3": false, "100.64.0.1": false, "100.100.100.200": false,
		"169.254.169.254": false, "169.254.0.1": false, "192.0.0.192": false, "168.63.129.16": false,
		"224.0.0.1": false, "239.255.255.255": false, "255.255.255.255": false, "240.0.0.1": false, "198.18.0.1": false,
		"192.0.2.1": false, "198.51.100.1": false, "203.0.113.1": false,
		"::": false, "::1": false, "::2": false, "::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "::ffff:192.168.0.1": false, "::127.0.0.1": false,
		"fe80::1": false, "fe80::1%eth0": false, "fec0::1": false, "fc00::1": false, "fd00:ec2::254": false, "ff02::1": false,
		"::ffff:0:127.0.0.1": false, "::ffff:0:10.0.0.1": false, "4000::1": false, "64:ff9b::169.254.169.254": false, "64:ff9b::0.0.0.0": false,
		"2001:db8::1": false, "2002:7f00:1::1": false, "2001:0:1::1": false, "64:ff9b::127.0.0.1": false, "64:ff9b::10.0.0.1": false, "64:ff9b:1::1": false, "100::1": false,
	} {
		if got := rule.allows(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	if rule.allows(netip.Addr{}) {
		t.Error("no address is a peer")
	}
	// No list lets anybody reach this host, or all hosts: 0.0.0.0 is loopback to
	// the kernel.
	rule = peerRule{prefixes("0.0.0.0/0", "::/0")}
	for _, text := range []string{"0.0.0.0", "127.0.0.1", "255.255.255.255", "224.0.0.1", "::", "::1", "ff02::1", "::ffff:0.0.0.0", "64:ff9b::127.0.0.1%eth0"} {
		if rule.allows(netip.MustParseAddr(text)) {
			t.Errorf("%s is allowed by a list that has everything", text)
		}
	}
}

// Our own addresses are reached at allocations alone, by whichever name.
func TestOwnAddressesAreNoPeers(t *testing.T) {
	own := []string{"9.9.9.9", "2600::9", "169.254.7.7", "fe80::7", "10.0.0.9"}
	l := newLaboratory(t, func(c *Config) {
		c.AllowPeers = prefixes("0.0.0.0/0", "::/0")
		c.External = []netip.Addr{netip.MustParseAddr("9.9.9.10")}
		c.Addresses = func() (list []netip.Addr, err error) {
			for _, text := range own {
				list = append(list, netip.MustParseAddr(text))
			}
			return list, nil
		}
	})
	for _, text := range append(own, "9.9.9.10", "::ffff:9.9.9.9", "::ffff:9.9.9.10", "64:ff9b::9.9.9.9", "64:ff9b::9.9.9.10", "127.0.0.1", "::1") {
		if l.mayReach(netip.MustParseAddr(text).Unmap()) {
			t.Errorf("%s can be reached", text)
		}
	}
	for _, text := range []string{"9.9.9.11", "2600::1", "64:ff9b::9.9.9.11", "169.254.7.8"} {
		if !l.mayReach(netip.MustParseAddr(text)) {
			t.Errorf("%s cannot be reached, though the list has it", text)
		}
	}
	// A live allocation opens its address, not others.
	a := l.client(t, "udp", l.credentials())
	if !l.mayReach(addrPortOf(a.relayed.LocalAddr()).Addr()) || l.mayReach(netip.MustParseAddr("9.9.9.9")) {
		t.Error("an allocation on loopback opens another address, or not its own")
	}
}

// Nothing of this host but allocations says anything to a client, and no
// allocation sends to all hosts of a network.
func TestOwnHostDoesNotAnswer(t *testing.T) {
	l := newLaboratory(t, nil)
	a := l.client(t, "udp", l.credentials())
	inside, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	if err := a.client.CreatePermission(inside.LocalAddr()); err != nil {
		t.Fatal(err) // allocations are at that address too
	}
	if _, err := inside.WriteTo([]byte("a secret"), a.relayed.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(3 * time.Second); l.count("dropped", "own address") == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("it came through")
		}
	}
	if err := l.relayAt(addrPortOf(a.relayed.LocalAddr())).sendsToAll(); err == nil {
		t.Error("a packet for all hosts was sent")
	}
}

// sendsToAll tries to send to all hosts of the network.
func (r *relay) sendsToAll() error {
	_, err := r.conn.WriteToUDPAddrPort([]byte("x"), netip.MustParseAddrPort("127.255.255.255:9"))
	return err
}

// A client cannot make the relay speak to what is inside, and not to the
// relay's own host but at the ports of allocations.
func TestNobodyReachesInside(t *testing.T) {
	l := newLaboratory(t, nil)
	inside, err := net.ListenPacket("udp", "127.0.0.1:0") // a service of the host
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	a := l.client(t, "udp", l.credentials())
	for _, peer := range []string{"10.0.0.1", "169.254.169.254", "192.168.1.1", "224.0.0.1", "127.0.0.2", "0.0.0.0"} {
		addr := &net.UDPAddr{IP: net.ParseIP(peer), Port: 80}
		want := peer == "127.0.0.2" // loopback is where allocations are here; which ports is seen below
		if err := a.client.CreatePermission(addr); (err == nil) != want && !want {
			t.Errorf("a permission for %s", peer)
		}
	}
	// The address is granted, as allocations are there; that port is none.
	if _, err := a.relayed.WriteTo([]byte("let me in"), inside.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	inside.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, _, err := inside.ReadFrom(make([]byte, 100)); err == nil {
		t.Errorf("%d octets came inside", n)
	}
	if l.count("dropped", "own address") == 0 {
		t.Error("nothing was counted")
	}
}

// raw is a client that says what it likes.
type raw struct {
	t    testing.TB
	conn net.Conn
}

func (l *laboratory) raw(t testing.TB) *raw {
	conn, err := net.Dial("udp", l.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &raw{t, conn}
}

// ask sends a message up to three times, as clients do, and gives the answer,
// nil when none comes soon.
func (r *raw) ask(p []byte) *stun.Message {
	r.t.Helper()
	for range 3 {
		if m := r.say(p); m != nil {
			return m
		}
	}
	return nil
}

// say sends a message and gives the answer, nil when none comes soon.
func (r *raw) say(p []byte) *stun.Message {
	r.t.Helper()
	if _, err := r.conn.Write(p); err != nil {
		r.t.Fatal(err)
	}
	return r.hear()
}

// hear gives a message that comes soon, nil for none.
func (r *raw) hear() *stun.Message {
	r.t.Helper()
	b := make([]byte, 2000)
	r.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	n, err := r.conn.Read(b)
	if err != nil {
		return nil
	}
	m := &stun.Message{Raw: b[:n]}
	if err := m.Decode(); err != nil {
		r.t.Fatal(err)
	}
	return m
}

// What is no request gets no answer; what is one gets a small one, when it has
// been said often enough to be as long.
func TestStrangersGetSmallAnswersOrNone(t *testing.T) {
	l := newLaboratory(t, nil)
	binding := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	// What browsers ask first has no fingerprint; what others do has one.
	allocate := stun.MustBuild(stun.TransactionID, allocateRequest, overUDP)
	printed := stun.MustBuild(stun.TransactionID, allocateRequest, overUDP, stun.Fingerprint)
	sealed := stun.MustBuild(stun.TransactionID, allocateRequest, stun.NewNonce(""), stun.NewShortTermIntegrity(""))
	for _, c := range []struct {
		name               string
		p                  []byte
		size, octets, said int
	}{
		{"binding", binding.Raw, 20, 32, 2}, {"allocate", allocate.Raw, 28, 56, 2}, {"allocate with a fingerprint", printed.Raw, 36, 64, 2},
		{"a nonce of nobody", sealed.Raw, 48, 56, 2},
	} {
		r, said := l.raw(t), 0
		var m *stun.Message
		for said = 1; said < 5; said++ {
			if m = r.say(c.p); m != nil {
				break
			}
		}
		if m == nil || len(c.p) != c.size || len(m.Raw) != c.octets || said != c.said {
			t.Errorf("%s of %d octets: said %d times, answered with %v", c.name, len(c.p), said, m)
		} else if printed := c.octets == 64; m.Contains(stun.AttrFingerprint) != printed || printed && stun.Fingerprint.Check(m) != nil {
			t.Errorf("%s: a fingerprint is missing, wrong, or too much: %v", c.name, m)
		}
	}
	r := l.raw(t)
	long := append([]byte{}, binding.Raw...)
	long[3] = 4
	response := stun.MustBuild(stun.TransactionID, stun.BindingSuccess)
	for name, p := range map[string][]byte{
		"empty": {}, "one octet": {0}, "no cookie": make([]byte, 20), "a wrong length": long, "a response": response.Raw,
		"data of a channel": {0x40, 0, 0, 1, 1}, "an indication": stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication)).Raw,
		"text": []byte("GET / HTTP/1.1\r\n\r\n"), "an unknown method": stun.MustBuild(stun.TransactionID, stun.NewType(0x123, stun.ClassRequest)).Raw,
	} {
		if m := r.ask(p); m != nil {
			t.Errorf("%s: answered with %v", name, m)
		}
	}
}

// Bounds: allocations of a user and in all, permissions, channels, ports,
// octets.
func TestAllocationsAreBounded(t *testing.T) {
	l := newLaboratory(t, func(c *Config) { c.PerUser, c.MaxAllocations = 2, 3 })
	for range 2 {
		l.client(t, "udp", l.credentials())
	}
	if e, err := l.try("udp", l.credentials()); err == nil {
		e.close()
		t.Error("a third allocation of one user")
	}
	bob := l.secrets.Issue("bob@relay.test", time.Now())
	third := l.client(t, "tcp", bob)
	carol := l.secrets.Issue("carol@relay.test", time.Now())
	if e, err := l.try("udp", carol); err == nil {
		e.close()
		t.Error("a fourth allocation")
	}
	if l.count("refused", "allocations of a user") != 1 || l.count("refused", "allocations") != 1 {
		t.Error("not counted by reason")
	}
	third.close() // a connection that ends takes its allocation with it
	for range 100 {
		if e, err := l.try("udp", carol); err == nil {
			e.close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("what is closed is not free again")
}

func TestPermissionsAndChannelsAreBounded(t *testing.T) {
	l := newLaboratory(t, func(c *Config) { c.MaxPermissions, c.MaxChannels = 5, 3; c.AllowPeers = prefixes("10.0.0.0/8") })
	a := l.client(t, "udp", l.credentials())
	granted := 0
	for i := range 8 {
		if a.client.CreatePermission(&net.UDPAddr{IP: net.IPv4(10, 0, 0, byte(1+i)), Port: 9}) == nil {
			granted++
		}
	}
	if granted != 5 {
		t.Errorf("%d permissions", granted)
	}
	if err := a.client.CreatePermission(&net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 10}); err != nil {
		t.Error("a permission that is there was not refreshed:", err)
	}
	// The client binds a channel for each address that it writes to.
	for i := range 8 {
		a.relayed.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1000 + i})
	}
	deadline := time.Now().Add(3 * time.Second)
	for l.count("refused", "channels") == 0 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, r := range l.live {
		if n := len(r.ways.Load().channels); n != 3 {
			t.Errorf("%d channels", n)
		}
	}
}

func TestPortsRunOut(t *testing.T) {
	l := newLaboratory(t, func(c *Config) { c.MinPort, c.MaxPort = 49500, 49501 })
	for range 2 {
		e := l.client(t, "udp", l.credentials())
		if port := addrPortOf(e.relayed.LocalAddr()).Port(); port < 49500 || port > 49501 {
			t.Errorf("port %d", port)
		}
	}
	if e, err := l.try("udp", l.credentials()); err == nil {
		e.close()
		t.Error("a third port of two")
	}
	if l.count("refused", "ports") == 0 || l.Allocations() != 2 {
		t.Errorf("%v counted, %d allocations", l.count("refused", "ports"), l.Allocations())
	}
}

func TestOctetsAreBounded(t *testing.T) {
	for _, c := range []struct {
		reason string
		change func(*Config)
	}{
		{"octets per second", func(c *Config) { c.BytesPerSecond = 2000 }},
		{"octets of a day", func(c *Config) { c.BytesPerDay = 5000 }},
	} {
		l := newLaboratory(t, c.change)
		a, b := l.client(t, "udp", l.credentials()), l.client(t, "udp", l.credentials())
		if err := errors.Join(a.client.CreatePermission(b.relayed.LocalAddr()), b.client.CreatePermission(a.relayed.LocalAddr())); err != nil {
			t.Fatal(err)
		}
		for range 30 {
			a.relayed.WriteTo(make([]byte, 500), b.relayed.LocalAddr())
		}
		deadline := time.Now().Add(3 * time.Second)
		for l.count("dropped", c.reason) == 0 && time.Now().Before(deadline) {
			time.Sleep(10 * time.Millisecond)
		}
		if l.count("dropped", c.reason) == 0 {
			t.Errorf("no %s counted", c.reason)
		}
	}
}

// An allocation through which nothing passes ends.
func TestIdleAllocationsEnd(t *testing.T) {
	var mu sync.Mutex
	ahead := time.Duration(0)
	l := newLaboratory(t, func(c *Config) {
		c.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(ahead) }
	})
	l.client(t, "udp", l.credentials())
	l.endIdle()
	if l.Allocations() != 1 {
		t.Fatal("ended too soon")
	}
	mu.Lock()
	ahead = 11 * time.Minute
	mu.Unlock()
	l.endIdle()
	if l.Allocations() != 0 {
		t.Error("still there")
	}
}

// Behind a NAT relayed addresses are told as the world knows them, and two
// clients meet all the same.
func TestExternalAddress(t *testing.T) {
	l := newLaboratory(t, func(c *Config) { c.External = []netip.Addr{netip.MustParseAddr("198.51.100.7")} })
	d := newDoor(l.Server, netip.MustParseAddrPort("10.0.0.5:3478"))
	if got := d.publicOf(netip.MustParseAddrPort("10.0.0.5:50000")); got != netip.MustParseAddrPort("198.51.100.7:50000") {
		t.Error(got)
	}
	if got := d.publicOf(netip.MustParseAddrPort("127.0.0.1:50000")); got.Addr() != netip.MustParseAddr("127.0.0.1") {
		t.Error(got)
	}
	a, b := l.client(t, "udp", l.credentials()), l.client(t, "udp", l.credentials())
	// As if they had come from outside.
	var told [2]netip.AddrPort
	for i, e := range []*end{a, b} {
		r := l.relayAt(addrPortOf(e.relayed.LocalAddr()))
		r.public = netip.AddrPortFrom(l.cfg.External[0], r.local.Port())
		l.mu.Lock()
		l.live[r.public] = r
		l.mu.Unlock()
		told[i] = r.public
	}
	if err := errors.Join(a.client.CreatePermission(net.UDPAddrFromAddrPort(told[1])), b.client.CreatePermission(net.UDPAddrFromAddrPort(told[0]))); err != nil {
		t.Fatal(err)
	}
	if _, err := a.relayed.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(told[1])); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, b); got != "hello" {
		t.Error(got)
	}
}

// IPv6 is relayed where a client asks for it and the host has it.
func TestIPv6IsRelayedWhenAskedFor(t *testing.T) {
	l := newLaboratory(t, nil)
	if c, err := net.ListenPacket("udp", "[::1]:0"); err != nil {
		t.Skip("this host has no IPv6:", err)
	} else {
		c.Close()
	}
	c := l.credentials()
	r := l.raw(t)
	request := func(extra ...stun.Setter) *stun.Message {
		return stun.MustBuild(append([]stun.Setter{
			stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest),
			stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}},
			stun.RawAttribute{Type: attrFamily, Value: []byte{familyIPv6, 0, 0, 0}},
		}, extra...)...)
	}
	m := r.ask(request().Raw)
	var nonce stun.Nonce
	if m == nil || nonce.GetFrom(m) != nil {
		t.Fatal("no nonce in", m)
	}
	m = r.ask(request(stun.NewUsername(c.Username), stun.NewRealm(realm), nonce,
		stun.MessageIntegrity(pion.GenerateAuthKey(c.Username, realm, c.Password))).Raw)
	var relayed stun.XORMappedAddress
	if m == nil || relayed.GetFromAs(m, stun.AttrXORRelayedAddress) != nil || relayed.IP.To4() != nil {
		t.Fatalf("%v %v", m, relayed)
	}
}

// A client that does not read costs its own packets only.
func TestClientThatStalls(t *testing.T) {
	l := newLaboratory(t, func(c *Config) { c.BytesPerSecond = 1 << 30 })
	stalled, err := net.Dial("tcp", l.tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close()
	binding := stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw
	stalled.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	for range 2_000_000 {
		if _, err := stalled.Write(binding); err != nil {
			break // its answers are in its way
		}
		if l.count("dropped", "client does not read") > 0 {
			break
		}
	}
	l.client(t, "tcp", l.credentials()) // others go on
}
