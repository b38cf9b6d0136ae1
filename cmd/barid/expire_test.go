package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"barid/internal/app"
	"barid/storage/expiry"
	"barid/test/harness"
)

// oldMail makes accounts of another server: one with old mail, one that nobody
// uses, and a directory without password.
func oldMail(t *testing.T, dataDir string) {
	t.Helper()
	put := func(name, text string, age time.Duration) {
		name = filepath.Join(dataDir, "mail/relay.test", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(-age)
		if err := os.Chtimes(name, when, when); err != nil {
			t.Fatal(err)
		}
	}
	const day = 24 * time.Hour
	put("busybusy1@relay.test/password", "{PLAIN}x", day)
	for i, age := range []time.Duration{30 * day, 25 * day, day} {
		put(fmt.Sprintf("busybusy1@relay.test/cur/%d.M%dP1.exam,S=5:2,S", time.Now().Add(-age).Unix(), i), "12345", age)
	}
	put("busybusy1@relay.test/tmp/left", "123", 30*day)
	put("deaddead1@relay.test/password", "{PLAIN}x", 91*day)
	put("deaddead1@relay.test/cur/1700000000.M1P1.exam,S=5:2,S", "12345", 91*day)
	put("nopasswd1@relay.test/precious", "x", 100*day)
}

// seconds is what differs from run to run.
var seconds = regexp.MustCompile(`in [0-9.]+ seconds|"(began|ended)":"[^"]*"`)

// Old mail leaves when it is asked to, after it was told what would.
func TestExpireCommand(t *testing.T) {
	dir := t.TempDir()
	oldMail(t, dir)
	harness.New(t, harness.Options{DataDir: dir})
	for _, c := range []struct{ args, want string }{
		{"--dry-run", `busybusy1@relay.test: 2 messages, 10 octets; 1 file that is no message
deaddead1@relay.test: the account
Skipped deleting nopasswd1@relay.test, doesn't have last_login but isn't empty
Would remove 1 out of 3 mailboxes and 2 out of 3 files in existing mailboxes #
`},
		{"--dry-run --json", `{"account":"busybusy1@relay.test","messages":2,"octets":10,"strays":1}
{"account":"deaddead1@relay.test","removed":true}
{"account":"nopasswd1@relay.test","kept":true}
{"end":{#,#,"dry_run":true,"accounts":3,"looked":3,"removed_accounts":1,"messages":3,"removed_messages":2,"removed_octets":10,"strays":1,"kept":1}}
`},
		{"", `Skipped deleting nopasswd1@relay.test, doesn't have last_login but isn't empty
Removed 1 out of 3 mailboxes and 2 out of 3 files in existing mailboxes #
`},
		{"--confirm-clock -v", `Skipped deleting nopasswd1@relay.test, doesn't have last_login but isn't empty
Removed 0 out of 2 mailboxes and 0 out of 1 files in existing mailboxes #
`},
	} {
		args := append([]string{"expire", "--data-dir", dir}, strings.Fields(c.args)...)
		code, stdout, stderr := ask(t, args...)
		got := seconds.ReplaceAllString(stdout, "#")
		if code != 0 || got != c.want || stderr != "" {
			t.Errorf("expire %s: code %d\n%swant\n%s%s", c.args, code, got, c.want, stderr)
		}
	}
	if code, _, stderr := ask(t, "expire", "--dry-run", "--confirm-clock", "--data-dir", dir); code != exitUsage || !strings.Contains(stderr, "exclude each other") {
		t.Errorf("code %d, %s", code, stderr)
	}
	if code, stdout, _ := ask(t, "status", "--data-dir", dir); code != 0 || !strings.Contains(stdout, "expiry: 20") || !strings.Contains(stdout, "; next 20") {
		t.Errorf("status says\n%s", stdout)
	}
	if code, _, stderr := ask(t, "expire", "--data-dir", t.TempDir()); code != exitFailure || !strings.Contains(stderr, "no barid is running") {
		t.Errorf("without a relay: code %d, %s", code, stderr)
	}
}

// On a terminal a bar tells how far it is, and goes before each line.
func TestExpireDrawsABar(t *testing.T) {
	var out, bar bytes.Buffer
	e := &expireShow{out: &out, bar: &bar}
	for _, looked := range []int{0, 1, 4} {
		if err := e.draw(&expiry.Summary{Accounts: 4, Looked: looked, RemovedMessages: 7}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.wipe(); err != nil {
		t.Fatal(err)
	}
	if err := e.draw(&expiry.Summary{}); err != nil {
		t.Fatal(err)
	}
	const clear = "\x1b[K"
	want := "\r[" + strings.Repeat(".", 40) + "]   0 %  0 of 4 mailboxes, 7 messages" + clear +
		"\r[" + strings.Repeat("#", 10) + strings.Repeat(".", 30) + "]  25 %  1 of 4 mailboxes, 7 messages" + clear +
		"\r[" + strings.Repeat("#", 40) + "] 100 %  4 of 4 mailboxes, 7 messages" + clear + "\r" + clear +
		"\r[" + strings.Repeat("#", 40) + "] 100 %  0 of 0 mailboxes, 0 messages" + clear
	if got := bar.String(); got != want {
		t.Errorf("%q\nwant\n%q", got, want)
	}
	if got := e.text(app.ExpireLine{Account: "a@b.test", Failed: true}); got != "a@b.test: cannot be judged, see the log" {
		t.Error(got)
	}
}
