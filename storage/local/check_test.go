package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"barid/storage"
	"barid/storage/maildir"
)

// checked checks a store and gives the kinds of what it found, and those that
// were repaired with a "+".
func checked(t *testing.T, s *Store, repair bool) (kinds []string, sum Checked) {
	t.Helper()
	sum, err := s.Check(ctx, CheckOptions{Repair: repair, Hurry: true, Report: func(f Fault) error {
		kind := f.Kind
		if f.Repaired {
			kind += "+"
		}
		kinds = append(kinds, kind)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(kinds)
	return kinds, sum
}

// damaged is a store with one fault of each kind, all in alice's account but
// for bob's snapshot and a stray staging file.
func damaged(t *testing.T) (*Store, Config) {
	s, cfg, dir := onDisk(t, nil)
	deliver := func(to string, size int) step {
		return ops("deliver", storage.Deliver{To: at(to), Content: mail("some text, and more ", size)})
	}
	must(t, s, login("alice"), login("bob"), deliver("bob", 99))
	for range 4 {
		must(t, s, deliver("alice", 9000))
	}
	must(t, s, deliver("alice", 100), deliver("alice", 101))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	alice, bob := filepath.Join(dir, "alice@relay.test"), filepath.Join(dir, "bob@relay.test")
	file := func(uid string) string {
		for _, name := range names(t, filepath.Join(alice, "new")) {
			if strings.HasSuffix(name, ",U="+uid) {
				return filepath.Join(alice, "new", name)
			}
		}
		t.Fatalf("no file of UID %s", uid)
		return ""
	}
	old := time.Now().Add(-48 * time.Hour)
	err := errors.Join(
		os.Remove(file("1")),
		os.Truncate(file("2"), 200), // compressed
		os.Truncate(file("5"), 50),
		os.WriteFile(file("6"), make([]byte, 101), 0o600),
		os.Link(file("3"), strings.Replace(file("3"), "/new/", "/cur/", 1)+":2,S"),
		os.WriteFile(filepath.Join(alice, "new", "1775324678.M1P1.exam,S=5"), []byte("hello"), 0o600),
		os.Mkdir(filepath.Join(alice, "new", "a directory"), 0o700),
		os.WriteFile(filepath.Join(alice, "tmp", "left"), nil, 0o600),
		os.Chtimes(filepath.Join(alice, "tmp", "left"), old, old),
		os.WriteFile(filepath.Join(alice, "dovecot-uidlist"), []byte("3 V1 N5 G3085f01b7f11094c501100008c4a11c1\n"), 0o600),
		os.WriteFile(filepath.Join(bob, snapshotName), []byte("garbage"), 0o600),
		os.WriteFile(filepath.Join(cfg.Dir, stagingDir, "left"), nil, 0o600),
		os.Chtimes(filepath.Join(cfg.Dir, stagingDir, "left"), old, old),
		os.Mkdir(filepath.Join(dir, "carol@relay.test"), 0o700),
	)
	if err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, cfg)
	s.settler.stop()
	t.Cleanup(func() { s.Close() })
	return s, cfg
}

// A check finds what is wrong, changes nothing, and a second finds the same.
func TestCheckFindsWhatIsWrong(t *testing.T) {
	s, cfg := damaged(t)
	// Opening removes what no record names, so that comes after.
	left := filepath.Join(cfg.Dir, stagingDir, "left")
	old := time.Now().Add(-2 * time.Hour)
	if err := errors.Join(os.WriteFile(left, nil, 0o600), os.Chtimes(left, old, old)); err != nil {
		t.Fatal(err)
	}
	want := []string{
		FaultContent, FaultContent, FaultDouble, FaultForeign, FaultMissing, FaultNoPassword, FaultSize,
		FaultSnapshot, FaultStaging, FaultTmp, FaultUIDList, FaultUnlisted,
	}
	slices.Sort(want)
	for range 2 {
		kinds, sum := checked(t, s, false)
		if !slices.Equal(kinds, want) {
			t.Errorf("found %q, want %q", kinds, want)
		}
		if sum.Accounts != 3 || sum.Looked != 3 || sum.Messages != 5 || sum.Faults != int64(len(want)) || sum.Repaired != 0 {
			t.Errorf("%+v", sum)
		}
	}
	if s.journal.Last() != s.journal.Durable() || uint64(s.journal.Last()) != s.trimmed.Load() {
		t.Error("a check without repair writes records")
	}
}

// A repair does what is safe, and what is left is what only a human can mend.
func TestCheckRepairsWhatIsSafe(t *testing.T) {
	s, cfg := damaged(t)
	_, sum := checked(t, s, true)
	if sum.Repaired < 4 {
		t.Errorf("%+v", sum)
	}
	checked(t, s, true)
	kinds, _ := checked(t, s, false)
	for _, kind := range kinds {
		if !slices.Contains([]string{FaultContent, FaultSize, FaultDouble, FaultForeign, FaultNoPassword}, kind) {
			t.Errorf("left: %s", kind)
		}
	}
	if v := view(t, s, "alice", "INBOX"); len(v.Messages) != 6 || v.Messages[5].UID != 7 {
		t.Errorf("alice has %+v", v.Messages)
	}
	if v := view(t, s, "bob", "INBOX"); len(v.Messages) != 1 {
		t.Errorf("bob has %+v", v.Messages)
	}
	s = reopened(t, s, cfg)
	if v := view(t, s, "alice", "INBOX"); len(v.Messages) != 6 {
		t.Errorf("alice has %+v", v.Messages)
	}
}

// A healthy store has no faults, in use or not, while mail comes and goes.
func TestCheckOfAHealthyStoreFindsNothing(t *testing.T) {
	cfg := conformant(t.TempDir())
	cfg.Quota, cfg.SettleAfter = 0, time.Millisecond
	s := mustOpen(t, cfg)
	defer s.Close()
	must(t, s, login("alice"), login("bob"))
	over, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		var err error
		for n := 1; over.Err() == nil && err == nil; n++ {
			uid := storage.UID(n)
			_, err = run(s, []step{
				ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 5000)}, storage.Deliver{To: at("bob"), Content: mail("y", 20)}),
				ops("flags", storage.SetFlags{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{uid}, Flags: storage.FlagSeen}),
			})
			if err == nil && n%3 == 0 {
				err = ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{uid - 1}}).do(s)
			}
			if err == nil && n%50 == 0 {
				err = s.checkpoint()
			}
		}
		done <- err
	}()
	for range 5 {
		if kinds, sum := checked(t, s, false); len(kinds) > 0 {
			t.Errorf("%q, %+v", kinds, sum)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// After Settle the files are all there is.
func TestSettleLeavesACompleteMaildir(t *testing.T) {
	s, _, dir := onDisk(t, nil)
	must(t, s, login("alice"), ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 99)}),
		ops("flags", storage.SetFlags{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}, Flags: storage.FlagSeen}))
	if kinds, sum := checked(t, s, false); len(kinds) > 0 || sum.Messages != 0 || sum.Waiting != 1 {
		t.Errorf("before: %q, %+v", kinds, sum)
	}
	if err := s.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	if kinds, sum := checked(t, s, false); len(kinds) > 0 || sum.Messages != 1 || sum.Waiting != 0 {
		t.Errorf("after: %q, %+v", kinds, sum)
	}
	alice := filepath.Join(dir, "alice@relay.test")
	if got := names(t, filepath.Join(alice, maildir.Cur)); len(got) != 1 || !strings.HasSuffix(got[0], ":2,S") {
		t.Errorf("cur: %v", got)
	}
	if text, err := os.ReadFile(filepath.Join(alice, maildir.UIDListName)); err != nil || !strings.Contains(string(text), "\n1 :") {
		t.Errorf("dovecot-uidlist %q, %v", text, err)
	}
}
