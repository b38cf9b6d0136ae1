package transmit

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
)

// The operator reads what went wrong by each way, and no address.
func TestAnErrorNamesEveryCauseAndNoAddress(t *testing.T) {
	at := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25}
	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: at, Err: syscall.ECONNREFUSED}
	reset := &net.OpError{Op: "read", Net: "tcp", Source: at, Addr: at, Err: syscall.ECONNRESET}
	err := errors.Join(
		&byChannel{SMTP, fmt.Errorf("greet: %w", reset)},
		&byChannel{HTTPS, &url.Error{Op: "Post", URL: "https://192.0.2.1/mxdeliv", Err: errors.Join(refused, refused)}},
	)
	const want = "SMTP: greet: read tcp: connection reset by peer; HTTPS: dial tcp: connection refused"
	if got := hide(err).Error(); got != want {
		t.Errorf("%q\nnot %q", got, want)
	}
	if !errors.Is(hide(err), syscall.ECONNREFUSED) {
		t.Error("the cause is lost")
	}
	if hide(nil) != nil {
		t.Error("no error became one")
	}
}

// A certificate that is wrong is named, though the other way is shut.
func TestAWrongCertificateIsNamedBesideAShutPort(t *testing.T) {
	w := newWorld(t)
	w.mail("peer.test", &mta{after: "250 x", cert: w.certificate("peer.test", true)})
	strange := &relay{status: http.StatusOK}
	w.newHost("web.test")
	w.web("web.test", true, strange.ServeHTTP)
	tr := w.transmitter(nil)
	for dest, want := range map[string][]string{
		"peer.test": {"SMTP: certificate: x509: ", "HTTPS: dial tcp: "},
		"web.test":  {"SMTP: dial tcp: ", "HTTPS: certificate: x509: "},
	} {
		for range 2 {
			text := tr.Deliver(t.Context(), dest, letter(dest, "a")).Per[0].Text
			for _, part := range want {
				if !strings.Contains(text, part) || strings.Contains(text, "127.") || strings.Contains(text, "?") {
					t.Errorf("%s: %q has no %q", dest, text, part)
				}
			}
		}
	}
}
