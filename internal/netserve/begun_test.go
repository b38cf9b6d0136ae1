package netserve

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

type connKey struct{}

// Who names no protocol is told by what it says first, and whoever serves it
// reads that, too; a web server still sees that TLS is there.
func TestMuxGuessesByTheFirstOctets(t *testing.T) {
	s := drained(t, Config{HandshakeTimeout: time.Second})
	q := NewQueue(&net.TCPAddr{})
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, _ := r.Context().Value(connKey{}).(net.Conn); r.TLS == nil || From(c) == nil {
			t.Error("no TLS, or no Conn below")
		}
		io.WriteString(w, "https "+r.URL.Path)
	})}
	web.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) }
	go web.Serve(q)
	defer web.Close()
	echo := HandlerFunc(func(_ context.Context, c *Conn) {
		b := make([]byte, 12)
		n, _ := io.ReadFull(c.Stream(), b)
		c.Stream().Write(append([]byte("turn "), b[:n]...))
	})
	l := muxListener(t)
	l.Handler = q
	l.Guess = func(first []byte) Handler {
		if len(first) >= guessed && string(first[4:8]) == "COOK" {
			return echo
		}
		return nil
	}
	addr := listen(t, s, l)

	const binary = "\x00\x01\x00\x00COOKabcd"
	for name, pieces := range map[string][]string{"whole": {binary}, "in pieces": {binary[:3], binary[3:7], binary[7:]}, "http/1.1": {binary}} {
		cfg := coreTLS()
		if name == "http/1.1" {
			cfg = coreTLS("http/1.1", "stun.turn")
		}
		conn := dialTLS(t, addr, cfg)
		for _, p := range pieces {
			io.WriteString(conn, p)
			time.Sleep(5 * time.Millisecond)
		}
		if got, _ := io.ReadAll(conn); string(got) != "turn "+binary {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, offers := range [][]string{nil, {"http/1.1"}} {
		conn := dialTLS(t, addr, coreTLS(offers...))
		io.WriteString(conn, "GET /a HTTP/1.1\r\nHost: relay.test\r\nConnection: close\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(resp.Body); string(body) != "https /a" {
			t.Errorf("%q: %q", offers, body)
		}
	}
	// In the clear as well, and nothing else is let in by it.
	for first, want := range map[string]string{binary: "turn " + binary, strings.Replace(binary, "COOK", "NOPE", 1): ""} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, first)
		if got, _ := io.ReadAll(conn); string(got) != want {
			t.Errorf("in the clear: %q", got)
		}
		conn.Close()
	}
	// Who says nothing is let go.
	silent := dialTLS(t, addr, coreTLS())
	silent.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := silent.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("a silent client: %v", err)
	}
}
