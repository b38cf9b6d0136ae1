package interop

import (
	"bufio"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"barid/internal/config"
	"barid/test/harness"
	"barid/test/letter"
)

// postfix is a mail server of author.test, whose mail OpenDKIM signs.
type postfix struct {
	t    *testing.T
	addr string // where it takes mail
	log  string // its log file
	mail string // its mailboxes, Maildirs
}

// newPostfix starts one that knows the way to a relay, and takes mail at addr.
// Its home is outside of the test's own directory, which other users cannot
// enter. Some mailboxes of author.test lie in its directory "mail"; mail for
// "late" there is taken and comes back.
func newPostfix(t *testing.T, r *harness.Relay, dns *harness.DNS, addr string) *postfix {
	t.Helper()
	home, err := os.MkdirTemp("", "barid-postfix-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	for _, dir := range []string{home, filepath.Join(home, "etc"), filepath.Join(home, "spool"), filepath.Join(home, "dkim"), filepath.Join(home, "mail")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	milter, record := newOpenDKIM(t, filepath.Join(home, "dkim"), "author.test")
	dns.Add(t, record)
	const nobody = 65534
	if err := os.Chown(filepath.Join(home, "mail"), nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cert, key := r.CA.Files(t, "mx.author.test")
	p := &postfix{t: t, addr: addr, log: filepath.Join(home, "log"), mail: filepath.Join(home, "mail")}
	_, relayPort, _ := net.SplitHostPort(r.Addr("smtp"))
	host, port, _ := net.SplitHostPort(milter)
	write(t, filepath.Join(home, "etc", "main.cf"), fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/spool
data_directory = %[1]s/data
maillog_file = %[2]s
maillog_file_prefixes = %[1]s
myhostname = mx.author.test
myorigin = author.test
mydestination =
local_recipient_maps =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_tls_cert_file = %[6]s
smtpd_tls_key_file = %[7]s
smtpd_tls_security_level = may
smtpd_tls_loglevel = 1
virtual_mailbox_domains = author.test
virtual_mailbox_base = %[1]s/mail
virtual_mailbox_maps = inline:{ { writer@author.test = writer/ }, { second@author.test = second/ } }
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
smtpd_milters = inet:%[3]s:%[4]s
non_smtpd_milters = inet:%[3]s:%[4]s
internal_mail_filter_classes = bounce
milter_default_action = tempfail
default_transport = smtp
transport_maps = inline:{ { relay.test = smtp:[127.0.0.1]:%[5]s }, { gone.test = error:5.2.1 away for good } }
virtual_alias_maps = inline:{ { late@author.test = writer@gone.test } }
smtp_tls_CAfile = %[1]s/ca.pem
smtp_tls_security_level = secure
smtp_tls_secure_cert_match = relay.test
smtp_tls_loglevel = 1
bounce_queue_lifetime = 1h
`, home, p.log, host, port, relayPort, cert, key))
	if err := os.WriteFile(filepath.Join(home, "ca.pem"), r.CA.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(home, "etc", "master.cf"), p.addr+` inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`)
	for _, file := range []string{"main.cf", "master.cf"} {
		if err := os.Chmod(filepath.Join(home, "etc", file), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	command := func(verb string) {
		if out, err := run(t, home, "postfix", "-c", filepath.Join(home, "etc"), verb); err != nil {
			log, _ := os.ReadFile(p.log)
			t.Fatalf("postfix %s: %v\n%s%s", verb, err, out, log)
		}
	}
	command("start")
	t.Cleanup(func() { stopPostfix(t, filepath.Join(home, "etc")) })
	await(t, p.addr)
	return p
}

// send gives it a mail and returns its queue ID.
func (p *postfix) send(from string, to []string, content []byte) string {
	p.t.Helper()
	c, err := smtp.Dial(p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	if err := c.Mail(from); err != nil {
		p.t.Fatal(err)
	}
	for _, a := range to {
		if err := c.Rcpt(a); err != nil {
			p.t.Fatal(err)
		}
	}
	id, err := c.Text.Cmd("DATA")
	if err != nil {
		p.t.Fatal(err)
	}
	c.Text.StartResponse(id)
	_, _, err = c.Text.ReadResponse(354)
	c.Text.EndResponse(id)
	if err != nil {
		p.t.Fatal(err)
	}
	w := c.Text.DotWriter()
	w.Write(content)
	w.Close()
	_, text, err := c.Text.ReadResponse(250)
	if err != nil {
		p.t.Fatal(err)
	}
	return text[strings.LastIndexByte(text, ' ')+1:]
}

// fate waits for what became of a mail: the line of the log about one
// recipient.
func (p *postfix) fate(id string) string {
	p.t.Helper()
	line := regexp.MustCompile(`\b` + id + `: to=<.* status=`)
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		f, err := os.Open(p.log)
		if err != nil {
			continue
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			if line.MatchString(s.Text()) {
				f.Close()
				return s.Text()
			}
		}
		f.Close()
	}
	log, _ := os.ReadFile(p.log)
	p.t.Fatalf("nothing became of %s:\n%s", id, log)
	return ""
}

// A Postfix delivers what an OpenDKIM signed, over TLS that it verifies. What
// is in the clear comes back with our words, and so does what is for nobody.
func TestInteropPostfixDelivers(t *testing.T) {
	need(t, "postfix", "postfix")
	need(t, "opendkim", "opendkim")
	need(t, "opendkim-genkey", "opendkim-tools")
	t.Parallel()
	dns := harness.NewDNS(t, "127.0.0.1:0")
	r := harness.New(t, harness.Options{Change: func(c *config.Config) { c.DNS.Resolver = dns.Addr }})
	bob := newFar(t, r, "bob000001")
	p := newPostfix(t, r, dns, freeAddr(t))

	_, content := letter.New("postfix", "writer@author.test", 50_000).Next()
	plain := []byte("From: <writer@author.test>\r\nTo: <bob000001@relay.test>\r\nSubject: Hello\r\n\r\n.\r\nHello.\r\n")
	to := []string{r.Address("bob000001")}
	for _, c := range []struct {
		name    string
		from    string
		to      []string
		content []byte
		want    string
	}{
		{"encrypted", "writer@author.test", to, content, "status=sent (250 2.0.0 OK"},
		{"in the clear", "writer@author.test", to, plain, "said: 523 Encryption Needed: Invalid Unencrypted Mail"},
		{"for nobody", "writer@author.test", []string{r.Address("nobody001")}, content, "said: 550 5.1.1 <nobody001@relay.test> User doesn't exist"},
		{"of somebody whom nobody signs for", "writer@other.test", to, []byte(strings.Replace(string(content), "writer@author.test", "writer@other.test", 1)), "said: 554 5.7.1 No DKIM signature found"},
		{"for two, one of them nobody", "writer@author.test", []string{r.Address("nobody001"), r.Address("bob000001")}, content, "status=sent (250 2.0.0 OK"},
	} {
		if line := p.fate(p.send(c.from, c.to, c.content)); !strings.Contains(line, c.want) {
			t.Errorf("%s: %s", c.name, line)
		}
	}
	log, err := os.ReadFile(p.log)
	if err != nil || !strings.Contains(string(log), "Verified TLS connection established to 127.0.0.1") {
		t.Errorf("TLS: %v\n%s", err, log)
	}
	got := bob.messages()
	n := 0
	for _, times := range got {
		n += times
	}
	if n != 2 {
		t.Errorf("bob has %v", got)
	}
}
