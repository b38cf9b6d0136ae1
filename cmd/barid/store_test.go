package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"barid/internal/app"
	"barid/internal/journal"
	"barid/test/harness"
)

// A store is looked at, settled and repaired while the relay runs, and by the
// same words when it does not.
func TestStoreCommands(t *testing.T) {
	dir := t.TempDir()
	r := harness.New(t, harness.Options{DataDir: dir})
	bear(t, r, "abcdefgh1")
	at := " --data-dir " + dir
	wants(t, "store settle"+at, 0, "all mail is in its files\n", "")
	wants(t, "store settle --json"+at, 0, "{\n  \"settled\": true\n}\n", "")
	wants(t, "store check"+at, 0, "1 account, 0 messages, 0 octets read; 0 faults, 0 repaired\n", "")
	carol := filepath.Join(dir, "mail", "relay.test", "carolcar1@relay.test")
	left := filepath.Join(carol, "tmp", "left")
	old := time.Now().Add(-40 * time.Hour)
	if err := errors.Join(
		os.MkdirAll(filepath.Join(carol, "tmp"), 0o700),
		os.WriteFile(filepath.Join(carol, "password"), []byte("{PLAIN}x"), 0o600),
		os.WriteFile(filepath.Join(carol, "barid-mailbox"), []byte("garbage"), 0o600),
		os.Mkdir(filepath.Join(dir, "mail", "relay.test", "davedave1@relay.test"), 0o700),
		os.WriteFile(left, nil, 0o600), os.Chtimes(left, old, old),
	); err != nil {
		t.Fatal(err)
	}
	wants(t, "store check"+at, 1, `carolcar1@relay.test INBOX barid-mailbox: snapshot: bad mailbox snapshot: its checksum, or how it begins
davedave1@relay.test: no-password: a directory without password file
3 accounts, 0 messages, 0 octets read; 2 faults, 0 repaired
`, "barid: 2 faults left\n")
	wants(t, "store check --repair --json"+at, 1, `{"fault":"snapshot","account":"carolcar1@relay.test","mailbox":"INBOX","file":"barid-mailbox","text":"bad mailbox snapshot: its checksum, or how it begins","repaired":true}
{"fault":"no-password","account":"davedave1@relay.test","text":"a directory without password file"}
{"end":{"accounts":3,"looked":3,"mailboxes":1,"messages":0,"octets":0,"faults":2,"repaired":1}}
`, "barid: 1 fault left\n")
	wants(t, "store check --repair"+at, 1, `carolcar1@relay.test INBOX tmp/left: tmp: it was never finished (repaired)
davedave1@relay.test: no-password: a directory without password file
3 accounts, 0 messages, 0 octets read; 2 faults, 1 repaired
`, "barid: 1 fault left\n")
}

// Names of files are chosen by whoever can put one there, so none of their
// octets writes to the terminal; mail that has no file yet is no mail that is
// missing.
func TestStoreChecksAreShownHarmlessly(t *testing.T) {
	line := storeText(app.StoreLine{Fault: "unlisted", Account: "abcdefgh1@relay.test", Mailbox: "INBOX", File: "cur/a\nb\x1b[31m\xff", Text: "it gets a UID"})
	if line != `abcdefgh1@relay.test INBOX cur/a\nb\x1b[31m\xff: unlisted: it gets a UID` {
		t.Errorf("%q", line)
	}
	end := storeText(app.StoreLine{End: &app.StoreSum{Looked: 1, Messages: 2, Waiting: 3}})
	if end != "1 account, 2 messages and 3 that have no file yet, 0 octets read; 0 faults, 0 repaired" {
		t.Errorf("%q", end)
	}
}

// Without a relay the data directory is opened for it, unless another process
// has it.
func TestStoreCommandsOfAStoppedRelay(t *testing.T) {
	dir := t.TempDir()
	config := file(t, "domain = \"relay.test\"\ndata_dir = \""+dir+"\"\n")
	wants(t, "store check --config "+config, 0, "0 accounts, 0 messages, 0 octets read; 0 faults, 0 repaired\n", "")
	wants(t, "store settle --config "+config, 0, "all mail is in its files\n", "")
	unlock, err := journal.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if code, _, stderr := ask(t, "store", "settle", "--config", config); code != exitFailure || !strings.Contains(stderr, journal.ErrLocked.Error()) {
		t.Errorf("code %d, %s", code, stderr)
	}
	_, _, stderr := ask(t, "store", "check", "--data-dir", t.TempDir(), "--config", filepath.Join(dir, "none.toml"))
	if !strings.Contains(stderr, "the configuration is needed") {
		t.Error(stderr)
	}
}
