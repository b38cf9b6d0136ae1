package local

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"barid/internal/journal/faultfs"
	"barid/storage"
)

type bellFunc func()

func (f bellFunc) Ring() { f() }

// Nothing of a write is seen before its record is flushed.
func TestNothingIsSeenBeforeItIsDurable(t *testing.T) {
	disk := faultfs.New()
	s, err := openStill(faulty(disk))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := run(s, []step{login("alice")}); err != nil {
		t.Fatal(err)
	}
	m, err := s.Open(ctx, acct("alice"), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	rung := make(chan struct{}, 10)
	m.Subscribe(bellFunc(func() { rung <- struct{}{} }))

	goOn := make(chan struct{})
	disk.OnFlush(func(faultfs.Op) { <-goOn })
	done := make(chan error)
	go func() {
		_, err := run(s, []step{ops("deliver",
			storage.Deliver{To: at("alice"), Content: mail("x", 99)},
			storage.CreateMailbox{Account: acct("alice"), Name: "A"},
			storage.SetEntry{Account: acct("alice"), Name: deviceToken, Value: []byte("1")})})
		done <- err
	}()
	for s.journal.Last() < 2 {
		runtime.Gosched()
	}
	v, err := m.View(ctx)
	if err != nil || v.UIDNext != 1 || len(v.Messages) != 0 || v.HighestModSeq != 0 {
		t.Errorf("seen before it is durable: %+v, %v", v, err)
	}
	if d, err := m.Since(ctx, 0); err != nil || len(d.Changed) != 0 {
		t.Errorf("changed before it is durable: %+v, %v", d, err)
	}
	if list, _ := s.Mailboxes(ctx, acct("alice")); len(list) != 1 {
		t.Errorf("mailboxes %v", list)
	}
	if list, _ := s.Entries(ctx, acct("alice"), ""); len(list) != 0 {
		t.Errorf("entries %v", list)
	}
	if u, _ := s.Usage(ctx, acct("alice")); u.Octets != 0 {
		t.Errorf("usage %v", u)
	}
	select {
	case <-rung:
		t.Error("rung before it is durable")
	default:
	}
	disk.OnFlush(nil)
	close(goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	select {
	case <-rung:
	default:
		t.Error("not rung when commit returned")
	}
	if v, _ := m.View(ctx); v.UIDNext != 2 {
		t.Errorf("UIDNEXT %d after commit", v.UIDNext)
	}
}

// A birth is durable before Login says so, and others wait for it.
func TestBirthIsDurable(t *testing.T) {
	disk := faultfs.New()
	s, err := openStill(faulty(disk))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run(s, []step{login("alice")}); err != nil {
		t.Fatal(err)
	}
	disk = disk.Cut(noRandom())
	if s, err = openStill(faulty(disk)); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if a, err := s.Login(ctx, at("alice"), "a long password", storage.Origin{}); err != nil || a.Born {
		t.Errorf("%+v, %v", a, err)
	}
}

// A full disk refuses mail and births, but not flags and expunges.
func TestFullDisk(t *testing.T) {
	disk := faultfs.New()
	now := time.Unix(1_790_000_000, 0)
	cfg := faulty(disk)
	cfg.Now = func() time.Time { return now }
	text := logged(&cfg)
	s, err := openStill(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := run(s, []step{login("alice"), ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 99)})}); err != nil {
		t.Fatal(err)
	}
	for _, free := range [][2]uint64{{1000, 1 << 30}, {1 << 40, 10}} {
		disk.SetFree(free[0], free[1])
		now = now.Add(time.Minute)
		st := ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 99)})
		wantErr(t, st.name, st.do(s), storage.ErrFull)
		st = login("bob")
		wantErr(t, st.name, st.do(s), storage.ErrRefused)
		_, err = s.Draft(ctx, 10)
		wantErr(t, "draft", err, storage.ErrFull)
		_, err = run(s, []step{
			ops("flags", storage.SetFlags{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}, Mode: storage.AddFlags, Flags: storage.FlagSeen}),
			ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}}),
			login("alice"),
		})
		if err != nil {
			t.Error(err)
		}
		if list := s.Findings(); len(list) != 1 || list[0].ID != "store.full" {
			t.Errorf("findings %+v", list)
		}
	}
	now = now.Add(2 * time.Second)
	wantErr(t, "within the minute", s.Health(ctx), storage.ErrFull)
	disk.SetFree(1<<40, 1<<30)
	now = now.Add(2 * time.Second)
	if err := s.Health(ctx); err != nil || len(s.Findings()) > 0 {
		t.Errorf("with room: %v, %+v", err, s.Findings())
	}
	if full, room := strings.Count(text.String(), "no mail is taken"), strings.Count(text.String(), "room again"); full != 2 || room != 1 {
		t.Errorf("the log tells %d times that the disk is full and %d times that it has room:\n%s", full, room, text)
	}
}

// A failed flush makes the store read-only, for good, and reading goes on.
func TestReadOnlyAfterAFailedFlush(t *testing.T) {
	disk := faultfs.New()
	s, err := openStill(faulty(disk))
	if err != nil {
		t.Fatal(err)
	}
	deliver := ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 99)})
	if _, err := run(s, []step{login("alice"), deliver}); err != nil {
		t.Fatal(err)
	}
	messages := 1
	for range 20 {
		// The write, then the flush; but the journal may be making its next
		// segment meanwhile, and that is tried again.
		disk.FailAt(disk.Ops()+2, errDisk)
		if err = deliver.do(s); err != nil {
			break
		}
		messages++
	}
	wantErr(t, "deliver", err, storage.ErrReadOnly)
	wantErr(t, "deliver", deliver.do(s), storage.ErrReadOnly)
	wantErr(t, "birth", login("bob").do(s), storage.ErrReadOnly)
	wantErr(t, "checkpoint", s.checkpoint(), storage.ErrReadOnly)
	if err := login("alice").do(s); err != nil {
		t.Errorf("login: %v", err)
	}
	m, err := s.Open(ctx, acct("alice"), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := m.View(ctx); err != nil || len(v.Messages) != messages {
		t.Errorf("view %+v, %v", v, err)
	}
	m.Close()
	if err := s.Close(); err == nil {
		t.Log("close tells nothing of the failed flush")
	}
}
