package netserve

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
)

// tellsClient says whose connection it is.
var tellsClient = HandlerFunc(func(_ context.Context, c *Conn) { io.WriteString(c.Stream(), c.Client().String()) })

var loopbacks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// header makes one for a client.
func header(t testing.TB, version byte, client string) []byte {
	t.Helper()
	from := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(client), 4242))
	to := &net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 993}
	if from.IP.To4() == nil {
		to.IP = net.ParseIP("2001:db8::1")
	}
	text, err := proxyproto.HeaderProxyFromAddrs(version, from, to).Format()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAProxySaysWhoseAConnectionIs(t *testing.T) {
	local, err := (&proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}).Format()
	if err != nil {
		t.Fatal(err)
	}
	s := drained(t, Config{})
	addr := listen(t, s, Listener{Name: "x", Mode: Clear, Handler: tellsClient, Proxies: loopbacks})
	for what, c := range map[string]struct {
		first []byte
		want  string
	}{
		"version 1":           {header(t, 1, "198.51.100.7"), "198.51.100.7"},
		"version 1, IPv6":     {header(t, 1, "2001:db8::7"), "2001:db8::7"},
		"version 2":           {header(t, 2, "198.51.100.7"), "198.51.100.7"},
		"version 2, IPv6":     {header(t, 2, "2001:db8::7"), "2001:db8::7"},
		"its own check":       {local, "127.0.0.1"},
		"unknown":             {[]byte("PROXY UNKNOWN\r\n"), "127.0.0.1"},
		"none":                {[]byte("EHLO client.test\r\n"), ""},
		"none, TLS":           {[]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), ""},
		"a line without end":  {[]byte("PROXY TCP4 " + strings.Repeat("1", 200)), ""},
		"addresses of no use": {[]byte("PROXY TCP4 a b c d\r\n"), ""},
		"a huge header":       {append(append([]byte{}, proxyproto.SIGV2...), 0x21, 0x11, 0xff, 0xff), ""},
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		conn.Write(c.first)
		got, _ := io.ReadAll(conn)
		conn.Close()
		if string(got) != c.want {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
}

// TLS comes after the header, and the bound per client counts the real one.
func TestBehindAProxyEverythingIsAsInFrontOfIt(t *testing.T) {
	s := drained(t, Config{})
	busy := HandlerFunc(func(ctx context.Context, c *Conn) { io.WriteString(c.Stream(), "in"); <-ctx.Done() })
	l := muxListener(t)
	l.Proxies, l.PerClient, l.ALPN["imap"] = loopbacks, 1, busy
	addr := listen(t, s, l)
	enter := func(client string) string {
		raw, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { raw.Close() })
		raw.SetDeadline(time.Now().Add(10 * time.Second))
		raw.Write(header(t, 2, client))
		conn := tls.Client(raw, coreTLS("imap"))
		got := make([]byte, 2)
		io.ReadFull(conn, got)
		return strings.Trim(string(got), "\x00")
	}
	if a, b, c := enter("198.51.100.7"), enter("198.51.100.8"), enter("198.51.100.7"); a != "in" || b != "in" || c != "" {
		t.Errorf("first %q, another %q, the first again %q", a, b, c)
	}
}

// Nobody else can say that he is somebody else.
func TestAHeaderFromElsewhereIsRefused(t *testing.T) {
	s := drained(t, Config{})
	l := Listener{Mode: TLS, TLS: serverTLS(t), Handler: tellsClient, Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	addr := listen(t, s, l)
	for _, version := range []byte{1, 2} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		conn.Write(header(t, version, "198.51.100.7"))
		got, _ := io.ReadAll(conn)
		conn.Close()
		if bytes.Contains(got, []byte("127.0.0.1")) || bytes.Contains(got, []byte("198.51.100.7")) {
			t.Errorf("version %d: %q", version, got)
		}
	}
}

func TestAUnixSocketServesAndIsTakenOverWhenStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	l := Listener{Name: "x", Addr: "unix:" + path, Handler: tellsClient, ProxyUnix: true}
	if _, err := drained(t, Config{}).Listen(l); err == nil {
		t.Error("two listen on one socket")
	}
	stale.Close()
	if _, err := drained(t, Config{}).Listen(l); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	conn.Write(header(t, 1, "198.51.100.7"))
	if got, _ := io.ReadAll(conn); string(got) != "198.51.100.7" {
		t.Errorf("%q", got)
	}
}

func TestAnInheritedSocketIsServedAndTheRestClosed(t *testing.T) {
	mine, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := drained(t, Config{})
	s.Inherit("x", "127.0.0.1:1", mine)
	s.Inherit("nobody", "", other)
	got, err := s.Listen(Listener{Name: "x", Addr: "127.0.0.1:1", Handler: tellsClient})
	if err != nil || got.String() != mine.Addr().String() {
		t.Fatalf("%v, %v", got, err)
	}
	if n := s.CloseInherited(); n != 1 {
		t.Errorf("%d were left", n)
	}
	if _, err := other.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the socket that nobody took: %v", err)
	}
	conn, err := net.Dial("tcp", mine.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, _ := io.ReadAll(conn); string(got) != "127.0.0.1" {
		t.Errorf("%q", got)
	}
	if all := s.Sockets(); len(all) != 1 || all[0].Name != "x" {
		t.Errorf("sockets: %v", all)
	}
}

func FuzzProxyHeaderIsReadToItsEndAndNotBeyond(f *testing.F) {
	f.Add(header(f, 1, "198.51.100.7"))
	f.Add(header(f, 2, "2001:db8::7"))
	f.Add([]byte("PROXY UNKNOWN whatever\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := bytes.NewReader(text)
		h, err := proxyHeader(r)
		if err == nil && !bytes.Equal(h, text[:len(text)-r.Len()]) {
			t.Errorf("read %d octets for a header of %d", len(text)-r.Len(), len(h))
		}
		readProxy(bytes.NewReader(text), netip.Addr{})
	})
}
