package interop

import (
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"barid/internal/config"
	"barid/test/harness"
	"barid/test/letter"
)

// A relay delivers to a Postfix over STARTTLS that it verifies, in one
// transaction for several recipients, of whom it takes those it knows. What
// it refuses comes back from the relay, what it takes and cannot keep from
// Postfix, whose report reaches its user as mail of any other server does.
func TestInteropPostfixIsDeliveredTo(t *testing.T) {
	need(t, "postfix", "postfix")
	need(t, "opendkim", "opendkim")
	need(t, "opendkim-genkey", "opendkim-tools")
	t.Parallel()
	dns := harness.NewDNS(t, "127.0.0.1:0")
	ca := harness.NewCA(t)
	_, port, _ := net.SplitHostPort(freeAddr(t))
	const host = "127.0.8.1" // where no relay listens
	roots := write(t, filepath.Join(t.TempDir(), "roots.pem"), string(ca.PEM()))
	r := harness.New(t, harness.Options{CA: ca, Change: func(c *config.Config) {
		c.DNS.Resolver, c.TLS.Roots = dns.Addr, roots
		c.Federation.Outgoing = config.OutgoingOn
		c.Federation.SMTPPort, _ = strconv.Atoi(port)
		c.Federation.HTTPSPort = c.Federation.SMTPPort + 1 // closed
	}})
	dns.Add(t, "author.test. 60 IN MX 10 mx.author.test.", "mx.author.test. 60 IN A "+host)
	p := newPostfix(t, r, dns, net.JoinHostPort(host, port))
	alice := newFar(t, r, "alice0001")
	const from = "alice0001@relay.test"

	first, content := letter.New("peer", from, 100_000).Next()
	handOver(t, r, "alice0001", []string{"writer@author.test", "nobody@author.test", "second@author.test"}, content)
	for _, name := range []string{"writer", "second"} {
		got := p.arrived(name, 1)[0]
		if !strings.Contains(got, first) || !strings.Contains(got, "\nDKIM-Signature: ") || !strings.HasPrefix(got, "Return-Path: <"+from+">\n") {
			t.Errorf("%s has\n%s", name, got[:min(len(got), 2000)])
		}
		_, sent, _ := strings.Cut(string(content), "\r\n\r\n")
		if _, body, _ := strings.Cut(got, "\n\n"); body != strings.ReplaceAll(sent, "\r\n", "\n") {
			t.Errorf("the body for %s was changed", name)
		}
	}
	report := alice.arrived(1)[0]
	for _, want := range []string{"From: Mail Delivery System <MAILER-DAEMON@relay.test>", "nobody@author.test", "550 5.1.1", "forwarded from mx.author.test[", "Action: failed"} {
		if !strings.Contains(report, want) {
			t.Errorf("the report has no %q:\n%s", want, report)
		}
	}

	_, content = letter.New("late", from, 5000).Next()
	handOver(t, r, "alice0001", []string{"late@author.test"}, content)
	report = alice.arrived(2)[1]
	for _, want := range []string{"MAILER-DAEMON@author.test", "late@author.test", "away for good", "Return-Path: <>\r\n"} {
		if !strings.Contains(report, want) {
			t.Errorf("the report of Postfix has no %q:\n%s", want, report)
		}
	}
	log, err := os.ReadFile(p.log)
	if err != nil || !strings.Contains(string(log), "TLS connection established from localhost[127.0.0.1]: TLSv1.3") {
		t.Errorf("TLS: %v\n%s", err, log)
	}
	if n := strings.Count(string(log), "client=localhost[127.0.0.1]"); n != 2 {
		t.Errorf("%d transactions for two messages:\n%s", n, log)
	}
}

// handOver gives the relay a message of an account.
func handOver(t *testing.T, r *harness.Relay, name string, to []string, content []byte) {
	t.Helper()
	c, err := smtp.NewClient(r.Dial(t, "submissions"), r.Domain)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Auth(smtp.PlainAuth("", r.Address(name), harness.PasswordOf(name).Wire(), r.Domain)); err != nil {
		t.Fatal(err)
	}
	if err := c.Mail(r.Address(name)); err != nil {
		t.Fatal(err)
	}
	for _, a := range to {
		if err := c.Rcpt(a); err != nil {
			t.Fatal(err)
		}
	}
	w, err := c.Data()
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// arrived waits for so many messages in a mailbox of Postfix's.
func (p *postfix) arrived(name string, want int) []string {
	p.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		files, err := filepath.Glob(filepath.Join(p.mail, name, "new", "*"))
		if err != nil || len(files) < want {
			continue
		}
		var all []string
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				p.t.Fatal(err)
			}
			all = append(all, string(content))
		}
		return all
	}
	log, _ := os.ReadFile(p.log)
	p.t.Fatalf("%s never got %d messages:\n%s", name, want, log)
	return nil
}

// arrived waits for so many messages in the INBOX and gives them.
func (f far) arrived(want uint32) []string {
	f.t.Helper()
	for end := time.Now().Add(patience); f.selectMailbox("INBOX") < want; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("never %d messages", want)
		}
	}
	section := &imap.FetchItemBodySection{Peek: true}
	messages, err := f.c.Fetch(imap.SeqSet{{Start: 1}}, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	f.must("fetch", err)
	var all []string
	for _, m := range messages {
		all = append(all, string(m.FindBodySection(section)))
	}
	return all
}
