package app_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"barid/internal/app"
	"barid/internal/config"
	"barid/test/harness"
)

// ask sends octets to the pages and reads one answer.
func askPages(t *testing.T, r *harness.Relay, request string) (*http.Response, string) {
	t.Helper()
	conn := r.Dial(t, "https")
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	go io.WriteString(conn, request) // the answer may come before all is sent
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%.40q: %v", request, err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%.40q: %v", request, err)
	}
	return answer, string(body)
}

// The pages of a relay tell what is configured, show the operator's files, and
// serve the policy of its mail.
func TestThePagesAreTheRelaysOwn(t *testing.T) {
	dir := t.TempDir()
	r := harness.New(t, harness.Options{Change: func(c *config.Config) {
		c.Limits.MaxMailboxSize = 7 * config.Gibi
		c.Web.Dir = dir
	}})
	get := func(path string) (*http.Response, string) {
		return askPages(t, r, "GET "+path+" HTTP/1.1\r\nHost: relay.test\r\nConnection: close\r\n\r\n")
	}
	if _, body := get("/info.html"); !strings.Contains(body, "7 GB") || !strings.Contains(body, "20 days") {
		t.Error(body)
	}
	if answer, body := get("/.well-known/mta-sts.txt"); answer.StatusCode != 200 || body != "version: STSv1\r\nmode: enforce\r\nmx: relay.test\r\nmax_age: 2419200\r\n" {
		t.Error(answer.Status, body)
	}
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte("{{broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 100 { // it is looked at once a second
		get("/")
		for _, f := range r.App().Status().Findings {
			if f.ID == "web.page" {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("nobody is told of a broken page")
}

// Only where the certificate is the relay's own, /new gives a link that says so:
// not with a trusted one, wherever that comes from.
func TestALoginLinkIsForSelfSignedRelays(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0"), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[string]bool{config.TLSSelfSigned: true, config.TLSFiles: false, config.TLSACME: false} {
		r := harness.New(t, harness.Options{SelfSigned: mode != config.TLSFiles, Change: func(c *config.Config) {
			c.TLS.Mode = mode
			c.ACME.Directory, c.ACME.DNSServer, c.ACME.DNSKeyName, c.ACME.DNSKeyFile = "https://127.0.0.1:1/none", "127.0.0.1:1", "key", key
		}})
		answer, body := askPages(t, r, "POST /new HTTP/1.1\r\nHost: relay.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		if answer.StatusCode != 200 || strings.Contains(body, `"dclogin_url":"dclogin:`) != want || strings.Contains(body, "ic=3") != want {
			t.Errorf("%s: %s %s", mode, answer.Status, body)
		}
	}
}

// Whoever sends too much, or sends nothing more, gets his answer and holds up
// nothing.
func TestBadRequestsAreAnswered(t *testing.T) {
	r := harness.New(t, harness.Options{})
	for request, want := range map[string]int{
		"GET / HTTP/1.1\r\nHost: relay.test\r\nX: " + strings.Repeat("x", 400<<10) + "\r\n\r\n":             431,
		"POST /new HTTP/1.1\r\nHost: relay.test\r\nConnection: close\r\nContent-Length: 5000\r\n\r\nslow":   200,
		"POST /new HTTP/1.1\r\nHost: relay.test\r\nConnection: close\r\nContent-Length: 500000000\r\n\r\nx": 413,
		"GET / HTTP/1.1\r\n\r\n":                                  400,
		"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n":            400,
		"GET http://\x00/ HTTP/1.1\r\nHost: relay.test\r\n\r\n":   400,
		"BREW / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n": 405,
	} {
		if answer, body := askPages(t, r, request); answer.StatusCode != want {
			t.Errorf("%.60q: %s, want %d: %.100s", request, answer.Status, want, body)
		}
	}
}

// A directory that is not there is told before the start.
func TestTheOperatorsDirectoryIsChecked(t *testing.T) {
	cfg := config.Default("_relay.test")
	for _, dir := range []string{"/no/such/directory", "pages_test.go"} {
		cfg.Web.Dir = dir
		if err := app.Check(cfg); err == nil || !strings.HasPrefix(err.Error(), "web.dir: ") {
			t.Errorf("%s: %v", dir, err)
		}
	}
	cfg.Web.Dir = t.TempDir()
	if err := app.Check(cfg); err != nil {
		t.Error(fmt.Sprint(err))
	}
}
