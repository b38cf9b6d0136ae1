package imap

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"barid/test/transcript"
)

// Faults that were found in another IMAP server, measured there. Each has a
// test that shows that we do not have it.

// A program of 48 KB of NOT, from somebody who has not logged in, cost 32 MB
// of stack.
func TestFaultNobodyParsesForStrangers(t *testing.T) {
	l := newLab(t)
	bomb := strings.Repeat("NOT ", 2000) // as long as a stranger's line may be
	l.play(t, "S~ \\* OK .*\nC: a SEARCH "+bomb+"ALL\nS: a BAD Command not allowed in this state\n")
	p := selectedAlice(t, l)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	p.Play(t, "C: b SEARCH "+strings.Repeat("NOT ", 12000)+"ALL\nS~ b BAD .*\n")
	runtime.ReadMemStats(&after)
	if grown := after.StackInuse - before.StackInuse; after.StackInuse > before.StackInuse && grown > 1<<20 {
		t.Errorf("%d octets of stack", grown)
	}
}

// A client that connects and is silent was kept for ever.
func TestFaultSilenceBeforeTheGreetingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		conn := l.dial(t) // and nobody reads the greeting
		began := time.Now()
		l.wg.Wait()
		if d := time.Since(began); d > 3*time.Minute {
			t.Errorf("it lasted %v", d)
		}
		conn.Close()
	})
}

// What a refused literal held was executed.
func TestFaultNoCommandsFromRefusedLiterals(t *testing.T) {
	for _, refused := range []string{
		"b BOGUS {10+}", "b NOOP {10+}", "b SELECT INBOX {10+}", "b UID FETCH 1 {10+}", "b APPEND Missing {10+}", "b SEARCH HEADER x {99999999+}",
		"b APPEND INBOX (\\Seen {10+}", "b APPEND INBOX {99999999999+}", "b ENABLE {10+}", "b COMPRESS {10+}", `b APPEND INBOX "no date at all" {10+}`, `b APPEND INBOX (\\Seen) "32-Feb-2026 10:20:30 +0100" {10+}`,
	} {
		l := newLab(t)
		p := alice(t, l)
		literal := "C: INJ NOOP\nC: \n" // and a line that ends the command
		switch {
		case strings.Contains(refused, "99999"):
			p.Play(t, "C: "+refused+"\n"+literal+"S* \\* BYE Literal refused\nS--\n")
		default:
			p.Play(t, "C: "+refused+"\n"+literal+"S~ b (BAD|NO) .*\nC: z NOOP\nS: z OK Noop completed\n")
		}
	}
}

// A partial that ends beyond the numbers there are was a panic.
func TestFaultPartialsDoNotOverflow(t *testing.T) {
	l := newLab(t)
	l.born(t, "alice@relay.test")
	l.deliver(t, "alice@relay.test", "A: b\n\nhello\n")
	selectedAlice(t, l).Play(t, `
C: b FETCH 1 BODY.PEEK[]<1.9223372036854775807>
S~ b BAD .*
C: c FETCH 1 BODY.PEEK[]<9223372036854775807.1>
S~ c BAD .*
C: d FETCH 1 (BODY.PEEK[]<4294967295.4294967295> BINARY.PEEK[1]<4294967295.4294967295>)
S: * 1 FETCH (BODY[]<4294967295> {0}
S:  BINARY[1]<4294967295> {0}
S: )
S: d OK Fetch completed
C: e FETCH 1 BODY.PEEK[TEXT]<1.4294967295>
S: * 1 FETCH (BODY[TEXT]<1> {6}
S: ello
S: )
S: e OK Fetch completed
`)
}

// A structure of nested messages grew with the square of their number.
func TestFaultNestedMessagesAreBounded(t *testing.T) {
	l := newLab(t)
	l.born(t, "alice@relay.test")
	l.deliver(t, "alice@relay.test", strings.Repeat("Content-Type: message/rfc822\n\n", 30000))
	l.deliver(t, "alice@relay.test", "Content-Type: multipart/mixed; boundary=b\n\n"+strings.Repeat("--b\n\nx\n", 50000))
	l.deliver(t, "alice@relay.test", "To: "+strings.Repeat("a@b.test,", 100000)+"\nSubject: "+strings.Repeat("x", 1<<20)+"\n\nx")
	l.deliver(t, "alice@relay.test", strings.Repeat("x", 1<<20)) // a header without end
	p := selectedAlice(t, l)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	p.Play(t, "C: b FETCH 1:4 (BODYSTRUCTURE ENVELOPE BODY BODY.PEEK[1.1.1.1.1.MIME] BINARY.SIZE[1.1.1])\nS* b OK .*\n")
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 150<<20 {
		t.Errorf("%d MiB were allocated", n>>20)
	}
}

// A range was expanded into its numbers; one that ended at the largest number
// never ended.
func TestFaultRangesAreNotExpanded(t *testing.T) {
	l := newLab(t)
	l.born(t, "alice@relay.test")
	l.deliver(t, "alice@relay.test", "A: b\n\n")
	p := selectedAlice(t, l)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	p.Play(t, `
C: b UID FETCH 1:4294967295,2:200000000 (UID)
S: * 1 FETCH (UID 1)
S: b OK Fetch completed
C: c SEARCH 1:4294967295 UID 1:4294967295 NOT 2:4294967295
S: * SEARCH 1
S: c OK Search completed
C: d ENABLE QRESYNC
S* d OK .*
C: e UID FETCH 1:4294967295 (UID) (CHANGEDSINCE 1 VANISHED)
S~ \* 1 FETCH \(UID 1 MODSEQ \(\d+\)\)
S: e OK Fetch completed
C: f SELECT INBOX (QRESYNC (1 1 1:4294967295 (1:4294967295 1:4294967295)))
S* f OK .*
`)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("%d MiB were allocated", n>>20)
	}
}

// Each line was a write of its own, and so a packet.
func TestFaultAnAnswerIsFewWrites(t *testing.T) {
	l := newLab(t)
	l.born(t, "alice@relay.test")
	for range 500 {
		l.deliver(t, "alice@relay.test", "A: b\n\n")
	}
	conn := &countReads{Conn: l.dial(t)}
	p := transcript.New(t, conn)
	p.Play(t, login+"C: s SELECT INBOX\nS* s OK .*\n")
	conn.n.Store(0)
	p.Play(t, "C: b UID FETCH 1:* (FLAGS)\nS* b OK .*\n")
	// 500 lines of 26 octets or more fit one write; the reader may halve it.
	if n := conn.n.Load(); n > 10 {
		t.Errorf("%d reads for one answer", n)
	}
}

type countReads struct {
	net.Conn
	n atomic.Int64
}

func (c *countReads) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n.Add(1)
	return n, err
}

// Texts were not looked at for line ends.
func TestFaultNobodyForgesLines(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Domain = "relay.test\r\n* OK forged" })
	p := transcript.New(t, l.dial(t))
	p.Play(t, "S~ \\* OK \\[.*\\] relay.test\\?\\?\\* OK forged ready\n")
	l = newLab(t)
	p = alice(t, l)
	p.Play(t, `
C\ b CREATE {9}\r\n
S: + OK
C\ a\r\n* BYE!\r\n
S* b (OK|NO) .*
C: c LIST "" *
S* c OK .*
C\ d STATUS {9+}\r\na\r\n* BYE! (MESSAGES)\r\n
S* d (OK|NO) .*
C: e NOOP
S: e OK Noop completed
`)
}

// When a client vanished in IDLE, its mailbox was closed beside the goroutine
// that still wrote.
func TestFaultClientsMayVanishInIdle(t *testing.T) {
	l := newLab(t)
	l.born(t, "alice@relay.test")
	for i := range 20 {
		conn := l.dial(t)
		p := transcript.New(t, conn)
		p.Play(t, login+"C: s SELECT INBOX\nS* s OK .*\nC: i IDLE\nS: + idling\n")
		go conn.Close()
		l.deliver(t, "alice@relay.test", fmt.Sprintf("A: %d\n\n", i))
	}
	within(t, 5*time.Second, func() bool { return l.sv.sessions.Load() == 0 })
	if n := l.sv.idle.Load(); n != 0 {
		t.Errorf("%d idle", n)
	}
}
