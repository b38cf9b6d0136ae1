package local

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"regexp"
	"slices"
	"strings"
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

// The two halves of a checkpoint that waits for its lull.
var (
	checkpointBegins = step{"begin a checkpoint", func(s *Store) error { return s.settler.begin() }}
	checkpointEnds   = step{"end the checkpoint", func(s *Store) error {
		if s.settler.cp == nil {
			return nil // none has begun
		}
		return s.settler.complete()
	}}
)

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
		FS: disk, Domain: "relay.test", rounds: 1000, SettleAfter: time.Hour, CheckpointEvery: time.Hour, SegmentBytes: 64 << 10, Idle: time.Minute,
		Policy: Policy{NameReuseAfter: time.Hour}, CheckpointBytes: 1 << 20, Now: func() time.Time { return time.Unix(1_790_000_000, 0) },
	}
}

// openStill opens a store whose settler does nothing by itself.
func openStill(cfg Config) (*Store, error) {
	s, err := Open(cfg)
	if err == nil {
		s.settler.stop()
		s.queue.flusher.stop()
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
	if err := dumpQueue(&b, s); err != nil {
		return "", err
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

var (
	validities = regexp.MustCompile(` V\d+ `)
	logins     = regexp.MustCompile(` (true|false) (true|false)\n(  INBOX)`)
)

func withoutPasswords(dump string) string { return logins.ReplaceAllString(dump, "\n$3") }

func comparable(dump string) string {
	return validities.ReplaceAllString(withoutPasswords(dump), " V ")
}

// stopChangesNothing stops the store, opens it again, and looks at its files.
func stopChangesNothing(t *testing.T, s *Store, disk *faultfs.FS) {
	t.Helper()
	if err := stopped(s, disk); err != nil {
		t.Fatal(err)
	}
}

// stopped is stopChangesNothing without a test.
func stopped(s *Store, disk *faultfs.FS) error {
	before, err := dump(s, false)
	if err != nil {
		return err
	}
	boxes, _ := s.Mailboxes(ctx, acct("alice"))
	if err := s.Close(); err != nil {
		return err
	}
	if s, err = openStill(faulty(disk)); err != nil {
		return err
	}
	defer s.journal.Close()
	after, err := dump(s, false)
	if err != nil || after != before {
		return fmt.Errorf("after a clean stop: %w\n%s\nbefore\n%s", err, after, before)
	}
	if now, _ := s.Mailboxes(ctx, acct("alice")); !slices.Equal(now, boxes) {
		return fmt.Errorf("after a clean stop: mailboxes %v, were %v", now, boxes)
	}
	return filesFit(s, disk)
}

// filesFit compares the message files with what the store shows.
func filesFit(s *Store, disk *faultfs.FS) error {
	for _, local := range []string{"alice", "bob"} {
		list, err := s.Mailboxes(ctx, acct(local))
		if err != nil {
			continue
		}
		a := &account{addr: at(local)}
		for _, info := range list {
			if info.ID == (storage.MailboxID{}) {
				continue // only subscribed to
			}
			m, err := s.Open(ctx, acct(local), info.Name)
			if err != nil {
				return err
			}
			v, _ := m.View(ctx)
			m.Close()
			files, err := s.dir(a, info.Name).List()
			if err != nil || len(files) != len(v.Messages) {
				return fmt.Errorf("%s %s: %d files, %d messages, %w", local, info.Name, len(files), len(v.Messages), err)
			}
		}
	}
	if err := queueFits(s, disk); err != nil {
		return err
	}
	left, err := disk.ReadDir(stagingDir)
	if err != nil || len(left) > 0 {
		return fmt.Errorf("%d staging files, %w", len(left), err)
	}
	return nil
}
