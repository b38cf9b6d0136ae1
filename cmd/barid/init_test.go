package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"barid/internal/config"
	"barid/internal/finding"
	"barid/test/greeter"
)

// snapshot gives the content of all files below a directory, with times.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		text := ""
		if info.Mode().IsRegular() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = string(content)
		}
		all[path] = info.Mode().String() + info.ModTime().String() + text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A first init makes all that a start needs; a second one changes no file and
// says the same.
func TestInit(t *testing.T) {
	mail := greeter.Listen(t, "220 hello\r\n")
	for domain, want := range map[string][]string{
		"_relay.test": {"_relay.test.", " IN MX    10 _relay.test.", "The invite, for one person", "\ndclogin:", "@_relay.test?p=", "&ic=3"},
		"192.0.2.7":   {"there is nothing to put into the DNS", "@[192.0.2.7]?p=", "&ih=192.0.2.7&"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "etc", "barid.toml")
		line := []string{"init", "--force", "--mail-server", mail, "--config", path, "--data-dir", filepath.Join(dir, "data"), domain}
		if domain == "192.0.2.7" {
			line = append(line, "--no-domain")
		}
		code, first, stderr := ask(t, line...)
		if code != 0 || stderr != "" || !strings.Contains(first, "Made "+path+" and "+dir+"/data.") {
			t.Fatalf("%d %s\n%s", code, stderr, first)
		}
		cfg, err := config.Load(path)
		if err != nil || cfg.Domain != domain || cfg.DataDir != filepath.Join(dir, "data") {
			t.Fatal(cfg, err)
		}
		before := snapshot(t, dir)
		code, second, stderr := ask(t, line...)
		if code != 0 || stderr != "" || !strings.Contains(second, path+" was there before; nothing was changed.") {
			t.Fatalf("%d %s\n%s", code, stderr, second)
		}
		for _, w := range want {
			if !strings.Contains(first, w) || !strings.Contains(second, w) {
				t.Errorf("%q is not in\n%s\nor not in\n%s", w, first, second)
			}
		}
		after := snapshot(t, dir)
		if len(after) != len(before) {
			t.Errorf("%d files became %d", len(before), len(after))
		}
		for name, text := range before {
			if after[name] != text {
				t.Errorf("%s changed", name)
			}
		}
		if info, err := os.Stat(cfg.DataDir); err != nil || info.Mode().Perm() != 0o700 {
			t.Error(info, err)
		}
		if code, _, stderr := ask(t, "init", "--config", path, "other.test"); code != exitFailure || !strings.Contains(stderr, "is there already, for "+domain) {
			t.Error(code, stderr)
		}
	}
}

// A relay whose certificate is trusted invites everybody with one link.
func TestInitOfANameInJSON(t *testing.T) {
	dir := t.TempDir()
	b := begun{Config: filepath.Join(dir, "barid.toml"), Findings: []finding.Finding{}}
	cfg := config.Default("relay.test")
	cfg.DataDir = filepath.Join(dir, "data")
	warning := []finding.Finding{{ID: "a.b", Severity: finding.Warning, Text: "T.", Remedy: "R."}}
	if err := b.begin(cfg, false, func() []finding.Finding { return warning }); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := initCommand()
	cmd.SetOut(&out)
	if err := b.print(cmd, true, cfg); err != nil {
		t.Fatal(err)
	}
	var back begun
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back.Invite != "DCACCOUNT:https://relay.test/new" || len(back.Records) < 12 || len(back.Findings) != 1 || !back.Made {
		t.Errorf("%v\n%s", err, out.String())
	}
	found := false
	for _, r := range back.Records {
		found = found || r.Type == "TLSA"
	}
	if !found {
		t.Error("the key that will serve is not known")
	}
}

// When something is in the way nothing is made.
func TestInitThatIsBlocked(t *testing.T) {
	dir := t.TempDir()
	b := begun{Config: filepath.Join(dir, "x", "barid.toml")}
	cfg := config.Default("relay.test")
	cfg.DataDir = filepath.Join(dir, "y", "data")
	fault := []finding.Finding{{ID: "port.taken", Severity: finding.Fault, Text: "Port 25 is occupied by exim4.", Remedy: "Stop it."}}
	if err := b.begin(cfg, false, func() []finding.Finding { return fault }); err != errInTheWay {
		t.Error(err)
	}
	var out bytes.Buffer
	cmd := initCommand()
	cmd.SetOut(&out)
	if err := b.print(cmd, false, cfg); err != nil || out.String() != "fault    Port 25 is occupied by exim4.\n         Stop it.\n\n" {
		t.Errorf("%v\n%s", err, out.String())
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Error(entries, err)
	}
	// Nor when the disk does not let it.
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.DataDir = filepath.Join(dir, "file", "data")
	if err := b.begin(cfg, false, func() []finding.Finding { return nil }); err == nil || b.Made {
		t.Error(err)
	}
}

func TestInitSaysWhatItWants(t *testing.T) {
	t.Chdir(t.TempDir())
	for line, want := range map[string]string{
		"init":                             "init wants the domain of the relay",
		"init --config x UPPER.test":       "must be in lower case",
		"init --config x one":              "must have a dot",
		"init --config x --no-domain name": "--no-domain takes an IPv4 address",
		"init --config x a.test b.test":    "accepts at most 1 arg",
	} {
		code, _, stderr := ask(t, strings.Fields(line)...)
		if code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: %d %s", line, code, stderr)
		}
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) != 0 {
		t.Error(entries, err)
	}
}

// A look at everything tells what does not work, with a remedy each.
func TestCheck(t *testing.T) {
	path := stopped(t, "_relay.test", "resolver = \"127.0.0.1:1\"\n[listen]\nimap = []\nsubmission = []\nsubmissions = []\nhttps = []\nhttp = []\nsmtp = []\nturn = []\nturns = []\nimaps = [\"127.0.0.1:0\"]\n")
	code, text, _ := ask(t, "check", "--mail-server", greeter.Listen(t, "220 hello\r\n"), "--config", path)
	if code != exitFailure || !strings.Contains(text, "The relay does not answer") || !strings.Contains(text, "The DNS record MX _relay.test is unknown.") {
		t.Errorf("%d\n%s", code, text)
	}
	var found []finding.Finding
	code, text, _ = ask(t, "check", "--json", "--mail-server", greeter.Listen(t, "220 hello\r\n"), "--config", path)
	if err := json.Unmarshal([]byte(text), &found); err != nil || code != exitFailure || len(found) < 5 {
		t.Errorf("%d %v\n%s", code, err, text)
	}
	for _, f := range found {
		if f.ID == "" || f.Text == "" || f.Remedy == "" || f.ID == "smtp.blocked" {
			t.Errorf("%+v", f)
		}
	}
}
