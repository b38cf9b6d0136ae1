package blackhole

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

// Nobody gets in, and nobody is told so.
func TestNothingComesOut(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	h, err := Open(at)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for range 3 {
		conn, err := net.DialTimeout("tcp4", at.String(), 100*time.Millisecond)
		if err == nil {
			conn.Close()
		}
		// There are two errors that time is up, by whose clock was first.
		if fault, ok := errors.AsType[net.Error](err); !ok || !fault.Timeout() {
			t.Errorf("%v", err)
		}
	}
}
