package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"barid/dkim"
	"barid/internal/app"
	"barid/test/harness"
)

// The records are lines that a name server reads, one for each kind of key;
// the keys are those of the data directory.
func TestDKIMPrintsTheRecords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	path := laboratory(t, dir)
	p := start(t, nil, "run", "--config", path)
	p.until(p.stderr, "listening")
	ask := func(args ...string) string {
		t.Helper()
		c := start(t, nil, append([]string{"dkim", "--config", path}, args...)...)
		text, err := io.ReadAll(c.stdout)
		if err != nil {
			t.Fatal(err)
		}
		if code, stderr := c.end(); code != 0 || stderr != "" {
			t.Fatalf("code %d, %s", code, stderr)
		}
		return string(text)
	}
	var d app.DKIM
	if err := json.Unmarshal([]byte(ask("--json")), &d); err != nil || len(d.Keys) != 2 {
		t.Fatalf("%+v, %v", d, err)
	}
	lines := strings.Split(strings.TrimSpace(ask()), "\n")
	for i, k := range d.Keys {
		rr, err := dns.NewRR(lines[i])
		if err != nil {
			t.Fatalf("%s: %v", lines[i], err)
		}
		txt, ok := rr.(*dns.TXT)
		if !ok || txt.Hdr.Name != k.Name+"." || strings.Join(txt.Txt, "") != k.Text || !strings.HasSuffix(k.Name, "._domainkey._relay.test") {
			t.Errorf("%v, %+v", rr, k)
		}
		if _, err := filepath.Glob(filepath.Join(dir, "dkim", k.Selector+".pem")); err != nil {
			t.Error(err)
		}
	}
	p.signal(syscall.SIGTERM)
	p.end()
}

// Keys are changed without a moment in which nobody can verify: a new one is
// made, waits, signs only when it is published, and the relay goes on running.
func TestDKIMKeysAreChanged(t *testing.T) {
	server := harness.NewDNS(t, "127.0.0.1:0")
	dir := filepath.Join(t.TempDir(), "data")
	if _, err := dkim.OpenKeys(filepath.Join(dir, "dkim"), time.Now().AddDate(-1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	path := laboratory(t, dir)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, fmt.Appendf(text, "[dns]\nresolver = %q\n", server.Addr), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, nil, "run", "--config", path)
	p.until(p.stderr, "listening")
	answer := func(args ...string) (d app.DKIM) {
		t.Helper()
		code, text, stderr := ask(t, append([]string{"dkim", "--config", path, "--json"}, args...)...)
		if err := json.Unmarshal([]byte(text), &d); code != 0 || err != nil {
			t.Fatal(code, stderr, err)
		}
		return d
	}
	before := answer()
	made := answer("rotate")
	if len(made.Next) != 2 || !slices.Equal(made.Keys, before.Keys) || made.Next[0].Selector <= made.Keys[0].Selector {
		t.Fatalf("%+v", made)
	}
	if again := answer("rotate"); !slices.Equal(again.Next, made.Next) {
		t.Errorf("made twice: %+v", again.Next)
	}
	next := made.Next[0]
	if code, _, stderr := ask(t, "dkim", "use", next.Selector, "--config", path); code == 0 || !strings.Contains(stderr, "published") {
		t.Errorf("used before it is published: %d %s", code, stderr)
	}
	server.Add(t, made.Next[1].Name+`. 60 IN TXT "v=DKIM1; k=ed25519; p=`+strings.Repeat("A", 43)+`="`)
	if code, _, stderr := ask(t, "dkim", "use", made.Next[1].Selector, "--config", path); code == 0 || !strings.Contains(stderr, "another record") {
		t.Errorf("another key is published: %d %s", code, stderr)
	}
	server.Add(t, next.Line)
	if code, zone, _ := ask(t, "dns", "--config", path); code != 0 || !strings.Contains(zone, next.Name) || !strings.Contains(zone, before.Keys[0].Name) {
		t.Errorf("the zone lacks one of them: %s", zone)
	}
	used := answer("use", next.Selector)
	if len(used.Next) != 1 || used.Keys[0] != next || used.Keys[1] != before.Keys[1] {
		t.Errorf("%+v", used)
	}
	if used := answer("use", made.Next[1].Selector, "--unseen"); len(used.Next) != 0 || used.Keys[1] != made.Next[1] {
		t.Errorf("%+v", used)
	}
	p.signal(syscall.SIGTERM)
	p.end()
}
