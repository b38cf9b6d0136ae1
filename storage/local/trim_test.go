package local

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"barid/internal/metrics"
	"barid/storage"
)

// aging is a Config on a real disk whose clock stands where the test sets it.
func aging(t *testing.T, quota int64) (Config, *time.Time) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	cfg := Config{
		Dir: t.TempDir(), Domain: "relay.test", NoSync: true, Quota: quota, SegmentBytes: 1 << 20, CheckpointBytes: 64 << 20,
		SettleAfter: time.Hour, CheckpointEvery: 100 * 24 * time.Hour,
	}
	cfg.Now = func() time.Time { return now }
	return cfg, &now
}

// openQuiet opens a store whose settler does nothing by itself, so that the
// test can set the clock.
func openQuiet(t *testing.T, cfg Config) *Store {
	t.Helper()
	s, err := openStill(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const hour, days = time.Hour, 24 * time.Hour

// deliverAll delivers one message of each size to alice.
func deliverAll(t *testing.T, s *Store, sizes ...int) {
	t.Helper()
	for i, size := range sizes {
		must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail(fmt.Sprint(i, " "), size)}))
	}
}

func uidsIn(t *testing.T, s *Store, box string) (uids []storage.UID) {
	t.Helper()
	m, err := s.Open(ctx, acct("alice"), box)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	v, err := m.View(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, msg := range v.Messages {
		uids = append(uids, msg.UID)
	}
	return uids
}

// Above three quarters of the quota the oldest leave, of whatever mailbox,
// until seven tenths are left; clients hear of it as of any expunge.
func TestOldestLeaveAFullMailbox(t *testing.T) {
	cfg, now := aging(t, 100_000)
	counted := metrics.New()
	cfg.Metrics = counted
	s := openQuiet(t, cfg)
	defer func() { s.Close() }()
	must(t, s, login("alice"), ops("mailbox", storage.CreateMailbox{Account: acct("alice"), Name: "Old"}))
	deliverAll(t, s, 10_000)
	*now = now.Add(days)
	must(t, s, ops("append", storage.Append{Account: acct("alice"), Mailbox: "Old", Content: mail("b", 10_000)}))
	*now = now.Add(days)
	deliverAll(t, s, 20_000, 20_000, 14_000) // 74,000 in all
	m, err := s.Open(ctx, acct("alice"), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	v, _ := m.View(ctx)
	rung := make(chan bool, 10)
	m.Subscribe(ringing(rung))

	deliverAll(t, s, 1000) // 75,000: not above
	if got := uidsIn(t, s, "INBOX"); !slices.Equal(got, []storage.UID{1, 2, 3, 4, 5}) {
		t.Errorf("at three quarters: %d", got)
	}
	*now = now.Add(25 * hour)
	deliverAll(t, s, 2000) // 77,000
	if in, old := uidsIn(t, s, "INBOX"), uidsIn(t, s, "Old"); !slices.Equal(in, []storage.UID{2, 3, 4, 5, 6}) || len(old) != 1 {
		t.Errorf("one must be gone: %d, %d", in, old)
	}
	delta, err := m.Since(ctx, v.HighestModSeq)
	if err != nil || !slices.Equal(delta.Vanished, []storage.UID{1}) || !slices.Equal(delta.Changed, []storage.UID{5, 6}) {
		t.Errorf("since: %+v %v", delta, err)
	}
	if len(rung) != 2 {
		t.Errorf("rung %d times", len(rung))
	}
	deliverAll(t, s, 9000) // 76,000 again: now that of the other mailbox
	if in, old := uidsIn(t, s, "INBOX"), uidsIn(t, s, "Old"); !slices.Equal(in, []storage.UID{2, 3, 4, 5, 6, 7}) || len(old) != 0 {
		t.Errorf("that in Old is next: %d, %d", in, old)
	}
	values, _ := counted.Values()
	if values["storage_trimmed_messages"] != 2 || values["storage_trimmed_bytes"] != 20_000 {
		t.Errorf("counted %v, %v", values["storage_trimmed_messages"], values["storage_trimmed_bytes"])
	}
	before := dumpOf(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Metrics = nil
	s = openQuiet(t, cfg)
	if after := dumpOf(t, s); after != before {
		t.Errorf("after a stop:\n%s\nbefore:\n%s", after, before)
	}
}

func dumpOf(t *testing.T, s *Store) string {
	t.Helper()
	d, err := dump(s, false)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

type ringing chan bool

func (r ringing) Ring() { r <- true }

// A mailbox full of mail younger than a day stays full: its owner sees it,
// and nobody else goes without.
func TestFreshMailNeverLeaves(t *testing.T) {
	cfg, now := aging(t, 100_000)
	s := openQuiet(t, cfg)
	defer s.Close()
	must(t, s, login("alice"), login("bob"))
	deliverAll(t, s, 40_000, 40_000)
	*now = now.Add(23 * hour)
	both := mail("x", 30_000)
	r, err := s.Commit(ctx, storage.Batch{Ops: []storage.Op{
		storage.Deliver{To: at("alice"), Content: both}, storage.Deliver{To: at("bob"), Content: both},
	}})
	if err != nil || !errors.Is(r.Per[0].Err, storage.ErrQuota) || r.Per[1].Err != nil {
		t.Errorf("%+v %v", r, err)
	}
	if got := uidsIn(t, s, "INBOX"); len(got) != 2 {
		t.Errorf("left: %d", got)
	}
	*now = now.Add(2 * hour)
	deliverAll(t, s, 30_000)
	if got := uidsIn(t, s, "INBOX"); !slices.Equal(got, []storage.UID{2, 3}) {
		t.Errorf("a day later: %d", got)
	}
}

// What would not fit into an empty mailbox costs nobody his mail.
func TestRefusedMailTrimsNothing(t *testing.T) {
	cfg, now := aging(t, 100_000)
	s := openQuiet(t, cfg)
	defer s.Close()
	must(t, s, login("alice"))
	deliverAll(t, s, 10_000, 10_000)
	*now = now.Add(10 * days)
	for _, op := range []storage.Op{
		storage.Deliver{To: at("alice"), Content: mail("x", 100_001)},
		storage.Append{Account: acct("alice"), Mailbox: "INBOX", Content: mail("x", 100_001)},
	} {
		r, err := s.Commit(ctx, storage.Batch{Ops: []storage.Op{op}})
		if err != nil || !errors.Is(r.Per[0].Err, storage.ErrQuota) {
			t.Errorf("%+v %v", r, err)
		}
	}
	if got := uidsIn(t, s, "INBOX"); len(got) != 2 {
		t.Errorf("left: %d", got)
	}
	deliverAll(t, s, 100_000) // that does fit, alone
	if got := uidsIn(t, s, "INBOX"); !slices.Equal(got, []storage.UID{3}) {
		t.Errorf("left: %d", got)
	}
}

// Tiny messages fill an account by their number, and leave by it too.
func TestTinyMessagesLeaveByNumber(t *testing.T) {
	cfg, now := aging(t, 100_000)
	s := openQuiet(t, cfg)
	defer s.Close()
	must(t, s, login("alice"))
	tiny := mail("x", 20)
	var all []storage.Op
	for range minMessages * 3 / 4 {
		all = append(all, storage.Deliver{To: at("alice"), Content: tiny})
	}
	must(t, s, ops("many", all...))
	*now = now.Add(2 * days)
	deliverAll(t, s, 20)
	got := uidsIn(t, s, "INBOX")
	if len(got) != minMessages*7/10 || got[len(got)-1] != minMessages*3/4+1 {
		t.Errorf("%d left, the last is %d", len(got), got[len(got)-1])
	}
}

// A message file counts what its name says, however small it is: of three
// aged 10, 5 and 0 days with a mebibyte each the two oldest leave.
func TestNamesSayHowMuchCounts(t *testing.T) {
	cfg, now := aging(t, 2<<20)
	s := openQuiet(t, cfg)
	must(t, s, login("alice"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	dir := cfg.Dir + "/mail/relay.test/alice@relay.test"
	for i, age := range []int{0, 10, 5} {
		name := fmt.Sprintf("%s/new/%d.M%dP1.other,S=1048576", dir, now.Add(-time.Duration(age)*days).Unix(), i)
		put(t, string(make([]byte, 120)), name)
	}
	s = openQuiet(t, cfg)
	defer s.Close()
	if got := uidsIn(t, s, "INBOX"); len(got) != 3 {
		t.Fatalf("adopted: %d", got)
	}
	deliverAll(t, s, 100)
	if got := uidsIn(t, s, "INBOX"); !slices.Equal(got, []storage.UID{3, 4}) { // adopted by age
		t.Errorf("left: %d", got)
	}
}

// One file whose name claims the whole quota fills the account.
func TestClaimedQuotaRefusesMail(t *testing.T) {
	cfg, now := aging(t, 1<<20)
	s := openQuiet(t, cfg)
	must(t, s, login("alice"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("%s/mail/relay.test/alice@relay.test/cur/%d.M1P1.other,S=1048576:2,S", cfg.Dir, now.Unix())
	put(t, string(make([]byte, 120)), name)
	s = openQuiet(t, cfg)
	defer s.Close()
	u, err := s.Usage(ctx, acct("alice"))
	if err != nil || u.Octets < u.MaxOctets {
		t.Errorf("usage %+v %v", u, err)
	}
	r, err := s.Commit(ctx, storage.Batch{Ops: []storage.Op{storage.Deliver{To: at("alice"), Content: mail("x", 500)}}})
	if err != nil || !errors.Is(r.Per[0].Err, storage.ErrQuota) {
		t.Errorf("%+v %v", r, err)
	}
}
