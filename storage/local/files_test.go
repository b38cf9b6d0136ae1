package local

import (
	"errors"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"barid/storage"
)

var errDisk = errors.New("the disk is broken")

func noRandom() *rand.Rand { return rand.New(rand.NewSource(1)) }

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// onDisk is a store in a directory whose settler does nothing by itself.
func onDisk(t *testing.T, change func(*Config)) (*Store, Config, string) {
	t.Helper()
	cfg := conformant(t.TempDir())
	cfg.SettleAfter, cfg.CheckpointEvery = time.Hour, time.Hour
	if change != nil {
		change(&cfg)
	}
	s := mustOpen(t, cfg)
	s.settler.stop()
	t.Cleanup(func() { s.Close() })
	return s, cfg, filepath.Join(cfg.Dir, "mail", "relay.test")
}

func reopened(t *testing.T, s *Store, cfg Config) *Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, cfg)
	s.settler.stop()
	t.Cleanup(func() { s.Close() })
	return s
}

func must(t *testing.T, s *Store, steps ...step) {
	t.Helper()
	if _, err := run(s, steps); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func view(t *testing.T, s *Store, local, box string) *storage.View {
	t.Helper()
	m, err := s.Open(ctx, acct(local), box)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	v, err := m.View(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func read(t *testing.T, s *Store, local, box string, uid storage.UID) string {
	t.Helper()
	m, err := s.Open(ctx, acct(local), box)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	text := "(nothing)"
	err = m.Read(ctx, []storage.UID{uid}, storage.Whole, func(_ storage.UID, c storage.Content) error {
		b := make([]byte, c.Size())
		_, err := c.ReadAt(b, 0)
		text = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// An account's directory has what other programs look for.
func TestFilesOfAnAccount(t *testing.T) {
	s, _, dir := onDisk(t, nil)
	alice := filepath.Join(dir, "alice@relay.test")
	must(t, s, login("alice"))
	if got := names(t, alice); len(got) != 0 {
		t.Errorf("before settling: %v", got)
	}
	must(t, s, settleNow)
	if got := strings.Join(names(t, alice), " "); got != "enforceE2EEincoming password" {
		t.Errorf("after birth: %v", got)
	}
	hash, err := os.ReadFile(filepath.Join(alice, "password"))
	if err != nil || !strings.HasPrefix(string(hash), "{SHA512-CRYPT}$6$") {
		t.Errorf("password file %q, %v", hash, err)
	}
	must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 99)}), settleNow)
	if got := names(t, filepath.Join(alice, "new")); len(got) != 1 || !strings.HasSuffix(got[0], ".barid,S=99,U=1") {
		t.Errorf("new: %v", got)
	}
	must(t, s, ops("flags", storage.SetFlags{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}, Mode: storage.AddFlags, Flags: storage.FlagSeen | storage.FlagAnswered}), checkpointNow)
	if got := names(t, filepath.Join(alice, "cur")); len(got) != 1 || !strings.HasSuffix(got[0], ".barid,S=99,U=1:2,RS") {
		t.Errorf("cur: %v", got)
	}
	list, err := os.ReadFile(filepath.Join(alice, "dovecot-uidlist"))
	if err != nil || !strings.Contains(string(list), "\n1 :") {
		t.Errorf("dovecot-uidlist %q, %v", list, err)
	}
	info, err := os.Stat(filepath.Join(alice, "password"))
	if err != nil || info.Mode().Perm() != 0o600 || !info.ModTime().Equal(day(time.Now())) {
		t.Errorf("password file: %v %v, %v", info.Mode(), info.ModTime(), err)
	}
	must(t, s, ops("end", storage.DeleteAccount{Account: acct("alice")}), settleNow)
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("after the end: %v", got)
	}
}

// What is expunged before it settles never becomes a file.
func TestShortLifeMakesNoFile(t *testing.T) {
	s, _, dir := onDisk(t, nil)
	must(t, s, login("alice"), settleNow,
		ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 5000)}),
		ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}}))
	if n := s.fresh.Load(); n != 5000 {
		t.Errorf("%d octets in memory", n)
	}
	must(t, s, settleNow)
	if n := s.fresh.Load(); n != 0 {
		t.Errorf("%d octets in memory", n)
	}
	if got := strings.Join(names(t, filepath.Join(dir, "alice@relay.test")), " "); got != "enforceE2EEincoming password" {
		t.Errorf("files: %v", got)
	}
}

// A message to many lies on disk once, and goes with the last of them.
func TestGroupMessageIsOneFile(t *testing.T) {
	s, cfg, dir := onDisk(t, nil)
	c := mail("group", 3000)
	must(t, s, login("alice"), login("bob"), login("carol"),
		ops("deliver", storage.Deliver{To: at("alice"), Content: c}, storage.Deliver{To: at("bob"), Content: c}, storage.Deliver{To: at("carol"), Content: c}),
		settleNow)
	links := func(local string) uint64 {
		in := filepath.Join(dir, local+"@relay.test", "new")
		list := names(t, in)
		if len(list) != 1 {
			t.Fatalf("%s: %v", local, list)
		}
		info, err := os.Stat(filepath.Join(in, list[0]))
		if err != nil {
			t.Fatal(err)
		}
		return uint64(info.Sys().(*syscall.Stat_t).Nlink)
	}
	if n := links("bob"); n != 3 {
		t.Errorf("%d links", n)
	}
	must(t, s, ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}}), settleNow)
	if n := links("bob"); n != 2 {
		t.Errorf("%d links", n)
	}
	s = reopened(t, s, cfg)
	want := string(*c.(*octets))
	if got := read(t, s, "carol", "INBOX", 1); got != want {
		t.Errorf("carol reads %.30q", got)
	}
}

// The operator's editor is an interface: what it writes counts at the next
// login.
func TestHandEditedPassword(t *testing.T) {
	s, cfg, dir := onDisk(t, nil)
	file := filepath.Join(dir, "alice@relay.test", "password")
	must(t, s, login("alice"), settleNow)
	edit := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	original, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "blocked\n", "{SHA512-CRYPT}", "{PLAIN}a long password", "$6$", strings.Repeat("x", 5000), "\x00\x00"} {
		edit(text)
		wantErr(t, "login to blocked account", login("alice").do(s), storage.ErrRefused)
		if _, err := s.Lookup(ctx, at("alice")); err != nil {
			t.Errorf("a blocked account still is one: %v", err)
		}
	}
	edit("blocked")
	wantErr(t, "login", login("alice").do(s), storage.ErrRefused)
	s = reopened(t, s, cfg)
	wantErr(t, "login after reopening", login("alice").do(s), storage.ErrRefused)
	for _, hash := range []string{
		string(original) + "\n",
		strings.TrimPrefix(string(original), "{SHA512-CRYPT}"),
		"{BLF-CRYPT}$2a$04$lOG0qNAAKyMQV7I5xuDyVerJmELVrGPuXVkTpM7.1PXtKk6gNJ5mq",
	} {
		edit(hash)
		err := login("alice").do(s)
		if strings.HasPrefix(hash, "{BLF") {
			wantErr(t, "another password's hash", err, storage.ErrRefused)
		} else if err != nil {
			t.Errorf("login with %.20q: %v", hash, err)
		}
	}
}

// A hand edit outlives a crash of the process, too.
func TestHandEditAndReplay(t *testing.T) {
	s, cfg, dir := onDisk(t, nil)
	must(t, s, login("alice"), settleNow)
	if err := os.WriteFile(filepath.Join(dir, "alice@relay.test", "password"), []byte("blocked"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = killed(t, s, cfg)
	wantErr(t, "login", login("alice").do(s), storage.ErrRefused)
	must(t, s, settleNow)
	if text, _ := os.ReadFile(filepath.Join(dir, "alice@relay.test", "password")); string(text) != "blocked" {
		t.Errorf("password file %q", text)
	}
}

// killed opens the directory anew without a Close, as after SIGKILL.
func killed(t *testing.T, s *Store, cfg Config) *Store {
	t.Helper()
	endJournal(t, s)
	s.unlock()
	s.unlock = func() {}
	s = mustOpen(t, cfg)
	s.settler.stop()
	t.Cleanup(func() { s.Close() })
	return s
}

// The last login is the mtime of the password file, by the day.
func TestLastLogin(t *testing.T) {
	now := time.Unix(100_000, 0)
	s, cfg, dir := onDisk(t, func(c *Config) { c.Now = func() time.Time { return now } })
	file := filepath.Join(dir, "alice@relay.test", "password")
	is := func(seconds int64) {
		t.Helper()
		info, err := os.Stat(file)
		if err != nil || info.ModTime().Unix() != seconds {
			t.Errorf("mtime %d, want %d, %v", info.ModTime().Unix(), seconds, err)
		}
	}
	must(t, s, login("alice"), settleNow)
	is(86400)
	now = time.Unix(150_000, 0)
	must(t, s, login("alice"), settleNow)
	is(86400)
	now = time.Unix(200_000, 0)
	must(t, s, login("alice"), settleNow)
	is(172800)
	s = reopened(t, s, cfg)
	must(t, s, login("alice"), settleNow)
	is(172800)
}

// The nocreate file closes the door at once, for the new only.
func TestNoCreate(t *testing.T) {
	closed := false
	s, cfg, _ := onDisk(t, func(c *Config) { c.Policy.Closed = func() bool { return closed } })
	must(t, s, login("alice"))
	file := filepath.Join(cfg.Dir, "nocreate")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "birth", login("bob").do(s), storage.ErrRefused)
	must(t, s, login("alice"))
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	closed = true
	wantErr(t, "birth", login("bob").do(s), storage.ErrRefused)
	must(t, s, login("alice"))
	closed = false
	must(t, s, login("bob"))
}

// Accounts older than today's rules are served.
func TestOldAccountsOutsideTheRules(t *testing.T) {
	s, cfg, _ := onDisk(t, nil)
	must(t, s, login("alice"))
	cfg.Policy = Policy{UsernameMin: 9, UsernameMax: 9, PasswordMin: 40, Closed: func() bool { return true }}
	s = reopened(t, s, cfg)
	must(t, s, login("alice"))
}

// Two processes cannot have one directory.
func TestDirectoryIsLocked(t *testing.T) {
	_, cfg, _ := onDisk(t, nil)
	if s, err := Open(cfg); err == nil {
		s.Close()
		t.Error("opened twice")
	}
}

// Addresses of a relay without a name have brackets, directories of the
// domain have none.
func TestAddressLiteralDomain(t *testing.T) {
	cfg := conformant(t.TempDir())
	cfg.Domain = "[192.0.2.7]"
	s := mustOpen(t, cfg)
	a := at("alice")
	a.Domain = cfg.Domain
	if _, err := s.Login(ctx, a, "a long password", storage.Origin{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := names(t, filepath.Join(cfg.Dir, "mail", "192.0.2.7")); len(got) != 1 || got[0] != "alice@[192.0.2.7]" {
		t.Errorf("accounts %v", got)
	}
}

// Large mail that nobody has any more does not fill the disk until the time
// of the next checkpoint.
func TestStagingFilesGoBeforeTheyFillTheDisk(t *testing.T) {
	s, cfg, _ := onDisk(t, func(cfg *Config) { cfg.CheckpointBytes = 100_000 })
	must(t, s, login("alice"))
	for i := range 10 {
		must(t, s,
			ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 50_000)}),
			ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{storage.UID(i + 1)}}),
			settleNow)
		s.settler.upkeep()
		must(t, s, checkpointEnds)
	}
	if got := names(t, filepath.Join(cfg.Dir, "staging")); len(got) > 8 {
		t.Errorf("%d staging files of 50,000 octets each", len(got))
	}
	must(t, s, checkpointNow)
	if s.wasted != 0 {
		t.Errorf("%d octets wasted by no file", s.wasted)
	}
}
