package local

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"barid/internal/journal/faultfs"
	"barid/storage"
	"barid/storage/maildir"
)

// clocked is a Config on a simulated disk with the bubble's clock.
func clocked(disk *faultfs.FS) Config {
	cfg := faulty(disk)
	cfg.Now, cfg.SettleAfter = time.Now, 10*time.Second
	return cfg
}

func filesOf(t *testing.T, s *Store, local string) int {
	t.Helper()
	files, err := maildir.At(s.fs, accountDir(at(local))).List()
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// Content gets its file when its time has come, by itself.
func TestSettlesWhenItIsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustOpen(t, clocked(faultfs.New()))
		defer s.Close()
		must(t, s, login("alice"), ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 99)}))
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if n := filesOf(t, s, "alice"); n != 0 {
			t.Errorf("%d files too soon", n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := filesOf(t, s, "alice"); n != 1 || s.fresh.Load() != 0 {
			t.Errorf("%d files, %d octets in memory", n, s.fresh.Load())
		}
	})
}

// Too much content in memory settles before its time, the oldest first.
func TestSettlesWhenMemoryIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := clocked(faultfs.New())
		cfg.FreshBytes = 10_000
		s := mustOpen(t, cfg)
		defer s.Close()
		must(t, s, login("alice"))
		for i := range 30 {
			must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail(fmt.Sprint(i), 1000)}))
		}
		synctest.Wait()
		if n := s.fresh.Load(); n > cfg.FreshBytes {
			t.Errorf("%d octets in memory", n)
		}
		if n := filesOf(t, s, "alice"); n != 20 {
			t.Errorf("%d files", n)
		}
	})
}

// Checkpoints come by time and by the length of the journal.
func TestCheckpointsByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := clocked(faultfs.New())
		cfg.CheckpointEvery = 5 * time.Minute
		s := mustOpen(t, cfg)
		defer s.Close()
		must(t, s, login("alice"))
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		if s.trimmed.Load() == 0 {
			t.Error("no checkpoint after its time")
		}
		before := s.trimmed.Load()
		for range 600 {
			must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 2000)}))
		}
		time.Sleep(lull + time.Second)
		synctest.Wait()
		if s.trimmed.Load() == before {
			t.Error("no checkpoint of a long journal")
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(s.accounts) != 0 || len(s.dirty) != 0 {
			t.Errorf("%d accounts in memory, %d with changes", len(s.accounts), len(s.dirty))
		}
	})
}

// Mail that leaves within a second gets no file, whenever a checkpoint comes.
func TestShortLivesGetNoFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustOpen(t, clocked(faultfs.New()))
		must(t, s, login("alice"))
		checkpoints, trimmed := 0, s.trimmed.Load()
		for i := range storage.UID(3000) {
			must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 2000)}))
			if i >= 100 {
				must(t, s, ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{i - 99}}))
			}
			time.Sleep(5 * time.Millisecond)
			synctest.Wait()
			if now := s.trimmed.Load(); now != trimmed {
				checkpoints, trimmed = checkpoints+1, now
			}
		}
		if checkpoints < 3 || s.settled != 0 {
			t.Errorf("%d checkpoints, %d files of messages", checkpoints, s.settled)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if n := filesOf(t, s, "alice"); n != 100 {
			t.Errorf("%d files of 100 messages", n)
		}
	})
}

// Who waits for a full journal does not wait for a lull: nor would time pass,
// as the settler is rung again and again.
func TestAFullJournalWaitsForNoLull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustOpen(t, clocked(faultfs.New()))
		defer s.Close()
		must(t, s, login("alice"))
		s.disk.Lock() // the settler is slow
		for s.journal.Size() <= s.maxWindow() {
			must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 2000)}))
		}
		s.disk.Unlock()
		began := time.Now()
		must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 2000)}))
		if took := time.Since(began); took > 0 {
			t.Errorf("a delivery waited for %v", took)
		}
	})
}
