package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"barid/test/harness"
)

// Files that the configuration names are looked at, too: missing ones, and
// such as do not belong together.
func TestConfigCheckLooksAtFiles(t *testing.T) {
	cert, key := harness.NewCA(t).Files(t, "relay.test")
	_, otherKey := harness.NewCA(t).Files(t, "relay.test")
	bad := filepath.Join(t.TempDir(), "bad.pem")
	if err := os.WriteFile(bad, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ cert, key, says string }{
		{cert, key, ""},
		{cert, "/no/such/key.pem", "/no/such/key.pem"},
		{"/no/such/cert.pem", key, "/no/such/cert.pem"},
		{cert, otherKey, "does not match"},
		{bad, key, bad},
	} {
		path := file(t, fmt.Sprintf("domain = \"relay.test\"\n[tls]\nmode = \"files\"\ncert = %q\nkey = %q\n", c.cert, c.key))
		code, stdout, stderr := ask(t, "config", "check", "--config", path)
		if c.says == "" {
			if code != 0 || stdout != path+": ok\n" {
				t.Errorf("code %d, %s%s", code, stdout, stderr)
			}
			continue
		}
		if code != exitUsage || stdout != "" || !strings.HasPrefix(stderr, "barid: "+path+": tls.cert, tls.key: ") || !strings.Contains(stderr, c.says) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%+v: code %d, %s%s", c, code, stdout, stderr)
		}
	}
}
