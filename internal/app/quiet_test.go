package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// What is told of an error of the network has no address: neither an end of the
// connection, nor a name server, which stands in the text of its cause too.
func TestQuiet(t *testing.T) {
	at := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443}
	asked := func(d net.DNSError) error {
		d.Name, d.Server = "relay.test", "192.0.2.53:53"
		return fmt.Errorf("connect: %w", &net.OpError{Op: "dial", Net: "tcp", Err: &d})
	}
	for want, err := range map[string]error{
		"its name is not in the DNS":        asked(net.DNSError{Err: "no such host", IsNotFound: true}),
		"no name server answered in time":   asked(net.DNSError{Err: "read udp 192.0.2.1:9->192.0.2.53:53: i/o timeout", IsTimeout: true}),
		"its name cannot be looked up":      asked(net.DNSError{Err: "read udp 192.0.2.1:9->192.0.2.53:53: connection refused"}),
		"it did not answer in time":         fmt.Errorf("TLS: %w", &net.OpError{Op: "read", Net: "tcp", Source: at, Addr: at, Err: os.ErrDeadlineExceeded}),
		"dial: connection refused":          fmt.Errorf("connect: %w", &net.OpError{Op: "dial", Net: "tcp", Addr: at, Err: syscall.ECONNREFUSED}),
		"the upgrade is answered with 404":  errors.New("the upgrade is answered with 404"),
		"it did not answer in time, either": fmt.Errorf("wait: %w", context.DeadlineExceeded),
	} {
		got := quiet(err).Error()
		if got != strings.TrimSuffix(want, ", either") || strings.Contains(got, "192.0.2") {
			t.Errorf("%v is told as %q", err, got)
		}
	}
}
