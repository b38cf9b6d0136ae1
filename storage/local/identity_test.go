package local

import (
	"bytes"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"barid/internal/journal/faultfs"
	"barid/storage"
)

func idsOf(v *storage.View) (ids []uint64) {
	for _, m := range v.Messages {
		ids = append(ids, m.ID)
	}
	return ids
}

// oldSnapshot rewrites the snapshot in a directory as version 1 had it.
func oldSnapshot(t *testing.T, dir string) {
	t.Helper()
	name := filepath.Join(dir, snapshotName)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	sn, err := decodeSnapshot(text)
	if err != nil {
		t.Fatal(err)
	}
	var e encoder
	e.b = append(e.b, snapshotV1...)
	for _, n := range []uint64{sn.checkpoint, sn.applied, uint64(sn.validity), uint64(sn.next), uint64(sn.modseq)} {
		e.number(n)
	}
	e.signed(sn.changed[0])
	e.signed(sn.changed[1])
	e.number(uint64(len(sn.messages)))
	last := storage.UID(0)
	for i, m := range sn.messages {
		for _, n := range []uint64{uint64(m.UID - last), uint64(m.Flags), uint64(m.ModSeq), uint64(m.Size)} {
			e.number(n)
		}
		last = m.UID
		e.signed(int64(m.Received))
		e.number(uint64(sn.items[i].loc.Load()))
		if f := sn.items[i].foreign; f != nil {
			e.text(f.String())
			continue
		}
		e.text("")
		e.number(sn.items[i].seq)
		e.number(uint64(sn.items[i].n))
	}
	if err := os.WriteFile(name, sealed(e.b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// IDs outlive the snapshots: they are made from file names, and a key that the
// store has.
func TestIDsAfterASnapshotIsLost(t *testing.T) {
	for _, lost := range []struct {
		name string
		do   func(t *testing.T, dir string)
	}{
		{"snapshot of version 1", oldSnapshot},
		{"no snapshot", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, snapshotName)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(lost.name, func(t *testing.T) {
			now := time.Unix(1_790_000_000, 0)
			s, cfg, dir := onDisk(t, func(cfg *Config) { cfg.Now = func() time.Time { return now } })
			alice := filepath.Join(dir, "alice@relay.test")
			must(t, s, login("alice"),
				ops("two", storage.Deliver{To: at("alice"), Content: mail("x", 9)}, storage.Deliver{To: at("alice"), Content: mail("y", 9)}),
				ops("old", storage.Append{Account: acct("alice"), Mailbox: "INBOX", Received: time.Unix(-5, 0), Content: mail("z", 9)}))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			put(t, "another's", alice, "cur", "1775324677.M448978P3029757.exam,S=9:2,S")
			s = mustOpen(t, cfg)
			must(t, s, ops("copy", storage.Copy{Account: acct("alice"), Mailbox: "INBOX", Dest: "INBOX", UIDs: []storage.UID{1, 4}}))
			before := view(t, s, "alice", "INBOX")
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			ids := idsOf(before)
			if len(ids) != 6 || ids[4] != ids[0] || ids[5] != ids[3] || len(slices.Compact(slices.Sorted(slices.Values(ids)))) != 4 {
				t.Fatalf("IDs %x", ids)
			}
			lost.do(t, alice)
			now = now.Add(time.Hour)
			s = reopened(t, mustOpen(t, cfg), cfg)
			t.Cleanup(func() { s.Close() })
			after := view(t, s, "alice", "INBOX")
			if after.ID != before.ID {
				t.Errorf("mailbox ID %v, was %v", after.ID, before.ID)
			}
			if got := idsOf(after); !slices.Equal(got[:4], ids[:4]) {
				t.Errorf("IDs %x, were %x", got, ids)
			}
			// What a copy is of was in the snapshot alone.
			if got := idsOf(after); len(slices.Compact(slices.Sorted(slices.Values(got)))) != 6 {
				t.Errorf("IDs %x: some are the same", got)
			}
			for i, m := range after.Messages {
				if m.Saved != m.Received || m.Received != max(before.Messages[i].Received, 0) && m.Received != before.Messages[i].Received {
					t.Errorf("%+v, was %+v", m, before.Messages[i])
				}
			}
		})
	}
}

// The ID of a mailbox lies beside its snapshot too, where Dovecot keeps it.
func TestMailboxIDsOfCopiedAndAdoptedDirectories(t *testing.T) {
	s, cfg, dir := onDisk(t, nil)
	alice := filepath.Join(dir, "alice@relay.test")
	must(t, s, login("alice"),
		ops("make", storage.CreateMailbox{Account: acct("alice"), Name: "A"}),
		ops("rename", storage.RenameMailbox{Account: acct("alice"), From: "A", To: "B"}))
	before := view(t, s, "alice", "B").ID
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, copied := range []string{".C", ".D"} { // with and without snapshot
		if err := os.CopyFS(filepath.Join(alice, copied), os.DirFS(filepath.Join(alice, ".B"))); err != nil {
			t.Fatal(err)
		}
	}
	for _, lost := range []string{".B", ".D"} {
		if err := os.Remove(filepath.Join(alice, lost, snapshotName)); err != nil {
			t.Fatal(err)
		}
	}
	put(t, "3 V7 N1 G3085f01b7f11094c501100008c4a11c1\n", alice, ".Adopted", "dovecot-uidlist")
	s = mustOpen(t, cfg)
	for i := range 3 {
		ids := map[storage.MailboxID]string{}
		for _, name := range []string{"INBOX", "B", "C", "D", "Adopted"} {
			id := view(t, s, "alice", name).ID
			if other, have := ids[id]; have {
				t.Errorf("start %d: %s and %s have one ID", i, name, other)
			}
			ids[id] = name
		}
		if got := ids[before]; got != "B" {
			t.Errorf("start %d: the ID of B is that of %q", i, got)
		}
		if got := view(t, s, "alice", "Adopted").ID.String(); got != "3085f01b7f11094c501100008c4a11c1" {
			t.Errorf("start %d: ID %s", i, got)
		}
		s = reopened(t, s, cfg)
	}
}

// A snapshot that a later version of this program wrote is left alone.
func TestSnapshotsOfLaterVersionsAreLeftAlone(t *testing.T) {
	s, cfg, dir := onDisk(t, nil)
	must(t, s, login("alice"), ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 9)}))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "alice@relay.test", snapshotName)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text = sealed(bytes.Replace(text[:len(text)-4], []byte("barid-mailbox 3"), []byte("barid-mailbox 4"), 1))
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, cfg)
	defer s.Close()
	if _, err := s.Lookup(ctx, at("alice")); err == nil || !strings.Contains(err.Error(), "unknown version") {
		t.Errorf("lookup: %v", err)
	}
	if now, err := os.ReadFile(name); err != nil || !bytes.Equal(now, text) {
		t.Errorf("it was changed, %v", err)
	}
}

// The time of a copy is its own; only a rename keeps it.
func TestSavedIsTheTimeOfTheCopy(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	cfg := faulty(faultfs.New())
	cfg.Now = func() time.Time { return now }
	s, err := openStill(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	must(t, s, login("alice"), ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 9)}))
	for i, op := range []storage.Op{
		storage.CreateMailbox{Account: acct("alice"), Name: "A"},
		storage.Copy{Account: acct("alice"), Mailbox: "INBOX", Dest: "A", UIDs: []storage.UID{1}},
		storage.Move{Account: acct("alice"), Mailbox: "INBOX", Dest: "A", UIDs: []storage.UID{1}},
		storage.RenameMailbox{Account: acct("alice"), From: "A", To: "B"},
	} {
		now = now.Add(time.Hour)
		must(t, s, ops(string(rune('a'+i)), op))
	}
	m := view(t, s, "alice", "B").Messages
	first := storage.Time(1_790_000_000)
	if m[0].Saved != first+2*3600 || m[1].Saved != first+3*3600 || m[0].Received != first || m[1].Received != first {
		t.Errorf("messages %+v", m)
	}
}

// oldCounters is a disk with the counters of version 1.
func oldCounters(t *testing.T) *faultfs.FS {
	t.Helper()
	disk := faultfs.New()
	var e encoder
	e.b = append(e.b, countersV1...)
	e.number(1 << 31)
	f, err := disk.OpenFile(countersName, os.O_RDWR|os.O_CREATE)
	if err == nil {
		_, err = f.WriteAt(sealed(e.b), 0)
	}
	if err == nil {
		err = disk.SyncFS()
	}
	if err != nil {
		t.Fatal(err)
	}
	return disk
}

// countersOf opens a store, which reads the counters and makes the key.
func countersOf(disk *faultfs.FS) (*Store, error) {
	s, err := openStill(faulty(disk))
	if err == nil {
		err = s.journal.Close()
	}
	return s, err
}

// The key of the IDs is there for good before there is an ID, and while it is
// made nothing else is lost.
func TestTheKeyOfIDsIsDurable(t *testing.T) {
	whole := oldCounters(t)
	begin := whole.Ops()
	if _, err := countersOf(whole); err != nil {
		t.Fatal(err)
	}
	for n := begin + 1; n <= whole.Ops()+1; n++ {
		for seed := range int64(8) {
			disk := oldCounters(t)
			disk.StopAt(n)
			s, failed := countersOf(disk)
			again, err := countersOf(disk.Cut(rand.New(rand.NewSource(seed))))
			if err != nil {
				t.Fatalf("cut at %d: %v", n, err)
			}
			if again.validity.Load() != 1<<31 || again.ids == (idKey{}) {
				t.Errorf("cut at %d: UIDVALIDITY %d, key %x", n, again.validity.Load(), again.ids)
			}
			if failed == nil && again.ids != s.ids {
				t.Errorf("cut at %d: key %x, was %x", n, again.ids, s.ids)
			}
		}
	}
}

// A store of an earlier version gets a key, and goes on.
func TestIDsOfAnEarlierStore(t *testing.T) {
	disk := oldCounters(t)
	s, err := openStill(faulty(disk))
	if err != nil {
		t.Fatal(err)
	}
	must(t, s, login("alice"), ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 9)}))
	first := view(t, s, "alice", "INBOX")
	if first.UIDValidity <= 1<<31 {
		t.Errorf("UIDVALIDITY %d: what the old file said is lost", first.UIDValidity)
	}
	disk = disk.Cut(noRandom())
	if s, err = openStill(faulty(disk)); err != nil {
		t.Fatal(err)
	}
	if got := idsOf(view(t, s, "alice", "INBOX")); !slices.Equal(got, idsOf(first)) {
		t.Errorf("IDs %x, were %x", got, idsOf(first))
	}
	stopChangesNothing(t, s, disk)
}
