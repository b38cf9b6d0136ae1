package zone

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	rsaKey = "v=DKIM1;k=rsa;p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAx0nzaXcvlLyOeUZBzGVjYK5AzeCAiVxu9DfWEpmHvqEwVqVnZRn2wPMSLtGRkVIvXyTFJqmWkJzqBk9HjU3HYKeAYgYgkHVbkKqyNYNrZnwZbMBvVwrxzBq4bNpAQ5mqjqFX1d2vTjTYBpYQ3bVDVq8OtI6bEeHUZpDLi9nJqZk0vLBNq0fRj0yqvJVYxWtqfU8S4wnzH9gTeR4zOvAz6b7x2LEyQ2bAqk6m0SIVWkSUKkcnQhKfwZgAhGxkMUHTxk2s8eOvl3Jw3nQxHk3cSdnJxYvzz3mKqCqk1yUeZlGmqk7bnv8m6uIYJ3OBWbZ5Q2nAFwxPSyEwWk2TtxnzHwIDAQAB;s=email;t=s"
	edKey  = "v=DKIM1;k=ed25519;p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=;s=email;t=s"
	key    = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

func addrs(texts ...string) (all []netip.Addr) {
	for _, t := range texts {
		all = append(all, netip.MustParseAddr(t))
	}
	return all
}

func named() Facts {
	return Facts{
		Domain: "relay.test", Addrs: addrs("192.0.2.7", "2001:db8::7"), STS: "202611250000",
		DKIM:    []DKIM{{"rsa20261125._domainkey", rsaKey, false}, {"ed20261125._domainkey", edKey, false}},
		Issuers: []Issuer{{"letsencrypt.org", "https://acme.test/acct/7"}}, Key: key,
		IMAPS: 993, IMAP: 143, Submissions: 465, Submission: 587, Reports: "root@relay.test",
	}
}

// underscored is a relay that no authority vouches for.
func underscored() Facts {
	f := named()
	f.Domain, f.STS, f.Issuers, f.Reports = "_relay.test", "", nil, ""
	return f
}

func TestTheZoneIsWhatItWas(t *testing.T) {
	behindNAT := named()
	behindNAT.Addrs, behindNAT.Submission, behindNAT.IMAP = nil, 0, 0
	behindNAT.DKIM = append(behindNAT.DKIM, DKIM{"rsa20261225._domainkey", rsaKey, true})
	fourOnly := named()
	fourOnly.Addrs = addrs("192.0.2.7")
	for name, f := range map[string]Facts{"name": named(), "underscore": underscored(), "ipv4-only": fourOnly, "behind-nat": behindNAT} {
		records := New(f)
		text, err := json.MarshalIndent(records, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		for ending, got := range map[string]string{"zone": Text(records), "table": Table(records), "json": string(text) + "\n"} {
			path := filepath.Join("testdata", name+"."+ending)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil || got != string(want) {
				t.Errorf("%s: %v\n%s", path, err, got)
			}
		}
	}
}

// Each line is what servers and zone editors read, and a comment is none.
func TestEveryLineIsARecord(t *testing.T) {
	for _, f := range []Facts{named(), underscored()} {
		p := dns.NewZoneParser(strings.NewReader(Text(New(f))), "", "")
		n, names := 0, map[string]bool{}
		for rr, ok := p.Next(); ok; rr, ok = p.Next() {
			n++
			names[rr.Header().Name] = true
			if txt, ok := rr.(*dns.TXT); ok {
				for _, s := range txt.Txt {
					if len(s) > 255 {
						t.Errorf("%d octets in one string", len(s))
					}
				}
				if whole := strings.Join(txt.Txt, ""); strings.Contains(whole, "k=rsa") && whole != rsaKey {
					t.Errorf("the key became %s", whole)
				}
			}
		}
		if p.Err() != nil || n < 12 || !names[f.Domain+"."] {
			t.Errorf("%d records: %v", n, p.Err())
		}
		for line := range strings.Lines(Text(New(f))) {
			if line = strings.TrimSpace(line); line != "" && line[0] != ';' && len(strings.Fields(line)) < 5 {
				t.Errorf("not five fields: %s", line)
			}
		}
	}
}

func TestAuthoritiesAreCalledAsCAARecordsCallThem(t *testing.T) {
	accounts := []string{"https://acme-staging-v02.api.letsencrypt.org/acme/acct/1", "https://acme-v02.api.letsencrypt.org/acme/acct/2"}
	if i, ok := IssuerOf("https://acme-v02.api.letsencrypt.org/directory", accounts); !ok || i != (Issuer{"letsencrypt.org", accounts[1]}) {
		t.Errorf("%v %v", i, ok)
	}
	if i, ok := IssuerOf("https://acme.zerossl.com/v2/DV90", accounts); !ok || i != (Issuer{"sectigo.com", ""}) {
		t.Errorf("%v %v", i, ok)
	}
	for _, bad := range []string{"https://ca.relay.test/dir", "https://evilletsencrypt.org/", "", "::"} {
		if i, ok := IssuerOf(bad, nil); ok {
			t.Errorf("%s is %v", bad, i)
		}
	}
}

// The id changes with the policy and with nothing else.
func TestThePolicyKeepsItsID(t *testing.T) {
	dir := t.TempDir()
	id := func(policy string) string {
		t.Helper()
		id, err := PolicyID(dir, policy)
		if err != nil || !isPolicyID(id) {
			t.Fatalf("%q %v", id, err)
		}
		return id
	}
	keep := func(policy, id string, want bool) {
		t.Helper()
		if ok, err := KeepPolicyID(dir, policy, id); err != nil || ok != want {
			t.Fatalf("keep %s: %v %v", id, ok, err)
		}
	}
	a, b := Policy("relay.test"), Policy("other.test")
	if again := id(a); again != id(a) || again == id(b) {
		t.Error("not by the text")
	}
	keep(a, "", false)
	keep(a, "not an id", false)
	keep(a, strings.Repeat("1", 33), false)
	keep(a, "202401010000", true) // published by the software before
	if id(a) != "202401010000" {
		t.Error("forgotten")
	}
	if id(b) == "202401010000" {
		t.Error("the same for another policy")
	}
	keep(b, "202401010000", false)
	keep(b, id(b), true)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v %v", entries, err)
	}
	if err := os.WriteFile(filepath.Join(dir, stsFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := PolicyID(dir, a); err == nil || !strings.Contains(err.Error(), stsFile) {
		t.Errorf("a broken file: %v", err)
	}
}
