package e2e

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/smtp"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"barid/dkim"
	"barid/internal/config"
	"barid/test/harness"
)

// author is a mail domain elsewhere, which signs.
type author struct{ signer *dkim.Signer }

// newAuthor makes keys and publishes them.
func newAuthor(t testing.TB, dns *harness.DNS, domain string) author {
	t.Helper()
	keys, err := dkim.OpenKeys(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		dns.Add(t, k.Record().Line(domain))
	}
	signer, err := dkim.NewSigner(dkim.SignerConfig{Domain: domain, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return author{signer}
}

func (a author) sign(t testing.TB, content string) string {
	t.Helper()
	g := a.signer.Sign()
	io.WriteString(g, content)
	fields, err := g.Fields()
	if err != nil {
		t.Fatal(err)
	}
	return string(fields) + content
}

// withDNS is a relay that asks a name server of the test.
func withDNS(t testing.TB, change func(*config.Config)) (*harness.Relay, *harness.DNS) {
	t.Helper()
	dns := harness.NewDNS(t, "127.0.0.1:0")
	return harness.New(t, harness.Options{Change: func(c *config.Config) {
		c.DNS.Resolver = dns.Addr
		if change != nil {
			change(c)
		}
	}}), dns
}

// port25 connects as another server does.
func port25(t testing.TB, r *harness.Relay) *smtp.Client {
	t.Helper()
	conn := r.Dial(t, "smtp")
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	c, err := smtp.NewClient(conn, "relay.test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Hello("mx.author.test"); err != nil {
		t.Fatal(err)
	}
	return c
}

func code(err error) int {
	if e, ok := err.(*textproto.Error); ok {
		return e.Code
	}
	return 0
}

// Another server delivers over port 25, with STARTTLS and a signature, and the
// message is at the idle client; over HTTPS it is the same.
func TestMailFromAnotherServer(t *testing.T) {
	r, dns := withDNS(t, nil)
	elsewhere := newAuthor(t, dns, "author.test")
	bob, exists := imapLogin(t, r, "bob000001")
	idle, err := bob.Idle()
	if err != nil {
		t.Fatal(err)
	}
	const from = "writer@author.test"
	content, _ := message(from, "far")
	signed := elsewhere.sign(t, content)
	to := []string{r.Address("bob000001")}

	c := port25(t, r)
	if err := c.Mail(from); code(err) != 530 {
		t.Errorf("MAIL in the clear: %v", err)
	}
	if err := c.StartTLS(r.TLSConfig()); err != nil {
		t.Fatal(err)
	}
	if ok, _ := c.Extension("AUTH"); ok {
		t.Error("AUTH is offered")
	}
	if err := send(c, from, to, content); code(err) != 554 || !strings.Contains(err.Error(), "No DKIM signature found") {
		t.Errorf("unsigned: %v", err)
	}
	if err := send(c, from, to, signed); err != nil {
		t.Fatalf("signed: %v", err)
	}
	await(t, exists, 1)

	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+r.Addr("https")+"/mxdeliv", strings.NewReader(signed))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("X-MAIL-FROM", from)
	q.Header.Set("X-MAIL-TO", to[0])
	transport := &http.Transport{TLSClientConfig: r.TLSConfig()}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Do(q)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(answer.Body)
	answer.Body.Close()
	if answer.StatusCode != 200 || string(text) != "250 OK" {
		t.Errorf("%d %q", answer.StatusCode, text)
	}
	await(t, exists, 2)

	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	got, _ := bodies(t, bob)
	if want := "Return-Path: <" + from + ">\r\n" + content; len(got) != 2 || got[0] != want || got[1] != want {
		t.Errorf("got %q", got)
	}
}

func await(t testing.TB, exists <-chan uint32, want uint32) {
	t.Helper()
	select {
	case n := <-exists:
		if n != want {
			t.Errorf("%d EXISTS, not %d", n, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no EXISTS")
	}
}

// Other servers may speak TLS 1.2 and nothing older.
func TestTLSOfOtherServers(t *testing.T) {
	r, _ := withDNS(t, nil)
	for version, good := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		cfg := r.TLSConfig()
		cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS10, version
		c := port25(t, r)
		if err := c.StartTLS(cfg); (err == nil) != good {
			t.Errorf("version %x: %v", version, err)
		}
	}
}

// What was refused has left nothing, and nobody learns who has an account:
// not from VRFY, and not by sending what is not signed.
func TestStrangersLearnNothing(t *testing.T) {
	r, dns := withDNS(t, nil)
	newAuthor(t, dns, "author.test")
	bob, _ := imapLogin(t, r, "bob000001")
	c := port25(t, r)
	if err := c.StartTLS(r.TLSConfig()); err != nil {
		t.Fatal(err)
	}
	var replies []string
	for _, name := range []string{"bob000001", "nobody001", r.Address("bob000001"), r.Address("nobody001")} {
		id, err := c.Text.Cmd("VRFY %s", name)
		if err != nil {
			t.Fatal(err)
		}
		c.Text.StartResponse(id)
		n, text, err := c.Text.ReadResponse(252)
		c.Text.EndResponse(id)
		if n != 252 || err != nil {
			t.Errorf("VRFY %s: %d %s", name, n, text)
		}
		replies = append(replies, text)
	}
	for _, content := range []string{"From: <writer@author.test>\r\n\r\nx\r\n", func() string { m, _ := message("writer@author.test", "x"); return m }()} {
		var both []string
		for _, name := range []string{"bob000001", "nobody001"} {
			err := send(c, "writer@author.test", []string{r.Address(name)}, content)
			if err == nil {
				t.Fatal("taken")
			}
			both = append(both, err.Error())
		}
		if both[0] != both[1] {
			t.Errorf("%q", both)
		}
	}
	for _, text := range replies {
		if text != replies[0] {
			t.Errorf("%q", replies)
		}
	}
	if got, _ := bodies(t, bob); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}
