package acme

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"barid/internal/finding"
	"barid/internal/metrics"
)

var allNames = []string{"relay.test", "www.relay.test", "mta-sts.relay.test"}

func TestFilesMustExistAndMatch(t *testing.T) {
	good := put(t, t.TempDir(), issue{names: allNames})
	other := put(t, t.TempDir(), issue{names: allNames})
	for what, c := range map[string]struct{ cert, key, names string }{
		"no certificate":   {good.CertFile + ".none", good.KeyFile, good.CertFile + ".none"},
		"no key":           {good.CertFile, good.KeyFile + ".none", good.KeyFile + ".none"},
		"another's key":    {good.CertFile, other.KeyFile, other.KeyFile},
		"no PEM":           {os.Args[0], good.KeyFile, os.Args[0]},
		"the wrong way":    {good.KeyFile, good.CertFile, good.KeyFile},
		"nothing for cert": {"", good.KeyFile, "certificate file"},
	} {
		cfg := good
		cfg.CertFile, cfg.KeyFile = c.cert, c.key
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), c.names) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// clock is one that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }
func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A renewed pair is in service a second later, and a connection from before
// does not notice.
func TestChangedFilesAreTakenOverWithoutARestart(t *testing.T) {
	dir := t.TempDir()
	now := &clock{now: year}
	m := metrics.New()
	cfg := put(t, dir, issue{names: allNames})
	cfg.Now, cfg.Metrics = now.Now, m
	s := open(t, cfg)
	first := leaf(t, s)

	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	server := tls.Server(a, s.TLSConfig())
	go server.Handshake()
	client := tls.Client(b, &tls.Config{InsecureSkipVerify: true})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}

	put(t, dir, issue{names: allNames})
	if !leaf(t, s).Equal(first) {
		t.Error("looked at the files twice within a second")
	}
	now.add(time.Second)
	second := leaf(t, s)
	if second.Equal(first) {
		t.Fatal("the new certificate is not in service")
	}
	if v, _ := m.Values(); v["tls_certificate_reloads"] != 1 || v["tls_certificate_expiry_seconds"] != float64(second.NotAfter.Unix()) {
		t.Error(v)
	}
	go server.Write([]byte("still here"))
	got := make([]byte, 10)
	if _, err := client.Read(got); err != nil || string(got) != "still here" {
		t.Fatalf("%q, %v", got, err)
	}
}

// Between the writing of the two files, or after a mistake, the pair before
// stays, and the operator hears of it once.
func TestABrokenPairLeavesTheOneBefore(t *testing.T) {
	dir := t.TempDir()
	now := &clock{now: year}
	var log bytes.Buffer
	cfg := put(t, dir, issue{names: allNames})
	cfg.Now, cfg.Logger = now.Now, slog.New(slog.NewTextHandler(&log, nil))
	s := open(t, cfg)
	first := leaf(t, s)

	chain, key := issue{names: allNames}.make(t)
	for _, breakIt := range []func(){
		func() { replace(t, cfg.CertFile, chain) },
		func() { os.Remove(cfg.KeyFile) },
		func() { replace(t, cfg.KeyFile, []byte("no key")) },
	} {
		log.Reset()
		breakIt()
		for range 3 {
			now.add(time.Second)
			if !leaf(t, s).Equal(first) {
				t.Fatal("something else is in service")
			}
		}
		wantIDs(t, s, "tls.files-broken")
		if n := strings.Count(log.String(), "not usable"); n != 1 {
			t.Errorf("%d lines:\n%s", n, log.String())
		}
	}
	replace(t, cfg.KeyFile, key)
	now.add(time.Second)
	if leaf(t, s).Equal(first) {
		t.Fatal("the repaired pair is not in service")
	}
	wantIDs(t, s)
}

// A file that was away for a while and is the same again is no fault any more.
func TestAFileThatCameBackIsFine(t *testing.T) {
	now := &clock{now: time.Now().Add(time.Hour)}
	cfg := put(t, t.TempDir(), issue{names: allNames, from: now.now.AddDate(0, 0, -1), to: now.now.AddDate(0, 0, 89)})
	cfg.Now = now.Now
	s := open(t, cfg)
	if err := os.Rename(cfg.KeyFile, cfg.KeyFile+".away"); err != nil {
		t.Fatal(err)
	}
	now.add(time.Second)
	wantIDs(t, s, "tls.files-broken")
	if err := os.Rename(cfg.KeyFile+".away", cfg.KeyFile); err != nil {
		t.Fatal(err)
	}
	now.add(time.Second)
	wantIDs(t, s)
}

// A file that was written twice within one tick of the clock, to the same
// length, is read again.
func TestAFileOfTheSameAgeAndSizeIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	cfg := put(t, dir, issue{names: allNames})
	pad := func(text []byte) []byte { return append(text, bytes.Repeat([]byte("\n"), 4000-len(text))...) }
	replace(t, cfg.CertFile, pad([]byte(mustRead(t, cfg.CertFile))))
	replace(t, cfg.KeyFile, pad([]byte(mustRead(t, cfg.KeyFile))))
	now := &clock{now: time.Now()}
	cfg.Now = now.Now
	s := open(t, cfg)
	cert, err := os.Stat(cfg.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	chain, key := issue{names: allNames}.make(t)
	keyInfo, err := os.Stat(cfg.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(cfg.CertFile, pad(chain), 0o600)
	os.WriteFile(cfg.KeyFile, pad(key), 0o600)
	os.Chtimes(cfg.CertFile, cert.ModTime(), cert.ModTime())
	os.Chtimes(cfg.KeyFile, keyInfo.ModTime(), keyInfo.ModTime())
	first := s.current.Load()
	now.add(time.Second)
	if leaf(t, s).Equal(first.Leaf) {
		t.Fatal("not read again")
	}
}

func TestFindingsOfFiles(t *testing.T) {
	at := func(cfg Config, d time.Duration) Config {
		cfg.Now = func() time.Time { return year.Add(d) }
		return cfg
	}
	const day = 24 * time.Hour
	good := put(t, t.TempDir(), issue{names: allNames})
	wantIDs(t, open(t, at(good, 0)))
	wantIDs(t, open(t, at(good, 65*day)))
	wantIDs(t, open(t, at(good, 67*day)), "tls.expires-soon")
	wantIDs(t, open(t, at(good, 81*day)), "tls.expired")
	wantIDs(t, open(t, at(good, -11*day)), "tls.not-yet-valid")

	six := put(t, t.TempDir(), issue{names: allNames, from: year, to: year.Add(6 * day)})
	wantIDs(t, open(t, at(six, 4*day)))
	wantIDs(t, open(t, at(six, 5*day+time.Hour)), "tls.expires-soon")

	wantIDs(t, open(t, at(put(t, t.TempDir(), issue{names: []string{"other.test"}}), 0)), "tls.name-mismatch")
	wantIDs(t, open(t, at(put(t, t.TempDir(), issue{names: []string{"relay.test"}}), 0)), "tls.name-missing")
	wantIDs(t, open(t, at(put(t, t.TempDir(), issue{names: []string{"*.test", "*.relay.test"}}), 0)))

	text := mustRead(t, good.CertFile)
	end := strings.Index(text, "-----END CERTIFICATE-----\n") + len("-----END CERTIFICATE-----\n")
	replace(t, good.CertFile, []byte(text[:end]))
	wantIDs(t, open(t, at(good, 0)), "tls.chain-short")
	stranger, _ := issue{names: allNames}.make(t)
	replace(t, good.CertFile, append([]byte(text[:end]), stranger...))
	wantIDs(t, open(t, at(good, 0)), "tls.chain-broken")
	replace(t, good.CertFile, []byte(text))

	if err := os.Chmod(good.KeyFile, 0o644); err != nil {
		t.Fatal(err)
	}
	s := open(t, at(good, 0))
	wantIDs(t, s, "tls.key-readable")
	for _, f := range s.Findings() {
		if f.Severity != finding.Warning || f.Text == "" || f.Remedy == "" {
			t.Errorf("%+v", f)
		}
	}
}
