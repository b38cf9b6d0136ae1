package turn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newTestSocket(t *testing.T, addr string) *socket {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	if err != nil {
		t.Skip("this host has no such address:", err)
	}
	s, err := newSocket(conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return s
}

// What package net says arrives as it is, and the other way round, with the
// addresses of both families.
func TestSocketSpeaksWithOthers(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(addr, func(t *testing.T) {
			ours, theirs := newTestSocket(t, addr), newTestSocket(t, addr).UDPConn
			theirAddr, ourAddr := addrPortOf(theirs.LocalAddr()), addrPortOf(ours.LocalAddr())
			b := make([]byte, 2000)
			for _, size := range []int{0, 1, 200, 1500} {
				p := make([]byte, size)
				for i := range p {
					p[i] = byte(size + i)
				}
				theirs.SetReadDeadline(time.Now().Add(5 * time.Second))
				ours.SetReadDeadline(time.Now().Add(5 * time.Second))
				if err := ours.send(p, theirAddr); err != nil {
					t.Fatal(err)
				}
				if n, from, err := theirs.ReadFromUDPAddrPort(b); err != nil || string(b[:n]) != string(p) || from != ourAddr {
					t.Errorf("they got %d octets of %d from %v: %v", n, size, from, err)
				}
				if _, err := theirs.WriteToUDPAddrPort(p, ourAddr); err != nil {
					t.Fatal(err)
				}
				if n, from, err := ours.read(b); err != nil || string(b[:n]) != string(p) || from != theirAddr {
					t.Errorf("we got %d octets of %d from %v: %v", n, size, from, err)
				}
			}
		})
	}
}

// A socket that cannot send says so, and one that is closed ends its reader.
func TestSocketTellsWhatFails(t *testing.T) {
	s := newTestSocket(t, "127.0.0.1:0")
	for name, to := range map[string]string{"the other family": "[::1]:9", "no port": "127.0.0.1:0", "all hosts of a network": "255.255.255.255:9"} {
		if name == "all hosts of a network" { // package net asked for the leave to send there
			r, err := listenRelayed(netip.MustParseAddrPort("127.0.0.1:0"))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			s = r
		}
		if s.send([]byte("x"), netip.MustParseAddrPort(to)) == nil {
			t.Errorf("sent to %s", name)
		}
	}
	if s.send(make([]byte, 1<<16), addrPortOf(s.LocalAddr())) == nil {
		t.Error("sent more than a datagram has room for")
	}
	if s.send(nil, netip.AddrPort{}) == nil {
		t.Error("sent to nobody")
	}
	ended := make(chan error)
	go func() {
		_, _, err := s.read(make([]byte, 100))
		ended <- err
	}()
	s.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Error("the reader:", err)
	}
	if err := s.send([]byte("x"), netip.MustParseAddrPort("127.0.0.1:9")); !errors.Is(err, net.ErrClosed) {
		t.Error("a sender:", err)
	}
}

// Where the kernel takes no more, a sender is told so and waits for nobody.
func TestSenderDoesNotWaitForRoom(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	// A stream that nobody reads stands for a network that takes nothing; the
	// address of what is sent means nothing to it.
	full, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	full.SetDeadline(time.Now().Add(5 * time.Second)) // for who waits
	raw, err := full.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	s := &socket{raw: raw, is4: true}
	for p := make([]byte, 1<<16); err == nil; {
		err = s.send(p, addrPortOf(l.Addr()))
	}
	if !errors.Is(err, unix.EAGAIN) {
		t.Error(err)
	}
}

// A reader whose socket is never empty leaves others of the process their turn,
// those too that wait for something to arrive.
func TestBusyReaderHoldsNobodyUp(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	busy, other, from := newTestSocket(t, "127.0.0.1:0"), newTestSocket(t, "127.0.0.1:0"), newTestSocket(t, "127.0.0.1:0")
	if err := busy.SetReadBuffer(1 << 20); err != nil {
		t.Fatal(err)
	}
	var served atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _, err := other.read(make([]byte, 10))
		served.Store(err == nil)
	}()
	defer func() { other.Close(); <-ended }()
	runtime.Gosched() // it waits now
	const n = 2*turnLength + 1
	for range n {
		if err := from.send([]byte("x"), addrPortOf(busy.LocalAddr())); err != nil {
			t.Fatal(err)
		}
	}
	if err := from.send([]byte("x"), addrPortOf(other.LocalAddr())); err != nil {
		t.Fatal(err)
	}
	busy.SetReadDeadline(time.Now().Add(5 * time.Second))
	for range n {
		if _, _, err := busy.read(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
	}
	if !served.Load() {
		t.Errorf("%d datagrams were read before anybody else had a turn", n)
	}
}

// An address goes to the kernel and comes back from it as the same one.
func TestAddressesOfCalls(t *testing.T) {
	var c call
	for _, text := range []string{"192.0.2.7:3478", "[2001:db8::7]:65535", "[fe80::7%3]:1", "127.0.0.1:258"} {
		want := netip.MustParseAddrPort(text)
		if !c.to(want, want.Addr().Is4()) || c.from() != want {
			t.Errorf("%s became %v", text, c.from())
		}
		if c.to(want, !want.Addr().Is4()) {
			t.Errorf("%s in a socket of the other family", text)
		}
	}
	if c.to(netip.MustParseAddrPort("[fe80::7%eth0]:1"), false) {
		t.Error("a zone that is no number")
	}
	if c.to(netip.MustParseAddrPort("[::ffff:192.0.2.7]:1"), true) {
		t.Error("an IPv4 address in IPv6 dress") // all are undressed before
	}
}

// burst sends so many frames at once from a client: of each four one has a
// channel that is not there, and one is cut short.
func burst(t *testing.T, l *laboratory, from *end, n int) {
	t.Helper()
	server := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(l.addr))
	for i := range n {
		p := binary.BigEndian.AppendUint16(nil, 0x4001)
		p = binary.BigEndian.AppendUint16(p, 8)
		p = fmt.Appendf(p, "%08d", i)
		switch i % 4 {
		case 1:
			p[1] = 2
		case 3:
			p = p[:len(p)-1]
		}
		if _, err := from.conn.WriteTo(p, server); err != nil {
			t.Fatal(err)
		}
	}
}

// pair gives two clients, of which the first has a channel to the second. The
// second has one back, if bound: then there is a short way from one to the
// other.
func pair(t *testing.T, l *laboratory, bound bool) (a, b *end, ours *relay) {
	t.Helper()
	a, b = l.client(t, "udp", l.credentials()), l.client(t, "udp", l.secrets.Issue("bob@relay.test", time.Now()))
	ours = l.relayAt(addrPortOf(a.relayed.LocalAddr()))
	theirs := l.relayAt(addrPortOf(b.relayed.LocalAddr()))
	for _, e := range [][2]*end{{a, b}, {b, a}} {
		if err := e[0].client.CreatePermission(e[1].relayed.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	if bound { // the client is told of it by a packet of its own
		if _, err := b.relayed.WriteTo([]byte("hello"), a.relayed.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, a); got != "hello" {
			t.Fatal(got)
		}
		for until := time.Now().Add(5 * time.Second); len(theirs.ways.Load().channels) == 0; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(until) {
				t.Fatal("no channel is bound")
			}
		}
	}
	// Its client knows nothing of it, and gets nothing through it.
	w, c := ours.ways.Load().without(time.Now()), channel{0x4001, theirs.public, time.Now().Add(time.Hour)}
	w.channels[c.number], w.bound[c.peer] = c, c
	ours.ways.Store(w)
	return a, b, ours
}

// What is refused in a burst takes nothing else with it, and the rest arrives
// in order, whichever way it takes.
func TestBurstWithRefusedPacketsKeepsItsOrder(t *testing.T) {
	for _, bound := range []bool{false, true} {
		l := newLaboratory(t, nil)
		a, b, _ := pair(t, l, bound)
		const n = 120
		burst(t, l, a, n)
		for i := 0; i < n; i += 2 {
			if got, want := receive(t, b), fmt.Sprintf("%08d", i); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
		// The last of the burst is a refused one, and may be under way.
		for until := time.Now().Add(5 * time.Second); l.count("dropped", "malformed") < n/4 && time.Now().Before(until); {
			time.Sleep(time.Millisecond)
		}
		if no, short := l.count("dropped", "no channel"), l.count("dropped", "malformed"); no != n/4 || short != n/4 {
			t.Errorf("%v without a channel and %v malformed are counted, want %d", no, short, n/4)
		}
	}
}

// A budget that ends within a burst lets pass what it has, and counts what it
// refuses.
func TestBudgetEndsWithinABurst(t *testing.T) {
	for _, bound := range []bool{false, true} {
		l := newLaboratory(t, nil)
		a, b, ours := pair(t, l, bound)
		const n, left = 120, 25
		ours.budget.mu.Lock()
		ours.budget.octets = l.cfg.BytesPerDay - left*(8+datagramHeaders)
		ours.budget.mu.Unlock()
		burst(t, l, a, n)
		for i := 0; i < 2*left; i += 2 {
			if got, want := receive(t, b), fmt.Sprintf("%08d", i); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
		for until := time.Now().Add(5 * time.Second); l.count("dropped", "malformed") < n/4 && time.Now().Before(until); {
			time.Sleep(time.Millisecond)
		}
		if got := l.count("dropped", "octets of a day"); got != n/2-left {
			t.Errorf("%v refused are counted, want %d", got, n/2-left)
		}
		b.relayed.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, _, err := b.relayed.ReadFrom(make([]byte, 100)); err == nil {
			t.Errorf("%d octets more than the budget had", n)
		}
	}
}
