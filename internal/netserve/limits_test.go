package netserve

import (
	"io"
	"net"
	"net/netip"
	"testing"

	"barid/internal/metrics"
)

// from is a connection in memory that comes from some address.
type from struct {
	net.Conn
	addr net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.addr }

// doorway is a listener whose connections a test makes.
type doorway struct {
	conns chan net.Conn
	shut  chan struct{}
}

func (d doorway) Accept() (net.Conn, error) {
	select {
	case c := <-d.conns:
		return c, nil
	case <-d.shut:
		return nil, net.ErrClosed
	}
}
func (d doorway) Close() error   { close(d.shut); return nil }
func (d doorway) Addr() net.Addr { return &net.TCPAddr{} }

// enter connects from an address.
func (d doorway) enter(t *testing.T, ip string) net.Conn {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { b.Close() })
	d.conns <- from{a, &net.TCPAddr{IP: net.ParseIP(ip), Port: 1000}}
	return b
}

func inside(c net.Conn) bool {
	go io.WriteString(c, "x")
	n, _ := c.Read(make([]byte, 1))
	return n == 1
}

func TestBoundsHoldAndAreGivenBack(t *testing.T) {
	m := metrics.New()
	s := drained(t, Config{Metrics: m, MaxConns: 6})
	door := doorway{make(chan net.Conn), make(chan struct{})}
	err := s.serve(door, Listener{Name: "port-25", Handler: echo, PerClient: 2, Max: 5, Refuse: func(c net.Conn) {
		io.WriteString(c, "421 4.7.0 Too many connections\r\n")
	}})
	if err != nil {
		t.Fatal(err)
	}
	other := doorway{make(chan net.Conn), make(chan struct{})}
	if err := s.serve(other, Listener{Name: "other", Handler: echo}); err != nil {
		t.Fatal(err)
	}
	refused := func(c net.Conn, why string) {
		t.Helper()
		b, _ := io.ReadAll(c)
		if string(b) != "421 4.7.0 Too many connections\r\n" {
			t.Fatalf("%s: %q", why, b)
		}
	}
	first := door.enter(t, "2001:db8:0:1::1")
	if !inside(first) || !inside(door.enter(t, "2001:db8:0:1:ffff::2")) {
		t.Fatal("refused below the bound")
	}
	refused(door.enter(t, "2001:db8:0:1::3"), "third of one /64")
	if !inside(door.enter(t, "2001:db8:0:2::1")) {
		t.Fatal("another /64 refused")
	}
	first.Close()
	eventually(t, func() bool { v, _ := m.Values(); return v["port_25_connections_use"] == 2 })
	if !inside(door.enter(t, "2001:db8:0:1::3")) {
		t.Fatal("the place was not given back")
	}
	// Loopback has no bound of its own, but the listener's.
	for range 2 {
		if !inside(door.enter(t, "127.0.0.1")) {
			t.Fatal("loopback refused")
		}
	}
	refused(door.enter(t, "127.0.0.1"), "sixth of the listener")
	if !inside(other.enter(t, "192.0.2.1")) {
		t.Fatal("refused below the total")
	}
	if inside(other.enter(t, "192.0.2.2")) {
		t.Fatal("seventh of the server got in")
	}
	v, _ := m.Values()
	if v["connections_use"] != 6 || v["port_25_connections_use"] != 5 || v["connections_refused"] != 3 {
		t.Fatal(v)
	}
	for _, l := range m.Limits() {
		if want := map[string]int64{"connections": 1, "port_25_connections": 2, "other_connections": 1}[l.Name]; l.Refused() != want {
			t.Errorf("%s refused %d, want %d", l.Name, l.Refused(), want)
		}
	}
}

func TestClientKeyIsAnAddressOrASixtyFour(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7":              "192.0.2.7",
		"2001:db8:1:2:3:4:5:6":   "2001:db8:1:2::",
		"2001:db8:1:2:ffff::":    "2001:db8:1:2::",
		"::ffff:192.0.2.7":       "192.0.2.7",
		"fe80::1%eth0":           "fe80::",
		"2001:db8:1:3:3:4:5:6":   "2001:db8:1:3::",
		"2001:db8::ffff:0:0:0:1": "2001:db8:0:ffff::",
	} {
		a := netip.MustParseAddr(in)
		got := clientKey(clientOf(from{addr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 1))}))
		if got.String() != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// Two sockets of one name, for IPv4 and IPv6, are one listener to the bounds.
func TestListenersOfOneNameCountTogether(t *testing.T) {
	s := drained(t, Config{Metrics: metrics.New()})
	l := Listener{Name: "imaps", Handler: echo, Max: 1}
	wantEcho(t, dial(t, listen(t, s, l)))
	if inside(dial(t, listen(t, s, l))) {
		t.Fatal("the second socket counts for itself")
	}
}
