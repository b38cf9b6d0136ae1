package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"barid/internal/journal"
	"barid/storage"
)

// Dovecot served for a while after we did: the UIDs that it gave its new mail
// stay, though names tell of another order; where it only expunged, nothing is
// forgotten.
func TestKeepsTheUIDsThatDovecotGaveMeanwhile(t *testing.T) {
	s, cfg, dir := onDisk(t, nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	alice := filepath.Join(dir, "alice@relay.test")
	put(t, hashOf(t, "a long password"), alice, "password")
	put(t, "one", alice, "cur", "1775324677.M1P1.exam,S=3:2,S")
	put(t, "two", alice, "cur", "1775324678.M1P1.exam,S=3:2,")
	list := "3 V1275660208 N8 G3085f01b7f11094c501100008c4a11c1\n6 :1775324677.M1P1.exam,S=3\n7 :1775324678.M1P1.exam,S=3\n"
	put(t, list, alice, "dovecot-uidlist")
	s = mustOpen(t, cfg)
	s.settler.stop()
	before := view(t, s, "alice", "INBOX")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	forget := func() int {
		t.Helper()
		fsys, err := journal.OpenFS(cfg.Dir)
		if err != nil {
			t.Fatal(err)
		}
		defer fsys.Close()
		n, err := ForgetServed(fsys, "mail/relay.test/alice@relay.test")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := forget(); n != 0 {
		t.Fatalf("forgot %d mailboxes that nobody else served", n)
	}
	if err := os.Remove(filepath.Join(alice, "cur", "1775324678.M1P1.exam,S=3:2,")); err != nil {
		t.Fatal(err)
	}
	put(t, strings.Replace(list, "7 :1775324678.M1P1.exam,S=3\n", "", 1), alice, "dovecot-uidlist")
	if n := forget(); n != 0 {
		t.Fatalf("forgot %d mailboxes of which something was expunged", n)
	}
	put(t, "late", alice, "new", "1775324700.M1P1.exam,S=4")
	put(t, "early", alice, "new", "1775324690.M1P1.exam,S=5")
	put(t, "3 V1275660208 N10 G3085f01b7f11094c501100008c4a11c1\n6 :1775324677.M1P1.exam,S=3\n8 :1775324700.M1P1.exam,S=4\n9 :1775324690.M1P1.exam,S=5\n", alice, "dovecot-uidlist")
	if n := forget(); n != 1 {
		t.Fatalf("forgot %d mailboxes, want 1", n)
	}
	s = mustOpen(t, cfg)
	s.settler.stop()
	t.Cleanup(func() { s.Close() })
	after := view(t, s, "alice", "INBOX")
	if after.UIDValidity != before.UIDValidity || after.ID != before.ID || after.UIDNext != 10 || after.HighestModSeq <= before.HighestModSeq {
		t.Errorf("%+v after %+v", after, before)
	}
	for i, want := range []struct {
		uid  storage.UID
		text string
	}{{6, "one"}, {8, "late"}, {9, "early"}} {
		if len(after.Messages) != 3 || after.Messages[i].UID != want.uid || read(t, s, "alice", "INBOX", want.uid) != want.text {
			t.Fatalf("%+v", after.Messages)
		}
	}
}

// Whoever goes back to Dovecot for a while, and then starts this relay without
// an import, has the UIDs that Dovecot gave, also after a crash at once; a list
// that is older than ours is not believed.
func TestStartsAfterDovecotWithoutAnImport(t *testing.T) {
	s, cfg, dir := onDisk(t, nil)
	alice := filepath.Join(dir, "alice@relay.test")
	must(t, s, login("alice"), ops("deliver", storage.Deliver{To: at("alice"), Content: mail("ours", 99)}))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ours, err := os.ReadFile(filepath.Join(alice, "dovecot-uidlist"))
	if err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, cfg)
	s.settler.stop()
	must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("ours, too", 99)}))
	before := view(t, s, "alice", "INBOX")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	newest, err := os.ReadFile(filepath.Join(alice, "dovecot-uidlist"))
	if err != nil {
		t.Fatal(err)
	}
	// Touched by others, with the list of a backup.
	put(t, string(ours), alice, "dovecot-uidlist")
	put(t, "by hand", alice, "new", "1775324600.M1P1.exam,S=7")
	s = mustOpen(t, cfg)
	s.settler.stop()
	if v := view(t, s, "alice", "INBOX"); len(v.Messages) != 3 || v.UIDNext != 4 || v.Messages[1].UID != 2 || v.Messages[2].UID != 3 {
		t.Fatalf("after a list out of a backup: %+v, was %+v", v, before)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// Dovecot's way with late before early.
	list, err := os.ReadFile(filepath.Join(alice, "dovecot-uidlist"))
	if err != nil || len(list) <= len(newest) {
		t.Fatalf("%q, %v", list, err)
	}
	put(t, "late", alice, "cur", "1775324700.M1P1.exam,S=4:2,")
	put(t, "early", alice, "cur", "1775324690.M1P1.exam,S=5:2,S")
	put(t, strings.Replace(string(list), " N4 ", " N9 ", 1)+"6 :1775324700.M1P1.exam,S=4\n8 :1775324690.M1P1.exam,S=5\n", alice, "dovecot-uidlist")
	s = mustOpen(t, cfg)
	s.settler.stop()
	for _, when := range []string{"at once", "after a crash", "after a start"} {
		v := view(t, s, "alice", "INBOX")
		if len(v.Messages) != 5 || v.UIDValidity != before.UIDValidity || v.ID != before.ID || v.UIDNext != 9 || v.HighestModSeq <= before.HighestModSeq ||
			v.Messages[0].UID != 1 || v.Messages[3].UID != 6 || v.Messages[4].UID != 8 {
			t.Fatalf("%s: %+v, was %+v", when, v, before)
		}
		if got := read(t, s, "alice", "INBOX", 6) + read(t, s, "alice", "INBOX", 8); got != "lateearly" {
			t.Fatalf("%s: read %q", when, got)
		}
		if when == "at once" {
			s = killed(t, s, cfg)
		} else {
			s = reopened(t, s, cfg)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A list at the end of the numbers costs its own mailbox its UIDs, and no other
// its UIDVALIDITY: they go on near the clock, and none comes twice.
func TestAListAtTheEndOfTheNumbers(t *testing.T) {
	for _, header := range []string{"V4294967295 N8", "V4294967294 N8", "V1275660208 N4294967295"} {
		s, cfg, dir := onDisk(t, nil)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		alice := filepath.Join(dir, "alice@relay.test")
		put(t, hashOf(t, "a long password"), alice, "password")
		put(t, "one", alice, "cur", "1775324677.M1P1.exam,S=3:2,S")
		put(t, "3 "+header+"\n6 :1775324677.M1P1.exam,S=3\n", alice, "dovecot-uidlist")
		s = mustOpen(t, cfg)
		s.settler.stop()
		must(t, s, login("alice"))
		inbox := view(t, s, "alice", "INBOX")
		if inbox.UIDValidity == 1275660208 || inbox.UIDValidity > 1<<31 || inbox.UIDNext > 1<<31 || len(inbox.Messages) != 1 {
			t.Errorf("%s: %+v", header, inbox)
		}
		last := inbox.UIDValidity
		for range 3 {
			must(t, s, ops("mailbox", storage.CreateMailbox{Account: acct("alice"), Name: "A"}))
			v := view(t, s, "alice", "A").UIDValidity
			if v <= last || v > 1<<31 {
				t.Errorf("%s: UIDVALIDITY %d after %d", header, v, last)
			}
			last = v
			must(t, s, ops("drop", storage.DeleteMailbox{Account: acct("alice"), Name: "A"}))
		}
		must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("new", 99)}))
		if v := view(t, s, "alice", "INBOX"); len(v.Messages) != 2 || v.Messages[1].UID >= v.UIDNext {
			t.Errorf("%s: %+v", header, v)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
