package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"barid/internal/journal/faultfs"
	"barid/storage"
)

// What is sent before it settles leaves nothing behind but its records.
func TestAQueuedMessageThatIsSentAtOnceNeverBecomesAFile(t *testing.T) {
	disk := faultfs.New()
	s := still(t, disk)
	must(t, s, login("alice"), settleNow)
	before, records := disk.Ops(), s.journal.Last()
	c := mail("x", 1500)
	must(t, s, ops("both", storage.Deliver{To: at("alice"), Content: c}, leave(c, "bob"), leave(c, "carol")))
	if n := s.journal.Last() - records; n != 1 {
		t.Errorf("%d records for local and remote recipients", n)
	}
	flushes := 0
	for _, op := range disk.Log()[before:] {
		if flushesRecords(op) {
			flushes++
		}
	}
	if flushes != 1 {
		t.Errorf("%d flushes for one record", flushes)
	}
	must(t, s, done(1, "bob"), done(2, "carol"),
		ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}}), settleNow)
	for _, op := range disk.Log()[before:] {
		if !strings.HasPrefix(op.Name, journalDir) {
			t.Errorf("%v", op)
		}
	}
	if n := s.fresh.Load(); n != 0 {
		t.Errorf("%d octets stay in memory", n)
	}
	if len(s.held) != 0 || len(s.queue.senders) != 0 || len(s.queue.dests) != 0 {
		t.Errorf("held: %d contents, %d senders, %d destinations", len(s.held), len(s.queue.senders), len(s.queue.dests))
	}
}

// flushesRecords tells a flush of the first segment from those of the next one,
// which is made in the background.
func flushesRecords(op faultfs.Op) bool {
	return op.Kind == faultfs.Datasync && op.Name == journalDir+"/seg-00000000"
}

// The file of a queued message is one with that in a mailbox, and those of all
// its entries.
func TestQueuedContentIsStoredOnce(t *testing.T) {
	s, cfg, dir := onDisk(t, nil)
	c := mail("x", 9000)
	must(t, s, login("alice"), ops("both", leave(c, "bob"), storage.Deliver{To: at("alice"), Content: c}, leave(c, "carol")),
		ops("no local one", leave(mail("y", 9000), "bob"), leave(mail("y", 9000), "carol")), settleNow)
	inbox := filepath.Join(dir, "alice@relay.test", "new")
	one, err := os.Stat(filepath.Join(inbox, names(t, inbox)[0]))
	if err != nil {
		t.Fatal(err)
	}
	if one.Size() >= 9000 {
		t.Errorf("%d octets: not compressed", one.Size())
	}
	for _, name := range []string{"1,S=9000", "2,S=9000"} {
		if two, err := os.Stat(filepath.Join(cfg.Dir, queueDir, queueContents, name)); err != nil || !os.SameFile(one, two) {
			t.Errorf("%s is a file of its own, %v", name, err)
		}
	}
	must(t, s, done(1, "bob"), ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}}), settleNow)
	if got := readQueued(t, s, 2); !bytes.Equal(got, *mail("x", 9000).(*octets)) {
		t.Errorf("content is %.20q", got)
	}
}

func readQueued(t *testing.T, s *Store, id storage.QueueID) (text []byte) {
	t.Helper()
	err := s.ReadQueued(ctx, id, func(c storage.Content) (err error) {
		text, err = io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The files of a message go after its end is flushed, and nobody waits for
// that but the flush of others, or a twentieth of a second.
func TestDoneIsDurableSoonWithNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := faultfs.New()
		cfg := faulty(disk)
		cfg.Now = nil
		s, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		must(t, s, login("alice"), ops("queue", leave(mail("x", 100), "bob", "carol")), settleNow)
		synctest.Wait() // the journal makes its next segment
		flushes := disk.Count(faultfs.Datasync)
		for _, to := range []string{"bob", "carol"} {
			if err := s.Done(1, farAway(to)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		s.queue.publish() // as others do when they are done
		must(t, s, settleNow)
		if n := disk.Count(faultfs.Datasync) - flushes; n != 0 {
			t.Errorf("%d flushes at once", n)
		}
		if _, err := disk.Stat(queueDir + "/" + queueContents + "/1,S=100"); err != nil {
			t.Errorf("the file is gone before the flush: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		if n := disk.Count(faultfs.Datasync) - flushes; n != 1 {
			t.Errorf("%d flushes within 50 ms", n)
		}
		if s.journal.Durable() != s.journal.Last() {
			t.Error("not durable")
		}
		must(t, s, settleNow)
		if _, err := disk.Stat(queueDir + "/" + queueContents + "/1,S=100"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the file stays: %v", err)
		}
	})
}

// A new entry is told when it is durable, and not before.
func TestNobodyIsToldOfWhatIsNotFlushed(t *testing.T) {
	disk := faultfs.New()
	s := still(t, disk)
	must(t, s, login("alice"))
	var mu sync.Mutex
	var told []storage.QueueID
	defer s.Watch(func(e storage.QueueEntry) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, e.ID)
	})()
	looked := false
	disk.OnFlush(func(op faultfs.Op) {
		if !flushesRecords(op) {
			return
		}
		s.queue.publish() // as others do when they are done
		mu.Lock()
		defer mu.Unlock()
		looked = true
		if len(told) > 0 {
			t.Errorf("told of %v", told)
		}
		if _, err := s.Queued(ctx, 1); !errors.Is(err, storage.ErrNotQueued) {
			t.Errorf("queued before the flush: %v", err)
		}
	})
	must(t, s, ops("queue", leave(mail("x", 100), "bob"), leave(mail("y", 100), "bob")))
	disk.OnFlush(nil)
	if !looked || !slices.Equal(told, []storage.QueueID{1, 2}) {
		t.Errorf("told of %v", told)
	}
}

// A start reads the index, and no envelope and no content.
func TestAStartReadsNoQueuedMessage(t *testing.T) {
	disk := faultfs.New()
	s := still(t, disk)
	must(t, s, login("alice"), ops("queue", leave(mail("x", 100), "bob"), leave(mail("y", 100), "carol")))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	disk.OnLook(func(op faultfs.Op) {
		if strings.HasPrefix(op.Name, queueDir+"/") && strings.Count(op.Name, "/") > 1 {
			t.Errorf("%v", op)
		}
	})
	s = still(t, disk)
	if rows := rowsOf(s); len(rows) != 2 {
		t.Errorf("queued %v", rows)
	}
}

func rowsOf(s *Store) (rows []storage.QueueEntry) {
	s.Watch(func(e storage.QueueEntry) { rows = append(rows, e) })()
	return rows
}

// What the disk spoiled is put aside and said; all else goes on, and a check
// names it and lets go of it, keeping what is left.
func TestASpoiledQueuedMessageIsPutAside(t *testing.T) {
	var log bytes.Buffer
	s, cfg, _ := onDisk(t, func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	must(t, s, login("alice"))
	for n := range 7 {
		must(t, s, ops("queue", leave(mail("x", 100+n), "bob")))
	}
	must(t, s, ops("large", leave(mail("large", 9000), "bob")))
	s = reopened(t, s, cfg)
	file := func(sub, name string) string { return filepath.Join(cfg.Dir, queueDir, sub, name) }
	err := errors.Join(
		os.WriteFile(file(queueEnvelopes, "1"), []byte("garbage"), 0o600),
		os.Remove(file(queueEnvelopes, "2")),
		os.Remove(file(queueContents, "3,S=102")),
		os.Truncate(file(queueContents, "4,S=103"), 50),
		os.WriteFile(file(queueContents, "5,S=104"), make([]byte, 104), 0o600),
		os.Rename(file(queueEnvelopes, "7"), file(queueEnvelopes, "6")),
		os.Truncate(file(queueContents, "8,S=9000"), 30),
		os.WriteFile(file(queueContents, "999,S=5"), []byte("hello"), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	must(t, s, ops("good", leave(mail("good", 100), "bob")))
	for id := storage.QueueID(1); id <= 8; id++ {
		err := s.ReadQueued(ctx, id, func(storage.Content) error { t.Errorf("%d is read", id); return nil })
		wantErr(t, fmt.Sprint("read ", id), err, storage.ErrNotQueued)
		_, err = s.Queued(ctx, id)
		wantErr(t, fmt.Sprint("look at ", id), err, storage.ErrNotQueued)
		if n := strings.Count(log.String(), fmt.Sprintf("queue_id=%d ", id)); n != 1 {
			t.Errorf("%d is said %d times", id, n)
		}
	}
	if rows := rowsOf(s); len(rows) != 1 || rows[0].ID != 9 {
		t.Errorf("queued %v", rows)
	}
	if list := s.Findings(); len(list) != 1 || list[0].ID != "store.queue-broken" || !strings.HasPrefix(list[0].Text, "8 ") {
		t.Errorf("findings %v", list)
	}
	must(t, s, settleNow, checkpointNow)
	s = reopened(t, s, cfg)
	if n, _ := s.QueueLen(); n != 9 { // none is let go of unasked
		t.Errorf("%d queued", n)
	}
	if err := os.WriteFile(file(queueContents, "999,S=5"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []string{FaultOrphan, FaultQueued, FaultQueued, FaultQueued, FaultQueued, FaultQueued, FaultQueued, FaultQueued, FaultQueued}
	if kinds, _ := checked(t, s, false); !slices.Equal(kinds, want) {
		t.Errorf("found %v", kinds)
	}
	if _, sum := checked(t, s, true); sum.Repaired != 9 {
		t.Errorf("repaired %d", sum.Repaired)
	}
	for range 2 {
		if kinds, _ := checked(t, s, false); len(kinds) > 0 {
			t.Errorf("left: %v", kinds)
		}
		if rows := rowsOf(s); len(rows) != 1 || len(s.Findings()) > 0 {
			t.Errorf("queued %v, findings %v", rows, s.Findings())
		}
		if got := names(t, filepath.Join(cfg.Dir, queueDir, queueAside)); len(got) != 13 {
			t.Errorf("kept aside: %v", got)
		}
		s = reopened(t, s, cfg)
	}
}

// Without a whole index the queue is what its files tell.
func TestABrokenIndexOfTheQueueIsMadeAnew(t *testing.T) {
	s, cfg, _ := onDisk(t, nil)
	must(t, s, login("alice"), ops("queue", leave(mail("x", 100), "bob"), leave(mail("y", 200), "carol"), leave(mail("z", 300), "dave")), done(3, "dave"))
	want := rowsOf(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cfg.Dir, queueDir, indexName), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cfg.Dir, queueDir, queueEnvelopes, "2"), []byte("garbage, too"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, cfg)
	s.settler.stop()
	if rows := rowsOf(s); !slices.Equal(rows, want[:1]) {
		t.Errorf("queued %v, want %v", rows, want[:1])
	}
	if got := names(t, filepath.Join(cfg.Dir, queueDir, queueAside)); !slices.Equal(got, []string{"2", "2,S=200"}) {
		t.Errorf("aside: %v", got)
	}
	must(t, s, ops("queue", leave(mail("new", 100), "bob")))
	if rows := rowsOf(s); len(rows) != 2 || rows[1].ID < queueGap {
		t.Errorf("queued %v", rows)
	}
	s = reopened(t, s, cfg)
	defer s.Close()
	if rows := rowsOf(s); len(rows) != 2 || rows[1].ID < queueGap {
		t.Errorf("queued %v", rows)
	}
}

// A full disk takes nothing new; what ends, ends.
func TestAFullDiskQueuesNothing(t *testing.T) {
	disk := faultfs.New()
	s := still(t, disk)
	must(t, s, login("alice"), ops("queue", leave(mail("x", 100), "bob")))
	disk.SetFree(1, 1)
	s.free.asked = time.Time{}
	_, err := s.Commit(ctx, storage.Batch{Ops: []storage.Op{leave(mail("y", 100), "bob")}})
	wantErr(t, "enqueue", err, storage.ErrFull)
	must(t, s, done(1, "bob"))
	if n, _ := s.QueueLen(); n != 0 {
		t.Errorf("%d queued", n)
	}
}

// After a failed flush nothing is taken and nothing ends.
func TestAReadOnlyStoreKeepsItsQueue(t *testing.T) {
	disk := faultfs.New()
	s := still(t, disk)
	must(t, s, login("alice"), ops("queue", leave(mail("x", 100), "bob"), leave(mail("y", 100), "bob")), settleNow)
	disk.Break(func(op faultfs.Op) error {
		if flushesRecords(op) {
			return syscall.EIO
		}
		return nil
	})
	if err := s.Done(1, farAway("bob")); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "flush", s.queue.flush(), storage.ErrReadOnly)
	disk.Break(nil)
	wantErr(t, "done", s.Done(2, farAway("bob")), storage.ErrReadOnly)
	_, err := s.Commit(ctx, storage.Batch{Ops: []storage.Op{leave(mail("z", 100), "bob")}})
	wantErr(t, "enqueue", err, storage.ErrReadOnly)
	if got := readQueued(t, s, 2); len(got) != 100 {
		t.Errorf("%d octets", len(got))
	}
	if _, err := disk.Stat(queueDir + "/" + queueEnvelopes + "/1"); err != nil {
		t.Errorf("the file of an end that is not durable: %v", err)
	}
}

// What is queued while memory is short goes to its file, oldest first.
func TestQueuedMailLeavesMemoryWhenThatIsShort(t *testing.T) {
	s, _, _ := onDisk(t, func(cfg *Config) { cfg.FreshBytes, cfg.QueueMax = 20_000, 1000 })
	must(t, s, login("alice"))
	for range 20 {
		must(t, s, ops("queue", leave(mail("x", 5000), "bob")))
		s.disk.Lock()
		if err := s.settler.round(); err != nil {
			t.Error(err)
		}
		s.disk.Unlock()
		if n := s.fresh.Load(); n > 20_000 {
			t.Errorf("%d octets in memory", n)
		}
	}
	fresh := 0
	for _, slot := range s.queue.slots {
		if slot.e.fresh != nil {
			fresh++
		} else if fresh > 0 {
			t.Error("a younger entry has its file first")
		}
	}
}

// Commits, ends, looks, settling and checkpoints at once lose nothing.
func TestTheQueueUnderAllAtOnce(t *testing.T) {
	cfg := conformant(t.TempDir())
	cfg.QueueMax, cfg.SettleAfter, cfg.FreshBytes, cfg.CheckpointBytes, cfg.NoSync, cfg.Quota = 10_000, time.Millisecond, 10_000, 50_000, true, 0
	s := mustOpen(t, cfg)
	must(t, s, login("alice"))
	entries := make(chan storage.QueueID, 10_000)
	stop := s.Watch(func(e storage.QueueEntry) { entries <- e.ID })
	var makers, senders sync.WaitGroup
	for range 3 {
		makers.Go(func() {
			for n := range storage.UID(150) {
				c := mail("x", 3000)
				if err := ops("queue", leave(c, "bob", "carol"), leave(c, "bob", "carol"), storage.Deliver{To: at("alice"), Content: c},
					storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{3 * n, 3*n + 1, 3*n + 2}}).do(s); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 3 {
		senders.Go(func() {
			for id := range entries {
				if id%10 == 0 {
					continue // this one stays
				}
				if err := s.ReadQueued(ctx, id, func(c storage.Content) error {
					_, err := io.Copy(io.Discard, io.NewSectionReader(c, 0, 3000))
					return err
				}); err != nil {
					t.Error(err)
				}
				if err := s.Done(id, farAway("bob")); err != nil {
					t.Error(err)
				}
				if item, err := s.Queued(ctx, id); err != nil || len(item.To) != 1 {
					t.Errorf("%d: %v, %v", id, item, err)
				}
				if err := s.Done(id, farAway("carol")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	over, cancel := context.WithCancel(ctx)
	var checks sync.WaitGroup
	checks.Go(func() {
		for over.Err() == nil {
			if kinds, _ := checked(t, s, false); len(kinds) > 0 {
				t.Errorf("found %v", kinds)
			}
		}
	})
	makers.Wait()
	for s.queue.pendingOrUntold() {
		time.Sleep(time.Millisecond)
	}
	close(entries)
	senders.Wait()
	stop()
	cancel()
	checks.Wait()
	for range 2 {
		if n, _ := s.QueueLen(); n != 90 {
			t.Errorf("%d queued", n)
		}
		for _, row := range rowsOf(s) {
			if got := readQueued(t, s, row.ID); len(got) != 3000 || row.ID%10 != 0 {
				t.Errorf("%d: %d octets", row.ID, len(got))
			}
		}
		s = reopened(t, s, cfg)
	}
}

// pendingOrUntold tells whether the watcher does not know all yet.
func (q *queue) pendingOrUntold() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.watch.at < q.next-1
}

// What an index leaves out has ended for good, although nobody waited for that.
func TestTheIndexOfTheQueueSaysNothingThatIsNotDurable(t *testing.T) {
	disk := faultfs.New()
	s, err := openBetween(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	must(t, s, login("alice"), ops("queue", leave(mail("x", 100), "bob"), leave(mail("y", 100), "carol")), settleNow)
	d := s.fs.(*between)
	d.left, d.do = 1, func() { // a snapshot of Alice's, after the checkpoint began
		if err := s.Done(1, farAway("bob")); err != nil {
			t.Error(err)
		}
	}
	must(t, s, checkpointNow)
	if d.left != 0 || s.journal.Durable() != s.journal.Last() {
		t.Error("the index has what may be lost yet")
	}
	killed, err := openStill(faulty(disk.Cut(noRandom())))
	if err != nil {
		t.Fatal(err)
	}
	defer killed.Close()
	if rows := rowsOf(killed); len(rows) != 1 || rows[0].ID != 2 {
		t.Errorf("queued %v", rows)
	}
}

// IDs that a lost journal may have given out are not given out again.
func TestIDsOfQueuedMessagesDoNotComeBackWhenTheJournalIsLost(t *testing.T) {
	s, cfg, _ := onDisk(t, nil)
	must(t, s, login("alice"), ops("queue", leave(mail("x", 100), "bob")))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(cfg.Dir, journalDir)); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, cfg)
	s.settler.stop()
	must(t, s, ops("queue", leave(mail("y", 100), "bob")))
	s = reopened(t, s, cfg)
	if rows := rowsOf(s); len(rows) != 2 || rows[1].ID < queueGap || rows[1].ID > 2*queueGap {
		t.Errorf("queued %v", rows)
	}
}

// The files that a killed process made of an entry go with it, though it is
// sent before it settles again.
func TestFilesOfAnEarlierRunGoWithTheirEntry(t *testing.T) {
	disk := faultfs.New()
	s := still(t, disk)
	must(t, s, login("alice"), ops("queue", leave(mail("x", 100), "bob")), settleNow)
	endJournal(t, s)
	s = still(t, disk)
	must(t, s, done(1, "bob"), settleNow)
	if err := queueFits(s, disk); err != nil {
		t.Error(err)
	}
}

// A change of the queue alone is reason enough for a checkpoint.
func TestAChangeOfTheQueueWantsACheckpoint(t *testing.T) {
	s := still(t, faultfs.New())
	must(t, s, login("alice"), ops("queue", leave(mail("x", 100), "bob")))
	for _, st := range []step{settleNow, ops("mark", storage.MarkQueued{ID: 1, Set: storage.QueueHeld}), done(1, "bob")} {
		must(t, s, st)
		if !s.anyDirty() {
			t.Errorf("%s: no", st.name)
		}
		must(t, s, checkpointNow)
		if s.anyDirty() {
			t.Errorf("%s: still", st.name)
		}
	}
}
