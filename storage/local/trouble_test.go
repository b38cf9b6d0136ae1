package local

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"barid/internal/journal/faultfs"
	"barid/storage"
)

// troubled are steps of alice alone, each with one operation.
func troubled() []step {
	deliver := func(name string, size int) step {
		return ops("deliver "+name, storage.Deliver{To: at("alice"), Content: mail(name, size)})
	}
	return []step{
		deliver("one", 100), deliver("two", 5000), settleNow,
		ops("mailbox", storage.CreateMailbox{Account: acct("alice"), Name: "A"}),
		ops("copy", storage.Copy{Account: acct("alice"), Mailbox: "INBOX", Dest: "A", UIDs: []storage.UID{1, 2}}),
		checkpointNow,
		ops("flags", storage.SetFlags{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{2}, Flags: storage.FlagSeen}),
		deliver("large", inlineMax+1000), deliver("three", 300),
		ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}}),
		ops("token", storage.SetEntry{Account: acct("alice"), Name: deviceToken, Value: []byte("1111")}),
		settleNow,
		ops("move", storage.Move{Account: acct("alice"), Mailbox: "INBOX", Dest: "A", UIDs: []storage.UID{2}}),
		checkpointNow,
		deliver("four", 400),
		ops("subscribe", storage.Subscribe{Account: acct("alice"), Name: "A"}),
		ops("delete", storage.DeleteMailbox{Account: acct("alice"), Name: "A"}),
		checkpointNow,
		deliver("five", 500),
		settleNow,
	}
}

// bobs is what somebody else does meanwhile.
var bobs = ops("bob", storage.Deliver{To: at("bob"), Content: mail("bob", 200)})

// Whenever the files of one account cannot be written any more, the others
// notice nothing, the journal is trimmed, and all that was acknowledged is there
// when they can be written again: while the program runs, after a kill, after a
// power cut.
func TestAnAccountInTroubleLosesNothing(t *testing.T) {
	clean := faultfs.New()
	s := still(t, clean)
	must(t, s, login("alice"), login("bob"), settleNow)
	begin := clean.Ops()
	must(t, s, troubled()...)
	for how := range ways {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			for _, n := range sample(clean.Ops()-begin, 60) {
				if err := inTroubleFrom(begin+n, how); err != nil {
					t.Fatalf("from operation %d %v: %v", begin+n, clean.Log()[begin+n-1], err)
				}
			}
		})
	}
}

// ways are how the trouble ends.
var ways = map[string]func(s *Store, disk *faultfs.FS, heal func()) (*Store, *faultfs.FS, error){
	"while it runs": func(s *Store, disk *faultfs.FS, heal func()) (*Store, *faultfs.FS, error) {
		heal()
		return s, disk, nil
	},
	"after a kill": func(s *Store, disk *faultfs.FS, heal func()) (*Store, *faultfs.FS, error) {
		heal()
		s, err := killedOn(s, disk)
		return s, disk, err
	},
	"after a cut": func(s *Store, disk *faultfs.FS, heal func()) (*Store, *faultfs.FS, error) {
		heal()
		disk = disk.Cut(rand.New(rand.NewSource(int64(disk.Ops()))))
		after, err := openStill(faulty(disk))
		return after, disk, errors.Join(err, s.journal.Close())
	},
	"two starts later": func(s *Store, disk *faultfs.FS, heal func()) (*Store, *faultfs.FS, error) {
		for range 2 {
			var err error
			if s, err = killedOn(s, disk); err != nil {
				return nil, nil, err
			}
			if _, err := run(s, []step{bobs, settleTry, checkpointNow}); err != nil {
				return nil, nil, err
			}
		}
		heal()
		s, err := killedOn(s, disk)
		return s, disk, err
	},
}

// killedOn opens a store anew on the disk of one that was killed.
func killedOn(s *Store, disk *faultfs.FS) (*Store, error) {
	if err := s.journal.Close(); err != nil {
		return nil, err
	}
	return openStill(faulty(disk))
}

// settleTry settles what can be settled.
var settleTry = step{"settle what can be", func(s *Store) error {
	s.disk.Lock()
	defer s.disk.Unlock()
	s.settler.settleEach(math.MaxUint64)
	return nil
}}

// inTroubleFrom breaks all of alice's files at operation n.
func inTroubleFrom(n int, how string) error {
	disk := faultfs.New()
	s, err := openStill(faulty(disk))
	if err != nil {
		return err
	}
	if _, err := run(s, []step{login("alice"), login("bob"), settleNow}); err != nil {
		return err
	}
	count := 0
	cause := causesOfTrouble[n%len(causesOfTrouble)]
	seen := disk.Ops()
	disk.Break(func(op faultfs.Op) error {
		count++
		if seen+count >= n && strings.HasPrefix(op.Name, alicesDir) {
			return cause
		}
		return nil
	})
	var acknowledged []step
	for _, st := range troubled() {
		err := st.do(s)
		own := st.name != settleNow.name && st.name != checkpointNow.name
		if own && err == nil {
			acknowledged = append(acknowledged, st)
		}
		if st.name == checkpointNow.name && err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
		if own && err != nil && !errors.Is(err, errTrouble) && !refusedOp(err) {
			return fmt.Errorf("%s: %w", st.name, err)
		}
		if err := bobs.do(s); err != nil {
			return err
		}
	}
	if s.journal.Size() > 2<<20 {
		return fmt.Errorf("the journal has %d octets", s.journal.Size())
	}
	s, disk, err = ways[how](s, disk, func() { disk.Break(nil) })
	if err != nil {
		return err
	}
	if err := settleNow.do(s); err != nil {
		return err
	}
	if err := checkpointNow.do(s); err != nil {
		return err
	}
	got, err := dump(s, false)
	if err != nil {
		return err
	}
	if want, err := healthy(acknowledged, s); err != nil || comparable(got) != comparable(want) {
		return fmt.Errorf("%v: got\n%s\nwant\n%s", err, got, want)
	}
	if len(s.inTroubleNow()) > 0 || len(s.Findings()) > 0 {
		return errors.New("the trouble does not end")
	}
	return stopped(s, disk)
}

var causesOfTrouble = []error{syscall.EACCES, syscall.ENOTDIR, syscall.EIO, syscall.EISDIR}

// refusedOp tells an operation that made no sense, as an earlier one failed.
func refusedOp(err error) bool {
	return errors.Is(err, storage.ErrNoMailbox) || errors.Is(err, fs.ErrNotExist)
}

// healthy gives what a store shows after those steps when nothing fails.
func healthy(steps []step, like *Store) (string, error) {
	s, err := openStill(faulty(faultfs.New()))
	if err != nil {
		return "", err
	}
	defer s.journal.Close()
	if _, err := run(s, append([]step{login("alice"), login("bob")}, steps...)); err != nil {
		return "", err
	}
	u, err := like.Usage(ctx, acct("bob"))
	for i := int64(0); err == nil && i < u.Messages; i++ {
		err = bobs.do(s)
	}
	if err != nil {
		return "", err
	}
	return dump(s, false)
}

// Large mail of an account in trouble can be read after a start, too, whoever
// else got it.
func TestLargeMailOfAnAccountInTroubleCanBeRead(t *testing.T) {
	disk := faultfs.New()
	s := still(t, disk)
	large := mail("large", inlineMax+1000)
	must(t, s, login("alice"), login("bob"),
		ops("deliver", storage.Deliver{To: at("alice"), Content: large}, storage.Deliver{To: at("bob"), Content: large}), settleNow,
		ops("flags", storage.SetFlags{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}, Flags: storage.FlagSeen}))
	was, err := dump(s, false)
	if err != nil {
		t.Fatal(err)
	}
	disk.Break(func(op faultfs.Op) error {
		if strings.HasPrefix(op.Name, alicesDir) {
			return syscall.EACCES
		}
		return nil
	})
	for range 2 {
		must(t, s, checkpointNow, settleTry, checkpointNow)
		s = anew(t, s, disk)
		if is, err := dump(s, false); err != nil || is != was {
			t.Errorf("%v: found\n%s\nwant\n%s", err, is, was)
		}
	}
	disk.Break(nil)
	must(t, s, settleNow, checkpointNow)
	stopChangesNothing(t, s, disk)
}

// An account whose directory cannot be read at the start is closed, and told
// of; nobody else is.
func TestAnAccountThatCannotBeReadIsClosed(t *testing.T) {
	disk := faultfs.New()
	s := still(t, disk)
	must(t, s, login("alice"), login("bob"), ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 99)}), settleNow)
	if err := errors.Join(disk.Rename(alicesDir, "aside"), puts(disk, alicesDir, "in the way")); err != nil {
		t.Fatal(err)
	}
	s = anew(t, s, disk)
	wantErr(t, "login", login("alice").do(s), errTrouble)
	both := mail("both", 100)
	r, err := s.Commit(ctx, storage.Batch{Ops: []storage.Op{
		storage.Deliver{To: at("alice"), Content: both}, storage.Deliver{To: at("bob"), Content: both},
	}})
	if err != nil || r.Per[0].Err == nil || r.Per[1].Err != nil {
		t.Errorf("%+v, %v", r, err)
	}
	if list := s.Findings(); len(list) != 1 || list[0].ID != "store.account-closed" {
		t.Errorf("findings %+v", list)
	}
	must(t, s, checkpointNow)
	if err := errors.Join(disk.Remove(alicesDir), disk.Rename("aside", alicesDir)); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "login before the next start", login("alice").do(s), errTrouble)
	s = anew(t, s, disk)
	must(t, s, login("alice"))
	if v := view(t, s, "alice", "INBOX"); len(v.Messages) != 1 {
		t.Errorf("%d messages", len(v.Messages))
	}
	if list := s.Findings(); len(list) != 0 {
		t.Errorf("findings %+v", list)
	}
}

// An account whose directory was removed by hand ends, and its name can be
// used again.
func TestARemovedDirectoryEndsTheAccount(t *testing.T) {
	for name, notice := range map[string][]step{
		"at login":      nil,
		"at settling":   {ops("deliver", storage.Deliver{To: at("alice"), Content: mail("new", 50)}), settleNow},
		"at checkpoint": {ops("flags", storage.SetFlags{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}, Flags: storage.FlagSeen}), checkpointNow},
	} {
		t.Run(name, func(t *testing.T) {
			disk := faultfs.New()
			s := still(t, disk)
			must(t, s, login("alice"), ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 99)}), settleNow, checkpointNow)
			was := view(t, s, "alice", "INBOX").UIDValidity
			if err := disk.RemoveAll(alicesDir); err != nil {
				t.Fatal(err)
			}
			must(t, s, notice...)
			if _, err := s.Lookup(ctx, at("alice")); notice != nil && !errors.Is(err, storage.ErrNoAccount) {
				t.Errorf("it lives on: %v", err)
			}
			must(t, s, login("alice"))
			if v := view(t, s, "alice", "INBOX"); len(v.Messages) != 0 || v.UIDValidity <= was {
				t.Errorf("%d messages, UIDVALIDITY %d after %d", len(v.Messages), v.UIDValidity, was)
			}
			must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("y", 99)}))
			s = still(t, disk.Cut(noRandom()))
			if v := view(t, s, "alice", "INBOX"); len(v.Messages) != 1 {
				t.Errorf("%d messages after a cut", len(v.Messages))
			}
		})
	}
}

// A journal that cannot be trimmed stops taking mail long before it would not
// fit into memory.
func TestAJournalThatCannotBeTrimmedTakesNoMailInTheEnd(t *testing.T) {
	synctest.Test(t, untrimmed) // it waits for some seconds
}

func untrimmed(t *testing.T) {
	disk := faultfs.New()
	cfg := faulty(disk)
	cfg.CheckpointBytes = 64 << 10
	s, err := openStill(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.journal.Close()
	must(t, s, login("alice"))
	disk.Break(func(op faultfs.Op) error {
		if strings.HasPrefix(op.Name, countersName) {
			return syscall.ENOSPC
		}
		return nil
	})
	for n := range 1000 {
		if err = ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 1500)}).do(s); err != nil {
			t.Logf("%d messages, journal of %d octets", n, s.journal.Size())
			break
		}
	}
	wantErr(t, "deliver", err, storage.ErrFull)
	if size := s.journal.Size(); size > 300<<10 {
		t.Errorf("journal of %d octets", size)
	}
	if list := s.Findings(); len(list) != 1 || list[0].ID != "store.checkpoint-fails" {
		t.Errorf("findings %+v", list)
	}
	must(t, s, ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}}))
	disk.Break(nil)
	must(t, s, checkpointNow, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 1500)}))
}
