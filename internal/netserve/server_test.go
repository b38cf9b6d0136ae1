package netserve

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
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
