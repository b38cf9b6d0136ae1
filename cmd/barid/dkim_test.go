package main

import (
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"barid/internal/app"
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
