package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"barid/test/harness"
)

// A client sees right after the greeting that this is a chatmail relay that
// takes push tokens.
func TestCapabilitiesBeforeLoginNameTheRelay(t *testing.T) {
	r := harness.New(t, harness.Options{})
	c, _ := imapFor(t, r)
	caps, err := c.Capability().Wait()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []imap.Cap{"XCHATMAIL", "XDELTAPUSH", "IMAP4rev1"} {
		if !caps.Has(want) {
			t.Errorf("no %s in %v", want, caps)
		}
	}
}

// The first login makes the account, by IMAP and by SMTP alike; the second
// works, a wrong password and a short one do not.
func TestFirstLoginMakesTheAccount(t *testing.T) {
	r := harness.New(t, harness.Options{})
	byIMAP := func(address, password string) error {
		c, _ := imapFor(t, r)
		return c.Login(address, password).Wait()
	}
	bySMTP := func(address, password string) error { return smtpAuth(smtpFor(t, r), address, password) }
	for name, login := range map[string]func(string, string) error{"imapfirst": byIMAP, "smtpfirst": bySMTP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, try := range []string{"first", "second"} {
				if err := login(r.Address(name), "123456789"); err != nil {
					t.Errorf("%s login: %v", try, err)
				}
			}
			if err := login(strings.ToUpper(r.Address(name)), "123456789"); err != nil {
				t.Errorf("in upper case: %v", err)
			}
			wantRefused(t, "wrong password", login(r.Address(name), "123456789x"))
			wantRefused(t, "short password", login(r.Address(name[:8]+"x"), "admin"))
		})
	}
}

func wantRefused(t *testing.T, what string, err error) {
	t.Helper()
	var no *imap.Error
	var reply *textproto.Error
	switch {
	case errors.As(err, &no) && no.Code == imap.ResponseCodeAuthenticationFailed:
	case errors.As(err, &reply) && reply.Code == 535:
	default:
		t.Errorf("%s: %v", what, err)
	}
}

// Two people may have the same password.
func TestTwoAccountsWithOnePassword(t *testing.T) {
	r := harness.New(t, harness.Options{})
	for _, name := range []string{"user00001", "user00002"} {
		c, _ := imapFor(t, r)
		if err := c.Login(r.Address(name), "same-password").Wait(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A client that connects ten times at once as somebody new gets in ten times,
// beside ten open SMTP connections.
func TestTenFirstLoginsAtOnce(t *testing.T) {
	r := harness.New(t, harness.Options{})
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			s := smtpFor(t, r)
			c, _ := imapFor(t, r)
			if err := c.Login(r.Address("newcomer1"), "one-password").Wait(); err != nil {
				t.Errorf("imap: %v", err)
			}
			if err := s.Noop(); err != nil {
				t.Errorf("smtp: %v", err)
			}
		})
	}
	all.Wait()
}

// What /new offers is an account at its first login, on any of the ports that
// the autoconfiguration names.
func TestNewOffersAnAccount(t *testing.T) {
	r := harness.New(t, harness.Options{SelfSigned: true, Domain: "_cm.test"})
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: r.TLSConfig()}}
	defer web.CloseIdleConnections()
	resp, err := web.Post("https://"+r.Addr("https")+"/new", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	var offer struct{ Email, Password string }
	if err := json.NewDecoder(resp.Body).Decode(&offer); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if !strings.HasSuffix(offer.Email, "@_cm.test") || len(offer.Password) <= 9 {
		t.Fatalf("offer %+v", offer)
	}
	c, _ := imapFor(t, r)
	if err := c.Login(offer.Email, offer.Password).Wait(); err != nil {
		t.Errorf("imap: %v", err)
	}
	if err := smtpAuth(smtpFor(t, r), offer.Email, offer.Password); err != nil {
		t.Errorf("smtp: %v", err)
	}
}

// One port serves everything, told apart by ALPN; a client that names no
// protocol or an unknown one gets the web.
func TestPort443ServesEverything(t *testing.T) {
	r := harness.New(t, harness.Options{})
	for protocol, want := range map[string]string{"imap": "* OK ", "smtp": "220 "} {
		conn := dialALPN(t, r, protocol)
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(line, want) {
			t.Errorf("%s: %q, %v", protocol, line, err)
		}
	}
	for _, protocol := range []string{"http/1.1", "gopher"} {
		conn := dialALPN(t, r, protocol)
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, "GET https://relay.test/robots.txt HTTP/1.1\r\nHost: relay.test\r\n\r\n")
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 200 ") {
			t.Errorf("%s: %q, %v", protocol, line, err)
		}
	}
}
