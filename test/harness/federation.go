package harness

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"barid/internal/config"
)

// Federation is relays that send each other mail: each has an address of its
// own on loopback, they know each other by a name server, and trust one
// authority. On what ports they take mail is the same for all.
type Federation struct {
	CA   *CA
	DNS  *DNS
	Port struct{ SMTP, HTTPS int }

	t     testing.TB
	roots string
	known map[string]string // addresses by domain
}

// lastAddress gives every relay of a test process another loopback address.
var lastAddress atomic.Uint32

// NewFederation makes one without relays.
func NewFederation(t testing.TB) *Federation {
	t.Helper()
	f := &Federation{CA: NewCA(t), DNS: NewDNS(t, "127.0.0.1:0"), t: t, known: map[string]string{}}
	for _, port := range []*int{&f.Port.SMTP, &f.Port.HTTPS} {
		// Free on every address, when we look.
		l, err := net.Listen("tcp", "0.0.0.0:0")
		if err != nil {
			t.Fatal(err)
		}
		*port = l.Addr().(*net.TCPAddr).Port
		l.Close()
	}
	f.roots = filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(f.roots, f.CA.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

// Address gives a loopback address that nobody else of this process has.
func (f *Federation) Address() string {
	n := lastAddress.Add(1)
	return fmt.Sprintf("127.9.%d.%d", n/250, 1+n%250)
}

// Announce gives a domain an address, where nobody is before Relay is called.
func (f *Federation) Announce(domain string) (addr string) {
	f.t.Helper()
	if addr = f.known[domain]; addr == "" {
		addr = f.Address()
		f.known[domain] = addr
		f.DNS.Add(f.t, domain+". 60 IN A "+addr, domain+". 60 IN MX 10 "+domain+".")
	}
	return addr
}

// Relay starts a relay for a domain. Change comes last.
func (f *Federation) Relay(domain string, change func(*config.Config)) *Relay {
	f.t.Helper()
	addr := f.Announce(domain)
	r := New(f.t, Options{Domain: domain, CA: f.CA, SelfSigned: domain[0] == '_', Change: func(c *config.Config) {
		c.Listen.SMTP = []string{net.JoinHostPort(addr, fmt.Sprint(f.Port.SMTP))}
		c.Listen.HTTPS = []string{net.JoinHostPort(addr, fmt.Sprint(f.Port.HTTPS))}
		c.Federation.Outgoing = config.OutgoingOn
		c.Federation.SMTPPort, c.Federation.HTTPSPort = f.Port.SMTP, f.Port.HTTPS
		c.Federation.FirstRetry = config.Duration(1e9)
		c.DNS.Resolver = f.DNS.Addr
		c.TLS.Roots = f.roots
		if change != nil {
			change(c)
		}
	}})
	for _, record := range r.App().DKIMRecords() {
		f.DNS.Add(f.t, record.Line(domain))
	}
	return r
}
