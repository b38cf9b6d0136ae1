package relay

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"barid/internal/metrics"
	"barid/internal/netserve"
	"barid/relay/wire"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// site is a relay behind the listeners that it has in real life.
type site struct {
	t          testing.TB
	s          *Server
	m          *metrics.Registry
	clear, tls string // addresses
	client     *tls.Config
}

type testAddr string

func (testAddr) Network() string  { return "test" }
func (a testAddr) String() string { return string(a) }

func newSite(t testing.TB, cfg Config) *site {
	t.Helper()
	m := metrics.New()
	cfg.Metrics = m
	s := &site{t: t, m: m, s: New(cfg)}
	q := netserve.NewQueue(testAddr("https"))
	web := &http.Server{Handler: s.s, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		web.Serve(q)
	}()
	n := netserve.New(netserve.Config{})
	cert, pool := certificate(t)
	s.client = &tls.Config{RootCAs: pool, ServerName: "relay.test", DynamicRecordSizingDisabled: true}
	for addr, l := range map[*string]netserve.Listener{
		&s.clear: {Name: "clear", Mode: netserve.Clear, Handler: q},
		&s.tls:   {Name: "tls", Mode: netserve.Mux, Handler: q, TLS: &tls.Config{Certificates: []tls.Certificate{cert}}},
	} {
		l.Addr = "127.0.0.1:0"
		a, err := n.Listen(l)
		if err != nil {
			t.Fatal(err)
		}
		*addr = a.String()
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.s.Shutdown(ctx); err != nil {
			t.Errorf("shut down: %v", err)
		}
		web.Close()
		if err := n.Drain(ctx); err != nil {
			t.Error(err)
		}
		<-done
		if held := s.s.memory.held.Load(); held != 0 {
			t.Errorf("%d octets of queues are still held", held)
		}
	})
	return s
}

func certificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"relay.test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// value reads a counter or a gauge.
func (s *site) value(name string) float64 {
	s.t.Helper()
	all, err := s.m.Values()
	if err != nil {
		s.t.Fatal(err)
	}
	return all[name]
}

// until waits for something that follows from what was done.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func seed(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
}

// peer is a client of the relay.
type peer struct {
	t       testing.TB
	key     wire.Key
	dialect wire.Dialect
	conn    net.Conn // of a stream, or below a websocket
	in      *bufio.Reader
	ws      *websocket.Conn // nil on a stream
}

// how a peer comes.
type how struct {
	tls       bool
	dialect   wire.Dialect
	websocket bool // for P3; the others always
	private   ed25519.PrivateKey
	header    http.Header
	version   uint16 // of TLS
}

func (s *site) dial(h how) net.Conn {
	s.t.Helper()
	addr := s.clear
	if h.tls {
		addr = s.tls
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if !h.tls {
		return conn
	}
	cfg := s.client.Clone()
	cfg.MaxVersion = h.version
	c := tls.Client(conn, cfg)
	if err := c.Handshake(); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// join logs a peer in.
func (s *site) join(h how) *peer {
	s.t.Helper()
	return s.joinOver(s.dial(h), h)
}

func (s *site) joinOver(conn net.Conn, h how) *peer {
	s.t.Helper()
	p, err := s.knock(conn, h)
	if err == nil {
		err = p.login(h)
	}
	if err != nil {
		s.t.Fatalf("%s: %v", h.dialect, err)
	}
	return p
}

// knock asks for the upgrade and says nothing more.
func (s *site) knock(conn net.Conn, h how) (*peer, error) {
	s.t.Helper()
	p := &peer{t: s.t, key: wire.KeyOf(h.private), dialect: h.dialect, conn: conn, in: bufio.NewReader(conn)}
	if h.dialect == wire.P3 && !h.websocket {
		return p, p.upgradeStream("/relay")
	}
	var protocols []string
	switch h.dialect {
	case wire.V1:
		protocols = []string{"iroh-relay-v1"}
	case wire.V2:
		protocols = []string{"iroh-relay-v2", "iroh-relay-v1"}
	}
	used := false
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		if used {
			return nil, errors.New("one connection only")
		}
		used = true
		return conn, nil
	}}
	ws, resp, err := websocket.Dial(s.t.Context(), "ws://relay.test/relay", &websocket.DialOptions{
		HTTPHeader: h.header, Subprotocols: protocols, CompressionMode: websocket.CompressionContextTakeover,
		HTTPClient: &http.Client{Transport: transport},
	})
	if err != nil {
		if resp != nil {
			return nil, fmt.Errorf("status %d: %w", resp.StatusCode, err)
		}
		return nil, err
	}
	ws.SetReadLimit(1 << 20)
	s.t.Cleanup(func() { ws.CloseNow() })
	p.ws = ws
	if want := p.dialect.String(); p.dialect != wire.P3 && ws.Subprotocol() != want {
		return p, fmt.Errorf("the relay chose %q, not %q", ws.Subprotocol(), want)
	}
	return p, nil
}

// challenged gives a peer that has been given a challenge and not yet answered.
func (s *site) challenged(h how) (*peer, wire.Challenge) {
	s.t.Helper()
	p, err := s.knock(s.dial(h), h)
	if err != nil {
		s.t.Fatal(err)
	}
	b, err := p.recvRaw()
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := wire.ParseChallenge(b)
	if err != nil {
		s.t.Fatal(err)
	}
	return p, c
}

// login follows an upgrade.
func (p *peer) login(h how) error {
	if p.dialect == wire.P3 {
		return p.sendRaw(wire.AppendClientInfo(nil, h.private))
	}
	b, err := p.recvRaw()
	if err != nil || len(b) == 1 { // by key material
		return errors.Join(err, wire.ParseVerdict(b))
	}
	return p.answer(b, h.private)
}

// answer answers a challenge.
func (p *peer) answer(challenge []byte, private ed25519.PrivateKey) error {
	c, err := wire.ParseChallenge(challenge)
	if err != nil {
		return err
	}
	if err := p.sendRaw(wire.AppendClientAuth(nil, private, c)); err != nil {
		return err
	}
	b, err := p.recvRaw()
	if err != nil {
		return err
	}
	return wire.ParseVerdict(b)
}

// upgradeStream does what iroh 0.35 does, to the octet.
func (p *peer) upgradeStream(path string) error {
	fmt.Fprintf(p.conn, "GET %s HTTP/1.1\r\nupgrade: iroh derp http\r\nhost: relay.test\r\n\r\n", path)
	resp, err := http.ReadResponse(p.in, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "iroh derp http" {
		return fmt.Errorf("%s, %v", resp.Status, resp.Header)
	}
	return nil
}

func (p *peer) sendRaw(b []byte) error {
	if p.ws != nil {
		return p.ws.Write(p.t.Context(), websocket.MessageBinary, b)
	}
	head := binary.BigEndian.AppendUint32([]byte{b[0]}, uint32(len(b)-1))
	_, err := p.conn.Write(append(head, b[1:]...))
	return err
}

func (p *peer) recvRaw() ([]byte, error) {
	if p.ws != nil {
		_, b, err := p.ws.Read(p.t.Context())
		return b, err
	}
	var head [5]byte
	if _, err := io.ReadFull(p.in, head[:]); err != nil {
		return nil, err
	}
	b := make([]byte, 1+binary.BigEndian.Uint32(head[1:]))
	b[0] = head[0]
	_, err := io.ReadFull(p.in, b[1:])
	return b, err
}

func (p *peer) send(f wire.Frame) {
	p.t.Helper()
	if err := p.sendRaw(p.dialect.Append(nil, f, wire.FromClient)); err != nil {
		p.t.Fatalf("%s: send: %v", p.dialect, err)
	}
}

func (p *peer) recv() wire.Frame {
	p.t.Helper()
	f, err := p.tryRecv()
	if err != nil {
		p.t.Fatalf("%s: receive: %v", p.dialect, err)
	}
	return f
}

func (p *peer) tryRecv() (wire.Frame, error) {
	b, err := p.recvRaw()
	if err != nil {
		return wire.Frame{}, err
	}
	return p.dialect.Parse(b, wire.FromRelay)
}

// sync returns when the relay has done all that was sent, and gives what came
// meanwhile.
func (p *peer) sync() (got []wire.Frame) {
	p.t.Helper()
	echo := [8]byte([]byte(rand.Text()))
	p.send(wire.Frame{Kind: wire.Ping, Echo: echo})
	for {
		f := p.recv()
		if f.Kind == wire.Pong && f.Echo == echo {
			return got
		}
		got = append(got, f)
	}
}

// packet sends one datagram to another peer.
func (p *peer) packet(to wire.Key, data string) {
	p.t.Helper()
	f := wire.Frame{Kind: wire.Datagrams, Key: to, Data: []byte(data)}
	if p.dialect == wire.P3 {
		f.Data = list(data)
	}
	p.send(f)
}

// list is a packet of P3 with one datagram.
func list(data string) []byte {
	return append(binary.LittleEndian.AppendUint16(nil, uint16(len(data))), data...)
}

// expect waits for one datagram.
func (p *peer) expect(from wire.Key, data string) {
	p.t.Helper()
	f := p.recv()
	want := []byte(data)
	if p.dialect == wire.P3 {
		want = list(data)
	}
	if f.Kind != wire.Datagrams || f.Key != from || !bytes.Equal(f.Data, want) {
		p.t.Fatalf("%s got kind %d, %.40q from %s, not %.40q from %s", p.dialect, f.Kind, f.Data, f.Key, want, from)
	}
}

// closed waits until the relay has ended the connection.
func (p *peer) closed() error {
	p.t.Helper()
	for {
		if _, err := p.recvRaw(); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				p.t.Fatalf("%s: the connection is still open", p.dialect)
			}
			return err
		}
	}
}

// all is every way in which a client can come.
func all() map[string]how {
	out := map[string]how{}
	for name, h := range map[string]how{
		"P3": {dialect: wire.P3}, "P3 websocket": {dialect: wire.P3, websocket: true}, "V1": {dialect: wire.V1}, "V2": {dialect: wire.V2},
	} {
		out[name] = h
		h.tls = true
		out[name+" TLS"] = h
	}
	return out
}

func from(ip string) func(*http.Request) netip.Addr {
	return func(*http.Request) netip.Addr { return netip.MustParseAddr(ip) }
}

// line tells whether /metrics has a line.
func (s *site) line(want string) bool {
	s.t.Helper()
	w := httptest.NewRecorder()
	s.m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return strings.Contains(w.Body.String(), "\n"+want+"\n")
}
