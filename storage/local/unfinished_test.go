package local

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"syscall"
	"testing"

	"barid/internal/journal/faultfs"
	"barid/storage"
)

// A mailbox of more messages than one record holds, whose adoption is
// interrupted between two records by a full journal, gives no file two UIDs and
// no UID two files; those of Dovecot's list stay.
func TestAdoptionGoesOnWhereItWasInterrupted(t *testing.T) {
	const more = 2 * foundAtOnce
	const listed = 3*foundAtOnce + 500 // what is shown in between is a part of the list only
	for _, how := range []string{"tried again", "killed", "snapshot in between", "killed after a snapshot"} {
		t.Run(how, func(t *testing.T) {
			disk := faultfs.New()
			uidlist := fmt.Sprintf("3 V1275660208 N%d G3085f01b7f11094c501100008c4a11c1\n", 2*listed+7)
			for n := range listed {
				name := fmt.Sprintf("1775324677.M%dP1.exam,S=5", n)
				uidlist += fmt.Sprintf("%d :%s\n", 2*n+2, name)
				if err := puts(disk, alicesDir+"/cur/"+name+":2,S", "hello"); err != nil {
					t.Fatal(err)
				}
			}
			for n := range more {
				if err := puts(disk, fmt.Sprintf("%s/new/1775324678.M%dP1.exam,S=5", alicesDir, n), "hello"); err != nil {
					t.Fatal(err)
				}
			}
			if err := seal(disk, puts(disk, alicesDir+"/password", hashed("a long password")), puts(disk, alicesDir+"/dovecot-uidlist", uidlist)); err != nil {
				t.Fatal(err)
			}
			cfg := faulty(disk)
			cfg.SegmentBytes = 256 << 10 // two records
			s, err := openStill(cfg)
			if err != nil {
				t.Fatal(err)
			}
			disk.Break(full())
			if _, err := s.Lookup(ctx, at("alice")); err == nil {
				t.Fatal("the journal is not full: nothing was shown")
			}
			if s.journal.Last() == 0 {
				t.Fatal("no record at all: nothing was shown")
			}
			disk.Break(nil)
			switch how {
			case "killed":
				endJournal(t, s)
				if s, err = openStill(cfg); err != nil {
					t.Fatal(err)
				}
			case "snapshot in between", "killed after a snapshot":
				must(t, s, checkpointNow)
				if how == "killed after a snapshot" { // and one record, while no other segment can be made
					disk.Break(full())
					if _, err := s.Lookup(ctx, at("alice")); err == nil {
						t.Fatal("the journal is not full: nothing was shown")
					}
					disk.Break(nil)
				}
				endJournal(t, s)
				if s, err = openStill(cfg); err != nil {
					t.Fatal(err)
				}
			}
			must(t, s, login("alice"))
			v := view(t, s, "alice", "INBOX")
			if len(v.Messages) != listed+more || v.UIDValidity != 1275660208 {
				t.Fatalf("%d messages, UIDVALIDITY %d", len(v.Messages), v.UIDValidity)
			}
			seen := map[storage.UID]bool{}
			for _, m := range v.Messages {
				if seen[m.UID] || m.UID < storage.UID(2*listed+7) && m.UID%2 != 0 {
					t.Fatalf("UID %d is given twice, or was another's", m.UID)
				}
				seen[m.UID] = true
			}
			for n := range listed {
				if !seen[storage.UID(2*n+2)] {
					t.Fatalf("UID %d of Dovecot's list is gone", 2*n+2)
				}
			}
			must(t, s, checkpointNow)
			endJournal(t, s)
			if s, err = openStill(cfg); err != nil {
				t.Fatal(err)
			}
			defer s.journal.Close()
			if w := view(t, s, "alice", "INBOX"); len(w.Messages) != len(v.Messages) || w.UIDNext != v.UIDNext {
				t.Errorf("after a start %d messages, UIDNEXT %d; before %d, %d", len(w.Messages), w.UIDNext, len(v.Messages), v.UIDNext)
			}
		})
	}
}

// full is a disk that has no room for another segment of the journal.
func full() func(faultfs.Op) error {
	return func(op faultfs.Op) error {
		if op.Kind == faultfs.Create && op.Name > journalDir+"/seg-00000000" && op.Name < journalDir+"/seg-99999999" {
			return syscall.ENOSPC
		}
		return nil
	}
}

// halfKnown is a disk with two mailboxes that no record can adopt alone: one of
// Dovecot, and one of ours whose snapshot and list are lost.
func halfKnown() (*faultfs.FS, error) {
	disk := faultfs.New()
	uidlist := "3 V1275660208 N500 G3085f01b7f11094c501100008c4a11c1\n1 :1775324679.gone\n"
	var errs []error
	for n := range 90 {
		// Names order them the other way round.
		name := fmt.Sprintf("%d.M1P1.exam,S=5", 1775324677-n)
		uidlist += fmt.Sprintf("%d :%s\n", 2*n+2, name)
		errs = append(errs, puts(disk, alicesDir+"/cur/"+name+":2,S", "hello"))
	}
	for n := range 30 {
		errs = append(errs, puts(disk, fmt.Sprintf("%s/new/1775324678.M%dP1.exam,S=5", alicesDir, n), "hello"))
	}
	for n := range 60 {
		errs = append(errs, puts(disk, fmt.Sprintf("%s/.Ours/cur/%d.Q%dN0.barid,S=5,U=%d:2,", alicesDir, 1775324677-n, n+1, 3*n+3), "hello"))
	}
	errs = append(errs, puts(disk, alicesDir+"/password", hashed("a long password")), puts(disk, alicesDir+"/dovecot-uidlist", uidlist))
	return disk, seal(disk, errs...)
}

// adoptHalf adopts its account with a journal that gets full again and again,
// with checkpoints in between, until something else fails.
func adoptHalf(disk *faultfs.FS) error {
	cfg := faulty(disk)
	cfg.SegmentBytes, cfg.pieces = 4096, 12
	s, err := openStill(cfg)
	if err != nil {
		return err
	}
	disk.Break(full())
	defer disk.Break(nil)
	for range 4 {
		for range 2 {
			_, _ = s.Lookup(ctx, at("alice")) // the journal is full
		}
		if err := checkpointNow.do(s); err != nil {
			return errors.Join(err, s.journal.Close())
		}
	}
	disk.Break(nil)
	_, err = s.Lookup(ctx, at("alice"))
	if err == nil {
		err = checkpointNow.do(s)
	}
	return errors.Join(err, s.journal.Close())
}

// Wherever the power goes while mailboxes are adopted in pieces, and goes again
// while that goes on, every file is there once with the UID that was its own.
func TestPowerCutWhileAdoptionTakesManyRecords(t *testing.T) {
	whole, err := halfKnown()
	if err != nil {
		t.Fatal(err)
	}
	begin := whole.Ops()
	if err := adoptHalf(whole); err != nil {
		t.Fatal(err)
	}
	cuts := whole.Ops() - begin
	t.Logf("%d operations", cuts)
	for n := range cuts {
		disk, err := halfKnown()
		if err != nil {
			t.Fatal(err)
		}
		disk.StopAt(begin + n + 1)
		_ = adoptHalf(disk) // it is cut off
		random := rand.New(rand.NewSource(int64(n)))
		disk = disk.Cut(random)
		if n%2 == 1 {
			disk.StopAt(disk.Ops() + 1 + random.Intn(cuts))
			_ = adoptHalf(disk)
			disk = disk.Cut(random)
		}
		if err := adoptedWhole(disk, 0); err != nil {
			t.Fatalf("cut at %d %v: %v", n, whole.Log()[begin+n], err)
		}
	}
}

// A journal that stays full, however often the account is wanted, costs no file
// its UID after a crash; and where a file is there again, after others got higher
// UIDs, these still ascend.
func TestAJournalThatStaysFullWhileAMailboxIsAdopted(t *testing.T) {
	for pieces := 4; pieces < 100; pieces++ {
		late := pieces % 2 // files
		disk, err := halfKnown()
		if err != nil {
			t.Fatal(err)
		}
		cfg := faulty(disk)
		cfg.SegmentBytes, cfg.pieces = 4096, pieces
		if late == 0 { // there is room for most of it
			cfg.SegmentBytes = 8 << 10
		}
		s, err := openStill(cfg)
		if err != nil {
			t.Fatal(err)
		}
		disk.Break(full())
		for range 2 {
			if _, err := s.Lookup(ctx, at("alice")); err == nil {
				t.Fatal("the journal is not full: nothing was shown")
			}
		}
		if late == 0 {
			must(t, s, checkpointNow)
		}
		disk.Break(nil)
		endJournal(t, s)
		if late > 0 {
			if err := seal(disk, puts(disk, alicesDir+"/new/1775324679.gone", "late")); err != nil {
				t.Fatal(err)
			}
		}
		if err := adoptedWhole(disk, late); err != nil {
			t.Fatalf("%d in a piece: %v", pieces, err)
		}
	}
}

// adoptedWhole tells how a disk is not as halfKnown, and what came late, shall
// become.
func adoptedWhole(disk *faultfs.FS, late int) error {
	s, err := openStill(faulty(disk))
	if err != nil {
		return err
	}
	defer s.journal.Close()
	v, err := viewOf(s, "INBOX")
	if err != nil || v.UIDValidity != 1275660208 || len(v.Messages) != 120+late {
		return fmt.Errorf("%d messages, UIDVALIDITY %d, %w", len(v.Messages), v.UIDValidity, err)
	}
	if !slices.IsSortedFunc(v.Messages, func(x, y storage.Message) int { return cmp.Compare(x.UID, y.UID) }) {
		return errors.New("UIDs do not ascend")
	}
	known := slices.DeleteFunc(slices.Clone(v.Messages), func(m storage.Message) bool { return m.Received == 1775324679 })
	for n, m := range known {
		if n < 90 && (m.UID != storage.UID(2*n+2) || int(m.Received) != 1775324677-n) || n >= 90 && m.UID < 500 {
			return fmt.Errorf("message %d of Dovecot's: %+v", n, m)
		}
	}
	if v, err = viewOf(s, "Ours"); err != nil || len(v.Messages) != 60 {
		return fmt.Errorf("%d messages of ours, %w", len(v.Messages), err)
	}
	for n, m := range v.Messages {
		if m.UID != storage.UID(3*n+3) || int(m.Received) != 1775324677-n {
			return fmt.Errorf("message %d of ours: %+v", n, m)
		}
	}
	return nil
}

func viewOf(s *Store, name string) (storage.View, error) {
	m, err := s.Open(ctx, acct("alice"), name)
	if err != nil {
		return storage.View{}, err
	}
	defer m.Close()
	v, err := m.View(ctx)
	if err != nil {
		return storage.View{}, err
	}
	return *v, nil
}
