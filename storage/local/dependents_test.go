package local

import (
	"sync"
	"testing"
	"time"

	"barid/internal/journal/faultfs"
	"barid/storage"
)

// A source goes while a copy of its copy waits for its flush: that one has no
// other content.
func TestSourcesStayForWhatIsNotFlushedYet(t *testing.T) {
	disk := faultfs.New()
	s, err := openStill(faulty(disk))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	must(t, s, login("alice"),
		ops("deliver", storage.Deliver{To: at("alice"), Content: mail("one", 100)}),
		ops("mailbox", storage.CreateMailbox{Account: acct("alice"), Name: "A"}),
		checkpointNow,
		ops("copy", storage.Copy{Account: acct("alice"), Mailbox: "INBOX", Dest: "A", UIDs: []storage.UID{1}}),
		ops("its source goes", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}}))
	settled := make(chan error, 1)
	var once sync.Once
	disk.OnFlush(func(faultfs.Op) {
		once.Do(func() { // the record of the rename is on its way
			go func() { settled <- settleNow.do(s) }()
			select {
			case err := <-settled:
				settled <- err
			case <-time.After(50 * time.Millisecond): // it waits for this flush
			}
		})
	})
	must(t, s, ops("rename", storage.RenameMailbox{Account: acct("alice"), From: "A", To: "B"}))
	if err := <-settled; err != nil {
		t.Fatal(err)
	}
	disk.OnFlush(nil)
	must(t, s, settleNow)
	if got := read(t, s, "alice", "B", 1); len(got) != 100 {
		t.Errorf("read %q", got)
	}
	stopChangesNothing(t, s, disk)
}

// What is written while a checkpoint begins or ends is in this or the next.
func TestCheckpointsForgetNobody(t *testing.T) {
	s, err := openStill(faulty(faultfs.New()))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	must(t, s, login("alice"), ops("deliver", storage.Deliver{To: at("alice"), Content: mail("one", 100)}))
	a, err := s.acquire(at("alice"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.release(a)
	for i := range 3000 {
		flags := []storage.Flags{storage.FlagSeen, 0}[i%2]
		during(t, s, ops("flags", storage.SetFlags{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}, Flags: flags}))
		remembered(t, s, a)
	}
	// A large record takes some time to come into its account.
	var many []storage.Op
	for range 400 {
		many = append(many, storage.Deliver{To: at("alice"), Content: mail("many", 20)})
	}
	for range 20 {
		during(t, s, ops("many", many...))
		remembered(t, s, a)
		var uids []storage.UID
		for _, m := range view(t, s, "alice", "INBOX").Messages[1:] {
			uids = append(uids, m.UID)
		}
		must(t, s, ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: uids}))
	}
}

// during does a step while checkpoints are made.
func during(t *testing.T, s *Store, do step) {
	t.Helper()
	done := make(chan error)
	go func() { done <- do.do(s) }()
	for {
		if err := s.checkpoint(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
	}
}

// remembered checks that nothing of an account is neither in the journal nor
// in a snapshot.
func remembered(t *testing.T, s *Store, a *account) {
	t.Helper()
	s.mu.Lock()
	listed := s.dirty[a]
	s.mu.Unlock()
	if a.dirty.Load() != listed {
		t.Fatalf("marked %v, listed %v", a.dirty.Load(), listed)
	}
	if bs := a.next.find("INBOX"); bs.seq <= s.trimmed.Load() && bs.id.snapped < bs.seq {
		t.Fatalf("record %d is trimmed, the snapshot has %d", bs.seq, bs.id.snapped)
	}
}

// Mail that comes while a checkpoint takes long is not held up for want of
// memory.
func TestAMailFloodDoesNotWaitForACheckpoint(t *testing.T) {
	disk := faultfs.New()
	cfg := faulty(disk)
	cfg.FreshBytes = 20_000
	s, err := openStill(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.journal.Close()
	must(t, s, login("alice"), login("bob"), settleNow, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 99)}),
		ops("deliver", storage.Deliver{To: at("bob"), Content: mail("x", 99)}))
	came := 0
	cp := &checkpoint{s: s, seq: uint64(s.journal.Last()), troubled: map[*account]bool{}}
	s.disk.Lock()
	defer s.disk.Unlock()
	cp.capture()
	for range 200 {
		must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 1500)}))
		came++
		s.settler.relieve()
	}
	if n := s.fresh.Load(); n > 2*cfg.FreshBytes {
		t.Errorf("%d octets wait after %d messages", n, came)
	}
}
