package imap

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"barid/storage"
	"barid/test/transcript"
)

// In IDLE any line but EXISTS costs the core a round of fetching and the
// phone its sleep.
func TestIdleTellsTheCoreArrivalsOnly(t *testing.T) {
	l := newLab(t)
	p := selectedAlice(t, l)
	for range 3 {
		l.deliver(t, "alice@relay.test", letter)
	}
	p.Play(t, "C: b NOOP\nS: * 3 EXISTS\nS~ b OK .*\nC: c IDLE\nS: + idling\n")
	l.expungeOne(t, 2)
	l.setFlags(t, 3, storage.FlagSeen)
	p.Play(t, "S- 20ms\n")
	l.deliver(t, "alice@relay.test", letter)
	// Number 2 is gone but was not taken back, so the new one is number 4.
	p.Play(t, `
S: * 4 EXISTS
C: DONE
S: c OK Idle completed
C: d UID FETCH 4:503 (UID FLAGS)
S: * 4 FETCH (UID 4 FLAGS ())
S: d OK Fetch completed
C: e NOOP
S: * 2 EXPUNGE
S: * 2 FETCH (UID 3 FLAGS (\Seen))
S: e OK Noop completed
`)
}

func TestIdleTellsOthersEverything(t *testing.T) {
	for name, hello := range map[string]string{
		"others":                  "C: x CAPABILITY\nS* x OK .*\n",
		"others that say ID":      "C: x CAPABILITY\nS* x OK .*\nC: y ID (\"name\" \"mutt\")\nS* y OK .*\n",
		"others, NIL for an ID":   "C: x CAPABILITY\nS* x OK .*\nC: y ID NIL\nS* y OK .*\n",
		"old cores ask and say":   "C: x CAPABILITY\nS* x OK .*\nC: y ID (\"name\" \"Delta Chat\")\nS: * ID (\"name\" \"barid\")\nS: y OK ID completed\n",
		"cores that do not ask":   "",
		"cores that say ID alone": "C: y ID (\"name\" \"Delta Chat\")\nS* y OK .*\n",
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			p := selectedAlice(t, l)
			l.deliver(t, "alice@relay.test", letter)
			l.deliver(t, "alice@relay.test", letter)
			p.Play(t, hello+"C: b NOOP\nS: * 2 EXISTS\nS~ b OK .*\nC: c IDLE\nS: + idling\n")
			l.setFlags(t, 2, storage.FlagSeen)
			if name[:6] != "others" {
				p.Play(t, "S- 20ms\n")
				return
			}
			p.Play(t, "S: * 2 FETCH (UID 2 FLAGS (\\Seen))\n")
			l.expungeOne(t, 1)
			p.Play(t, "S: * 1 EXPUNGE\nC: DONE\nS: c OK Idle completed\n")
		})
	}
}

func TestDoneBehindIdleInOnePiece(t *testing.T) {
	l := newLab(t)
	selectedAlice(t, l).Play(t, `
C\ b IDLE\r\nDONE\r\nc NOOP\r\nd IDLE\r\n
S: + idling
S: b OK Idle completed
S: c OK Noop completed
S: + idling
C\ DO
C\ NE\r\ne NO
C\ OP\r\n
S: d OK Idle completed
S: e OK Noop completed
C: f IDLE
S: + idling
C: NOOP
S: f BAD Expected DONE
C: g IDLE
S: + idling
C: done
S: g OK Idle completed
`)
}

func TestIdleBeforeSelectSaysNothing(t *testing.T) {
	l := newLab(t)
	p := alice(t, l)
	p.Play(t, "C: b IDLE\nS: + idling\n")
	l.deliver(t, "alice@relay.test", letter)
	p.Play(t, "S- 20ms\nC: DONE\nS: b OK Idle completed\n")
}

// A burst of arrivals is told in at most as many lines, the last of them
// with the final count.
func TestIdleOfManyHearsTheFinalCount(t *testing.T) {
	l := newLab(t)
	l.born(t, "alice@relay.test")
	const sessions, arrivals = 20, 30
	players := make([]*transcript.Player, sessions)
	for i := range players {
		players[i] = transcript.New(t, l.dial(t))
		players[i].Play(t, login+"C: s SELECT INBOX\nS* s OK .*\nC: b IDLE\nS: + idling\n")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range arrivals {
			l.deliver(t, "alice@relay.test", letter)
		}
	}()
	for _, p := range players {
		p.Play(t, fmt.Sprintf("S* \\* %d EXISTS\n", arrivals))
	}
	<-done
}

func TestDrainSaysByeToIdleAndWaitingSessions(t *testing.T) {
	l := newLab(t)
	idle := alice(t, l)
	idle.Play(t, "C: b IDLE\nS: + idling\n")
	waiting := transcript.New(t, l.dial(t))
	waiting.Play(t, login)
	fresh := transcript.New(t, l.dial(t))
	fresh.Play(t, "S~ \\* OK .*\n")
	l.end()
	for _, p := range []*transcript.Player{idle, waiting, fresh} {
		p.Play(t, "S: * BYE Server is going away\nS--\n")
	}
	l.wg.Wait()
}

// One that came after the end began is told as well.
func TestDrainSaysByeToTheLate(t *testing.T) {
	l := newLab(t)
	keep := transcript.New(t, l.dial(t)) // keeps the group of the context alive
	keep.Play(t, "S~ \\* OK .*\n")
	l.end()
	transcript.Play(t, l.dial(t), "S* \\* BYE Server is going away\nS--\n")
	keep.Play(t, "S~ \\* BYE .*\nS--\n")
}

// A client that has fetched mail deletes it with two more commands, and takes
// a BYE in between for success: it is let go on until it waits.
func TestDrainLetsWhatBelongsTogetherFinish(t *testing.T) {
	for name, last := range map[string]string{
		"to the end of the mailbox": "C: d CLOSE\nS: d OK Close completed\n",
		"to IDLE":                   "C: d IDLE\nS: + idling\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				p := selectedAlice(t, l)
				l.deliver(t, "alice@relay.test", letter)
				p.Play(t, "C: b UID FETCH 1:* (UID)\nS* b OK .*\n")
				time.Sleep(pause / 2)
				l.end()
				time.Sleep(pause / 4)
				p.Play(t, "C: c UID STORE 1 +FLAGS (\\Deleted)\nS* c OK .*\n")
				time.Sleep(pause / 2)
				p.Play(t, last+"S: * BYE Server is going away\nS--\n")
			})
		})
	}
}

// One that says nothing more is not waited for longer than a pause.
func TestDrainDoesNotWaitForTheSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		p := selectedAlice(t, l)
		leaves := selectedAlice(t, l)
		l.end()
		began := time.Now()
		leaves.Play(t, "--\n")
		p.Play(t, "S: * BYE Server is going away\nS--\n")
		l.wg.Wait()
		if took := time.Since(began); took > pause {
			t.Errorf("it took %v", took)
		}
	})
}

func TestDrainLetsACommandFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		p := selectedAlice(t, l)
		p.Play(t, "C: b APPEND INBOX {8}\nS: + OK\n")
		l.end()
		p.Play(t, "C\\ A: b\\r\\n\\r\\n\\r\\n\nS: * 1 EXISTS\nS~ b OK \\[APPENDUID .*\nS: * BYE Server is going away\nS--\n")
	})
}

func TestRefusedLoginsWaitWithoutHoldingOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.born(t, "alice@relay.test")
		conn, good := l.dial(t), l.dial(t)
		p := transcript.New(t, conn, transcript.Timeout(time.Minute))
		began := time.Now()
		p.Play(t, "S~ \\* OK .*\nC: a LOGIN alice@relay.test wrong-password\n")
		transcript.New(t, good).Play(t, login)
		if time.Since(began) != 0 {
			t.Error("a refused login held up another")
		}
		p.Play(t, `
C\ b LOGIN "no address" x\r\nc LOGIN a@b ""\r\n
S: a NO [AUTHENTICATIONFAILED] Authentication failed.
S: b NO [AUTHENTICATIONFAILED] Authentication failed.
S: c NO [AUTHENTICATIONFAILED] Authentication failed.
S: * BYE Too many refused logins
S--
`)
		if d := time.Since(began); d != 3*refusalDelay {
			t.Errorf("three refusals took %v", d)
		}
		good.Close()
		l.wg.Wait()
	})
}

func TestFaultsOfTheStoreAreNoRefusals(t *testing.T) {
	l := newLab(t)
	l.store.fail = storage.ErrReadOnly
	l.play(t, `
S~ \* OK .*
C: a LOGIN alice@relay.test secret-of-alice
S: a NO [UNAVAILABLE] Internal error, please try again later
`)
}

func TestSilentClientsAreLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.born(t, "alice@relay.test")
		p := transcript.New(t, l.dial(t), transcript.Timeout(time.Hour))
		began := time.Now()
		p.Play(t, "S~ \\* OK .*\nS* \\* BYE .*\nS--\n")
		if d := time.Since(began); d != silentLogin {
			t.Errorf("let go after %v", d)
		}
		dribbling := l.dial(t)
		began = time.Now()
		transcript.New(t, dribbling).Play(t, "S~ \\* OK .*\n")
		for range 40 {
			time.Sleep(10 * time.Second)
			if _, err := dribbling.Write([]byte("a")); err != nil {
				break
			}
		}
		if d := time.Since(began); d > loginTime+20*time.Second {
			t.Errorf("a client dribbled for %v without logging in", d)
		}
		l.wg.Wait()
	})
}

func TestSessionsOfOneAccountFromOneClientAreBounded(t *testing.T) {
	l := newLab(t, func(c *Config) { c.MaxSessions = 2 })
	alice(t, l)
	second := l.dial(t)
	transcript.Play(t, second, login)
	const third = `
S~ \* OK .*
C: a LOGIN alice@relay.test "secret-of-alice@relay.test"
`
	l.play(t, third+"S~ a NO \\[LIMIT\\] .*\n")
	l.play(t, "S~ \\* OK .*\nC: a LOGIN carol@relay.test secret-of-carol\nS~ a OK .*\n")
	second.Close()
	within(t, time.Second, func() bool { return l.sv.perClient.fullest() < 2 })
	l.play(t, third+"S~ a OK .*\n")
}

func TestMailboxGoneMeansBye(t *testing.T) {
	l := newLab(t)
	p := alice(t, l)
	p.Play(t, "C: b CREATE x\nS~ b OK .*\nC: c SELECT x\nS* c OK .*\n")
	l.asAlice(t, func(a storage.Account) storage.Op { return storage.DeleteMailbox{Account: a, Name: "x"} })
	p.Play(t, "C: d UID FETCH 1:* FLAGS\nS~ \\* BYE .*\nS--\n")
}
