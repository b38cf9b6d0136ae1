package imap

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"barid/test/transcript"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// Each failed login of a network costs it more; others pay nothing for it,
// and an hour later it is forgotten.
func TestFailedLoginsSlowTheirNetworkDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f failures
		f.init()
		fail := func(client string) time.Duration {
			key := f.key(addr(client))
			defer f.answered(key)
			return f.failed(key)
		}
		for range freeFailures {
			fail("192.0.2.1")
			fail("2001:db8:0:1::1")
		}
		for i, want := range []time.Duration{2, 4, 8, 16, 30, 30, 30} {
			if got := fail(fmt.Sprintf("192.0.2.%d", i)); got != want*time.Second {
				t.Errorf("failure %d: %v", i, got)
			}
		}
		for client, want := range map[string]time.Duration{
			"192.0.3.1": 2, "2001:db8:0:1::1": 2, "2001:db8:0:2::1": 2, "127.0.0.1": 2,
		} {
			if got := fail(client); got != want*time.Second {
				t.Errorf("%s: %v", client, got)
			}
		}
		if got := fail("2001:db8:0:1:ffff::7"); got != 4*time.Second {
			t.Errorf("the same /64: %v", got)
		}
		time.Sleep(5 * time.Minute)
		if got := fail("192.0.2.99"); got != 8*time.Second { // it was 17, is 12
			t.Errorf("five minutes later: %v", got)
		}
		time.Sleep(time.Hour)
		if got := fail("192.0.2.99"); got != 2*time.Second {
			t.Errorf("an hour later: %v", got)
		}
	})
}

// However many connections a guesser opens, no more than so many passwords
// are looked at while their answers wait.
func TestGuessersCannotGoAroundTheDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.born(t, "alice@relay.test")
		var all []*transcript.Player
		for range maxWaiting {
			p := transcript.New(t, l.dial(t))
			p.Play(t, "S~ \\* OK .*\nC: a LOGIN alice@relay.test wrong-password\n")
			all = append(all, p)
		}
		synctest.Wait()
		p := transcript.New(t, l.dial(t))
		p.Play(t, "S~ \\* OK .*\nC: a LOGIN alice@relay.test \"secret-of-alice@relay.test\"\nS~ a NO \\[UNAVAILABLE\\] .*\n")
		time.Sleep(longestDelay + time.Second)
		p.Play(t, "C: a LOGIN alice@relay.test \"secret-of-alice@relay.test\"\nS~ a OK .*\n")
		for _, p := range all {
			p.Play(t, "S~ a NO \\[AUTHENTICATIONFAILED\\] .*\n")
		}
		l.end()
		l.wg.Wait()
	})
}

// Whoever shares a network with a guesser and has been there before comes in,
// until passwords of that account fail.
func TestGuessersDoNotKeepTheirNeighboursOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		var conns []net.Conn
		dial := func() *transcript.Player {
			conns = append(conns, l.dial(t))
			return transcript.New(t, conns[len(conns)-1])
		}
		const good = "S~ \\* OK .*\nC: a LOGIN neighbour@relay.test neighbours-secret\nS~ a OK .*\n"
		dial().Play(t, good)
		guess := func(name string) {
			dial().Play(t, "S~ \\* OK .*\nC: a LOGIN "+name+"@relay.test wrong-password\n")
		}
		l.born(t, "alice@relay.test")
		for range maxWaiting {
			guess("alice")
		}
		synctest.Wait()
		dial().Play(t, good)
		for range 3 { // not looked at, so the account is not known here
			dial().Play(t, "S~ \\* OK .*\nC: a LOGIN alice@relay.test wrong-password\nS~ a NO \\[UNAVAILABLE\\] .*\n")
		}
		guess("neighbour") // it is looked at, once
		synctest.Wait()
		dial().Play(t, "S~ \\* OK .*\nC: a LOGIN neighbour@relay.test wrong-password\nS~ a NO \\[UNAVAILABLE\\] .*\n")
		for _, c := range conns {
			c.Close()
		}
		l.end()
		l.wg.Wait()
	})
}

// The end of the server does not wait for the answers.
func TestTheEndDoesNotWaitForRefusedLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		key := l.sv.penalties.key(addr("192.0.2.7"))
		for range 2 * freeFailures {
			l.sv.penalties.failed(key)
		}
		p := transcript.New(t, l.dial(t))
		p.Play(t, "S~ \\* OK .*\nC: a LOGIN alice@relay.test wrong\n")
		synctest.Wait()
		began := time.Now()
		l.end()
		p.Play(t, "S* \\* BYE .*\n")
		l.wg.Wait()
		if d := time.Since(began); d > refusalDelay {
			t.Errorf("it took %v", d)
		}
	})
}

func TestOnlySoManyNetworksAreRemembered(t *testing.T) {
	var f failures
	f.init()
	for i := range maxNetworks + 1000 {
		key := uint64(i)<<1 | 1
		f.failed(key)
		if i%2 == 0 {
			f.answered(key)
		}
	}
	if len(f.of) > maxNetworks {
		t.Errorf("%d networks", len(f.of))
	}
}

// One customer's network has many addresses of IPv6; they count as one client,
// as they do where connections are accepted.
func TestSessionsAreCountedPerClient(t *testing.T) {
	l := newLab(t)
	l.born(t, "alice@relay.test")
	a := l.store.accounts["alice@relay.test"].account.Address
	var p perClient
	p.init(2)
	for _, c := range []struct {
		client string
		ok     bool
	}{
		{"2001:db8::1", true}, {"2001:db8::2", true}, {"2001:db8::3", false}, {"2001:db8:0:1::1", true},
		{"192.0.2.1", true}, {"192.0.2.2", true}, {"192.0.2.1", true}, {"192.0.2.1", false},
	} {
		if _, ok := p.enter(a, addr(c.client)); ok != c.ok {
			t.Errorf("%s: %v", c.client, ok)
		}
	}
}

// Mailboxes take numbers from a counter that all accounts share: they can be
// made, renamed and deleted only so fast.
func TestMailboxesAreMadeOnlySoFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		p := alice(t, l)
		var text strings.Builder
		for i := range nameBurst / 4 {
			fmt.Fprintf(&text, "C: c CREATE a.b.c%d\nS~ c OK .*\nC: r RENAME a.b.c%d d%d\nS: r OK Rename completed\n", i, i, i)
		}
		p.Play(t, text.String())
		const limit = `NO \[LIMIT\] Too many mailboxes were made.*`
		p.Play(t, "C: c CREATE one.more\nS~ c "+limit+"\nC: r RENAME d1 other\nS~ r "+limit+"\n")
		time.Sleep(nameEvery)
		p.Play(t, "C: c CREATE more\nS~ c OK .*\nC: c CREATE evenmore\nS~ c "+limit+"\n")
		l.end()
		p.Play(t, "S* \\* BYE .*\n")
		l.wg.Wait()
	})
}
