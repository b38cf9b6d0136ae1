package local

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"barid/internal/journal/faultfs"
	"barid/storage"
)

// manyAccounts is a disk with accounts of mail, left by a clean stop.
func manyAccounts(t *testing.T, n int) *faultfs.FS {
	t.Helper()
	disk := faultfs.New()
	hash := hashed("a long password")
	for i := range n {
		dir := fmt.Sprintf("mail/relay.test/account%d@relay.test", i)
		if err := puts(disk, dir+"/password", hash); err != nil {
			t.Fatal(err)
		}
	}
	s := still(t, disk)
	for i := range n {
		must(t, s, ops("deliver", storage.Deliver{To: at(fmt.Sprint("account", i)), Content: mail("x", 100)}))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return disk
}

// A start looks at no account, and brings none into memory, be there a hundred
// or a thousand.
func TestStartLooksAtNoAccount(t *testing.T) {
	for _, n := range []int{100, 1000} {
		disk := manyAccounts(t, n)
		var mu sync.Mutex
		var at []string
		disk.OnLook(func(op faultfs.Op) {
			mu.Lock()
			defer mu.Unlock()
			if strings.HasPrefix(op.Name, "mail/relay.test/") {
				at = append(at, string(op.Kind)+" "+op.Name)
			}
		})
		s := still(t, disk)
		mu.Lock()
		if len(at) > 0 {
			t.Errorf("a start looks at %q", at)
		}
		mu.Unlock()
		must(t, s, login("account7"))
		disk.OnLook(nil)
		if len(s.accounts) != 1 {
			t.Errorf("%d accounts in memory", len(s.accounts))
		}
	}
}

// Accounts come into memory when they are used, and go a minute later.
func TestAccountsLeaveMemoryWhenNobodyUsesThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := manyAccounts(t, 50)
		s := mustOpen(t, clocked(disk))
		defer s.Close()
		for i := range 50 {
			view(t, s, fmt.Sprint("account", i), "INBOX")
		}
		if n := inMemory(s); n != 50 {
			t.Errorf("%d accounts in memory when all are used", n)
		}
		m, err := s.Open(ctx, acct("account7"), "INBOX")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if n := inMemory(s); n != 1 {
			t.Errorf("%d accounts in memory when one is used", n)
		}
		m.Close()
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if n := inMemory(s); n != 0 {
			t.Errorf("%d accounts in memory when none is used", n)
		}
	})
}

func inMemory(s *Store) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.accounts)
}

// What is delivered, fetched and deleted within seconds never becomes a file:
// all that is written of it is its records.
func TestAShortLifeIsWrittenOnce(t *testing.T) {
	disk := faultfs.New()
	s := still(t, disk)
	must(t, s, login("alice"), settleNow, ops("first", storage.Deliver{To: at("alice"), Content: mail("x", 9)}), checkpointNow)
	begin, size := disk.Ops(), s.journal.Size()
	const messages, octets = 50, 1500 // what a segment of the tests takes
	for n := range messages {
		uid := storage.UID(n + 2)
		must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("short", octets)}))
		if got := read(t, s, "alice", "INBOX", uid); len(got) != octets {
			t.Fatalf("read %d octets", len(got))
		}
		must(t, s, ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{uid}}))
	}
	must(t, s, settleNow)
	for _, op := range disk.Log()[begin:] {
		if !strings.HasPrefix(op.Name, journalDir) {
			t.Errorf("%v", op)
		}
	}
	if written := s.journal.Size() - size; written > messages*(octets+400) {
		t.Errorf("%d octets of journal for %d messages of %d", written, messages, octets)
	}
	if n := s.fresh.Load(); n != 0 {
		t.Errorf("%d octets in memory after all", n)
	}
}

// A mailbox that is made anew from its files has the UIDs of their names, and
// UIDNEXT is 2^20 higher: those that were expunged left no trace.
func TestARebuiltMailboxKeepsItsUIDs(t *testing.T) {
	disk := faultfs.New()
	s := still(t, disk)
	must(t, s, login("alice"))
	for range 5 {
		must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 100)}))
	}
	must(t, s, ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{2, 5}}), checkpointNow)
	was := view(t, s, "alice", "INBOX")
	endJournal(t, s)
	for _, name := range []string{snapshotName, "dovecot-uidlist"} {
		if err := disk.Remove(alicesDir + "/" + name); err != nil {
			t.Fatal(err)
		}
	}
	v := view(t, still(t, disk), "alice", "INBOX")
	if len(v.Messages) != 3 || v.Messages[0].UID != 1 || v.Messages[1].UID != 3 || v.Messages[2].UID != 4 {
		t.Errorf("%+v", v.Messages)
	}
	if v.UIDNext != 5+uidGap || v.UIDValidity <= was.UIDValidity {
		t.Errorf("UIDNEXT %d, UIDVALIDITY %d after %d", v.UIDNext, v.UIDValidity, was.UIDValidity)
	}
}
