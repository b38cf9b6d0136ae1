package local

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
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

// usual is what a relay does by default.
var usual = storage.ExpiryPolicy{Mail: 20 * days, Large: 7 * days, Accounts: 90 * days}

// yard is a mail directory made by hand.
type yard struct {
	t   *testing.T
	dir string
	now time.Time
}

func yardOf(t *testing.T, cfg *Config) *yard {
	y := &yard{t, cfg.Dir + "/mail/relay.test", cfg.Now()}
	if err := os.MkdirAll(y.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return y
}

// put makes a file that has not changed for so long.
func (y *yard) put(name string, size int, age time.Duration) {
	y.t.Helper()
	name = y.dir + "/" + name
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		y.t.Fatal(err)
	}
	if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
		y.t.Fatal(err)
	}
	if err := os.Chtimes(name, y.now.Add(-age), y.now.Add(-age)); err != nil {
		y.t.Fatal(err)
	}
}

// account makes an account that logged in so long ago.
func (y *yard) account(local string, age time.Duration) {
	y.put(local+"@relay.test/password", 0, age)
	if err := os.WriteFile(y.dir+"/"+local+"@relay.test/password", []byte("{PLAIN}x"), 0o600); err != nil {
		y.t.Fatal(err)
	}
	y.put(local+"@relay.test/password", 8, age)
}

// mail makes a message in a mailbox directory, named as the reference does.
func (y *yard) mail(box string, size int, age time.Duration) string {
	y.t.Helper()
	at := y.now.Add(-age)
	name := fmt.Sprintf("%s/%d.M%dP1.exam,S=%d", box, at.Unix(), size, size)
	if strings.HasSuffix(box, "/cur") {
		name += ":2,"
	}
	y.put(name, size, age)
	return name
}

// left lists what is left of some files.
func (y *yard) left(names ...string) (left []string) {
	for _, name := range names {
		if _, err := os.Stat(y.dir + "/" + name); err == nil {
			left = append(left, name)
		}
	}
	return left
}

// expireOnce runs an expiry and gives its last report and all about accounts.
func expireOnce(t *testing.T, s *Store, p storage.ExpiryPolicy) (total storage.Expired, each []storage.Expired) {
	t.Helper()
	err := s.Expire(ctx, p, func(x storage.Expired) {
		if x.Account.IsZero() {
			total = x
		} else {
			each = append(each, x)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return total, each
}

// Mail leaves by its age, large mail sooner if a client knows it, from
// whatever mailbox; and with it the quota file of other programs, and what
// crashes left.
func TestOldMailLeaves(t *testing.T) {
	cfg, _ := aging(t, 0)
	y := yardOf(t, &cfg)
	y.account("alice", 0)
	gone := []string{
		y.mail("alice@relay.test/cur", 100, 21*days),
		y.mail("alice@relay.test/new", 101, 21*days),
		y.mail("alice@relay.test/.DeltaChat/cur", 102, 21*days),
		y.mail("alice@relay.test/cur", 300_000, 8*days),
		"alice@relay.test/maildirsize", "alice@relay.test/tmp/left", "alice@relay.test/cur/.hidden",
	}
	stay := []string{
		y.mail("alice@relay.test/cur", 103, 19*days),
		y.mail("alice@relay.test/new", 300_001, 8*days),
		y.mail("alice@relay.test/cur", 300_002, 1*days),
		y.mail("alice@relay.test/cur", 200_000, 8*days),
		"alice@relay.test/tmp/fresh", "alice@relay.test/notes", "alice@relay.test/password",
	}
	y.put("alice@relay.test/maildirsize", 20, 0)
	y.put("alice@relay.test/tmp/left", 20, 21*days)
	y.put("alice@relay.test/cur/.hidden", 20, 21*days)
	y.put("alice@relay.test/tmp/fresh", 20, 1*days)
	y.put("alice@relay.test/notes", 20, 100*days)

	s := openQuiet(t, cfg)
	defer s.Close()
	total, each := expireOnce(t, s, usual)
	if left := y.left(gone...); len(left) > 0 {
		t.Errorf("still there: %q", left)
	}
	if left := y.left(stay...); len(left) != len(stay) {
		t.Errorf("of %q\nonly %q are left", stay, left)
	}
	want := storage.Expired{Messages: 4, Octets: 300_303, Strays: 2, Looked: 1, Of: 1, Stored: 8}
	if total != want {
		t.Errorf("%+v, want %+v", total, want)
	}
	if len(each) != 1 || each[0] != (storage.Expired{Account: at("alice"), Messages: 4, Octets: 300_303, Strays: 2}) {
		t.Errorf("%+v", each)
	}
	if total, each := expireOnce(t, s, usual); total.Messages != 0 || len(each) != 0 {
		t.Errorf("a second time: %+v %+v", total, each)
	}
}

// Accounts without login leave as a whole; others keep their password.
func TestUnusedAccountsLeave(t *testing.T) {
	cfg, _ := aging(t, 0)
	y := yardOf(t, &cfg)
	var idle, fresh []string
	for i := range 155 {
		local, age := fmt.Sprintf("user%03d", i), 90*days+time.Second
		dir := local + "@relay.test"
		if i%31 == 0 {
			age = 90 * days
			fresh = append(fresh, dir+"/password")
		} else {
			idle = append(idle, dir)
		}
		y.account(local, age)
		y.mail(dir+"/cur", 100, 1*days)
	}
	y.put("user001@relay.test/.Sub/cur/whatever", 5, 0)
	s := openQuiet(t, cfg)
	defer s.Close()
	total, _ := expireOnce(t, s, usual)
	if total.Accounts != 150 || total.Of != 155 || total.Messages != 0 {
		t.Errorf("%+v", total)
	}
	if left := y.left(idle...); len(left) > 0 {
		t.Errorf("still there: %q", left)
	}
	if left := y.left(fresh...); len(left) != 5 {
		t.Errorf("left %q", left)
	}
	if _, err := s.Lookup(ctx, at("user001")); !errors.Is(err, storage.ErrNoAccount) {
		t.Errorf("lookup: %v", err)
	}
}

// Directories without password go when they are empty, and are told of while
// they are not. What is no account's directory is nobody's business.
func TestDirectoriesWithoutPassword(t *testing.T) {
	cfg, _ := aging(t, 0)
	y := yardOf(t, &cfg)
	y.put("full@relay.test/precious", 10, 1000*days)
	y.put("mails@relay.test/cur/1700000000.M1P1.exam,S=10:2,S", 10, 1000*days)
	y.put("nobody/precious", 10, 1000*days)
	y.put("a@other.test/precious", 10, 1000*days)
	y.put("pending_notifications/x", 10, 1000*days)
	if err := os.Mkdir(y.dir+"/empty@relay.test", 0o700); err != nil {
		t.Fatal(err)
	}
	s := openQuiet(t, cfg)
	defer s.Close()
	total, each := expireOnce(t, s, usual)
	if total.Kept != 2 || total.Accounts != 1 || len(each) != 3 {
		t.Errorf("%+v %+v", total, each)
	}
	if left := y.left("empty@relay.test", "full@relay.test/precious", "mails@relay.test/cur/1700000000.M1P1.exam,S=10:2,S",
		"nobody/precious", "a@other.test/precious", "pending_notifications/x"); len(left) != 5 {
		t.Errorf("left %q", left)
	}
	if err := os.Remove(y.dir + "/full@relay.test/precious"); err != nil {
		t.Fatal(err)
	}
	if total, _ := expireOnce(t, s, usual); total.Kept != 1 || total.Accounts != 1 {
		t.Errorf("once empty: %+v", total)
	}
}

// tree is everything below a directory: names, modes, sizes, times, content.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %v %d %d", name, info.Mode(), info.Size(), info.ModTime().UnixNano())
		if info.Mode().IsRegular() {
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %x", sha256.Sum256(text))
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// crowd makes accounts of every kind, some of them in memory.
func crowd(t *testing.T) (Config, *time.Time, *Store) {
	cfg, now := aging(t, 0)
	y := yardOf(t, &cfg)
	y.account("adopted", 3*days)
	y.mail("adopted@relay.test/cur", 100, 30*days)
	y.mail("adopted@relay.test/cur", 300_000, 10*days)
	y.mail("adopted@relay.test/new", 300_001, 10*days)
	y.put("adopted@relay.test/maildirsize", 10, 0)
	y.put("adopted@relay.test/tmp/left", 10, 50*days)
	y.account("dead", 200*days)
	y.mail("dead@relay.test/new", 100, 300*days)
	y.put("full@relay.test/precious", 10, 1000*days)
	y.put("empty@relay.test/x", 10, 0)
	if err := os.Remove(y.dir + "/empty@relay.test/x"); err != nil {
		t.Fatal(err)
	}
	s := openQuiet(t, cfg)
	must(t, s, login("alice"), login("bob"))
	deliverAll(t, s, 1000, 250_000, 10)
	must(t, s, ops("bob's", storage.Deliver{To: at("bob"), Content: mail("x", 500)}))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	*now = now.Add(21 * days)
	cfg.Elapsed = func() time.Duration { return 0 }
	s = openQuiet(t, cfg)
	if err := s.Expire(ctx, storage.ExpiryPolicy{ConfirmClock: true}, nil); err != nil {
		t.Fatal(err)
	}
	// One is in memory, with mail that has no file.
	must(t, s, ops("new", storage.Deliver{To: at("bob"), Content: mail("new", 500)}))
	s.settler.stop()
	return cfg, now, s
}

// A dry run tells what the real one will do, and changes nothing whatever.
func TestDryRunChangesNothing(t *testing.T) {
	cfg, _, s := crowd(t)
	defer s.Close()
	before := tree(t, cfg.Dir)
	p := usual
	p.DryRun = true
	dry, told := expireOnce(t, s, p)
	if after := tree(t, cfg.Dir); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	total, each := expireOnce(t, s, usual)
	if dry != total || !slices.Equal(told, each) {
		t.Errorf("told\n%+v %+v\ndone\n%+v %+v", dry, told, total, each)
	}
	if total.Messages != 7 || total.Accounts != 2 || total.Strays != 1 || total.Kept != 1 {
		t.Errorf("%+v", total)
	}
}

// What the table says suffices: an expiry with nothing due looks at no
// account, whatever their number.
func TestExpiryLooksOnlyWhereSomethingIsDue(t *testing.T) {
	disk := faultfs.New()
	cfg := faulty(disk)
	now := time.Unix(1_790_000_000, 0)
	cfg.Now = func() time.Time { return now }
	s, err := openStill(cfg)
	if err != nil {
		t.Fatal(err)
	}
	const accounts = 50
	for i := range accounts {
		local := fmt.Sprintf("user%02d", i)
		must(t, s, login(local), ops("deliver", storage.Deliver{To: at(local), Content: mail("x", 100)}))
	}
	must(t, s, checkpointNow)
	now = now.Add(days)
	must(t, s, ops("old", storage.Deliver{To: at("user07"), Content: mail("x", 100)}))
	looks := 0
	look := func(p storage.ExpiryPolicy) storage.Expired {
		t.Helper()
		s.sweep(0)
		looks = 0
		disk.OnLook(func(op faultfs.Op) {
			if strings.Contains(op.Name, "@") {
				looks++
			}
		})
		defer disk.OnLook(nil)
		total, _ := expireOnce(t, s, p)
		return total
	}
	must(t, s, checkpointNow)
	now = now.Add(18 * days)
	if total := look(usual); looks != 0 || total.Looked != accounts || total.Stored != accounts {
		t.Errorf("nothing is due: %d looks, %+v", looks, total)
	}
	now = now.Add(2 * days) // all but the second of user07 are due
	if total := look(storage.ExpiryPolicy{Mail: 20 * days}); total.Messages != accounts {
		t.Errorf("all are due: %+v", total)
	}
	must(t, s, checkpointNow)
	if total := look(storage.ExpiryPolicy{Mail: 20 * days}); looks != 0 || total.Messages != 0 {
		t.Errorf("after that: %d looks, %+v", looks, total)
	}
	now = now.Add(days)
	if total := look(storage.ExpiryPolicy{Mail: 20 * days}); looks == 0 || looks > 20 || total.Messages != 1 {
		t.Errorf("one is due: %d looks, %+v", looks, total)
	}
}

// A table that is lost, torn or filled with nonsense costs time, no mail.
func TestTableMayBeLost(t *testing.T) {
	for name, spoil := range map[string]func(string) string{
		"lost":  func(string) string { return "" },
		"torn":  func(text string) string { return text[:len(text)/2] },
		"zeros": func(text string) string { return text[:40] + strings.Repeat("\x00", len(text)-40) },
		"other": func(string) string {
			return strings.Repeat("A alice 1 1 1 1 1 12345678\n", 10) + strings.Repeat("x", 10000)
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, now := aging(t, 0)
			s := openQuiet(t, cfg)
			must(t, s, login("alice"), login("bob"))
			deliverAll(t, s, 100, 100)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			table := cfg.Dir + "/" + tableName
			text, err := os.ReadFile(table)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(table, []byte(spoil(string(text))), 0o600); err != nil {
				t.Fatal(err)
			}
			s = openQuiet(t, cfg)
			*now = now.Add(21 * days)
			if total, _ := expireOnce(t, s, usual); total.Messages != 2 || total.Of != 2 {
				t.Errorf("%+v", total)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openQuiet(t, cfg)
			defer s.Close()
			rows, _, err := s.readTable()
			if err != nil || len(rows) != 2 || rows["alice"].messages != 0 || rows["bob"].login == 0 {
				t.Errorf("made anew: %+v %v", rows, err)
			}
		})
	}
}

// The table does not grow with every checkpoint, and not for ever.
func TestTableStaysSmall(t *testing.T) {
	cfg, now := aging(t, 0)
	s := openQuiet(t, cfg)
	defer s.Close()
	must(t, s, login("alice"))
	rows := func() int {
		text, err := os.ReadFile(cfg.Dir + "/" + tableName)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(text), "\nA ")
	}
	for range 20 {
		*now = now.Add(time.Hour)
		must(t, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 100)}), checkpointNow)
	}
	if n := rows(); n != 1 {
		t.Errorf("%d rows of one account", n)
	}
	s.disk.Lock()
	for range 2000 {
		s.appendRows([]string{standing{login: 1}.text("gone")})
	}
	s.disk.Unlock()
	expireOnce(t, s, usual)
	if n := rows(); n != 1 {
		t.Errorf("%d rows after packing", n)
	}
}

// A large message that a client has read leaves sooner, whether it has its
// file by then or not.
func TestReadLargeMailLeavesSooner(t *testing.T) {
	for _, settled := range []bool{false, true} {
		t.Run(fmt.Sprint("settled ", settled), func(t *testing.T) {
			cfg, now := aging(t, 0)
			s := openQuiet(t, cfg)
			defer func() { s.Close() }()
			must(t, s, login("alice"))
			deliverAll(t, s, 250_000, 250_001, 100)
			if settled {
				must(t, s, checkpointNow)
			}
			m, err := s.Open(ctx, acct("alice"), "INBOX")
			if err != nil {
				t.Fatal(err)
			}
			nothing := func(storage.UID, storage.Content) error { return nil }
			if err := m.Read(ctx, []storage.UID{2}, storage.Header, nothing); err != nil {
				t.Error(err)
			}
			if err := m.Read(ctx, []storage.UID{1, 3}, storage.Whole, nothing); err != nil {
				t.Error(err)
			}
			m.Close()
			must(t, s, settleNow)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openQuiet(t, cfg)
			*now = now.Add(8 * days)
			if total, _ := expireOnce(t, s, usual); total.Messages != 1 {
				t.Errorf("%+v", total)
			}
			if got := uidsIn(t, s, "INBOX"); !slices.Equal(got, []storage.UID{2, 3}) {
				t.Errorf("left: %d", got)
			}
		})
	}
}

// Who has a session open need not log in to keep his account; a login of any
// protocol keeps it, too.
func TestUsedAccountsStay(t *testing.T) {
	cfg, now := aging(t, 0)
	s := openQuiet(t, cfg)
	defer s.Close()
	must(t, s, login("alice"), login("bob"), login("carol"), checkpointNow)
	*now = now.Add(80 * days)
	if _, err := s.Login(ctx, at("bob"), "a long password", storage.Origin{Protocol: "smtp"}); err != nil {
		t.Fatal(err)
	}
	must(t, s, settleNow)
	m, err := s.Open(ctx, acct("alice"), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	*now = now.Add(20 * days)
	if total, _ := expireOnce(t, s, usual); total.Accounts != 1 {
		t.Errorf("%+v", total)
	}
	m.Close()
	if total, _ := expireOnce(t, s, usual); total.Accounts != 1 {
		t.Errorf("after the session: %+v", total)
	}
	if _, err := s.Lookup(ctx, at("bob")); err != nil {
		t.Errorf("bob: %v", err)
	}
}

// The day of the last login is kept to the midnight before, and logins of one
// day write once.
func TestLoginsCountByTheDay(t *testing.T) {
	cfg, now := aging(t, 0)
	s := openQuiet(t, cfg)
	defer s.Close()
	must(t, s, login("alice"), settleNow)
	file := cfg.Dir + "/mail/relay.test/alice@relay.test/password"
	midnight := func() time.Time {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return info.ModTime().UTC()
	}
	for _, h := range []time.Duration{0, 5 * hour, 11*hour + 59*time.Minute, 12 * hour, 36*hour - 1} {
		start := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
		*now = start.Add(h)
		must(t, s, login("alice"), settleNow)
		if want := now.Truncate(days); !midnight().Equal(want) {
			t.Errorf("login at %v: %v, want %v", *now, midnight(), want)
		}
	}
}

// A run that is cut off goes on where it was.
func TestExpiryGoesOnAfterAnEnd(t *testing.T) {
	cfg, now := aging(t, 0)
	s := openQuiet(t, cfg)
	defer s.Close()
	for i := range 200 {
		local := fmt.Sprintf("user%03d", i)
		y := yardOf(t, &cfg)
		y.account(local, 0)
		y.mail(local+"@relay.test/new", 100, 0)
	}
	*now = now.Add(30 * days)
	some, cancel := context.WithCancel(ctx)
	n := int64(0)
	err := s.Expire(some, usual, func(x storage.Expired) {
		if !x.Account.IsZero() {
			if n += x.Messages; n == 70 {
				cancel()
			}
		}
	})
	if !errors.Is(err, context.Canceled) || n < 70 || n > 199 {
		t.Fatalf("%d gone, %v", n, err)
	}
	total, _ := expireOnce(t, s, usual)
	if total.Messages != 200-n {
		t.Errorf("%d, then %+v", n, total)
	}
}

// Two expiries do not run at once.
func TestExpiriesWaitForEachOther(t *testing.T) {
	cfg, _ := aging(t, 0)
	s := openQuiet(t, cfg)
	defer s.Close()
	inside := make(chan bool)
	done := make(chan error)
	go func() {
		done <- s.Expire(ctx, usual, func(storage.Expired) {
			inside <- true
			<-inside
		})
	}()
	<-inside
	hasty, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if err := s.Expire(hasty, usual, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second: %v", err)
	}
	inside <- true
	<-inside
	inside <- true
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Whatever the number that leaves, memory and jobs stay few.
func TestExpiryOfManyStaysFlat(t *testing.T) {
	cfg, now := aging(t, 0)
	s := openQuiet(t, cfg)
	defer s.Close()
	must(t, s, login("alice"))
	tiny := mail("x", 30)
	for range 5 {
		var all []storage.Op
		for range 1000 {
			all = append(all, storage.Deliver{To: at("alice"), Content: tiny})
		}
		must(t, s, ops("many", all...))
	}
	must(t, s, checkpointNow)
	*now = now.Add(30 * days)
	total, each := expireOnce(t, s, usual)
	if total.Messages != 5000 || len(each) != 1 {
		t.Errorf("%+v %+v", total, each)
	}
	if u, err := s.Usage(ctx, acct("alice")); err != nil || u.Messages != 0 || u.Octets != 0 {
		t.Errorf("%+v %v", u, err)
	}
	files, err := filepath.Glob(cfg.Dir + "/mail/relay.test/alice@relay.test/new/*")
	if err != nil || len(files) != 0 {
		t.Errorf("%d files, %v", len(files), err)
	}
}

// An account that cannot be judged, or whose files cannot be written, keeps
// what it has and holds up nobody else.
func TestOneBadAccountHoldsUpNoExpiry(t *testing.T) {
	cfg, now := aging(t, 0)
	s := openQuiet(t, cfg)
	must(t, s, login("alice"), login("bob"), login("carol"))
	for _, local := range []string{"alice", "bob", "carol"} {
		must(t, s, ops("deliver", storage.Deliver{To: at(local), Content: mail("x", 100)}))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	newer := sealed([]byte("barid-mailbox 99\nfrom the future"))
	if err := os.WriteFile(cfg.Dir+"/mail/relay.test/alice@relay.test/"+snapshotName, newer, 0o600); err != nil {
		t.Fatal(err)
	}
	s = openQuiet(t, cfg)
	defer s.Close()
	a, err := s.acquire(at("bob"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.release(a)
	s.disk.Lock()
	troubled := s.inTrouble(a, syscall.EIO, false)
	s.disk.Unlock()
	*now = now.Add(21 * days)
	total, each := expireOnce(t, s, usual)
	want := []storage.Expired{{Account: at("alice"), Failed: 1}, {Account: at("carol"), Messages: 1, Octets: 100}}
	if !troubled || total.Failed != 1 || total.Messages != 1 || !slices.Equal(each, want) {
		t.Errorf("%+v %+v", total, each)
	}
	s.outOfTrouble(a)
	if total, _ := expireOnce(t, s, usual); total.Failed != 1 || total.Messages != 1 {
		t.Errorf("when it is over: %+v", total)
	}
}

// What comes into an account that had nothing is noted before its time.
func TestTableLearnsOfLaterMail(t *testing.T) {
	cfg, now := aging(t, 0)
	s := openQuiet(t, cfg)
	defer s.Close()
	must(t, s, login("alice"), checkpointNow)
	*now = now.Add(5 * days)
	must(t, s, ops("append", storage.Append{Account: acct("alice"), Mailbox: "INBOX", Content: mail("large", 250_000)}), checkpointNow)
	s.sweep(0)
	*now = now.Add(8 * days)
	if total, _ := expireOnce(t, s, usual); total.Messages != 1 {
		t.Errorf("%+v", total)
	}
}
