// Package greeter is a server on loopback that says one thing to whoever
// connects, and reads nothing.
package greeter

import (
	"io"
	"net"
	"testing"
)

// Listen starts one that ends with the test, and gives its address. It hangs
// up behind its greeting; with an empty one it says nothing and hangs up at its
// end.
func Listen(t testing.TB, greeting string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if greeting == "" {
				defer c.Close()
				continue
			}
			io.WriteString(c, greeting)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}
