package config

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// The sample says what holds without it, commented out or not.
func TestSampleIsTheDefault(t *testing.T) {
	sample := string(Sample())
	open := ""
	for line := range strings.Lines(sample) {
		if strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "# ") {
			line = line[1:]
		}
		open += line
	}
	for name, text := range map[string]string{"as it is": sample, "every key set": open} {
		c, err := Parse("sample", []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff(Default(sampleDomain), c, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// Each key and table has its comment, and the default that the comment names
// is the one in effect.
func TestCommentsTellTheDefaults(t *testing.T) {
	docs, c := comments(), Default(sampleDomain)
	for _, f := range newSchema().fields {
		doc := docs[f.goType+"."+f.goName]
		if !strings.HasPrefix(doc, f.goName+" ") {
			t.Errorf("%s: the comment begins %.40q", f.path, doc)
		}
		if docs[f.goType] == "" {
			t.Errorf("%s has no comment", f.goType)
		}
		if f.path == "domain" || f.path == "data_dir" {
			continue
		}
		if end := "Default " + f.literal(c) + "."; !strings.HasSuffix(strings.TrimSpace(doc), end) {
			t.Errorf("%s: the comment does not end with %q", f.path, end)
		}
	}
}

// The sample speaks of keys, not of Go fields.
func TestSampleHasNoGoNames(t *testing.T) {
	for line := range strings.Lines(string(Sample())) {
		for _, f := range newSchema().fields {
			if len(f.goName) > 9 && strings.Contains(line, f.goName) {
				t.Errorf("%q names %s", line, f.goName)
			}
		}
	}
}

// What show prints is the configuration in effect.
func TestShowReadsBack(t *testing.T) {
	c := Default("relay.test")
	c.DataDir = "/tmp/a \"quoted\" \\ name\t\u00fc"
	c.Listen.IMAPS = nil
	c.Limits.MaxMessageSize = 1000001
	c.IMAP.Compress = true
	c.Limits.MaxLoad1m = 2.25
	c.Storage.SettleAfter = Duration(90*time.Second + 250*time.Millisecond)
	back, err := Parse("show", Show(c))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c, back, cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
}

// The defaults have no fault, and a Config that was made by hand is judged as
// a file would be.
func TestCheck(t *testing.T) {
	c := Default("relay.test")
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	c.Limits.NewBurst = 0
	c.Listen.IMAPClear = []string{"192.0.2.1:143"}
	var wrong *Errors
	if err := c.Check(); !errors.As(err, &wrong) || len(wrong.Problems) != 2 {
		t.Errorf("two wrong values: %v", err)
	}
}

// Two Configs share nothing.
func TestDefaultsAreNotShared(t *testing.T) {
	a, b := Default("a.test"), Default("b.test")
	a.Listen.IMAPS[0], a.IMAP.LoginCapabilities[0] = "changed", "changed"
	if d := cmp.Diff(Default("b.test"), b); d != "" {
		t.Error(d)
	}
}

// Relative paths start at the file, not at where the command was typed.
func TestLoadFindsPathsBesideTheFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "barid.toml")
	text := "domain = \"relay.test\"\ndata_dir = \"data\"\n[tls]\nmode = \"files\"\ncert = \"/etc/c.pem\"\nkey = \"../k.pem\"\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{c.DataDir, c.TLS.Cert, c.TLS.Key}
	want := []string{filepath.Join(dir, "data"), "/etc/c.pem", filepath.Join(filepath.Dir(dir), "k.pem")}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if _, err := Load(filepath.Join(dir, "none.toml")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("a directory is no configuration")
	}
}

// The flag wins over the environment, which wins over the usual places.
func TestFind(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("BARID_CONFIG", "")
	if _, err := os.Stat("/etc/barid/barid.toml"); err != nil {
		if _, err := Find(""); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	}
	if err := os.WriteFile("barid.toml", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(flag, want string) {
		t.Helper()
		if got, err := Find(flag); got != want || err != nil {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	check("", "barid.toml")
	t.Setenv("BARID_CONFIG", "env.toml")
	check("", "env.toml")
	check("flag.toml", "flag.toml")
}

// A demo is a valid configuration whose ports were free; two beside each
// other get different ones.
func TestDemo(t *testing.T) {
	a, err := Demo(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Check(); err != nil {
		t.Error(err)
	}
	taken := map[string]bool{}
	for _, name := range a.Listen.Names() {
		for _, addr := range a.Listen.Addrs(name) {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				t.Skipf("somebody took the port of %s meanwhile: %v", name, err)
			}
			defer l.Close()
			taken[addr] = true
		}
	}
	if len(taken) != 7 {
		t.Errorf("%d listeners", len(taken))
	}
	b, err := Demo(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range b.Listen.Names() {
		for _, addr := range b.Listen.Addrs(name) {
			if taken[addr] {
				t.Errorf("%s of the second demo is taken", addr)
			}
		}
	}
}

// Sizes and durations print in the form in which they are read.
func TestSizesAndDurations(t *testing.T) {
	for text, want := range map[string]Size{"1k": 1024, " 3 MB ": 3 * Mebi, "2G": 2 * Gibi, "1T": Tebi, "0M": 0, "8388607T": 8388607 * Tebi} {
		if got, err := ParseSize(text); got != want || err != nil {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "B", "5", "-1M", "1.5G", "M", "8388608T", "99999999999999999999K", "1MM", "+1M"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
	for s, want := range map[Size]string{0: "0", 1: "1", 1025: "1025", 2048: "2K", 30 * Mebi: "30M", Gibi: "1G", 5 * Tebi: "5T"} {
		if s.String() != want {
			t.Errorf("%d: %s", int64(s), s)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", 4 * time.Minute: "4m", time.Hour: "1h", time.Hour + time.Second: "1h0m1s", 90 * time.Second: "1m30s", 10 * time.Second: "10s", 10 * time.Minute: "10m"} {
		if Duration(d).String() != want {
			t.Errorf("%v: %s", d, Duration(d))
		}
	}
}
