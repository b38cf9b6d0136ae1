package interop

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"barid/internal/config"
	"barid/test/authority"
	"barid/test/harness"
	"barid/test/letter"
)

// A relay on the real ports begins with a self-signed certificate and gets one
// from an authority. A thousand clients hold IDLE meanwhile: none is dropped,
// and those whose mail comes afterwards hear of it.
func TestInteropACertificateComesWhileClientsAreIdle(t *testing.T) {
	if testing.Short() {
		t.Skip("a thousand connections are not short")
	}
	const accounts, each = 20, 50
	names := []string{"relay.test", "www.relay.test", "mta-sts.relay.test"}
	harness.InNamespace(t, names, func(t *testing.T, dns *harness.DNS) {
		for _, name := range names {
			dns.Add(t, name+". 60 IN A 127.0.0.1")
		}
		ca := authority.New(t, authority.Options{HTTPPort: 80, TLSPort: 443, DNS: "127.0.0.1:53"})
		ca.Down.Store(true)
		r := harness.New(t, harness.Options{SelfSigned: true, Change: func(c *config.Config) {
			for name, port := range map[string]string{"imaps": "993", "submissions": "465", "https": "443", "http": "80"} {
				c.Listen.Set(name, []string{"127.0.0.1:" + port})
			}
			c.TLS.Mode, c.ACME.Directory, c.ACME.Roots = config.TLSACME, ca.URL, ca.RootFile(t)
		}})

		idle := make([]*idler, accounts*each)
		var connecting sync.WaitGroup
		for a := range accounts {
			connecting.Go(func() {
				for n := range each {
					idle[a*each+n] = newIdler(t, r, fmt.Sprintf("account%02d", a))
				}
			})
		}
		connecting.Wait()
		if t.Failed() {
			return
		}
		ca.Down.Store(false)
		if err := renew(t, r); err != nil {
			t.Fatal(err)
		}
		for _, port := range []string{"993", "465", "443"} {
			c, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", "127.0.0.1:"+port, &tls.Config{ServerName: "relay.test", RootCAs: ca.Issued()})
			if err != nil {
				t.Fatalf("a strict client on port %s: %v", port, err)
			}
			c.Close()
		}
		_, content := letter.New("acme", r.Address("account01"), 3000).Next()
		submit(t, r, "account01", "account00", content)
		var ending sync.WaitGroup
		for n, i := range idle {
			ending.Go(func() { i.end(t, n < each) })
		}
		ending.Wait()
	})
}

// renew asks the relay for certificates now, as an operator would.
func renew(t *testing.T, r *harness.Relay) error {
	t.Helper()
	return r.App().RenewCertificates(t.Context())
}

// idler is a client in IDLE.
type idler struct {
	conn *tls.Conn
	in   *bufio.Reader
}

func newIdler(t *testing.T, r *harness.Relay, name string) *idler {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 20 * time.Second}, "tcp", r.Addr("imaps"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Error(err)
		return nil
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(2 * time.Minute))
	i := &idler{c, bufio.NewReader(c)}
	fmt.Fprintf(c, "a LOGIN %s %s\r\nb SELECT INBOX\r\nc IDLE\r\n", r.Address(name), harness.PasswordOf(name).Wire())
	if line := i.until("+ "); line == "" {
		t.Errorf("%s does not get to IDLE", name)
	}
	return i
}

// until reads up to a line that begins so, and gives it; "" at the end.
func (i *idler) until(prefix string) string {
	for {
		line, err := i.in.ReadString('\n')
		if err != nil {
			return ""
		}
		if strings.HasPrefix(line, prefix) {
			return line
		}
	}
}

// end ends IDLE; a client with mail must have heard of it before.
func (i *idler) end(t *testing.T, mail bool) {
	if mail && !strings.HasPrefix(i.until("* "), "* 1 EXISTS") {
		t.Error("a client was not told of its mail")
	}
	io.WriteString(i.conn, "DONE\r\n")
	if !strings.HasPrefix(i.until("c "), "c OK") {
		t.Error("a client was dropped")
	}
}

// submit sends a message from one account to another.
func submit(t *testing.T, r *harness.Relay, from, to string, content []byte) {
	t.Helper()
	c := r.Dial(t, "submissions")
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewReader(c)
	in.ReadString('\n')
	for _, say := range []string{
		"EHLO client.test", "AUTH PLAIN " + plainAuth(r.Address(from), harness.PasswordOf(from).Wire()),
		"MAIL FROM:<" + r.Address(from) + ">", "RCPT TO:<" + r.Address(to) + ">", "DATA", strings.TrimSuffix(string(content), "\r\n") + "\r\n.",
	} {
		fmt.Fprintf(c, "%s\r\n", say)
		line := ""
		for {
			line, _ = in.ReadString('\n')
			if len(line) < 4 || line[3] == ' ' {
				break
			}
		}
		if line == "" || line[0] != '2' && line[0] != '3' {
			t.Fatalf("after %.20q: %q", say, line)
		}
	}
}

// plainAuth is the initial response of SASL PLAIN (RFC 4616).
func plainAuth(name, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + name + "\x00" + password))
}
