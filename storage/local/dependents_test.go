package local

import (
	"errors"
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

// What is written while a checkpoint ends is in the next.
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
		flags := ops("flags", storage.SetFlags{
			Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}, Flags: []storage.Flags{storage.FlagSeen, 0}[i%2],
		})
		done := make(chan error)
		go func() { done <- flags.do(s) }()
		err := s.checkpoint()
		if err := errors.Join(err, <-done); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		listed := s.dirty[a]
		s.mu.Unlock()
		if a.dirty.Load() != listed {
			t.Fatalf("round %d: marked %v, listed %v", i, a.dirty.Load(), listed)
		}
	}
}
