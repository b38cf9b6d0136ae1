package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"barid/internal/app"
	"barid/internal/config"
)

// oldRelay makes the root directory of a server of the reference with one
// account.
func oldRelay(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"usr/local/lib/chatmaild/chatmail.ini": "[params]\nmail_domain = relay.test\nmax_mailbox_size = 300M\nimap_rawlog = false\n",
		"password":                             "{SHA512-CRYPT}$6$abc$def",
		"cur/1775324677.M1P1.mx,S=3:2,S":       "one",
		"dovecot-uidlist":                      "3 V1275660208 N12\n7 :1775324677.M1P1.mx,S=3\n",
	} {
		if !strings.HasPrefix(name, "usr") {
			name = filepath.Join("home/vmail/mail/relay.test/alice0001@relay.test", name)
		}
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// An operator sees each key, what is lost and what it came to; a configuration
// is written once, and stays; the way back says as much.
func TestImportAndExportTellWhatTheyDo(t *testing.T) {
	root := oldRelay(t)
	toml := filepath.Join(t.TempDir(), "barid.toml")
	do := func(code int, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if got := execute(t.Context(), append(args, "--config", toml), &out, &errs); got != code {
			t.Fatalf("%v: exit %d\n%s%s", args, got, out.String(), errs.String())
		}
		return out.String() + errs.String()
	}
	has := func(text string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("no %q in\n%s", w, text)
			}
		}
	}
	importing := []string{"import", "--from", "cmdeploy", "--root", root, "--other-dovecot"}

	has(do(0, append(importing, "--dry-run")...),
		"max_mailbox_size = 300M: limits.max_mailbox_size\n", "imap_rawlog = false: no effect (no dialogue is ever written to disk)\n",
		"1 account, 1 message, 1 mailbox, 3 octets; 0 warnings, 0 faults; nothing was changed\n")
	if _, err := os.Stat(toml); err == nil {
		t.Fatal("a dry run wrote a configuration")
	}
	has(do(0, importing...), "warning: The DKIM key is not taken over", "1 account, 1 message", "Made "+toml)
	cfg, err := config.Load(toml)
	if err != nil || cfg.DataDir != filepath.Join(root, "home/vmail") || cfg.Limits.MaxMailboxSize != 300*config.Mebi {
		t.Fatalf("%+v, %v", cfg, err)
	}
	before, err := os.ReadFile(toml)
	if err != nil {
		t.Fatal(err)
	}
	var last app.ImportLine
	for line := range strings.Lines(do(0, append(importing, "--json")...)) {
		last = app.ImportLine{}
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	if last.End == nil || last.End.Phase != "adopted" || last.End.Messages != 1 {
		t.Errorf("%+v", last)
	}
	if after, err := os.ReadFile(toml); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the configuration was changed: %v", err)
	}
	has(do(0, "export", "--to", "cmdeploy", "--other-dovecot"), "chatmail.ini", "1 account, 1 message")

	for _, wrong := range [][]string{
		{"import"}, {"import", "--from", "postfix"}, {"import", "--from", "cmdeploy", "--copy", "--in-place"}, {"import", "--from", "cmdeploy", "--live"},
		{"import", "--from", "cmdeploy", "--data-dir", "x"}, {"export"}, {"import", "--from", "cmdeploy", "--owner", "nobody-of-that-name"},
	} {
		do(2, wrong...)
	}
	do(1, "import", "--from", "cmdeploy", "--root", t.TempDir())
}
