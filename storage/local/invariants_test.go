package local

import (
	"errors"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"

	"barid/internal/journal/faultfs"
	"barid/storage"
)

// docs/durability.md says which test holds which invariant. Most hold
// several: the drills cut, kill and fail at every operation. Those here hold
// one each, so that a failure tells which.

func still(t *testing.T, disk *faultfs.FS) *Store {
	t.Helper()
	s, err := openStill(faulty(disk))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.journal.Close() })
	return s
}

// anew is still on the disk of a store that was killed.
func anew(t *testing.T, s *Store, disk *faultfs.FS) *Store {
	t.Helper()
	endJournal(t, s)
	return still(t, disk)
}

var deliverFive = ops("deliver", storage.Deliver{To: at("alice"), Content: mail("one", 5000)})

// A record that a snapshot has is not applied to it once more.
func TestRecordsThatASnapshotHasAreNotAppliedTwice(t *testing.T) {
	disk := faultfs.New()
	s := still(t, disk)
	must(t, s, login("alice"), deliverFive)
	cp := &checkpoint{s: s, seq: uint64(s.journal.Last())}
	must(t, s, deliverFive, // all this is in the snapshots of cp, and stays in the journal
		ops("flags", storage.SetFlags{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}, Flags: storage.FlagSeen}),
		ops("mailbox", storage.CreateMailbox{Account: acct("alice"), Name: "A"}),
		ops("copy", storage.Copy{Account: acct("alice"), Mailbox: "INBOX", Dest: "A", UIDs: []storage.UID{1}}),
		ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{2}}),
		ops("token", storage.SetEntry{Account: acct("alice"), Name: deviceToken, Value: []byte("1111")}))
	want, err := dump(s, false)
	if err != nil {
		t.Fatal(err)
	}
	s.disk.Lock()
	cp.capture()
	err = cp.run()
	s.disk.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // each a replay over what the one before left
		s = anew(t, s, disk)
		if got, err := dump(s, false); err != nil || got != want {
			t.Fatalf("%v: got\n%s\nwant\n%s", err, got, want)
		}
		must(t, s, settleNow)
	}
}

// A file whose name was flushed and whose octets were not is written anew, and
// so is one of the right length with other octets.
func TestReplayDoesNotBelieveTheFilesOfTheJournalsWindow(t *testing.T) {
	for _, left := range []string{"", strings.Repeat("\x00", 5000), "short"} {
		disk := faultfs.New()
		s := still(t, disk)
		must(t, s, login("alice"), deliverFive, settleNow)
		want := read(t, s, "alice", "INBOX", 1)
		files, err := disk.ReadDir(alicesDir + "/new")
		if err != nil || len(files) != 1 {
			t.Fatalf("%v, %v", files, err)
		}
		if err := puts(disk, alicesDir+"/new/"+files[0].Name(), left); err != nil {
			t.Fatal(err)
		}
		s = anew(t, s, disk)
		if got := read(t, s, "alice", "INBOX", 1); got != want {
			t.Errorf("before settling: read %.20q", got)
		}
		must(t, s, settleNow)
		if got := read(t, s, "alice", "INBOX", 1); got != want {
			t.Errorf("after settling: read %.20q", got)
		}
	}
}

// A file is removed, or gets another name, only when the record that asks for
// it is flushed.
func TestNoFileGoesBeforeItsRecordIsFlushed(t *testing.T) {
	disk := faultfs.New()
	s := still(t, disk)
	must(t, s, login("alice"), deliverFive, deliverFive, checkpointNow)
	looked := 0
	disk.OnFlush(func(op faultfs.Op) {
		if op.Kind != faultfs.Datasync || !strings.HasPrefix(op.Name, journalDir+"/seg") || looked > 0 {
			return
		}
		looked++
		// The record has its place. The settler goes over all there is.
		if err := settleNow.do(s); err != nil {
			t.Error(err)
		}
		names, err := disk.ReadDir(alicesDir + "/new")
		if err != nil || len(names) != 2 {
			t.Errorf("%d files before the flush, %v", len(names), err)
		}
	})
	must(t, s, ops("go", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}},
		storage.SetFlags{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{2}, Flags: storage.FlagSeen}))
	if looked == 0 {
		t.Error("nobody looked")
	}
	disk.OnFlush(nil)
	must(t, s, settleNow)
	if names, _ := disk.ReadDir(alicesDir + "/new"); len(names) != 1 {
		t.Errorf("%d files after it", len(names))
	}
}

// A checkpoint overwrites nothing before the journal is trimmed: settle,
// snapshots under new names, flush, mark, and only then their own names.
func TestNothingIsOverwrittenBeforeTheJournalIsTrimmed(t *testing.T) {
	disk := faultfs.New()
	s := still(t, disk)
	must(t, s, login("alice"), deliverFive, checkpointNow, deliverFive,
		ops("token", storage.SetEntry{Account: acct("alice"), Name: deviceToken, Value: []byte("1111")}),
		ops("subscribe", storage.Subscribe{Account: acct("alice"), Name: "INBOX"}))
	begin := disk.Ops()
	must(t, s, checkpointNow)
	var order []string
	for _, op := range disk.Log()[begin:] {
		if strings.HasPrefix(op.Name, journalDir+"/seg") {
			continue // made in the background, whenever it comes to it
		}
		of := ""
		base := path.Base(op.Name)
		_, isNew := checkpointOf(base, strings.SplitN(base, ".", 2)[0])
		switch {
		case op.Name == journalDir+"/mark" || op.Name == journalDir+"/mark.new": // as it was opened
			of = "mark " + string(op.Kind)
		case op.Kind == faultfs.SyncFS:
			of = "syncfs"
		case strings.Contains(op.Name, "/new/") || strings.Contains(op.Name, "/tmp/"):
			of = "settle"
		case isNew && strings.Contains(base, ".") && op.Kind == faultfs.Rename:
			of = "rename"
		case op.Kind == faultfs.Create || op.Kind == faultfs.Write:
			if !strings.Contains(base, ".") && op.Name != tableName { // which is appended to
				t.Errorf("%v under its own name", op)
			}
			of = "snapshot"
		}
		if of != "" && (len(order) == 0 || order[len(order)-1] != of) {
			order = append(order, of)
		}
	}
	if got := strings.Join(order, ", "); got != "settle, snapshot, syncfs, mark write, mark datasync, rename" {
		t.Error(got)
	}
}

// A flush of the file system that fails is never followed by a trim.
func TestNoTrimAfterAFailedFlushOfTheFileSystem(t *testing.T) {
	disk := faultfs.New()
	s := still(t, disk)
	must(t, s, login("alice"), deliverFive)
	want, _ := dump(s, false)
	disk.OnFlush(func(op faultfs.Op) {
		if op.Kind == faultfs.SyncFS {
			disk.FailAt(disk.Ops()+1, syscall.EIO)
		}
	})
	wantErr(t, "checkpoint", s.checkpoint(), storage.ErrReadOnly)
	disk.OnFlush(nil)
	wantErr(t, "checkpoint again", s.checkpoint(), storage.ErrReadOnly)
	wantErr(t, "deliver", deliverFive.do(s), storage.ErrReadOnly)
	s = still(t, disk.Cut(noRandom()))
	if got, err := dump(s, false); err != nil || got != want {
		t.Errorf("%v: got\n%s\nwant\n%s", err, got, want)
	}
}

// Large content is on disk, with its name, before the record that names it is
// written.
func TestLargeContentIsFlushedBeforeItsRecord(t *testing.T) {
	disk := faultfs.New()
	s := still(t, disk)
	must(t, s, login("alice"))
	for _, st := range []step{
		ops("append", storage.Append{Account: acct("alice"), Mailbox: "INBOX", Content: mail("large", inlineMax+1)}),
		draftOf("draft", inlineMax+1),
	} {
		begin := disk.Ops()
		must(t, s, st)
		var order []string
		for _, op := range disk.Log()[begin:] {
			if of := string(op.Kind) + " " + path.Dir(op.Name); op.Kind == faultfs.SyncDir {
				order = append(order, "syncdir "+op.Name)
			} else if len(order) == 0 || order[len(order)-1] != of {
				order = append(order, of)
			}
		}
		// The journal may prepare a segment meanwhile: what counts is the order.
		last := -1
		for _, of := range []string{"create staging", "write staging", "datasync staging", "syncdir staging"} {
			at := slices.Index(order, of)
			if at <= last {
				t.Errorf("%s: %q comes at %d of %q", st.name, of, at, order)
			}
			last = at
		}
		if !slices.Contains(order[last:], "write journal") {
			t.Errorf("%s: no record after the flush: %q", st.name, order)
		}
		for _, op := range disk.Log()[begin:] {
			if op.Kind == faultfs.SyncDir && op.Name == stagingDir {
				break
			}
			if op.Kind == faultfs.Datasync && op.Name == journalDir+"/seg-00000000" {
				t.Errorf("%s: the record came first", st.name)
			}
		}
	}
}

// Without sync the same code runs: the operations are the same, but for the
// flushes, of which only that of the journal's mark is left.
func TestWithoutSyncOnlyTheFlushesAreMissing(t *testing.T) {
	operations := func(noSync bool) (list []faultfs.Op, flushes int) {
		disk := faultfs.New()
		cfg := faulty(disk)
		cfg.NoSync = noSync
		s, err := openStill(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer s.journal.Close()
		begin := disk.Ops()
		must(t, s, workload()...)
		for _, op := range disk.Log()[begin:] {
			switch {
			case op.Kind == faultfs.Datasync || op.Kind == faultfs.SyncDir || op.Kind == faultfs.SyncFS:
				if !strings.HasPrefix(op.Name, journalDir+"/mark") {
					flushes++
				}
			case path.Dir(op.Name) == journalDir || path.Dir(op.Name) == stagingDir:
				// segments are prepared when there is time; staging files have random names
			case strings.HasPrefix(op.Name, "mail/"):
				list = append(list, op)
			}
		}
		// Accounts come to a checkpoint in any order.
		slices.SortFunc(list, func(a, b faultfs.Op) int {
			return strings.Compare(a.Name+" "+string(a.Kind), b.Name+" "+string(b.Kind))
		})
		return list, flushes
	}
	with, flushes := operations(false)
	without, none := operations(true)
	if !slices.Equal(with, without) || len(with) < 100 {
		t.Errorf("%d operations with sync, %d without, or others", len(with), len(without))
	}
	if flushes < 50 || none != 0 {
		t.Errorf("%d flushes with sync, %d without", flushes, none)
	}
}

// Content that cannot be a map's key, as none of ours is, is refused and
// nothing else happens.
func TestContentThatCannotBeCompared(t *testing.T) {
	s := still(t, faultfs.New())
	must(t, s, login("alice"))
	_, err := s.Commit(ctx, storage.Batch{Ops: []storage.Op{storage.Deliver{To: at("alice"), Content: octets("x")}}})
	if !errors.Is(err, errContent) {
		t.Errorf("error %v", err)
	}
	if v := view(t, s, "alice", "INBOX"); len(v.Messages) != 0 {
		t.Errorf("%d messages", len(v.Messages))
	}
}

// An account that ends between what a checkpoint takes and its files is in no
// trouble for having no directory.
func TestAccountMayEndInTheMidstOfACheckpoint(t *testing.T) {
	s := still(t, faultfs.New())
	must(t, s, login("bob"), ops("token", storage.SetEntry{Account: acct("bob"), Mailbox: "INBOX", Name: deviceToken, Value: []byte("2222")}),
		checkpointBegins, ops("end", storage.DeleteAccount{Account: acct("bob")}))
	s.disk.Lock()
	defer s.disk.Unlock()
	if err := s.settler.cp.complete(); err != nil {
		t.Error(err)
	}
	if n := len(s.inTroubleNow()); n > 0 {
		t.Errorf("%d accounts in trouble", n)
	}
}

// An account may come out of trouble, get mail, and come into trouble anew,
// between what a checkpoint takes and its files: its records stay in order.
func TestTroubleMayEndInTheMidstOfACheckpoint(t *testing.T) {
	for name, again := range map[string]bool{"it ends": false, "and begins anew": true} {
		t.Run(name, func(t *testing.T) {
			disk := faultfs.New()
			s := still(t, disk)
			must(t, s, login("bob"), checkpointNow, login("alice"))
			broken := func(op faultfs.Op) error {
				if strings.HasPrefix(op.Name, alicesDir) {
					return syscall.EACCES
				}
				return nil
			}
			round := func() {
				s.disk.Lock()
				defer s.disk.Unlock()
				_ = s.settler.round()
			}
			disk.Break(broken)
			round()
			round()
			if n := len(s.inTroubleNow()); n != 1 {
				t.Fatalf("%d accounts in trouble", n)
			}
			must(t, s, checkpointBegins)
			disk.Break(nil)
			round()
			if n := len(s.inTroubleNow()); n != 0 {
				t.Fatalf("%d accounts in trouble still", n)
			}
			must(t, s,
				ops("deliver", storage.Deliver{To: at("alice"), Content: mail("one", 100)}),
				ops("token", storage.SetEntry{Account: acct("alice"), Mailbox: "INBOX", Name: deviceToken, Value: []byte("1111")}))
			if again {
				disk.Break(broken)
			}
			must(t, s, checkpointEnds)
			was, err := dump(s, false)
			if err != nil {
				t.Fatal(err)
			}
			disk.Break(nil)
			s = anew(t, s, disk)
			if is, err := dump(s, false); err != nil || comparable(is) != comparable(was) {
				t.Errorf("%v: found\n%s\nwant\n%s", err, is, was)
			}
			must(t, s, settleNow, checkpointNow)
			stopChangesNothing(t, s, disk)
		})
	}
}

// A journal that is too long until a checkpoint has trimmed it wants no second
// one.
func TestAJournalThatWasTooLongWantsOneCheckpoint(t *testing.T) {
	disk := faultfs.New()
	s := still(t, disk)
	must(t, s, login("alice"), checkpointBegins)
	disk.OnFlush(func(faultfs.Op) { s.settler.look(2 * s.cfg.CheckpointBytes) }) // as each commit does
	must(t, s, checkpointEnds)
	disk.OnFlush(nil)
	if s.settler.tooLong || s.settler.begun {
		t.Error("another checkpoint is to begin")
	}
	s.settler.look(s.cfg.CheckpointBytes)
	if !s.settler.tooLong {
		t.Error("a journal that gets too long wants no checkpoint")
	}
}
