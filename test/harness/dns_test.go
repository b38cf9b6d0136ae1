package harness

import (
	"net"
	"testing"
)

// A free UDP port may be somebody's TCP port: then neither is kept.
func TestAPortIsTakenForBothOrNotAtAll(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, _, err := listenBoth(other.Addr().String()); err == nil {
		t.Fatal("a TCP port was taken twice")
	}
	udp, err := net.ListenPacket("udp", other.Addr().String())
	if err != nil {
		t.Fatalf("the UDP port was kept: %v", err)
	}
	udp.Close()
}
