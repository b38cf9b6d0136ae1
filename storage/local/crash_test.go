package local

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"barid/internal/journal/faultfs"
	"barid/smtp"
	"barid/storage"
)

var ctx = context.Background()

// step is one thing that a scripted workload does.
type step struct {
	name string
	do   func(s *Store) error
}

func at(local string) smtp.Address { return smtp.Address{LocalPart: local, Domain: "relay.test"} }

func acct(local string) storage.Account { return storage.Account{Address: at(local)} }

// mail is content of that size which tells its name.
func mail(name string, size int) storage.Content {
	b := []byte("Subject: " + name + "\r\n\r\n")
	for len(b) < size {
		b = append(b, name...)
	}
	c := octets(b[:size])
	return &c
}

func ops(name string, ops ...storage.Op) step {
	return step{name, func(s *Store) error {
		r, err := s.Commit(ctx, storage.Batch{Ops: ops})
		for _, o := range r.Per {
			err = errors.Join(err, o.Err)
		}
		return err
	}}
}

func login(local string) step {
	return step{"login " + local, func(s *Store) error {
		_, err := s.Login(ctx, at(local), "a long password", storage.Origin{})
		return err
	}}
}

var settleNow = step{"settle", func(s *Store) error {
	s.disk.Lock()
	defer s.disk.Unlock()
	return s.settler.settleAll()
}}

var checkpointNow = step{"checkpoint", (*Store).checkpoint}

// workload touches everything that has a file.
func workload() []step {
	group := mail("group", 1500)
	return []step{
		login("alice"), login("bob"),
		ops("deliver", storage.Deliver{To: at("alice"), Content: mail("one", 100)}),
		settleNow,
		ops("group", storage.Deliver{To: at("alice"), Content: group}, storage.Deliver{To: at("bob"), Content: group}),
		ops("flags", storage.SetFlags{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}, Flags: storage.FlagSeen}),
		ops("mailbox", storage.CreateMailbox{Account: acct("alice"), Name: "A.B"}),
		settleNow,
		ops("copy settled", storage.Copy{Account: acct("alice"), Mailbox: "INBOX", Dest: "A.B", UIDs: []storage.UID{1, 2}}),
		checkpointNow,
		ops("expunge source", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}}),
		settleNow,
		ops("move", storage.Move{Account: acct("alice"), Mailbox: "A.B", Dest: "A", UIDs: []storage.UID{1}}),
		ops("token", storage.SetEntry{Account: acct("alice"), Mailbox: "INBOX", Name: deviceToken, Value: []byte("1111")}),
		ops("large", storage.Deliver{To: at("bob"), Content: mail("large", inlineMax+1000)}),
		ops("copy of what the batch brings",
			storage.Append{Account: acct("alice"), Mailbox: "A", Received: time.Unix(1_000_000_000, 0), Content: mail("both", 300)},
			storage.Copy{Account: acct("alice"), Mailbox: "A", Dest: "A.B", UIDs: []storage.UID{2}},
			storage.Copy{Account: acct("alice"), Mailbox: "A.B", Dest: "INBOX", UIDs: []storage.UID{3}},
		),
		ops("short life", storage.Deliver{To: at("bob"), Content: mail("short", 500)}),
		ops("its end", storage.Expunge{Account: acct("bob"), Mailbox: "INBOX", UIDs: []storage.UID{3}}),
		settleNow,
		ops("copy in the window", storage.Copy{Account: acct("bob"), Mailbox: "INBOX", Dest: "INBOX", UIDs: []storage.UID{1, 2}}),
		ops("sources go", storage.Expunge{Account: acct("bob"), Mailbox: "INBOX", UIDs: []storage.UID{1, 2}}),
		settleNow,
		ops("flags of settled", storage.SetFlags{Account: acct("bob"), Mailbox: "INBOX", UIDs: []storage.UID{4}, Flags: storage.FlagFlagged}),
		checkpointNow,
		ops("copy a settled one", storage.Copy{Account: acct("bob"), Mailbox: "INBOX", Dest: "INBOX", UIDs: []storage.UID{4}}),
		settleNow,
		ops("then its source goes", storage.Expunge{Account: acct("bob"), Mailbox: "INBOX", UIDs: []storage.UID{4}}),
		settleNow,
		ops("rename", storage.RenameMailbox{Account: acct("alice"), From: "A", To: "X"}),
		ops("subscribe", storage.Subscribe{Account: acct("alice"), Name: "X"}, storage.Subscribe{Account: acct("alice"), Name: "Gone"}),
		// A copy of a copy, whose sources go one after the other.
		ops("copy from INBOX", storage.Copy{Account: acct("alice"), Mailbox: "INBOX", Dest: "X", UIDs: []storage.UID{2}}),
		ops("INBOX goes", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{2}}),
		settleNow,
		ops("move on", storage.Move{Account: acct("alice"), Mailbox: "X", Dest: "X.B", UIDs: []storage.UID{3}}),
		settleNow,
		ops("and on", storage.Move{Account: acct("alice"), Mailbox: "X.B", Dest: "INBOX", UIDs: []storage.UID{4}}),
		ops("and back", storage.Move{Account: acct("alice"), Mailbox: "INBOX", Dest: "X", UIDs: []storage.UID{4}}),
		settleNow,
		settleNow,
		ops("delete mailbox", storage.DeleteMailbox{Account: acct("alice"), Name: "X.B"}),
		ops("again", storage.CreateMailbox{Account: acct("alice"), Name: "X.B"}),
		ops("append", storage.Append{Account: acct("alice"), Mailbox: "X.B", Flags: storage.FlagSeen, Content: mail("new", 700)}),
		ops("password", storage.SetPassword{Account: acct("alice"), Password: "another password"}),
		settleNow,
		ops("delete account", storage.DeleteAccount{Account: acct("bob")}),
		settleNow,
		login("bob"),
		ops("new life", storage.Deliver{To: at("bob"), Content: mail("new life", 200)}),
		checkpointNow,
		ops("last", storage.Deliver{To: at("alice"), Content: mail("last", 50)}),
		settleNow,
	}
}

// faulty is a Config on a simulated disk. The clock stands still, so that two
// runs give equal UIDVALIDITYs.
func faulty(disk *faultfs.FS) Config {
	return Config{
		FS: disk, Domain: "relay.test", SettleAfter: time.Hour, CheckpointEvery: time.Hour, SegmentBytes: 64 << 10, Idle: time.Minute,
		CheckpointBytes: 1 << 20, Now: func() time.Time { return time.Unix(1_790_000_000, 0) },
	}
}

// openStill opens a store whose settler does nothing by itself.
func openStill(cfg Config) (*Store, error) {
	s, err := Open(cfg)
	if err == nil {
		s.settler.stop()
	}
	return s, err
}

// dumped is what a store shows, written down. IDs of messages and mailboxes
// are other ones in each store; they are numbered as they come.
type dumped struct {
	strings.Builder
	ids map[uint64]int
}

func (d *dumped) id(id uint64) int {
	if d.ids[id] == 0 {
		d.ids[id] = len(d.ids) + 1
	}
	return d.ids[id]
}

// dump writes down everything that a store shows.
func dump(s *Store, passwords bool) (string, error) {
	b := dumped{ids: map[uint64]int{}}
	for _, local := range []string{"alice", "bob"} {
		a, err := s.Lookup(ctx, at(local))
		if errors.Is(err, storage.ErrNoAccount) {
			fmt.Fprintf(&b, "%s: none\n", local)
			continue
		}
		if err != nil {
			return "", err
		}
		if err := dumpAccount(&b, s, a, local, passwords); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

func dumpAccount(b *dumped, s *Store, a storage.Account, local string, passwords bool) error {
	list, err := s.Mailboxes(ctx, a)
	if err != nil {
		return err
	}
	entries, err := s.Entries(ctx, a, "INBOX")
	if err != nil {
		return err
	}
	usage, err := s.Usage(ctx, a)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "%s: %+v", local, usage)
	for _, e := range entries {
		fmt.Fprintf(b, " %s", e.Value)
	}
	if passwords { // each costs a hash or two
		for _, p := range []storage.Password{"a long password", "another password"} {
			_, err := s.Login(ctx, at(local), p, storage.Origin{})
			fmt.Fprintf(b, " %v", err == nil)
		}
	}
	b.WriteByte('\n')
	for _, info := range list {
		if err := dumpMailbox(b, s, a, info); err != nil {
			return err
		}
	}
	return nil
}

func dumpMailbox(b *dumped, s *Store, a storage.Account, info storage.MailboxInfo) error {
	if info.ID == (storage.MailboxID{}) {
		fmt.Fprintf(b, "  %s %v\n", info.Name, info.Subscribed)
		return nil
	}
	m, err := s.Open(ctx, a, info.Name)
	if err != nil {
		return err
	}
	defer m.Close()
	v, err := m.View(ctx)
	if err != nil {
		return err
	}
	if v.ID != info.ID {
		return fmt.Errorf("%s has ID %v, and is listed with %v", v.Name, v.ID, info.ID)
	}
	fmt.Fprintf(b, "  %s %v I%d V%d N%d M%d\n", v.Name, info.Subscribed, b.id(binary.BigEndian.Uint64(v.ID[:])), v.UIDValidity, v.UIDNext, v.HighestModSeq)
	for _, msg := range v.Messages {
		fmt.Fprintf(b, "    %d %v M%d S%d R%d D%d I%d", msg.UID, msg.Flags, msg.ModSeq, msg.Size, msg.Received, msg.Saved, b.id(msg.ID))
		err := m.Read(ctx, []storage.UID{msg.UID}, storage.Whole, func(_ storage.UID, c storage.Content) error {
			text := make([]byte, c.Size())
			if _, err := c.ReadAt(text, 0); int64(len(text)) != msg.Size || err != nil && len(text) > 0 && !errors.Is(err, io.EOF) {
				return fmt.Errorf("read %d octets of %d: %w", len(text), msg.Size, err)
			}
			fmt.Fprintf(b, " %08x", crc32.ChecksumIEEE(text))
			return nil
		})
		if err != nil {
			return err
		}
		b.WriteByte('\n')
	}
	return nil
}

// run does steps until one fails, and tells how many succeeded.
func run(s *Store, steps []step) (done int, err error) {
	for _, st := range steps {
		if err := st.do(s); err != nil {
			return done, fmt.Errorf("%s: %w", st.name, err)
		}
		done++
	}
	return done, nil
}

// expected gives what a store shows before any step and after each.
func expected(t *testing.T, steps []step) (dumps []string, operations int) {
	disk := faultfs.New()
	s, err := openStill(faulty(disk))
	if err != nil {
		t.Fatal(err)
	}
	for i := -1; i < len(steps); i++ {
		if i >= 0 {
			if err := steps[i].do(s); err != nil {
				t.Fatalf("%s: %v", steps[i].name, err)
			}
		}
		d, err := dump(s, true)
		if err != nil {
			t.Fatal(err)
		}
		dumps = append(dumps, d)
	}
	operations = disk.Ops()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = openStill(faulty(disk))
	if err != nil {
		t.Fatal(err)
	}
	if d, err := dump(s, true); err != nil || d != dumps[len(dumps)-1] {
		t.Fatalf("after a clean stop:\n%s\nbefore:\n%s\n%v", d, dumps[len(dumps)-1], err)
	}
	return dumps, operations
}

// Wherever the power goes, what was acknowledged is there, and at most the
// one thing more that was under way.
func TestPowerCutAtEveryOperation(t *testing.T) {
	steps := workload()
	dumps, operations := expected(t, steps)
	t.Logf("%d steps, %d operations", len(steps), operations)
	const samples = 150 // of each operation some, over runs with other seeds all
	for i := range samples {
		n := 1 + i*operations/samples
		t.Run(fmt.Sprint(n), func(t *testing.T) { cutAt(t, n, int64(i), steps, dumps) })
	}
}

func cutAt(t *testing.T, n int, seed int64, steps []step, dumps []string) {
	disk := faultfs.New()
	disk.StopAt(n)
	done := 0
	s, err := openStill(faulty(disk))
	var failed error
	if err == nil {
		done, failed = run(s, steps)
	}
	disk = disk.Cut(rand.New(rand.NewSource(seed)))
	s, err = openStill(faulty(disk))
	if err != nil {
		t.Fatalf("cut after %d steps (%v): open: %v", done, failed, err)
	}
	got, err := dump(s, true)
	if err != nil {
		t.Fatalf("cut after %d steps (%v): %v", done, failed, err)
	}
	next := min(done+1, len(dumps)-1)
	if got != dumps[done] && got != dumps[next] {
		t.Fatalf("cut after %d steps (%v): got\n%s\nwant\n%s\nor\n%s", done, failed, got, dumps[done], dumps[next])
	}
	// The store goes on from there, and a clean stop changes nothing.
	if done > 1 {
		if _, err := run(s, []step{ops("go on", storage.Deliver{To: at("alice"), Content: mail("more", 99)}), settleNow, checkpointNow}); err != nil {
			t.Fatal(err)
		}
	}
	stopChangesNothing(t, s, disk)
}

// stopChangesNothing stops the store, opens it again, and looks at its files.
func stopChangesNothing(t *testing.T, s *Store, disk *faultfs.FS) {
	t.Helper()
	before, err := dump(s, false)
	if err != nil {
		t.Fatal(err)
	}
	boxes, _ := s.Mailboxes(ctx, acct("alice"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = openStill(faulty(disk)); err != nil {
		t.Fatal(err)
	}
	after, err := dump(s, false)
	if err != nil || after != before {
		t.Fatalf("after a clean stop: %v\n%s\nbefore\n%s", err, after, before)
	}
	if now, _ := s.Mailboxes(ctx, acct("alice")); !slices.Equal(now, boxes) {
		t.Fatalf("after a clean stop: mailboxes %v, were %v", now, boxes)
	}
	checkFiles(t, s, disk)
}

// A killed process has lost nothing, after any step.
func TestKilledAfterEveryStep(t *testing.T) {
	steps := workload()
	dumps, _ := expected(t, steps)
	for k := range len(steps) + 1 {
		disk := faultfs.New()
		s, err := openStill(faulty(disk))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := run(s, steps[:k]); err != nil {
			t.Fatal(err)
		}
		if s, err = openStill(faulty(disk)); err != nil {
			t.Fatal(err)
		}
		got, err := dump(s, false)
		if err != nil || got != withoutPasswords(dumps[k]) {
			t.Fatalf("after %d steps: %v\n%s\nwant\n%s", k, err, got, dumps[k])
		}
		stopChangesNothing(t, s, disk)
	}
}

var (
	validities = regexp.MustCompile(` V\d+ `)
	logins     = regexp.MustCompile(` (true|false) (true|false)\n(  INBOX)`)
)

func withoutPasswords(dump string) string { return logins.ReplaceAllString(dump, "\n$3") }

func comparable(dump string) string {
	return validities.ReplaceAllString(withoutPasswords(dump), " V ")
}

// An operation of the disk that fails once is either repaired by trying again,
// or ends all writing; nothing acknowledged is lost.
func TestAnyOperationMayFail(t *testing.T) {
	steps := workload()
	dumps, operations := expected(t, steps)
	const samples = 150
	for i := range samples {
		n := 1 + i*operations/samples
		cause := []error{syscall.EIO, syscall.ENOSPC, syscall.EMLINK}[i%3]
		t.Run(fmt.Sprint(n, " ", cause), func(t *testing.T) { failAt(t, n, cause, steps, dumps) })
	}
}

func failAt(t *testing.T, n int, cause error, steps []step, dumps []string) {
	disk := faultfs.New()
	disk.FailAt(n, cause)
	s, err := openStill(faulty(disk))
	if err != nil {
		if s, err = openStill(faulty(disk)); err != nil {
			t.Fatalf("open again: %v", err)
		}
	}
	done := 0
	for ; done < len(steps); done++ {
		if err = steps[done].do(s); err == nil {
			continue
		}
		if errors.Is(err, storage.ErrReadOnly) {
			break
		}
		if again := steps[done].do(s); again != nil {
			if err = again; errors.Is(err, storage.ErrReadOnly) {
				break
			}
			t.Fatalf("%s: %v, and again: %v", steps[done].name, err, again)
		}
	}
	if s.readOnly.Load() {
		if err := s.Close(); err == nil {
			t.Log("close after a failed flush tells nothing")
		}
		if s, err = openStill(faulty(disk)); err != nil {
			t.Fatalf("open after a failed flush: %v", err)
		}
	}
	got, err := dump(s, false)
	if err != nil {
		t.Fatalf("after %d steps: %v", done, err)
	}
	next := min(done+1, len(dumps)-1)
	if comparable(got) != comparable(dumps[done]) && comparable(got) != comparable(dumps[next]) {
		t.Fatalf("after %d steps: got\n%s\nwant\n%s\nor\n%s", done, got, dumps[done], dumps[next])
	}
	stopChangesNothing(t, s, disk)
}

// checkFiles compares the message files with what the store shows.
func checkFiles(t *testing.T, s *Store, disk *faultfs.FS) {
	t.Helper()
	for _, local := range []string{"alice", "bob"} {
		list, err := s.Mailboxes(ctx, acct(local))
		if err != nil {
			continue
		}
		a := &account{dir: s.accountDir(at(local))}
		for _, info := range list {
			if info.ID == (storage.MailboxID{}) {
				continue // only subscribed to
			}
			m, err := s.Open(ctx, acct(local), info.Name)
			if err != nil {
				t.Fatal(err)
			}
			v, _ := m.View(ctx)
			m.Close()
			files, err := s.dir(a, info.Name).List()
			if err != nil || len(files) != len(v.Messages) {
				t.Errorf("%s %s: %d files, %d messages, %v", local, info.Name, len(files), len(v.Messages), err)
			}
		}
	}
	left, err := disk.ReadDir(stagingDir)
	if err != nil || len(left) > 0 {
		t.Errorf("%d staging files, %v", len(left), err)
	}
}
