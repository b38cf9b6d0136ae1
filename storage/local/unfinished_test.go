package local

import (
	"fmt"
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
	for _, how := range []string{"tried again", "killed", "snapshot in between"} {
		t.Run(how, func(t *testing.T) {
			listed := foundAtOnce + 500
			if how == "snapshot in between" { // of a part of the list only
				listed = 3*foundAtOnce + 500
			}
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
			disk.Break(func(op faultfs.Op) error {
				if op.Kind == faultfs.Create && op.Name > journalDir+"/seg-00000000" && op.Name < journalDir+"/seg-99999999" {
					return syscall.ENOSPC
				}
				return nil
			})
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
			case "snapshot in between":
				must(t, s, checkpointNow)
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
