package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"barid/test/letter"
)

// The soak kills the relay again and again while mail is sent, read and
// removed, accounts are born, and mailboxes are changed in every way, and
// holds it to its word:
//
//   - what was acknowledged is there, once;
//   - a UID means one message for ever, and is not given out again when that
//     message is gone;
//   - UIDVALIDITY stays;
//   - what was removed stays removed;
//   - a command that was cut off was done or was not, and never in part;
//   - an account that was born is there with its password.
const (
	soakSenders   = 8
	soakMailboxes = 4
	soakOwners    = 3
	soakKills     = 4 // of the small form
)

// soak is everybody who uses the relay.
type soak struct {
	boxes  []*ledger
	owners []*owner
	births births
}

// ledger is what the clients of one mailbox know.
type ledger struct {
	mu       sync.Mutex        // guards the fields below
	acked    map[string]bool   // Message-IDs that got their 250
	seen     map[uint32]string // UID to Message-ID
	uidOf    map[string]uint32 // the other way
	removed  map[uint32]bool   // UIDs whose removal got its OK
	validity string
	highest  uint32 // UID ever seen
}

// soakForm gives what is killed, how often, and how long it lives at most: the
// program BARID_BINARY, BARID_SOAK times, in lives of some seconds; without
// these one that is built, a few times in short lives.
func soakForm(t *testing.T) (program string, kills int, longest time.Duration) {
	t.Helper()
	kills, longest = soakKills, 700*time.Millisecond
	if n, err := strconv.Atoi(os.Getenv("BARID_SOAK")); err == nil && n > 0 {
		kills, longest = n, 3*time.Second
	}
	if program = os.Getenv("BARID_BINARY"); program == "" {
		if testing.Short() {
			t.Skip("builds the program and takes seconds")
		}
		program = buildProgram(t)
	}
	return program, kills, longest
}

// TestSoakKillsLoseNothing kills the program at work for its mailboxes.
func TestSoakKillsLoseNothing(t *testing.T) {
	program, kills, longest := soakForm(t)
	site, err := newSite(soakDir(t))
	if err != nil {
		t.Fatal(err)
	}
	k := newSoak()
	dice := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	began := time.Now()
	for round := range kills {
		// Now and then files are written at once, so that a kill meets that too.
		if err := site.settleAfter(time.Duration(1+dice.IntN(2)*9) * time.Second); err != nil {
			t.Fatal(err)
		}
		life := 300*time.Millisecond + time.Duration(dice.Int64N(int64(longest)))
		if err := k.oneLife(t.Context(), site, program, round, life); err != nil {
			t.Fatalf("life %d: %v", round, err)
		}
	}
	s, err := site.start(t.Context(), program, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.kill()
	if err := k.lookAll(t.Context(), s); err != nil {
		t.Error(err)
	}
	done := 0
	for _, o := range k.owners {
		done += o.done
	}
	t.Logf("%d kills in %v: %d messages acknowledged, %d commands of owners, %d accounts born, all kept",
		kills, time.Since(began).Round(time.Second), acknowledged(k.boxes), done, k.births.born)
	if n := acknowledged(k.boxes); n < kills*soakMailboxes || done < kills || k.births.born < kills {
		t.Errorf("only %d messages, %d commands and %d births in %d lives: nothing was shown", n, done, k.births.born, kills)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

// soakDir stays when something was broken: what lies there tells why.
func soakDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "barid-soak-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the data directory is kept: %s", dir)
			return
		}
		os.RemoveAll(dir)
	})
	return dir
}

// buildProgram makes the program that is killed.
func buildProgram(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "barid")
	out, err := exec.Command("go", "build", "-o", program, "barid/cmd/barid").CombinedOutput()
	if err != nil {
		t.Fatalf("build the relay: %v\n%s", err, out)
	}
	return program
}

func newSoak() *soak {
	k := &soak{births: births{dice: rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))}}
	for range soakMailboxes {
		k.boxes = append(k.boxes, &ledger{
			acked: map[string]bool{}, seen: map[uint32]string{}, uidOf: map[string]uint32{}, removed: map[uint32]bool{},
		})
	}
	for i := range soakOwners {
		k.owners = append(k.owners, newOwner(i))
	}
	return k
}

// lookAll is the last look, at a relay that nobody kills.
func (k *soak) lookAll(ctx context.Context, s *server) error {
	var errs []error
	for i, b := range k.boxes {
		if err := b.look(ctx, s, i, false); err != nil {
			errs = append(errs, fmt.Errorf("mailbox %d: %w", i, err))
		}
		for id := range b.acked {
			if b.uidOf[id] == 0 {
				errs = append(errs, fmt.Errorf("mailbox %d: acknowledged and lost: %s", i, id))
			}
		}
	}
	for _, o := range k.owners {
		c, err := dialIMAP(ctx, s.imap, o.account, coreHello())
		if err != nil {
			return err
		}
		errs = append(errs, o.check(c))
		c.Close()
	}
	return errors.Join(errs...)
}

func acknowledged(boxes []*ledger) (n int) {
	for _, b := range boxes {
		b.mu.Lock()
		n += len(b.acked)
		b.mu.Unlock()
	}
	return n
}

// oneLife starts the relay, lets everybody work for a while and kills it.
func (k *soak) oneLife(ctx context.Context, site site, program string, round int, life time.Duration) error {
	s, err := site.start(ctx, program, -1)
	if err != nil {
		return err
	}
	defer s.kill()
	for i := range k.boxes { // accounts exist before mail for them comes
		c, err := dialIMAP(ctx, s.imap, person('r', i), coreHello())
		if err != nil {
			return err
		}
		c.Close()
	}
	dead := make(chan struct{})
	defer time.AfterFunc(life, func() { close(dead); s.kill() }).Stop()
	isDead := func() bool {
		select {
		case <-dead:
			return true
		default:
			return false
		}
	}
	work := k.work(ctx, s, round)
	err = crowd(len(work), func(i int) error {
		for turn := 0; !isDead(); turn++ {
			if err := work[i](turn); err != nil && (!isDead() || errors.Is(err, errBroken)) {
				return err
			}
		}
		return nil
	})
	s.kill()
	if err != nil {
		return fmt.Errorf("%w\nthe relay said:\n%s", err, s.log)
	}
	return nil
}

// work gives what each client does, again and again until the relay dies. An
// error is the kill's fault unless it is errBroken.
func (k *soak) work(ctx context.Context, s *server, round int) (all []func(turn int) error) {
	for i := range soakSenders {
		all = append(all, func(turn int) error {
			return sendAll(ctx, s, fmt.Sprintf("soak-%d-%d-%d", round, i, turn), i, k.boxes)
		})
	}
	for i, b := range k.boxes {
		all = append(all, func(int) error { return b.look(ctx, s, i, true) })
	}
	for _, o := range k.owners {
		all = append(all, func(int) error { return o.live(ctx, s) })
	}
	return append(all, func(int) error { return k.births.live(ctx, s) }, func(int) error { return k.births.doubt(ctx, s) })
}

// errBroken marks a broken promise: that is never the kill's fault.
var errBroken = errors.New("broken promise")

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errBroken, fmt.Sprintf(format, args...))
}

// sendAll sends to one or to all mailboxes in turn until something breaks.
func sendAll(ctx context.Context, s *server, prefix string, n int, boxes []*ledger) error {
	c, err := dialSMTP(ctx, s.smtp, person('s', n))
	if err != nil {
		return err
	}
	defer c.Close()
	content := letter.New(prefix, c.from, letter.Size)
	for i := 0; ; i++ {
		targets := boxes
		first := 0
		if i%2 == 0 {
			first = i / 2 % len(boxes)
			targets = boxes[first : first+1]
		}
		var to []string
		for j := range targets {
			to = append(to, person('r', first+j).address)
		}
		id, message := content.Next()
		if err := c.send(to, message, nil); err != nil {
			return err
		}
		for _, b := range targets {
			b.mu.Lock()
			b.acked[id] = true
			b.mu.Unlock()
		}
	}
}

var (
	uidValidity = regexp.MustCompile(`\[UIDVALIDITY (\d+)\]`)
	uidNext     = regexp.MustCompile(`\[UIDNEXT (\d+)\]`)
	fetchedUID  = regexp.MustCompile(`^\* \d+ FETCH \(.*\bUID (\d+)\b`)
	fetchedID   = regexp.MustCompile(`(?i)Message-ID: <([^>]+)>`)
)

// look reads the mailbox, compares it with what is known of it, and with
// remove takes away the newest messages: their UIDs are the ones that a
// forgetful server would give out again.
func (b *ledger) look(ctx context.Context, s *server, n int, remove bool) error {
	c, err := dialIMAP(ctx, s.imap, person('r', n), coreHello())
	if err != nil {
		return err
	}
	defer c.Close()
	selected, err := c.do(`SELECT "INBOX"`)
	if err != nil {
		return err
	}
	if err := b.checkSelect(selected); err != nil {
		return err
	}
	fetched, err := c.do(`UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])`)
	if err != nil {
		return err
	}
	here, err := b.checkFetch(fetched)
	if err != nil || !remove || len(here) < 4 {
		return err
	}
	// Only what was seen: mail that came meanwhile must not go with it.
	gone := here[len(here)-len(here)/4:]
	if _, err := c.do(fmt.Sprintf(`UID STORE %d:%d +FLAGS (\Deleted)`, gone[0], gone[len(gone)-1])); err != nil {
		return err
	}
	if _, err := c.do("CLOSE"); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, uid := range gone {
		b.removed[uid] = true
	}
	return nil
}

func (b *ledger) checkSelect(lines []string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var validity string
	var next uint64
	for _, line := range lines {
		if m := uidValidity.FindStringSubmatch(line); m != nil {
			validity = m[1]
		}
		if m := uidNext.FindStringSubmatch(line); m != nil {
			next, _ = strconv.ParseUint(m[1], 10, 32)
		}
	}
	if b.validity == "" {
		b.validity = validity
	}
	if validity == "" || validity != b.validity {
		return broken("UIDVALIDITY was %s and is %q", b.validity, validity)
	}
	if next <= uint64(b.highest) {
		return broken("UIDNEXT is %d, and UID %d was seen", next, b.highest)
	}
	return nil
}

// checkFetch gives the UIDs that are there, ascending.
func (b *ledger) checkFetch(lines []string) (here []uint32, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range lines {
		u, m := fetchedUID.FindStringSubmatch(line), fetchedID.FindStringSubmatch(line)
		if u == nil || m == nil {
			continue
		}
		n, _ := strconv.ParseUint(u[1], 10, 32)
		uid, id := uint32(n), m[1]
		switch {
		case b.removed[uid]:
			return nil, broken("UID %d was removed and is back", uid)
		case b.seen[uid] != "" && b.seen[uid] != id:
			return nil, broken("UID %d was %s and is %s", uid, b.seen[uid], id)
		case b.uidOf[id] != 0 && b.uidOf[id] != uid:
			return nil, broken("%s is there as UID %d and as %d", id, b.uidOf[id], uid)
		}
		b.seen[uid], b.uidOf[id] = id, uid
		b.highest = max(b.highest, uid)
		here = append(here, uid)
	}
	return here, nil
}
