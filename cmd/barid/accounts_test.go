package main

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"barid/internal/app"
	"barid/internal/config"
	"barid/test/harness"
)

// bear makes accounts on a relay by logging in.
func bear(t *testing.T, r *harness.Relay, names ...string) {
	t.Helper()
	for _, name := range names {
		conn := r.Dial(t, "imap_clear")
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(conn, "a LOGIN %s %s\r\n", r.Address(name), harness.PasswordOf(name).Wire())
		lines := bufio.NewReader(conn)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(line, "a OK") {
				break
			}
		}
		conn.Close()
	}
}

// wants runs a command line and compares all that comes of it. In want,
// DAY stands for today.
func wants(t *testing.T, line string, code int, want, wantErr string) {
	t.Helper()
	gotCode, stdout, stderr := ask(t, strings.Fields(line)...)
	stdout = strings.ReplaceAll(stdout, time.Now().UTC().Format(time.DateOnly), "DAY")
	if gotCode != code || stdout != want || stderr != wantErr {
		t.Errorf("barid %s: code %d, want %d\n%swant\n%s\nstderr\n%swant\n%s", line, gotCode, code, stdout, want, stderr, wantErr)
	}
}

// Accounts are looked at and changed from the command line.
func TestAccounts(t *testing.T) {
	dir := t.TempDir()
	r := harness.New(t, harness.Options{DataDir: dir})
	bear(t, r, "abcdefgh1", "abcdefgh2", "zzzzzzzz1")
	at := " --data-dir " + dir
	row := func(name, rest string) string { return fmt.Sprintf("%-40s  DAY%s\n", name+"@relay.test", rest) }
	wants(t, "accounts list"+at, 0, row("abcdefgh1", "")+row("abcdefgh2", "")+row("zzzzzzzz1", "")+"3 accounts\n", "")
	wants(t, "accounts list abcdefgh1 --json"+at, 0, `{"address":"abcdefgh1@relay.test","last_login":"DAY"}`+"\n", "")
	wants(t, "accounts list --older-than 1d"+at, 0, "0 accounts\n", "")
	wants(t, "accounts freeze abcdefgh2 nobody abcdefgh1"+at, 1, "abcdefgh2@relay.test: frozen\nabcdefgh1@relay.test: frozen\n", "barid: nobody: there is no such account\n")
	wants(t, "accounts unfreeze abcdefgh1@relay.test"+at, 0, "abcdefgh1@relay.test: not frozen\n", "")
	wants(t, "accounts list --frozen"+at, 0, row("abcdefgh2", "  frozen")+"1 account\n", "")
	wants(t, "accounts show abcdefgh2"+at, 0, `abcdefgh2@relay.test
  frozen: gets no mail and sends none
  last login  DAY
  holds       0 messages, 0 octets (0.0% of 500.0M)
  devices     0 to wake
  mailbox     INBOX: 0 messages, 0 octets
`, "")
	wants(t, "accounts delete zzzzzzzz1"+at, 1, "", "barid: nobody is there to ask: say --yes to delete\n")
	wants(t, "accounts delete zzzzzzzz1 --yes"+at, 0, "zzzzzzzz1@relay.test: deleted\n", "")
	wants(t, "accounts delete zzzzzzzz1 --yes"+at, 1, "", "barid: zzzzzzzz1: there is no such account\n")
	wants(t, "accounts list --older-than 5h"+at, 2, "", `barid: --older-than must be a number of days, such as "90d", not "5h"`+"\n")
}

// Registration is closed and opened from the command line, which says so when
// the configuration keeps it closed.
func TestRegistrationCommand(t *testing.T) {
	dir := t.TempDir()
	harness.New(t, harness.Options{DataDir: dir})
	at := " --data-dir " + dir
	wants(t, "registration status"+at, 0, "registration: open\n", "")
	wants(t, "registration close"+at, 0, "registration: closed by \"barid registration close\"\n", "")
	wants(t, "registration status --json"+at, 0, `{
  "now": "closed",
  "configured": "open",
  "stopped": true,
  "says": "closed by \"barid registration close\""
}
`, "")
	wants(t, "registration open"+at, 0, "registration: open\n", "")
	dir = t.TempDir()
	harness.New(t, harness.Options{DataDir: dir, Change: func(c *config.Config) { c.Accounts.Registration = config.RegistrationClosed }})
	wants(t, "registration open --data-dir "+dir, 0, "registration: closed by the configuration\nIt stays closed: the configuration has accounts.registration = \"closed\"; change that and start the relay anew.\n", "")
	wants(t, "invites list --data-dir "+dir, 1, "", "barid: this relay takes no accounts by invitation: set registration = \"invites\" in the table [accounts] of its configuration and start it anew\n")
}

// An invitation is made with its link and code, listed without, and revoked.
func TestInvitesCommand(t *testing.T) {
	dir := t.TempDir()
	harness.New(t, harness.Options{DataDir: dir, Change: func(c *config.Config) { c.Accounts.Registration = config.RegistrationInvites }})
	at := " --data-dir " + dir
	wants(t, "invites list"+at, 0, "there are no invitations; \"barid invites make\" makes one\n", "")
	code, stdout, stderr := ask(t, strings.Fields("invites make --uses 3 --expires 30d --note choir"+at)...)
	made := regexp.MustCompile(`(?s)^Invitation ([a-z2-7]{6}), good for 3 accounts until \d{4}-\d\d-\d\d \d\d:\d\d UTC\n.*█.*\nFor the app:    DCACCOUNT:https://relay\.test/new\?t=([A-Z2-7]{26})\nFor a browser:  https://relay\.test/\?t=([A-Z2-7]{26})\n`).FindStringSubmatch(stdout)
	if code != 0 || stderr != "" || made == nil || made[2] != made[3] {
		t.Fatalf("code %d, %s\n%s", code, stderr, stdout)
	}
	code, stdout, _ = ask(t, strings.Fields("invites list"+at)...)
	if code != 0 || !regexp.MustCompile(`(?m)^`+made[1]+` +3 +0 +0 +3 +\S+ \S+ UTC  choir$`).MatchString(stdout) || strings.Contains(stdout, made[2]) {
		t.Errorf("code %d\n%s", code, stdout)
	}
	wants(t, "invites revoke "+made[1]+at, 0, "revoked: "+made[1]+"\n", "")
	wants(t, "invites revoke "+made[1]+at, 1, "", "barid: "+made[1]+": revoke an invitation: no such invitation\n")
	wants(t, "invites make --uses 0"+at, 1, "", "barid: bad invitation: uses must be from 1 to 10000\n")
	wants(t, "invites make --expires never"+at, 2, "", "barid: --expires: must be a time span such as \"90m\", \"12h\" or \"7d\", not \"never\"\n")
}

// Where no relay runs, each command says so, and a command without its verb
// names the verbs.
func TestWithoutARelayOrAVerb(t *testing.T) {
	dir := t.TempDir()
	for _, line := range []string{
		"accounts list", "accounts show x", "accounts freeze x", "accounts unfreeze x", "accounts delete --yes x",
		"registration open", "registration close", "registration status", "invites make", "invites list", "invites revoke x",
	} {
		code, _, stderr := ask(t, strings.Fields(line+" --data-dir "+dir)...)
		if code != exitFailure || !strings.Contains(stderr, "no barid is running on this data directory") {
			t.Errorf("barid %s: code %d, %s", line, code, stderr)
		}
	}
	for _, line := range []string{"accounts", "registration", "invites", "accounts freeze", "invites revoke", "accounts nonsense"} {
		if code, _, _ := ask(t, strings.Fields(line)...); code != exitUsage {
			t.Errorf("barid %s: code %d", line, code)
		}
	}
}

func TestParseSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"7d": 7 * 24 * time.Hour, "12h": 12 * time.Hour, "90m": 90 * time.Minute, "": 0, "d": 0, "0d": 0, "-1d": 0, "-5h": 0, "1x": 0, "999999999d": 0, "1.5d": 0,
	} {
		if got, err := parseSpan(text); got != want || (err != nil) != (want == 0) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// Only a yes deletes.
func TestWantYes(t *testing.T) {
	for text, yes := range map[string]bool{"y\n": true, "Yes\n": true, "y": true, "\n": false, "": false, "no\n": false, "yesterday\n": false} {
		if err := wantYes(strings.NewReader(text)); (err == nil) != yes {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Names that clients made up do nothing to the terminal.
func TestNamesAreShownHarmlessly(t *testing.T) {
	var b strings.Builder
	d := app.AccountDetails{Mailboxes: []app.MailboxSize{{Name: "a\x1b[31mb", Messages: 1, Octets: 1536}}}
	if err := renderAccount(&b, d); err != nil || strings.Contains(b.String(), "\x1b") || !strings.Contains(b.String(), `a\x1b[31mb: 1 message, 1.5K`) {
		t.Errorf("%q, %v", b.String(), err)
	}
	if isTerminal(io.Reader(strings.NewReader(""))) {
		t.Error("a string is no terminal")
	}
}
