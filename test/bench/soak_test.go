package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"barid/test/letter"
)

// The soak kills the relay again and again while mail is sent, read and
// removed, and holds it to its word:
//
//   - what was acknowledged is there, once;
//   - a UID means one message for ever, and is not given out again when that
//     message is gone;
//   - UIDVALIDITY stays;
//   - what was removed stays removed.
const (
	soakSenders   = 8
	soakMailboxes = 4
)

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

// TestSoakKillsLoseNothing runs when BARID_SOAK says how many kills.
func TestSoakKillsLoseNothing(t *testing.T) {
	kills, err := strconv.Atoi(os.Getenv("BARID_SOAK"))
	program := os.Getenv("BARID_BINARY")
	if err != nil || kills < 1 || program == "" {
		t.Skip("takes minutes: `make soak` runs it, with BARID_SOAK kills of the program BARID_BINARY")
	}
	site, err := newSite(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	boxes := make([]*ledger, soakMailboxes)
	for i := range boxes {
		boxes[i] = &ledger{
			acked: map[string]bool{}, seen: map[uint32]string{}, uidOf: map[string]uint32{}, removed: map[uint32]bool{},
		}
	}
	dice := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for round := range kills {
		life := time.Duration(500+dice.IntN(2500)) * time.Millisecond
		if err := oneLife(t.Context(), site, program, round, life, boxes); err != nil {
			t.Fatalf("life %d: %v", round, err)
		}
		t.Logf("life %d: %v, then killed; acknowledged so far: %d", round, life, acknowledged(boxes))
	}
	s, err := site.start(t.Context(), program, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.kill()
	for i, b := range boxes {
		if err := b.look(t.Context(), s, i, false); err != nil {
			t.Errorf("mailbox %d: %v", i, err)
		}
		for id := range b.acked {
			if b.uidOf[id] == 0 {
				t.Errorf("mailbox %d: acknowledged and lost: %s", i, id)
			}
		}
	}
	if n := acknowledged(boxes); n < kills*soakMailboxes {
		t.Errorf("only %d messages in %d lives: nothing was shown", n, kills)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
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
func oneLife(ctx context.Context, site site, program string, round int, life time.Duration, boxes []*ledger) error {
	s, err := site.start(ctx, program, -1)
	if err != nil {
		return err
	}
	defer s.kill()
	for i := range boxes { // accounts exist before mail for them comes
		c, err := dialIMAP(ctx, s.imap, person('r', i), coreHello())
		if err != nil {
			return err
		}
		c.Close()
	}
	dead := make(chan struct{})
	time.AfterFunc(life, func() { close(dead); s.kill() })
	isDead := func() bool {
		select {
		case <-dead:
			return true
		default:
			return false
		}
	}
	return crowd(soakSenders+len(boxes), func(i int) error {
		for turn := 0; !isDead(); turn++ {
			var err error
			if i < soakSenders {
				err = sendAll(ctx, s, fmt.Sprintf("soak-%d-%d-%d", round, i, turn), i, boxes)
			} else {
				err = boxes[i-soakSenders].look(ctx, s, i-soakSenders, true)
			}
			if err != nil && (!isDead() || errors.Is(err, errBroken)) {
				return err
			}
		}
		return nil
	})
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
