package app_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"barid/internal/app"
	"barid/internal/config"
	"barid/internal/finding"
	"barid/relay"
	"barid/test/harness"
)

// The iroh relay is at the mail domain, with TLS and, where that is configured,
// without; for clients that offer no ALPN and have no name to ask for.
func TestTheIrohRelayIsThere(t *testing.T) {
	r := harness.New(t, harness.Options{})
	for _, listener := range []string{"https", "http_clear"} {
		if err := relay.Probe(t.Context(), r.Dial(t, listener), "relay.test"); err != nil {
			t.Errorf("%s: %v", listener, err)
		}
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		conn, err := net.Dial("tcp", r.Addr("https"))
		if err != nil {
			t.Fatal(err)
		}
		bare := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
		if err := relay.Probe(t.Context(), bare, "127.0.0.1"); err != nil {
			t.Errorf("TLS %x without a name: %v", version, err)
		}
	}
	for path, want := range map[string]int{"/ping": 200, "/generate_204": 204, "/": 200, "/relay": 400, "/derp": 404} {
		if got := status(t, r, path); got != want {
			t.Errorf("%s answers %d", path, got)
		}
	}
	off := harness.New(t, harness.Options{Change: func(c *config.Config) { c.Iroh.Enabled = false }})
	for path, want := range map[string]int{"/ping": 404, "/relay": 404, "/generate_204": 204, "/": 200} {
		if got := status(t, off, path); got != want {
			t.Errorf("without a relay, %s answers %d", path, got)
		}
	}
}

func status(t *testing.T, r *harness.Relay, path string) int {
	t.Helper()
	resp, err := http.Get("http://" + r.Addr("http_clear") + path)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// Status tells whether clients can use the relay that they are told to use.
func TestIrohFindings(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := silent.Addr().String()
	silent.Close()
	good := harness.New(t, harness.Options{})
	_, port, _ := net.SplitHostPort(good.Addr("http_clear"))
	dns := harness.NewDNS(t, "127.0.0.1:0")
	dns.Add(t, "iroh.other.test. 60 IN A 127.0.0.1")
	for name, v := range map[string]struct {
		change func(*config.Config)
		want   string
		level  finding.Severity
	}{
		"a certificate that clients do not take": {nil, "iroh.certificate", finding.Warning},
		"the same, at a Unix socket behind a proxy": {func(c *config.Config) {
			c.Listen.HTTPS, c.Listen.Proxies = []string{"unix:" + t.TempDir() + "/s"}, []string{"unix"}
		}, "iroh.certificate", finding.Warning},
		"the same, behind a proxy":   {func(c *config.Config) { c.Listen.Proxies = []string{"127.0.0.0/8"} }, "iroh.certificate", finding.Warning},
		"nothing is announced":       {func(c *config.Config) { c.Iroh.Enabled = false }, "", 0},
		"another relay, which works": {func(c *config.Config) { c.Iroh.URL = "http://" + good.Addr("http_clear") }, "", 0},
		"another relay, by its name": {func(c *config.Config) {
			c.Iroh.URL, c.DNS.Resolver = "http://iroh.other.test:"+port, dns.Addr
		}, "", 0},
		"another one, which is none": {func(c *config.Config) { c.Iroh.URL = "http://" + good.Addr("http") }, "iroh.unusable", finding.Fault},
		"another one, which is down": {func(c *config.Config) { c.Iroh.URL = "http://" + closed }, "iroh.unusable", finding.Fault},
	} {
		r := harness.New(t, harness.Options{Change: v.change})
		var got []finding.Finding
		for _, f := range r.App().Status().Findings {
			if strings.HasPrefix(f.ID, "iroh.") {
				got = append(got, f)
			}
		}
		if v.want == "" && len(got) == 0 {
			continue
		}
		if len(got) != 1 || got[0].ID != v.want || got[0].Severity != v.level {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// Status does not wait long for somebody else's relay that does not answer.
func TestStatusWaitsTwoSecondsForAnotherRelay(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the system takes connections, nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, scheme := range []string{"http", "https"} {
		r := harness.New(t, harness.Options{Change: func(c *config.Config) { c.Iroh.URL = scheme + "://" + silent.Addr().String() }})
		began := time.Now()
		var got string
		for _, f := range r.App().Status().Findings {
			if f.ID == "iroh.unusable" {
				got = f.Text
			}
		}
		if took := time.Since(began); took < 2*time.Second || took > 4*time.Second {
			t.Errorf("%s: it took %v", scheme, took)
		}
		if !strings.Contains(got, "did not answer in time") {
			t.Errorf("%s: %q", scheme, got)
		}
	}
}

// Stop does not wait for clients of the relay, which stay as long as they can.
func TestStopEndsClientsOfTheIrohRelay(t *testing.T) {
	r := harness.New(t, harness.Options{})
	conn := r.Dial(t, "http_clear")
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write([]byte("GET /relay HTTP/1.1\r\nUpgrade: iroh derp http\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := r.App().Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// A DERP server is there for those who ask for it, beside the iroh relay, which
// had its path once.
func TestDERPIsThereWhenAsked(t *testing.T) {
	r := harness.New(t, harness.Options{Change: func(c *config.Config) {
		c.DERP.Enabled, c.DERP.VerifyURL = true, "http://127.0.0.1:1/"
	}})
	for path, want := range map[string]int{"/derp": 426, "/derp/probe": 200, "/relay": 400, "/ping": 200} {
		if got := status(t, r, path); got != want {
			t.Errorf("%s answers %d", path, got)
		}
	}
	for upgrade, want := range map[string]string{"DERP": "Upgrade: DERP\r\n", "iroh derp http": "Upgrade: iroh derp http\r\n"} {
		conn := r.Dial(t, "https")
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := fmt.Fprintf(conn, "GET /derp HTTP/1.1\r\nHost: relay.test\r\nUpgrade: %s\r\n\r\n", upgrade); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 1000)
		n, err := conn.Read(answer)
		if err != nil || !strings.Contains(string(answer[:n]), want) {
			t.Errorf("%s: %q, %v", upgrade, answer[:n], err)
		}
	}
	if _, err := app.New(&config.Config{Domain: "relay.test", DataDir: t.TempDir(), DERP: config.DERP{Enabled: true}}, app.Options{}); err == nil {
		t.Error("a DERP server that asks nobody was made")
	}
}
