package app_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"barid/internal/admin"
	"barid/internal/app"
	"barid/internal/config"
	"barid/test/harness"
)

// imapSay opens a connection and gives what sends a command on it and takes
// its last line, or the BYE that came instead.
func imapSay(t *testing.T, r *harness.Relay) (say func(line string) string) {
	t.Helper()
	conn := r.Dial(t, "imap_clear")
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	lines := bufio.NewReader(conn)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return func(line string) string {
		t.Helper()
		fmt.Fprintf(conn, "a %s\r\n", line)
		for {
			got, err := lines.ReadString('\n')
			if err != nil {
				return "(" + err.Error() + ")"
			}
			if strings.HasPrefix(got, "a ") || strings.HasPrefix(got, "* BYE") {
				return strings.TrimSpace(got)
			}
		}
	}
}

// login gives the answer to a login.
func login(t *testing.T, r *harness.Relay, name string) string {
	t.Helper()
	return imapSay(t, r)("LOGIN " + r.Address(name) + " " + harness.PasswordOf(name).Wire())
}

func wantLogin(t *testing.T, r *harness.Relay, name string, ok bool) {
	t.Helper()
	got := login(t, r, name)
	if strings.HasPrefix(got, "a OK") != ok || !ok && got != "a NO [AUTHENTICATIONFAILED] Authentication failed." {
		t.Errorf("%s logs in: %q, want it to work: %v", name, got, ok)
	}
}

func ask[A any](t *testing.T, dir, path string, question any) A {
	t.Helper()
	var answer A
	if err := admin.Dial(dir).Ask(t.Context(), path, question, &answer); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return answer
}

// logged keeps what a relay logs.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

func hasFinding(r *harness.Relay, id string) bool {
	for _, f := range r.App().Status().Findings {
		if f.ID == id {
			return true
		}
	}
	return false
}

// Where the machine lacks something no new address is born, and who exists is
// served; log, status and findings say what is missing.
func TestAMachineWithoutRoomServesWhoExists(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := harness.New(t, harness.Options{DataDir: dir})
	wantLogin(t, first, "abcdefgh1", true)
	first.App().Stop(context.Background())
	for _, c := range []struct {
		change func(*config.Limits)
		text   string
		free   bool
	}{
		{func(l *config.Limits) { l.MinFreeDiskSpace = 1 << 60 }, "registration rejected: free disk ", false},
		{func(l *config.Limits) { l.MinAvailableMemory = 1 << 60 }, "registration rejected: available memory ", false},
		{func(l *config.Limits) { l.MaxLoad1m, l.MinFreeDiskSpace, l.MinAvailableMemory = 1e5, 1, 1 }, "registration rejected", true},
	} {
		log := &logged{}
		r := harness.New(t, harness.Options{DataDir: dir, Logger: slog.New(slog.NewTextHandler(log, nil)),
			Change: func(cfg *config.Config) { c.change(&cfg.Limits) }})
		wantLogin(t, r, "abcdefgh1", true)
		wantLogin(t, r, "abcdefgh2", c.free)
		status := r.App().Status()
		refusing := slices.ContainsFunc(status.Machine, func(m admin.Reading) bool { return m.Refusing })
		if n := log.count(c.text); (n == 0) != c.free || hasFinding(r, "accounts.no-room") == c.free || refusing == c.free || len(status.Machine) != 4 {
			t.Errorf("%s: %d lines, findings %v, machine %+v", c.text, n, status.Findings, status.Machine)
		}
		if got := status.Counters["rejected_registrations"]; (got == 0) != c.free {
			t.Errorf("%s: %v counted", c.text, got)
		}
		r.App().Stop(context.Background())
	}
}

// So many are born from one network at once; IMAP and submission count
// together, and who exists is not counted.
func TestSignupsOfOneNetworkAreBounded(t *testing.T) {
	t.Parallel()
	r := harness.New(t, harness.Options{Change: func(cfg *config.Config) {
		cfg.Limits.SignupBurst, cfg.Limits.SignupPerSecond = 3, 1
	}})
	begin := time.Now()
	born := 0
	for i := range 5 {
		if strings.HasPrefix(login(t, r, fmt.Sprintf("abcdefgh%d", i)), "a OK") {
			born++
		}
		wantLogin(t, r, "abcdefgh0", true)
	}
	if most := 3 + int(time.Since(begin)/time.Second) + 1; born < 3 || born > most {
		t.Errorf("%d were born", born)
	}
	for _, l := range r.App().Status().Limits {
		if l.Name == "signups_per_network" && (l.Use != 1 || l.Refused != int64(5-born)) {
			t.Errorf("%+v, %d were born", l, born)
		}
	}
}

func postNew(t *testing.T, r *harness.Relay, query string) (status int, answer map[string]string) {
	t.Helper()
	resp, err := http.Post("http://"+r.Addr("http_clear")+"/new"+query, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}

// Registration is closed and opened while the relay runs: logins and /new
// follow at once, and it stays so over a restart. What the configuration
// closes no command opens.
func TestRegistrationFollowsTheOperator(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := harness.New(t, harness.Options{DataDir: dir})
	wantLogin(t, r, "abcdefgh0", true)
	set := func(to string) app.Registration {
		return ask[app.Registration](t, dir, "/registration", app.RegistrationSet{Set: to})
	}
	check := func(want app.Registration, code int) {
		t.Helper()
		if got := set(""); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if got, _ := postNew(t, r, ""); got != code {
			t.Errorf("/new answers %d, want %d", got, code)
		}
		if got := r.App().Status().Registration; got != want.Says {
			t.Errorf("status says %q", got)
		}
	}
	open := app.Registration{Now: "open", Configured: "open", Says: "open"}
	shut := app.Registration{Now: "closed", Configured: "open", Stopped: true, Says: `closed by "barid registration close"`}
	check(open, 200)
	if got := set("closed"); got != shut {
		t.Errorf("%+v", got)
	}
	check(shut, 403)
	wantLogin(t, r, "abcdefgh1", false)
	wantLogin(t, r, "abcdefgh0", true)
	r.Restart(t)
	check(shut, 403)
	wantLogin(t, r, "abcdefgh1", false)
	set("open")
	check(open, 200)
	wantLogin(t, r, "abcdefgh1", true)
	r.App().Stop(context.Background())

	r = harness.New(t, harness.Options{DataDir: dir, Change: func(cfg *config.Config) { cfg.Accounts.Registration = config.RegistrationClosed }})
	closed := app.Registration{Now: "closed", Configured: "closed", Says: "closed by the configuration"}
	if got := set("open"); got != closed {
		t.Errorf("%+v", got)
	}
	check(closed, 403)
	wantLogin(t, r, "abcdefgh2", false)
}

// An invitation for two brings two, at the addresses that /new gave for it
// and nowhere else, also over a restart.
func TestAccountsComeByInvitation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := harness.New(t, harness.Options{DataDir: dir, Change: func(cfg *config.Config) { cfg.Accounts.Registration = config.RegistrationInvites }})
	wantLogin(t, r, "abcdefgh0", false)
	if code, answer := postNew(t, r, ""); code != 403 || answer["reason"] == "" {
		t.Errorf("%d %v", code, answer)
	}
	made := ask[app.InviteMade](t, dir, "/invites/make", app.InviteMake{Uses: 2, Seconds: 3600, Note: "for two"})
	_, token, _ := strings.Cut(made.URI, "?t=")
	if made.URI != "DCACCOUNT:https://relay.test/new?t="+token || made.Page != "https://relay.test/?t="+token || made.Invite.Left != 2 {
		t.Errorf("%+v", made)
	}
	var got []map[string]string
	for range 2 {
		code, answer := postNew(t, r, "?t="+token)
		if code != 200 {
			t.Fatalf("%d %v", code, answer)
		}
		got = append(got, answer)
	}
	if code, answer := postNew(t, r, "?t="+token); code != 403 || answer["reason"] != "This invitation is just being used. Please try again in a minute." {
		t.Errorf("a third: %d %v", code, answer)
	}
	r.Restart(t)
	for _, o := range got {
		for range 2 {
			if answer := imapSay(t, r)(fmt.Sprintf("LOGIN %s %s", o["email"], imapQuote(o["password"]))); !strings.HasPrefix(answer, "a OK") {
				t.Errorf("login: %s", answer)
			}
		}
	}
	wantLogin(t, r, "abcdefgh0", false)
	if code, answer := postNew(t, r, "?t="+token); code != 403 || answer["reason"] != "This invitation has been used up." {
		t.Errorf("when both are born: %d %v", code, answer)
	}
	list := ask[[]app.Invite](t, dir, "/invites", nil)
	if len(list) != 1 || list[0].Born != 2 || list[0].Left != 0 || list[0].Reserved != 0 || list[0].Note != "for two" || list[0].ID != made.Invite.ID {
		t.Errorf("%+v", list)
	}
	ask[struct{}](t, dir, "/invites/revoke", app.InviteRevoke{ID: made.Invite.ID})
	err := admin.Dial(dir).Ask(t.Context(), "/invites/revoke", app.InviteRevoke{ID: made.Invite.ID}, &struct{}{})
	if fault, ok := errors.AsType[*admin.Fault](err); !ok || !strings.Contains(fault.Text, "no such invitation") {
		t.Errorf("revoked again: %v", err)
	}
	if code, answer := postNew(t, r, "?t="+token); code != 403 || answer["reason"] != "This invitation is not valid." {
		t.Errorf("revoked: %d %v", code, answer)
	}
}

func imapQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// Where accounts do not come by invitation, the verbs say so.
func TestNoInvitationsWhereNoneAreWanted(t *testing.T) {
	dir := t.TempDir()
	harness.New(t, harness.Options{DataDir: dir})
	for path, question := range map[string]any{"/invites": nil, "/invites/make": app.InviteMake{Uses: 1, Seconds: 60}, "/invites/revoke": app.InviteRevoke{ID: "x"}} {
		var answer any
		err := admin.Dial(dir).Ask(t.Context(), path, question, &answer)
		if fault, ok := errors.AsType[*admin.Fault](err); !ok || !strings.Contains(fault.Text, `registration = "invites"`) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func listed(t *testing.T, dir string, q app.AccountsList) []string {
	t.Helper()
	var list []string
	if err := admin.Follow(t.Context(), admin.Dial(dir), "/accounts", q, func(r app.AccountRow) error {
		word := r.Address
		if r.Frozen {
			word += " frozen"
		}
		list = append(list, word)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

// Accounts are listed, shown, frozen and deleted while the relay runs. A
// deleted one's session ends with its next command.
func TestAccountsAreAdministered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := harness.New(t, harness.Options{DataDir: dir})
	say := imapSay(t, r)
	if got := say("LOGIN " + r.Address("abcdefgh1") + " " + harness.PasswordOf("abcdefgh1").Wire()); !strings.HasPrefix(got, "a OK") {
		t.Fatal(got)
	}
	say("SETMETADATA INBOX (/private/devicetoken \"abc\")")
	say("CREATE Archive")
	say("SELECT INBOX")
	idler := imapSay(t, r) // logged in, with no mailbox open
	idler("LOGIN " + r.Address("abcdefgh1") + " " + harness.PasswordOf("abcdefgh1").Wire())
	for _, name := range []string{"abcdefgh2", "abcdefgh3", "zzzzzzzz1"} {
		wantLogin(t, r, name, true)
	}
	if got := listed(t, dir, app.AccountsList{Prefix: "ABC"}); !slices.Equal(got, []string{"abcdefgh1@relay.test", "abcdefgh2@relay.test", "abcdefgh3@relay.test"}) {
		t.Errorf("%q", got)
	}
	if got := listed(t, dir, app.AccountsList{IdleDays: 1}); len(got) != 0 {
		t.Errorf("idle for a day: %q", got)
	}
	d := ask[app.AccountDetails](t, dir, "/accounts/show", app.AccountName{Address: "abcdefgh1"})
	if d.Address != "abcdefgh1@relay.test" || d.LastLogin != time.Now().UTC().Format(time.DateOnly) || d.Tokens != 1 || d.MaxOctets != 500<<20 || len(d.Mailboxes) != 2 || d.Mailboxes[1].Name != "Archive" {
		t.Errorf("%+v", d)
	}
	row := ask[app.AccountRow](t, dir, "/accounts/freeze", app.AccountFreeze{Address: "Abcdefgh2@relay.test"})
	if !row.Frozen {
		t.Errorf("%+v", row)
	}
	if got := listed(t, dir, app.AccountsList{Frozen: true}); !slices.Equal(got, []string{"abcdefgh2@relay.test frozen"}) {
		t.Errorf("%q", got)
	}
	wantLogin(t, r, "abcdefgh2", true)
	if row := ask[app.AccountRow](t, dir, "/accounts/freeze", app.AccountFreeze{Address: "abcdefgh2", Thaw: true}); row.Frozen {
		t.Errorf("%+v", row)
	}
	ask[app.AccountRow](t, dir, "/accounts/delete", app.AccountName{Address: "abcdefgh1"})
	if got := say("FETCH 1:* FLAGS"); !strings.HasPrefix(got, "* BYE") {
		t.Errorf("the session of a deleted account: %s", got)
	}
	if got := idler(`LIST "" *`); got != "* BYE The account is gone" {
		t.Errorf("another session of it: %s", got)
	}
	if got := listed(t, dir, app.AccountsList{Prefix: "abc"}); !slices.Equal(got, []string{"abcdefgh2@relay.test", "abcdefgh3@relay.test"}) {
		t.Errorf("%q", got)
	}
	for _, name := range []string{"abcdefgh1", "nobody@relay.test", "abcdefgh2@elsewhere.test", "abcdefgh2+tag", "a b", ""} {
		var answer any
		err := admin.Dial(dir).Ask(t.Context(), "/accounts/show", app.AccountName{Address: name}, &answer)
		if _, ok := errors.AsType[*admin.Fault](err); !ok {
			t.Errorf("%q: %v, %v", name, answer, err)
		}
	}
}
