package netserve

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

func muxListener(t *testing.T) Listener {
	return Listener{
		Mode: Mux, TLS: serverTLS(t), Handler: says("https"), Plain: says("http"),
		ALPN: map[string]Handler{"imap": says("imap"), "smtp": says("smtp")},
	}
}

// Every client gets through the handshake, whatever it names or does not.
func TestMuxChoosesByALPNAndNeverFails(t *testing.T) {
	s := drained(t, Config{})
	addr := listen(t, s, muxListener(t))
	for _, c := range []struct {
		offers      []string
		agreed, got string
	}{
		{nil, "", "https"},
		{[]string{"imap"}, "imap", "imap"},
		{[]string{"smtp"}, "smtp", "smtp"},
		{[]string{"h2", "http/1.1"}, "h2", "https"},
		{[]string{"http/1.1"}, "http/1.1", "https"},
		{[]string{"never-heard-of"}, "", "https"},
		{[]string{"never-heard-of", "smtp"}, "smtp", "smtp"},
	} {
		conn := dialTLS(t, addr, coreTLS(c.offers...))
		got, _ := io.ReadAll(conn)
		if agreed := conn.ConnectionState().NegotiatedProtocol; agreed != c.agreed || string(got) != c.got {
			t.Errorf("%q: agreed on %q, served %q", c.offers, agreed, got)
		}
	}
}

// The same on a listener for one protocol, whatever its configuration names.
func TestUnknownALPNIsNoFault(t *testing.T) {
	s := drained(t, Config{})
	cfg := serverTLS(t)
	cfg.NextProtos = []string{"imap"}
	addr := listen(t, s, Listener{Mode: TLS, TLS: cfg, Handler: says("imap")})
	for offer, want := range map[string]string{"imap": "imap", "never-heard-of": ""} {
		conn := dialTLS(t, addr, coreTLS(offer))
		if got := conn.ConnectionState().NegotiatedProtocol; got != want {
			t.Errorf("%s: agreed on %q", offer, got)
		}
	}
}

// A configuration that chooses for itself is asked, and still cannot fail.
func TestGetConfigForClientIsAsked(t *testing.T) {
	s := drained(t, Config{})
	inner := serverTLS(t)
	inner.NextProtos = []string{"acme-tls/1"}
	cfg := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return inner, nil }}
	l := muxListener(t)
	l.TLS = cfg
	addr := listen(t, s, l)
	for offer, want := range map[string]string{"imap": "imap", "never-heard-of": "https"} {
		if got, err := io.ReadAll(dialTLS(t, addr, coreTLS(offer))); string(got) != want {
			t.Errorf("%s: %q, %v", offer, got, err)
		}
	}
}

func TestTicketsWorkAcrossProtocols(t *testing.T) {
	s := drained(t, Config{})
	addr := listen(t, s, muxListener(t))
	cfg := coreTLS("imap")
	cfg.ServerName = "relay.test"
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for i, want := range []bool{false, true} {
		c := dialTLS(t, addr, cfg)
		io.ReadAll(c)
		if got := c.ConnectionState().DidResume; got != want {
			t.Errorf("connection %d: resumed %v", i, got)
		}
	}
}

func TestMuxTellsByTheFirstOctet(t *testing.T) {
	s := drained(t, Config{})
	addr := listen(t, s, muxListener(t))
	for first, want := range map[string]string{
		"GET / HTTP/1.1\r\n\r\n": "http",
		"POST":                   "http",
		"\x00\x01\x00\x00":       "",
		"\r\n\r\n\x00":           "",
		"get":                    "",
		"\x80":                   "",
	} {
		c := dial(t, addr)
		io.WriteString(c, first)
		if got, _ := io.ReadAll(c); string(got) != want {
			t.Errorf("%q: %q", first, got)
		}
	}
}

// http.Server gets a real *tls.Conn and so speaks HTTP/2; in the clear the
// octets that told the protocol are not lost.
func TestQueueFeedsHTTPServers(t *testing.T) {
	s := drained(t, Config{})
	q, plain := NewQueue(&net.TCPAddr{}), NewQueue(&net.TCPAddr{})
	l := muxListener(t)
	l.Handler, l.Plain = q, plain
	addr := listen(t, s, l)
	web := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, r.Proto)
			if r.TLS != nil {
				io.WriteString(w, " in TLS")
			}
		}),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if From(c) == nil {
				t.Error("no Conn below")
			}
			return ctx
		},
	}
	ended := make(chan error)
	for _, queue := range []*Queue{q, plain} {
		go func() { ended <- web.Serve(queue) }()
	}
	for _, c := range []struct {
		url, want string
		h2        bool
	}{
		{"https://" + addr, "HTTP/2.0 in TLS", true},
		{"https://" + addr, "HTTP/1.1 in TLS", false},
		{"http://" + addr, "HTTP/1.1", false},
	} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: c.h2}
		res, err := (&http.Client{Transport: tr, Timeout: 10 * time.Second}).Get(c.url)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(res.Body)
		res.Body.Close()
		tr.CloseIdleConnections()
		if string(got) != c.want {
			t.Errorf("%s: %q, want %q", c.url, got, c.want)
		}
	}
	web.Shutdown(t.Context())
	for range 2 {
		if err := <-ended; err != http.ErrServerClosed {
			t.Error(err)
		}
	}
}

// Nobody accepts: the connection ends with the server, or with the queue.
func TestQueueLetsGo(t *testing.T) {
	q := NewQueue(&net.TCPAddr{})
	c, client := pair(t)
	over := make(chan struct{})
	go func() { q.ServeConn(t.Context(), c); close(over) }()
	q.Close()
	<-over
	if _, err := q.Accept(); err != net.ErrClosed {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	NewQueue(&net.TCPAddr{}).ServeConn(ctx, c)
	client.Close()
}
