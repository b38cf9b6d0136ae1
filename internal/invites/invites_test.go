package invites

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"barid/internal/journal"
	"barid/internal/journal/faultfs"
	"barid/internal/metrics"
)

func open(t *testing.T, disk journal.FS) *Book {
	t.Helper()
	b, err := Open(Config{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || (err == nil) != (want == nil) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// newToken gives the token of a new invitation.
func newToken(t *testing.T, b *Book, uses int, life time.Duration) string {
	t.Helper()
	token, _, err := b.Make(uses, life, "")
	must(t, err)
	return token
}

// An invitation for two brings two: each of them is born once, at the address
// that was reserved, also after the relay was started anew.
func TestAnInvitationBringsAsManyAsItSays(t *testing.T) {
	disk := faultfs.New()
	b := open(t, disk)
	token, made, err := b.Make(2, time.Hour, "for the neighbours")
	must(t, err)
	if len(token) < 26 || made.ID == "" || made.Left() != 2 || made.Note != "for the neighbours" {
		t.Errorf("%q, %+v", token, made)
	}
	is(t, "valid", b.Valid(token), nil)
	must(t, b.Reserve(token, "alice@relay.test"))
	must(t, b.Reserve(token, "bob@relay.test"))
	is(t, "a third", b.Reserve(token, "carol@relay.test"), ErrBusy)
	b = open(t, disk)
	is(t, "a third after opening anew", b.Reserve(token, "carol@relay.test"), ErrBusy)
	is(t, "valid", b.Valid(token), ErrBusy)
	for address, want := range map[string]bool{"alice@relay.test": true, "bob@relay.test": true, "carol@relay.test": false, "": false} {
		if b.Invited(address) != want {
			t.Errorf("%s may be born: %v", address, !want)
		}
	}
	for range 2 {
		must(t, b.Take("alice@relay.test"))
	}
	is(t, "take what is not reserved", b.Take("carol@relay.test"), ErrUnknown)
	b = open(t, disk)
	if l := b.List(); len(l) != 1 || l[0].Born != 1 || l[0].Reserved != 1 || l[0].Left() != 0 || l[0].ID != made.ID {
		t.Errorf("%+v", l)
	}
	must(t, b.Take("bob@relay.test"))
	is(t, "when all are born", b.Reserve(token, "carol@relay.test"), ErrUsedUp)
	if !b.Invited("alice@relay.test") {
		t.Error("who was cut off while being born cannot try again")
	}
}

// A token that nobody gave out, or that is too long to be one, is good for
// nothing.
func TestOtherTokensAreRefused(t *testing.T) {
	counted := metrics.New()
	b, err := Open(Config{FS: faultfs.New(), Metrics: counted})
	must(t, err)
	token := newToken(t, b, 1, time.Hour)
	for _, bad := range []string{"", "x", strings.ToLower(token), token + "A", token[1:], strings.Repeat("A", 1000)} {
		is(t, bad, b.Valid(bad), ErrUnknown)
		is(t, bad, b.Reserve(bad, "alice@relay.test"), ErrUnknown)
	}
	if v, _ := counted.Values(); v["invites_refused"] != 6 || v["invites_use"] != 1 || v["invites_limit"] != MaxInvites {
		t.Errorf("counted %v", v)
	}
}

// A reservation that nobody used gives its use back after a day; one that was
// used does not.
func TestUnusedReservationsComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := faultfs.New()
		b := open(t, disk)
		token := newToken(t, b, 2, 48*time.Hour)
		must(t, b.Reserve(token, "alice@relay.test"))
		must(t, b.Reserve(token, "bob@relay.test"))
		must(t, b.Take("alice@relay.test"))
		time.Sleep(Reserved)
		if b.Invited("alice@relay.test") || b.Invited("bob@relay.test") {
			t.Error("reserved for longer than a day")
		}
		is(t, "take when it is over", b.Take("bob@relay.test"), ErrUnknown)
		must(t, b.Reserve(token, "carol@relay.test"))
		is(t, "more", b.Reserve(token, "dave@relay.test"), ErrBusy)
		time.Sleep(Reserved - time.Second)
		b = open(t, disk)
		if !b.Invited("carol@relay.test") {
			t.Error("reserved for less than a day")
		}
		must(t, b.Take("carol@relay.test"))
		time.Sleep(time.Second)
		is(t, "after its time", b.Valid(token), ErrExpired)
		is(t, "after its time", b.Reserve(token, "dave@relay.test"), ErrExpired)
		newToken(t, b, 1, time.Hour)
		if l := b.List(); len(l) != 1 {
			t.Errorf("what expired is not forgotten: %+v", l)
		}
	})
}

// An app that failed half-way asks again with the same token, and gets
// another address in the place of its first. Whoever is born keeps his, and
// never are more born than may.
func TestAnAppMayAskAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, faultfs.New())
		token := newToken(t, b, 2, time.Hour)
		must(t, b.Reserve(token, "born@relay.test"))
		must(t, b.Take("born@relay.test"))
		must(t, b.Reserve(token, "first@relay.test"))
		time.Sleep(Grace - time.Second)
		is(t, "too soon", b.Reserve(token, "second@relay.test"), ErrBusy)
		time.Sleep(time.Second)
		is(t, "valid", b.Valid(token), nil)
		must(t, b.Reserve(token, "second@relay.test"))
		is(t, "a third at once", b.Reserve(token, "third@relay.test"), ErrBusy)
		is(t, "the first comes late", b.Take("first@relay.test"), ErrUnknown)
		must(t, b.Take("second@relay.test"))
		time.Sleep(2 * Grace)
		is(t, "all are born", b.Reserve(token, "third@relay.test"), ErrUsedUp)
		if l := b.List(); l[0].Born != 2 || !b.Invited("born@relay.test") || b.Invited("first@relay.test") {
			t.Errorf("%+v", l)
		}
	})
}

// An invitation that expires takes nothing from who has an address already.
func TestReservationsOutliveTheirInvitation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, faultfs.New())
		token := newToken(t, b, 1, time.Minute)
		must(t, b.Reserve(token, "alice@relay.test"))
		time.Sleep(time.Hour)
		if !b.Invited("alice@relay.test") {
			t.Error("not invited")
		}
		must(t, b.Take("alice@relay.test"))
		if l := b.List(); len(l) != 1 || l[0].Born != 1 {
			t.Errorf("%+v", l)
		}
	})
}

// A clock that was ahead keeps nothing reserved for ever.
func TestAClockThatWasAhead(t *testing.T) {
	disk := faultfs.New()
	now := time.Unix(1_790_000_000, 0)
	b, err := Open(Config{FS: disk, Now: func() time.Time { return now.Add(365 * 24 * time.Hour) }})
	must(t, err)
	token := newToken(t, b, 2, time.Hour)
	must(t, b.Reserve(token, "alice@relay.test"))
	b, err = Open(Config{FS: disk, Now: func() time.Time { return now }})
	must(t, err)
	must(t, b.Reserve(token, "bob@relay.test"))
	now = now.Add(Reserved)
	if b.Invited("alice@relay.test") {
		t.Error("reserved by a clock of another year")
	}
}

// Who was born by a revoked invitation stays; who waits does not come.
func TestRevoke(t *testing.T) {
	disk := faultfs.New()
	b := open(t, disk)
	token, made, err := b.Make(5, time.Hour, "")
	must(t, err)
	other := newToken(t, b, 5, time.Hour)
	must(t, b.Reserve(token, "alice@relay.test"))
	must(t, b.Reserve(other, "bob@relay.test"))
	must(t, b.Revoke(made.ID))
	is(t, "again", b.Revoke(made.ID), ErrUnknown)
	b = open(t, disk)
	is(t, "its token", b.Reserve(token, "carol@relay.test"), ErrUnknown)
	if b.Invited("alice@relay.test") || !b.Invited("bob@relay.test") {
		t.Error("the wrong one waits")
	}
}

// The file has neither tokens nor addresses.
func TestTheFileNamesNobody(t *testing.T) {
	disk := faultfs.New()
	b := open(t, disk)
	token := newToken(t, b, 1, time.Hour)
	must(t, b.Reserve(token, "alice@relay.test"))
	text := file(t, disk)
	for _, secret := range []string{token, "alice", "relay.test"} {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("%s stands in %s", secret, text)
		}
	}
}

func file(t *testing.T, disk journal.FS) []byte {
	t.Helper()
	f, err := disk.OpenFile(fileName, os.O_RDONLY)
	must(t, err)
	info, err := f.Stat()
	must(t, err)
	text := make([]byte, info.Size())
	_, err = f.ReadAt(text, 0)
	must(t, err)
	return text
}

func TestWhatCannotBeMade(t *testing.T) {
	b := open(t, faultfs.New())
	for _, bad := range []struct {
		uses int
		life time.Duration
		note string
	}{
		{0, time.Hour, ""}, {MaxUses + 1, time.Hour, ""}, {1, time.Second, ""}, {1, MaxLife + 1, ""}, {1, time.Hour, strings.Repeat("x", MaxNote+1)},
		{1, time.Hour, "two\nlines"}, {1, time.Hour, "\xff"}, {1, time.Hour, "\x1b[31m"},
	} {
		_, _, err := b.Make(bad.uses, bad.life, bad.note)
		is(t, fmt.Sprint(bad), err, ErrBad)
	}
}

// Neither the invitations nor those who wait grow without bound, and as many
// as may be fit into the file.
func TestTheBookIsBounded(t *testing.T) {
	disk := faultfs.New()
	b, err := Open(Config{FS: disk, NoSync: true})
	must(t, err)
	st := *b.state.Load()
	for i := range MaxInvites - 1 {
		st.invites = append(st.invites, invite{id: fmt.Sprint(i), note: strings.Repeat("\"", MaxNote), uses: MaxUses, born: MaxUses, made: 1 << 40, expires: 1 << 40})
	}
	for i := range MaxReservations - 1 {
		st.reserved[st.address(fmt.Sprint(i))] = reservation{"0", time.Now().Add(time.Hour).Unix(), true}
	}
	b.state.Store(&st)
	token := newToken(t, b, 2, time.Hour)
	_, _, err = b.Make(1, time.Hour, "")
	is(t, "one invitation more", err, ErrFull)
	must(t, b.Reserve(token, "alice@relay.test"))
	is(t, "one reservation more", b.Reserve(token, "bob@relay.test"), ErrFull)
	text := file(t, disk)
	if len(text) > maxFile/2 {
		t.Errorf("%d octets", len(text))
	}
	b = open(t, disk)
	if !b.Invited("alice@relay.test") || len(b.List()) != MaxInvites {
		t.Error("something is lost")
	}
}

// Simultaneous requests share the uses that there are.
func TestUsesAreSharedOut(t *testing.T) {
	b := open(t, faultfs.New())
	token := newToken(t, b, 10, time.Hour)
	var all sync.WaitGroup
	var mu sync.Mutex
	got := 0
	for i := range 50 {
		all.Go(func() {
			if err := b.Reserve(token, fmt.Sprint(i)); err == nil {
				mu.Lock()
				got++
				mu.Unlock()
			}
			b.Invited(fmt.Sprint(i))
			b.List()
		})
	}
	all.Wait()
	if got != 10 {
		t.Errorf("%d were reserved", got)
	}
}

// What was answered survives a power cut between any two operations of the
// disk; what was not may or may not have happened, and the book opens.
func TestAnswersSurviveAPowerCut(t *testing.T) {
	for n := 1; ; n++ {
		disk := faultfs.New()
		b := open(t, disk)
		token := newToken(t, b, 3, time.Hour)
		before := disk.Ops()
		disk.StopAt(before + n)
		steps := []func() error{
			func() error { return b.Reserve(token, "alice@relay.test") },
			func() error { return b.Reserve(token, "bob@relay.test") },
			func() error { return b.Take("alice@relay.test") },
		}
		done := 0
		for _, step := range steps {
			if step() != nil {
				break
			}
			done++
		}
		for seed := range int64(8) {
			again := open(t, disk.Cut(rand.New(rand.NewSource(seed))))
			l := again.List()
			if len(l) != 1 || l[0].Born+l[0].Reserved < min(done, 2) || done == 3 && l[0].Born != 1 ||
				done > 0 && !again.Invited("alice@relay.test") || done > 1 && !again.Invited("bob@relay.test") {
				t.Fatalf("cut at operation %d, seed %d: %d steps were answered, then %+v", n, seed, done, l)
			}
			must(t, again.Reserve(token, "carol@relay.test"))
		}
		if done == len(steps) {
			break
		}
	}
}

// A disk that fails once takes no use, and the next request works.
func TestADiskThatFailsTakesNothing(t *testing.T) {
	for n := 1; ; n++ {
		disk := faultfs.New()
		b := open(t, disk)
		token := newToken(t, b, 1, time.Hour)
		disk.FailAt(disk.Ops()+n, syscall.ENOSPC)
		err := b.Reserve(token, "alice@relay.test")
		if err == nil {
			break // it has fewer operations
		}
		is(t, "failed", err, syscall.ENOSPC)
		if b.Invited("alice@relay.test") {
			t.Errorf("operation %d: reserved after all", n)
		}
		must(t, b.Reserve(token, "bob@relay.test"))
		b = open(t, disk)
		if !b.Invited("bob@relay.test") || b.Invited("alice@relay.test") {
			t.Errorf("operation %d: the wrong one is reserved", n)
		}
	}
}

// A damaged file is put aside and told; nobody is invited by it.
func TestADamagedFileIsPutAside(t *testing.T) {
	disk := faultfs.New()
	b := open(t, disk)
	token := newToken(t, b, 1, time.Hour)
	must(t, b.Reserve(token, "alice@relay.test"))
	text := file(t, disk)
	text[len(text)/2] ^= 1
	f, err := disk.OpenFile(fileName, os.O_RDWR|os.O_TRUNC)
	must(t, err)
	_, err = f.Write(text)
	must(t, err)
	log := &strings.Builder{}
	b, err = Open(Config{FS: disk, Logger: slog.New(slog.NewTextHandler(log, nil))})
	must(t, err)
	if b.Invited("alice@relay.test") || len(b.List()) != 0 || !b.Damaged() || !strings.Contains(log.String(), "make new ones") {
		t.Errorf("%v, %v\n%s", b.List(), b.Damaged(), log)
	}
	if _, err := disk.Stat(damagedName); err != nil {
		t.Error(err)
	}
	_, _, err = b.Make(1, time.Hour, "")
	must(t, err)
	if open(t, faultfs.New()).Damaged() {
		t.Error("a new book is damaged")
	}
}

// On a real disk, too.
func TestOnARealDisk(t *testing.T) {
	dir := t.TempDir()
	disk, err := journal.OpenFS(dir)
	must(t, err)
	defer disk.Close()
	token, _, err := open(t, disk).Make(1, time.Hour, "")
	must(t, err)
	must(t, open(t, disk).Reserve(token, "alice@relay.test"))
	if !open(t, disk).Invited("alice@relay.test") {
		t.Error("not invited")
	}
	if info, err := os.Stat(dir + "/invites"); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := os.Stat(dir + "/invites.new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

// Whatever stands in the file is understood as it was meant or refused.
func FuzzDecode(f *testing.F) {
	st := &state{reserved: map[addressHash]reservation{{1}: {"abc", 5, true}}, invites: []invite{{id: "abc", uses: 2, born: 1, note: "x"}}}
	text, err := st.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(magic + "\n{}"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		// The sum keeps the fuzzer out; it is put right.
		if _, body, ok := bytes.Cut(text, []byte("\n")); ok && bytes.HasPrefix(text, []byte(magic)) {
			text = resum(body)
		}
		st, err := decode(text)
		if err != nil {
			if !errors.Is(err, errDamaged) {
				t.Errorf("%v", err)
			}
			return
		}
		again, err := st.encode()
		must(t, err)
		back, err := decode(again)
		must(t, err)
		last, err := back.encode()
		must(t, err)
		if !bytes.Equal(again, last) {
			t.Errorf("%q becomes %q", again, last)
		}
	})
}
