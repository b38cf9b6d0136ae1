package derp

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"tailscale.com/derp"
	"tailscale.com/derp/derphttp"
	"tailscale.com/net/netmon"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"

	"barid/internal/metrics"
)

// gate answers for the operator: it lets some keys in.
func gate(t *testing.T, known ...key.NodePrivate) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var ask tailcfg.DERPAdmitClientRequest
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
			t.Error(err)
		}
		var answer tailcfg.DERPAdmitClientResponse
		for _, k := range known {
			answer.Allow = answer.Allow || k.Public() == ask.NodePublic
		}
		json.NewEncoder(w).Encode(answer) // into a socket that is open
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func serve(t *testing.T, cfg Config) (*Server, *httptest.Server) {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewTLSServer(s)
	t.Cleanup(web.Close)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return s, web
}

// client is a real one.
func client(t *testing.T, web *httptest.Server, k key.NodePrivate) *derphttp.Client {
	t.Helper()
	c, err := derphttp.NewClient(k, web.URL+"/derp", func(string, ...any) {}, netmon.NewStatic())
	if err != nil {
		t.Fatal(err)
	}
	c.TLSConfig = &tls.Config{RootCAs: web.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	t.Cleanup(func() { c.Close() })
	return c
}

// receive waits for a packet.
func receive(t *testing.T, c *derphttp.Client) derp.ReceivedPacket {
	t.Helper()
	for {
		m, err := c.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := m.(derp.ReceivedPacket); ok {
			return p
		}
	}
}

// Two real clients whom the operator knows reach each other.
func TestClientsReachEachOther(t *testing.T) {
	a, b := key.NewNode(), key.NewNode()
	m := metrics.New()
	_, web := serve(t, Config{VerifyURL: gate(t, a, b), Metrics: m})
	alice, bob := client(t, web, a), client(t, web, b)
	for _, c := range []*derphttp.Client{alice, bob} {
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// A client is there when it has been told so.
	if _, err := bob.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := alice.Send(b.Public(), []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if p := receive(t, bob); p.Source != a.Public() || string(p.Data) != "hello" {
		t.Errorf("%q", p.Data)
	}
	values, err := m.Values()
	if err != nil || values["derp_clients_use"] != 2 {
		t.Error(values["derp_clients_use"], err)
	}
}

// Nobody else comes in, and nobody at all when the operator does not answer.
func TestStrangersStayOutside(t *testing.T) {
	known := key.NewNode()
	open := gate(t, known)
	shut := httptest.NewServer(http.NotFoundHandler())
	shut.Close()
	for name, v := range map[string]struct {
		url string
		key key.NodePrivate
	}{
		"a stranger": {open, key.NewNode()}, "nobody answers": {shut.URL, known},
	} {
		_, web := serve(t, Config{VerifyURL: v.url})
		c := client(t, web, v.key)
		err := c.Connect(t.Context())
		if err == nil {
			_, err = c.Recv()
		}
		if err == nil {
			t.Errorf("%s came in", name)
		}
	}
	if _, err := New(Config{}); !errors.Is(err, ErrOpen) {
		t.Error(err)
	}
}

// What is no client gets an answer, and clients have a bound.
func TestRequests(t *testing.T) {
	a := key.NewNode()
	s, web := serve(t, Config{VerifyURL: gate(t, a), MaxClients: 1})
	for path, want := range map[string]int{"/derp/probe": 200, "/derp/latency-check": 200, "/derp": 426, "/derp/x": 404} {
		resp, err := web.Client().Get(web.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	c := client(t, web, a)
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", u.Host, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write([]byte("GET /derp HTTP/1.1\r\nHost: x\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	var line [64]byte
	n, err := conn.Read(line[:])
	if err != nil || !strings.HasPrefix(string(line[:n]), "HTTP/1.1 503 ") {
		t.Errorf("%q, %v", line[:n], err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Shutdown(t.Context())
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("it does not close")
	}
}

// Shutdown does not wait longer than it may for an operator who does not answer
// about a client.
func TestShutdownEndsInTime(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-answer
	}))
	defer slow.Close()
	s, web := serve(t, Config{VerifyURL: slow.URL})
	c := client(t, web, key.NewNode())
	connected := make(chan struct{})
	go func() {
		defer close(connected)
		c.Connect(t.Context()) // he never comes in
	}()
	<-asked
	late := errors.New("it is late")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, late)
	defer cancel()
	began := time.Now()
	if err := s.Shutdown(ctx); !errors.Is(err, late) {
		t.Error(err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	close(answer)
	c.Close()
	<-connected
}
