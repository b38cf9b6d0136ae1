// Package authority is a certification authority for tests: pebble, the one
// that Let's Encrypt wrote for that, in this process.
package authority

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
)

// Options of an Authority.
type Options struct {
	// HTTPPort and TLSPort are where it looks for answers to http-01 and
	// tls-alpn-01.
	HTTPPort, TLSPort int
	// DNS is the address and port of the resolver it asks.
	DNS string
	// Bound are the MAC keys (base64url) of accounts that exist, by name; with
	// any, ours must be bound to one.
	Bound map[string]string
	// Days is how long certificates are valid; zero is 90.
	Days int
}

// Authority speaks ACME on loopback until the test ends.
type Authority struct {
	URL  string            // of its directory
	Root *x509.Certificate // of its own HTTPS
	Down atomic.Bool       // answers 503 to everything
	Busy atomic.Bool       // answers 429 to whoever wants a certificate
	// Hurry lets its renewal information (RFC 9773) say that every certificate
	// should have been renewed an hour ago.
	Hurry atomic.Bool
	// Orders counts the certificates that were asked for.
	Orders atomic.Int32

	ca *ca.CAImpl
}

// New starts one. The environment variables that make pebble quick are set
// for the process.
func New(t testing.TB, opt Options) *Authority {
	t.Helper()
	os.Setenv("PEBBLE_VA_NOSLEEP", "1")
	os.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	a := &Authority{}
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	for name, key := range opt.Bound {
		if err := store.AddExternalAccountKeyByID(name, key); err != nil {
			t.Fatalf("authority: %v", err)
		}
	}
	days := opt.Days
	if days == 0 {
		days = 90
	}
	a.ca = ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{
		"default":    {ValidityPeriod: uint64(days) * 24 * 3600},
		"shortlived": {ValidityPeriod: 6 * 24 * 3600},
	})
	judge := va.New(quiet, opt.HTTPPort, opt.TLSPort, false, opt.DNS, store)
	front := wfe.New(quiet, store, judge, a.ca, []string{"pebble.test"}, false, len(opt.Bound) > 0, 1, 1)
	handler := front.Handler()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.Down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		if a.Hurry.Load() && strings.Contains(r.URL.Path, "renewalInfo") {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Retry-After", "1")
			end := time.Now().UTC().Add(-time.Hour)
			fmt.Fprintf(w, `{"suggestedWindow": {"start": %q, "end": %q}}`, end.Add(-time.Hour).Format(time.RFC3339), end.Format(time.RFC3339))
			return
		}
		if strings.Contains(r.URL.Path, "order-plz") && a.Busy.Load() {
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Replay-Nonce", nonceOf(handler))
			w.WriteHeader(http.StatusTooManyRequests)
			io.WriteString(w, `{"type":"urn:ietf:params:acme:error:rateLimited","status":429,"detail":"too many certificates"}`)
			return
		}
		if strings.Contains(r.URL.Path, "order-plz") {
			a.Orders.Add(1)
		}
		handler.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = quiet
	s.StartTLS()
	t.Cleanup(s.Close)
	a.URL, a.Root = s.URL+wfe.DirectoryPath, s.Certificate()
	return a
}

// nonceOf asks for a nonce, which every answer has to carry.
func nonceOf(h http.Handler) string {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodHead, "/nonce-plz", nil))
	return w.Header().Get("Replay-Nonce")
}

// Pool trusts the HTTPS of all of them.
func Pool(all ...*Authority) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, a := range all {
		pool.AddCert(a.Root)
	}
	return pool
}

// RootFile writes the certificate of its HTTPS as PEM and gives the file.
func (a *Authority) RootFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "authority.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Root.Raw})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Issued trusts what it issues.
func (a *Authority) Issued() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.ca.GetRootCert(0).PEM())
	return pool
}
