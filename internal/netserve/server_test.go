package netserve

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"barid/internal/metrics"
)

// echo answers each read with the same octets until the peer hangs up or the
// server drains.
var echo = HandlerFunc(func(ctx context.Context, c *Conn) {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	io.Copy(struct{ io.Writer }{c.Stream()}, struct{ io.Reader }{c.Stream()})
})

// says is a handler that says one line.
func says(line string) Handler {
	return HandlerFunc(func(_ context.Context, c *Conn) { io.WriteString(c.Stream(), line) })
}

func wantEcho(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil || !bytes.Equal(b, []byte("hello")) {
		t.Fatalf("%q, %v", b, err)
	}
}

func TestClearAndTLSListenersServe(t *testing.T) {
	s := drained(t, Config{})
	clear := listen(t, s, Listener{Handler: echo})
	wantEcho(t, dial(t, clear))
	secure := listen(t, s, Listener{Name: "secure", Mode: TLS, TLS: serverTLS(t), Handler: echo})
	wantEcho(t, dialTLS(t, secure, coreTLS()))
}

// The last words arrive though the peer said more than anybody read.
func TestLastWordsAreNotLostInAReset(t *testing.T) {
	s := drained(t, Config{})
	hear := make(chan struct{})
	addr := listen(t, s, Listener{Handler: HandlerFunc(func(_ context.Context, c *Conn) {
		c.WaitReadable()
		<-hear
		io.WriteString(c, "421 4.7.0 Enough\r\n")
	})})
	c := dial(t, addr)
	c.Write(make([]byte, 100<<10))
	close(hear)
	if got, err := io.ReadAll(c); string(got) != "421 4.7.0 Enough\r\n" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestStartTLSOnAClearListener(t *testing.T) {
	s := drained(t, Config{})
	cfg := serverTLS(t)
	addr := listen(t, s, Listener{Handler: HandlerFunc(func(ctx context.Context, c *Conn) {
		io.ReadFull(c, make([]byte, 10))
		io.WriteString(c, "220 Go\r\n")
		if err := c.StartTLS(ctx, cfg); err != nil {
			t.Error(err)
			return
		}
		echo(ctx, c)
	})})
	c := dial(t, addr)
	io.WriteString(c, "STARTTLS\r\n")
	io.ReadFull(c, make([]byte, 8))
	wantEcho(t, tls.Client(c, coreTLS()))
}

// A fault of ours in one connection is logged with its stack, and the others
// go on.
func TestPanicEndsOneConnection(t *testing.T) {
	var log bytes.Buffer
	m := metrics.New()
	s := drained(t, Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), Metrics: m})
	addr := listen(t, s, Listener{PerClient: 1, Max: 1, Handler: HandlerFunc(func(ctx context.Context, c *Conn) {
		b := make([]byte, 1)
		c.Read(b)
		if b[0] == '!' {
			panic("boom")
		}
		echo(ctx, c)
	})})
	bad := dial(t, addr)
	io.WriteString(bad, "!")
	if _, err := bad.Read(make([]byte, 1)); err != io.EOF {
		t.Fatal(err)
	}
	good := dialWhenFree(t, addr, m)
	io.WriteString(good, ".")
	wantEcho(t, good)
	if got := log.String(); !strings.Contains(got, "boom") || !strings.Contains(got, "server_test.go") {
		t.Fatal(got)
	}
	if strings.Contains(log.String(), "127.0.0.1") {
		t.Fatal("an address in the log")
	}
}

// dialWhenFree dials when no connection is counted any more.
func dialWhenFree(t *testing.T, addr string, m *metrics.Registry) net.Conn {
	t.Helper()
	eventually(t, func() bool { v, _ := m.Values(); return v["connections_use"] == 0 })
	return dial(t, addr)
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal("it never came")
		}
		runtime.Gosched()
	}
}

func TestListenRefusesWhatCannotServe(t *testing.T) {
	s := drained(t, Config{})
	for name, l := range map[string]Listener{
		"no handler":     {Addr: "127.0.0.1:0"},
		"no certificate": {Addr: "127.0.0.1:0", Mode: TLS, Handler: echo},
		"no address":     {Addr: "nonsense", Handler: echo},
		"no mode":        {Addr: "127.0.0.1:0", Mode: 7, Handler: echo},
	} {
		l.Name = name
		if _, err := s.Listen(l); err == nil {
			t.Errorf("%s: listens", name)
		}
	}
	s.Drain(t.Context())
	if _, err := s.Listen(Listener{Name: "late", Addr: "127.0.0.1:0", Handler: echo}); !errors.Is(err, ErrDraining) {
		t.Fatal(err)
	}
}

// Drain lets handlers say goodbye, and cuts off those that do not hear.
func TestDrainWaitsThenCuts(t *testing.T) {
	s := New(Config{})
	began := make(chan struct{}, 2)
	polite := listen(t, s, Listener{Name: "polite", Handler: HandlerFunc(func(ctx context.Context, c *Conn) {
		began <- struct{}{}
		<-ctx.Done()
		io.WriteString(c, "* BYE\r\n")
	})})
	deaf := listen(t, s, Listener{Name: "deaf", Mode: TLS, TLS: serverTLS(t), Handler: HandlerFunc(func(_ context.Context, c *Conn) {
		began <- struct{}{}
		io.Copy(io.Discard, struct{ io.Reader }{c.Stream()})
	})})
	silent := dial(t, deaf) // never says a word of TLS
	a, b := dial(t, polite), dialTLS(t, deaf, coreTLS())
	<-began
	<-began
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 connection") {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(a); string(got) != "* BYE\r\n" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	for _, c := range []net.Conn{b, silent} {
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("still open: ", err)
		}
	}
	if _, err := net.Dial("tcp", polite); err == nil {
		t.Fatal("still listening")
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Fatalf("second drain: %v", err)
	}
}

// faulty is a listener that fails a few times before it gives a connection.
type faulty struct {
	net.Listener
	faults int
}

func (f *faulty) Accept() (net.Conn, error) {
	if f.faults > 0 {
		f.faults--
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

// Without descriptors a server waits; it does not stop, spin or fill the log.
func TestAcceptOutlivesErrors(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	m := metrics.New()
	s := drained(t, Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), Metrics: m})
	if err := s.serve(&faulty{ln, 4}, Listener{Name: "test", Handler: echo}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	wantEcho(t, dial(t, ln.Addr().String()))
	if d := time.Since(began); d < 35*time.Millisecond { // 5/2 + 10/2 + 20/2 + 40/2
		t.Fatalf("waited only %v", d)
	}
	if n := strings.Count(log.String(), "accept failed"); n != 1 {
		t.Fatalf("%d lines for one burst:\n%s", n, log.String())
	}
	if v, _ := m.Values(); v["accept_faults"] != 4 {
		t.Fatal(v["accept_faults"])
	}
}

// Silent peers, even those that sent their first octet, do not close the gate
// for the others, and none of them stays for ever.
func TestSilentPeersDoNotStopHandshakes(t *testing.T) {
	s := drained(t, Config{HandshakeTimeout: 300 * time.Millisecond})
	addr := listen(t, s, Listener{Mode: TLS, TLS: serverTLS(t), Handler: echo})
	var silent []net.Conn
	for i := range cap(s.gate) + 10 {
		c := dial(t, addr)
		if i%2 == 0 {
			io.WriteString(c, "\x16\x03\x01\x00\xc0")
		}
		silent = append(silent, c)
	}
	wantEcho(t, dialTLS(t, addr, coreTLS()))
	for _, c := range silent {
		if _, err := c.Read(make([]byte, 100)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("still open: ", err)
		}
	}
	eventually(t, func() bool { return len(s.gate) == 0 })
}

func TestAFailingCertificateEndsOnlyItsHandshake(t *testing.T) {
	s := drained(t, Config{})
	cfg := &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		panic("no certificate")
	}}
	addr := listen(t, s, Listener{Mode: TLS, TLS: cfg, Handler: echo})
	for range 2 * cap(s.gate) {
		if err := tls.Client(dial(t, addr), coreTLS()).Handshake(); err == nil {
			t.Fatal("handshake without certificate")
		}
	}
}
