package interop

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"barid/dkim"
	"barid/test/letter"
)

// OpenDKIM takes what we sign: with both keys, and with each alone; and
// refuses it when it was changed.
func TestInteropOpenDKIMVerifies(t *testing.T) {
	need(t, "opendkim", "opendkim")
	t.Parallel()
	dir := t.TempDir()
	keys, err := dkim.OpenKeys(filepath.Join(dir, "keys"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	records := ""
	for _, k := range keys {
		records += k.Record().Name + ".relay.test " + k.Record().Text + "\n"
	}
	conf := write(t, filepath.Join(dir, "opendkim.conf"), "Mode v\nTestDNSData "+write(t, filepath.Join(dir, "records"), records)+"\n")
	_, content := letter.New("opendkim", "alice0001@relay.test", 20_000).Next()
	for name, some := range map[string][]dkim.Key{"both": keys, "RSA": keys[:1], "Ed25519": keys[1:]} {
		signer, err := dkim.NewSigner(dkim.SignerConfig{Domain: "relay.test", Keys: some})
		if err != nil {
			t.Fatal(err)
		}
		g := signer.Sign()
		g.Write(content)
		fields, err := g.Fields()
		if err != nil {
			t.Fatal(err)
		}
		good := string(fields) + string(content)
		for _, c := range []struct {
			what, mail string
			passes     int
		}{
			{"as it is", good, len(some)},
			{"another Subject", strings.Replace(good, "Subject: [...]", "Subject: hello", 1), 0},
			{"a second From", "From: <eve@relay.test>\r\n" + good, 0},
			{"a Content-Type", strings.Replace(good, "Chat-Version:", "Content-Type: text/plain\r\nChat-Version:", 1), 0},
			{"another body", strings.Replace(good, "BEGIN PGP", "BEGIN pgp", 1), 0},
		} {
			if c.passes == 0 && c.mail == good {
				t.Fatalf("%s: nothing was changed", c.what)
			}
			out, err := run(t, dir, "opendkim", "-x", conf, "-t", write(t, filepath.Join(dir, "mail.eml"), c.mail), "-vv")
			if err != nil || strings.Count(out, "dkim=pass") != c.passes {
				t.Errorf("%s, %s: %v\n%s", name, c.what, err, out)
			}
		}
	}
}

// newOpenDKIM starts one that signs what a mail server gives it, for a domain.
// It gives its address and the record to publish.
func newOpenDKIM(t *testing.T, dir, domain string) (addr, record string) {
	t.Helper()
	if out, err := run(t, dir, "opendkim-genkey", "-b", "2048", "-d", domain, "-s", "mail", "-D", dir); err != nil {
		t.Fatalf("opendkim-genkey: %v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "mail.txt"))
	if err != nil {
		t.Fatal(err)
	}
	record = strings.Replace(string(text), "mail._domainkey", "mail._domainkey."+domain+". 60", 1)
	addr = freeAddr(t)
	host, port, _ := strings.Cut(addr, ":")
	conf := write(t, filepath.Join(dir, "opendkim.conf"), "Mode s\nDomain "+domain+"\nSelector mail\nKeyFile "+filepath.Join(dir, "mail.private")+
		"\nCanonicalization relaxed/simple\nSocket inet:"+port+"@"+host+"\nInternalHosts 127.0.0.1\nOversignHeaders From\nSyslog no\nBackground no\nRequireSafeKeys no\n")
	daemon(t, dir, io.Discard, "opendkim", "-f", "-x", conf)
	await(t, addr)
	return addr, record
}
