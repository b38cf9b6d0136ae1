package local

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"barid/internal/journal/faultfs"
	"barid/storage"
)

// logged is a logger whose lines can be looked at. One goroutine writes.
func logged(cfg *Config) *bytes.Buffer {
	var text bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&text, nil))
	return &text
}

// However an index is cut off or changed, the messages are there, their UIDs
// are those of before or UIDVALIDITY is another, and the log tells.
func TestADamagedIndexIsMadeAnew(t *testing.T) {
	disk := faultfs.New()
	s := still(t, disk)
	must(t, s, login("alice"), login("bob"))
	for n := range 3 {
		must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail(fmt.Sprint("message ", n), 200)}))
	}
	must(t, s, ops("flags", storage.SetFlags{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{2}, Flags: storage.FlagSeen}), checkpointNow)
	was := view(t, s, "alice", "INBOX")
	endJournal(t, s)
	if err := disk.SyncFS(); err != nil {
		t.Fatal(err)
	}
	whole, err := s.readFile(alicesDir+"/"+snapshotName, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n <= len(whole); n += 7 {
		for _, cut := range []bool{true, false} {
			damaged := bytes.Clone(whole[:n])
			if !cut {
				damaged = bytes.Clone(whole)
				damaged[min(n, len(whole)-1)] ^= 0x10
			}
			for _, uidlist := range []bool{true, false} {
				disk := disk.Cut(noRandom())
				if err := puts(disk, alicesDir+"/"+snapshotName, string(damaged)); err != nil {
					t.Fatal(err)
				}
				if !uidlist {
					if err := disk.Remove(alicesDir + "/dovecot-uidlist"); err != nil {
						t.Fatal(err)
					}
				}
				cfg := faulty(disk)
				text := logged(&cfg)
				s, err := openStill(cfg)
				if err != nil {
					t.Fatal(err)
				}
				v := view(t, s, "alice", "INBOX")
				if len(v.Messages) != 3 || v.UIDValidity == was.UIDValidity && v.UIDNext < was.UIDNext || v.Messages[1].Flags != storage.FlagSeen {
					t.Fatalf("octet %d, cut %v: %+v", n, cut, v)
				}
				for i, m := range v.Messages {
					if v.UIDValidity == was.UIDValidity && m.UID != was.Messages[i].UID {
						t.Fatalf("octet %d, cut %v: UID %d was %d", n, cut, m.UID, was.Messages[i].UID)
					}
				}
				if n < len(whole) && !strings.Contains(text.String(), "mailbox snapshot is not readable") {
					t.Fatalf("octet %d, cut %v, list %v: the log says\n%s%v", n, cut, uidlist, text, v)
				}
				must(t, s, ops("deliver", storage.Deliver{To: at("bob"), Content: mail("x", 9)}))
				endJournal(t, s)
			}
		}
	}
}

// Files of other programs with whatever names and content hold up nobody: what
// can be a message is one, the rest is left alone.
func TestOddFilesInAMaildir(t *testing.T) {
	s, cfg, dir := onDisk(t, func(cfg *Config) { cfg.Quota = 0 })
	must(t, s, login("alice"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	alice := filepath.Join(dir, "alice@relay.test")
	text := map[string]string{
		"1775324677.M1P1.exam,S=5:2,S":                 "hello",
		"1775324677.M2P1.exam,S=99999:2,":              "short",
		"1775324677.M3P1.exam,S=1:2,":                  "longer than it says",
		"1775324677.M4P1.exam:2,\xff\xfe\x01":          "odd flags",
		"\xff\xfe\x80 odd octets":                      "odd name",
		"new\nline":                                    "odd name",
		"with:colons:2,S:2,T":                          "odd name",
		strings.Repeat("long", 60):                     "long name",
		"1775324677.M5P1.exam,S=18446744073709551616:": "size out of range",
		"1775324677.M6P1.exam,S=-1":                    "negative",
		"99999999999999999999.M7P1.exam":               "time out of range",
		"1775324677.M8P1.exam,S=4:2,S":                 "\x00\x00\x00\x00",
		"1775324677.M9P1.exam,S=30":                    "\x1f\x8bno gzip",
		"1775324677.Q7N0.barid,S=4,U=4294967295:2,":    "UID!",
		"1775324677.Q7N1.barid,S=4,U=0:2,":             "UID!",
		"1775324677.Q18446744073709551615N1.barid,S=4": "seq!",
		".hidden":  "hidden",
		"password": "hidden",
	}
	for _, sub := range []string{"cur", "new", ".A.B/cur"} {
		for name, content := range text {
			put(t, content, alice, sub, name)
		}
		if err := os.Mkdir(filepath.Join(alice, sub, "1775324677.directory"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/etc/passwd", filepath.Join(alice, sub, "1775324677.link")); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{".", "..", ".A..B", ".\xff", ".a/b"} {
		_ = os.MkdirAll(filepath.Join(alice, folder, "cur"), 0o700) // those that can be
	}
	for range 3 {
		s = mustOpen(t, cfg)
		s.settler.stop()
		must(t, s, login("alice"))
		v := view(t, s, "alice", "INBOX")
		if len(v.Messages) < 10 {
			t.Errorf("%d messages", len(v.Messages))
		}
		for _, m := range v.Messages {
			mb, err := s.Open(ctx, acct("alice"), "INBOX")
			if err != nil {
				t.Fatal(err)
			}
			err = mb.Read(ctx, []storage.UID{m.UID}, storage.Whole, func(_ storage.UID, c storage.Content) error {
				if c.Size() == 0 {
					return errors.New("it is empty")
				}
				return nil
			})
			mb.Close()
			if err != nil {
				t.Errorf("UID %d: %v", m.UID, err)
			}
		}
		must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 99)}))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s = mustOpen(t, cfg)
	s.settler.stop()
	defer s.Close()
	kinds, _ := checked(t, s, false)
	for _, kind := range kinds { // nobody has the accounts open, so their lists are looked at
		if strings.Contains(kind, FaultUIDList) {
			t.Errorf("found %q", kind)
		}
	}
	if target, err := os.Readlink(filepath.Join(alice, "cur", "1775324677.link")); err != nil || target != "/etc/passwd" {
		t.Errorf("the link is %q, %v", target, err)
	}
}

// A message whose file is broken costs nobody the messages behind it: a client
// that is cut off at it comes again at once, and asks for the same.
func TestABrokenMessageIsPassedOver(t *testing.T) {
	var text *bytes.Buffer
	s, cfg, dir := onDisk(t, func(cfg *Config) { text, cfg.MaxMessage, cfg.Quota = logged(cfg), 4<<20, 0 })
	must(t, s, login("alice"))
	for _, size := range []int{20_000, 2_000_000, 20_000} {
		must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", size)}))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	inbox := filepath.Join(dir, "alice@relay.test", "new")
	whole := map[string]string{}
	for _, name := range names(t, inbox)[:2] {
		octets, err := os.ReadFile(filepath.Join(inbox, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(octets, []byte("\x1f\x8b")) {
			t.Fatalf("%s is not compressed", name)
		}
		whole[name] = string(octets)
		copy(octets[len(octets)/2:], "\xff\xff\xff\xff\xff\xff\xff\xff")
		put(t, string(octets), inbox, name)
	}
	s = mustOpen(t, cfg)
	s.settler.stop()
	fetch := func() (got []storage.UID, err error) {
		mb, err := s.Open(ctx, acct("alice"), "INBOX")
		if err != nil {
			return nil, err
		}
		defer mb.Close()
		err = mb.Read(ctx, []storage.UID{1, 2, 3}, storage.Whole, func(uid storage.UID, c storage.Content) error {
			_, err := io.Copy(io.Discard, io.NewSectionReader(c, 0, c.Size()))
			if err == nil {
				got = append(got, uid)
			}
			return err
		})
		return got, err
	}
	if got, err := fetch(); err == nil || len(got) > 0 {
		t.Errorf("large content tells only when it is read: got %d, %v", got, err)
	}
	for range 2 {
		if got, err := fetch(); err != nil || !slices.Equal(got, []storage.UID{3}) {
			t.Errorf("got %d, %v", got, err)
		}
		must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 99)}), checkpointNow)
	}
	if n := strings.Count(text.String(), "a message cannot be read and is passed over"); n != 2 {
		t.Errorf("told %d times:\n%s", n, text)
	}
	for name, octets := range whole { // out of a backup
		put(t, octets, inbox, name)
	}
	s = reopened(t, s, cfg)
	if got, err := fetch(); err != nil || !slices.Equal(got, []storage.UID{1, 2, 3}) {
		t.Errorf("with its files again: got %d, %v", got, err)
	}
}

// A clock that jumps back gives no UID, ModSeq or UIDVALIDITY twice.
func TestAClockThatJumpsBack(t *testing.T) {
	disk := faultfs.New()
	now := time.Unix(1_790_000_000, 0)
	cfg := faulty(disk)
	cfg.Now = func() time.Time { return now }
	s, err := openStill(cfg)
	if err != nil {
		t.Fatal(err)
	}
	must(t, s, login("alice"))
	var last storage.View
	validities := map[storage.UIDValidity]bool{}
	for n := range 20 {
		now = now.Add(-time.Duration(n) * 100 * 24 * time.Hour)
		box := fmt.Sprint("box", n)
		must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 99)}), settleNow,
			ops("mailbox", storage.CreateMailbox{Account: acct("alice"), Name: box}), checkpointNow)
		v := view(t, s, "alice", "INBOX")
		if len(v.Messages) != n+1 || v.UIDNext <= last.UIDNext || v.HighestModSeq <= last.HighestModSeq {
			t.Fatalf("%+v after %+v", v, last)
		}
		last = *v
		if b := view(t, s, "alice", box); validities[b.UIDValidity] || b.UIDValidity <= v.UIDValidity {
			t.Fatalf("UIDVALIDITY %d comes again, or is not above %d", b.UIDValidity, v.UIDValidity)
		} else {
			validities[b.UIDValidity] = true
		}
		if n%5 == 4 {
			endJournal(t, s)
			if s, err = openStill(cfg); err != nil {
				t.Fatal(err)
			}
		}
	}
	endJournal(t, s)
}

// A disk that is full from any point on costs nothing that was acknowledged,
// and the store works again when there is room.
func TestADiskThatGetsFullAtAnyPoint(t *testing.T) {
	clean := faultfs.New()
	s := still(t, clean)
	must(t, s, login("alice"), login("bob"), settleNow)
	begin := clean.Ops()
	must(t, s, troubled()...)
	for _, n := range sample(clean.Ops()-begin, 40) {
		if err := fullFrom(begin + n); err != nil {
			t.Fatalf("from operation %d %v: %v", begin+n, clean.Log()[begin+n-1], err)
		}
	}
}

func fullFrom(n int) error {
	disk := faultfs.New()
	s, err := openStill(faulty(disk))
	if err != nil {
		return err
	}
	if _, err := run(s, []step{login("alice"), login("bob"), settleNow}); err != nil {
		return err
	}
	count := disk.Ops()
	disk.Break(func(op faultfs.Op) error {
		count++
		overwrites := strings.HasPrefix(op.Name, journalDir+"/") && op.Kind == faultfs.Write // in place
		grows := op.Kind == faultfs.Create || op.Kind == faultfs.Mkdir || op.Kind == faultfs.Link || op.Kind == faultfs.Write
		if count >= n && grows && !overwrites {
			return syscall.ENOSPC
		}
		return nil
	})
	var acknowledged []step
	for _, st := range troubled() {
		if err := st.do(s); err == nil && st.name != settleNow.name && st.name != checkpointNow.name {
			acknowledged = append(acknowledged, st)
		} else if errors.Is(err, errTrouble) {
			return fmt.Errorf("%s: a full disk is no account's fault: %w", st.name, err)
		}
	}
	disk.Break(nil)
	if s.readOnly.Load() {
		if s, err = killedOn(s, disk); err != nil {
			return err
		}
	}
	if _, err := run(s, []step{settleNow, checkpointNow, bobs}); err != nil {
		return err
	}
	got, err := dump(s, false)
	if err != nil {
		return err
	}
	if want, err := healthy(acknowledged, s); err != nil || comparable(got) != comparable(want) {
		return fmt.Errorf("%v: got\n%s\nwant\n%s", err, got, want)
	}
	return stopped(s, disk)
}

// A hundredth of a large disk stays free.
func TestAHundredthOfTheDiskStaysFree(t *testing.T) {
	disk := faultfs.New()
	now := time.Unix(1_790_000_000, 0)
	cfg := faulty(disk)
	cfg.Now = func() time.Time { return now }
	s, err := openStill(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.journal.Close()
	must(t, s, login("alice"))
	deliver := ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 99)})
	disk.SetSize(1 << 40)
	for _, percent := range []uint64{3, 1, 0} {
		disk.SetFree((1<<40)/100*percent+(1<<40)/200, 1<<30) // and a half
		now = now.Add(time.Minute)
		if err := deliver.do(s); percent > 0 && err != nil {
			t.Errorf("%d.5 %% free: %v", percent, err)
		} else if percent == 0 {
			wantErr(t, "half a percent free", err, storage.ErrFull)
		}
	}
}
