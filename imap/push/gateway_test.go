package push

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"barid/internal/journal/faultfs"
	"barid/internal/metrics"
	"barid/smtp"
	"barid/storage"
)

// sender is a Sender over the real transport.
func sender(t *testing.T, url string, roots *x509.CertPool) (*rig, *Sender) {
	t.Helper()
	r := &rig{t: t, store: &fakeStore{tokens: map[smtp.Address][]storage.Entry{}}, log: &syncBuffer{}, metrics: metrics.New()}
	r.Sender = New(Config{
		Store: r.store, URL: url, Roots: roots, FS: stay{faultfs.New()}, Metrics: r.metrics,
		Logger: slog.New(slog.NewTextHandler(r.log, nil)),
	})
	t.Cleanup(r.close)
	return r, r.Sender
}

// eventually waits for what another goroutine does.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	late := time.After(20 * time.Second)
	for !done() {
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// A request is a POST of the token, over HTTP/2, and thousands of them share
// one connection.
func TestThousandsOfTokensShareOneConnection(t *testing.T) {
	const accounts = 3000
	var mu sync.Mutex // guards the fields below
	got := map[string]int{}
	var connections atomic.Int64
	gateway := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil || q.Method != "POST" || q.URL.Path != "/notify" || q.ProtoMajor != 2 || q.Header.Get("Content-Type") != "" || q.ContentLength != int64(len(body)) {
			t.Errorf("%s %s %v", q.Method, q.URL, q.Header)
		}
		mu.Lock()
		defer mu.Unlock()
		got[string(body)]++
	}))
	gateway.EnableHTTP2 = true
	gateway.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			connections.Add(1)
		}
	}
	gateway.StartTLS()
	defer gateway.Close()
	roots := x509.NewCertPool()
	roots.AddCert(gateway.Certificate())
	r, _ := sender(t, gateway.URL+"/notify", roots)
	for i := range accounts {
		r.store.set(fmt.Sprintf("a%d@relay.test", i), time.Now(), fmt.Sprintf("openpgp:secret%d", i))
	}
	began := time.Now()
	for i := range accounts {
		r.mail(fmt.Sprintf("a%d@relay.test", i))
	}
	eventually(t, "all posted", func() bool { return r.value("push_sent") == accounts })
	t.Logf("%d in %v over %d connections", accounts, time.Since(began), connections.Load())
	mu.Lock()
	defer mu.Unlock()
	if len(got) != accounts || got["openpgp:secret77"] != 1 || connections.Load() != 1 {
		t.Errorf("%d tokens over %d connections", len(got), connections.Load())
	}
}

// Whatever a gateway says instead of an answer, the wake-up waits, and the
// words about it name no address.
func TestAMadGatewayCostsNothingButTime(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the redirect was followed")
	}))
	defer elsewhere.Close()
	for name, c := range map[string]struct{ says, why string }{
		"garbage":          {"\x00\x01\x02 nonsense\r\n\r\n", "was no HTTP"},
		"closing":          {"", "broke"},
		"endless header":   {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Pad: "+strings.Repeat("x", 1000)+"\r\n", 200), "broke"},
		"half an answer":   {"HTTP/1.1 200 OK\r\nContent-Le", "broke"},
		"redirecting":      {"HTTP/1.1 307 Over There\r\nLocation: " + elsewhere.URL + "\r\nContent-Length: 0\r\n\r\n", "answers 307"},
		"another protocol": {"XTTP/1.1 200 OK\r\n\r\n", "broke"},
	} {
		t.Run(name, func(t *testing.T) {
			gateway := rawServer(t, func(conn net.Conn) { io.WriteString(conn, c.says) })
			r, _ := sender(t, "http://"+gateway+"/notify", nil)
			r.store.set("alice@relay.test", time.Now(), "openpgp:secret")
			r.mail("alice@relay.test")
			eventually(t, "failed", func() bool { return r.value("push_requests_failed") == 1 })
			if n := r.value("push_queue_use"); n != 1 || r.store.list("alice@relay.test") == "" {
				t.Errorf("%d wait", n)
			}
			if text := r.log.String(); !strings.Contains(text, c.why) || strings.Contains(text, "127.0.0.1") {
				t.Error(text)
			}
		})
	}
}

// An answer without end is an answer; its rest is not read.
func TestAnEndlessAnswerIsNotRead(t *testing.T) {
	ended := make(chan int64, 1)
	gateway := rawServer(t, func(conn net.Conn) {
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		n, pad := int64(0), "1000\r\n"+strings.Repeat("x", 4096)+"\r\n"
		for {
			more, err := io.WriteString(conn, pad)
			if n += int64(more); err != nil {
				ended <- n
				return
			}
		}
	})
	r, _ := sender(t, "http://"+gateway, nil)
	r.store.set("alice@relay.test", time.Now(), "openpgp:secret")
	r.mail("alice@relay.test")
	eventually(t, "sent", func() bool { return r.value("push_sent") == 1 })
	if n := <-ended; n > 32<<20 {
		t.Errorf("%d octets were taken", n)
	}
}

// rawServer reads a request and hands the connection to answer.
func rawServer(t *testing.T, answer func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(20 * time.Second))
				conn.Read(make([]byte, 4096))
				answer(conn)
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return l.Addr().String()
}

// A gateway whose certificate nobody vouches for gets no token.
func TestAnUntrustedGatewayGetsNoToken(t *testing.T) {
	gateway := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it got a request") }))
	gateway.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	gateway.StartTLS()
	defer gateway.Close()
	r, _ := sender(t, gateway.URL, x509.NewCertPool())
	r.store.set("alice@relay.test", time.Now(), "openpgp:secret")
	r.mail("alice@relay.test")
	eventually(t, "failed", func() bool { return r.value("push_requests_failed") == 1 })
	if text := r.log.String(); !strings.Contains(text, "not trusted") {
		t.Error(text)
	}
}

// The gateway's name is looked up where the configuration says.
func TestTheGatewayIsLookedUpWhereItIsSaid(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	asked := ""
	dial := dialer(func(_ context.Context, host string) ([]netip.Addr, error) {
		asked = host
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	})
	for _, host := range []string{"gateway.test", "127.0.0.1"} {
		conn, err := dial(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	if asked != "gateway.test" {
		t.Errorf("asked for %q", asked)
	}
	nobody := dialer(func(context.Context, string) ([]netip.Addr, error) { return nil, errDown })
	if _, err := nobody(t.Context(), "tcp", "gateway.test:443"); !errors.Is(err, errDown) {
		t.Error(err)
	}
}
