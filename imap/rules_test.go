package imap

import (
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"barid/storage"
	"barid/test/transcript"
)

// The tests of this file are named after the rules whose breach makes
// clients lose mail, loop or stall. Those of the other protocols are
// elsewhere.

// alice gives a player that has logged in as Alice.
func alice(t *testing.T, l *lab) *transcript.Player {
	t.Helper()
	l.born(t, "alice@relay.test")
	p := transcript.New(t, l.dial(t), transcript.Dial(func(string) (net.Conn, error) { return l.dial(t), nil }))
	p.Play(t, login)
	return p
}

// selected gives one that has selected its INBOX, too.
func selectedAlice(t *testing.T, l *lab) *transcript.Player {
	t.Helper()
	p := alice(t, l)
	p.Play(t, "C: s SELECT INBOX\nS* s OK .*\n")
	return p
}

// What comes before the continuation of IDLE is overlooked.
func TestRule01ExistsFollowsTheContinuation(t *testing.T) {
	l := newLab(t)
	p := selectedAlice(t, l)
	l.deliver(t, "alice@relay.test", letter)
	p.Play(t, `
C: b IDLE
S: + idling
S: * 1 EXISTS
C: DONE
S: b OK Idle completed
`)
}

// NO to a FETCH means "no results", and the mail is never asked for again.
func TestRule02FaultsEndTheConnectionInsteadOfAnsweringNo(t *testing.T) {
	for _, command := range []string{
		"UID FETCH 1:500 (UID RFC822.SIZE)", "UID FETCH 1 (FLAGS BODY.PEEK[])", "FETCH 1 FLAGS", "UID STORE 1 +FLAGS (\\Deleted)",
		"GETQUOTAROOT INBOX", "GETMETADATA INBOX /private/devicetoken", "SELECT INBOX", "CLOSE", "IDLE",
		"UID SEARCH ALL", "EXPUNGE", `SETMETADATA INBOX (/private/devicetoken "x")`,
	} {
		l := newLab(t)
		p := selectedAlice(t, l)
		l.deliver(t, "alice@relay.test", letter)
		l.store.mu.Lock()
		l.store.fail = errors.New("the disk is gone")
		l.store.mu.Unlock()
		p.Play(t, "C: b "+command+"\nS* \\* BYE .*\nS--\n")
	}
}

func TestRule02MessagesThatCannotBeReadEndTheConnection(t *testing.T) {
	l := newLab(t)
	p := selectedAlice(t, l)
	l.deliver(t, "alice@relay.test", letter)
	l.store.mu.Lock()
	l.store.failPart = errors.New("the file is gone")
	l.store.mu.Unlock()
	p.Play(t, "C: b UID FETCH 1 (FLAGS BODY.PEEK[])\nS: * 1 EXISTS\nS~ \\* BYE .*\nS--\n")
}

// The numbers of a mailbox are those of the store, each time.
func TestRule03ValidityAndNextUIDAreTheStores(t *testing.T) {
	l := newLab(t)
	p := alice(t, l)
	p.Play(t, `
C: a SELECT INBOX
S* \* OK \[UIDVALIDITY (?P<validity>\d+)\] .*
S: * OK [UIDNEXT 1] Predicted next UID
S* a OK .*
`)
	l.deliver(t, "alice@relay.test", letter)
	p.Play(t, `
C: b STATUS INBOX (UIDNEXT UIDVALIDITY MESSAGES)
S: * STATUS INBOX (UIDNEXT 2 UIDVALIDITY ${validity} MESSAGES 1)
S* b OK .*
C: c UID STORE 1 +FLAGS.SILENT (\Deleted)
S* c OK .*
C: d CLOSE
S* d OK .*
C: e SELECT INBOX
S* \* 0 EXISTS
S: * 0 RECENT
S: * OK [UIDVALIDITY ${validity}] UIDs valid
S: * OK [UIDNEXT 2] Predicted next UID
S* e OK .*
`)
}

// A FETCH line of a flag that somebody changed would be taken for a piece of
// the answer, one without a size.
func TestRule04NoForeignFetchInsideAnAnswer(t *testing.T) {
	l := newLab(t)
	p := selectedAlice(t, l)
	l.deliver(t, "alice@relay.test", letter)
	l.deliver(t, "alice@relay.test", letter)
	p.Play(t, "C: b NOOP\nS: * 2 EXISTS\nS~ b OK .*\n")
	l.setFlags(t, 2, storage.FlagSeen)
	p.Play(t, `
C: c UID FETCH 1:1 (UID RFC822.SIZE)
S~ \* 1 FETCH \(UID 1 RFC822.SIZE \d+\)
S: c OK Fetch completed
C: d NOOP
S: * 2 FETCH (UID 2 FLAGS (\Seen))
S: d OK Noop completed
`)
}

func TestRule05OnlyWhatWasAskedForIsGiven(t *testing.T) {
	l := newLab(t)
	p := selectedAlice(t, l)
	l.deliver(t, "alice@relay.test", letter)
	p.Play(t, `
C: b UID FETCH 1:500 (UID RFC822.SIZE)
S: * 1 EXISTS
S~ \* 1 FETCH \(UID 1 RFC822.SIZE \d+\)
S: b OK Fetch completed
C: c UID FETCH 1 (FLAGS)
S: * 1 FETCH (UID 1 FLAGS ())
S: c OK Fetch completed
C: d FETCH 1 FLAGS
S: * 1 FETCH (FLAGS ())
S: d OK Fetch completed
`)
}

// A literal with a NUL stops a client at this message for ever.
func TestRule06NoMessageWithNul(t *testing.T) {
	l := newLab(t)
	p := selectedAlice(t, l)
	p.Play(t, `
C: b APPEND INBOX {14+}
C\ Subject: \x00\r\n\r\n\r\n
S: b NO [CANNOT] The message has a NUL octet
C: c NOOP
S: c OK Noop completed
`)
}

func TestRule07TextIsAscii(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Domain = "relay.tést" })
	p := transcript.New(t, l.dial(t))
	p.Play(t, "S~ [ -~]*\nC: \xc3\xa4 NOOP\nS~ [ -~]*\n")
}

// Clients do not take backslashes off quoted strings.
func TestRule08ValuesWithQuotesAreLiterals(t *testing.T) {
	l := newLab(t)
	alice(t, l).Play(t, `
C: b GETMETADATA "" /shared/vendor/deltachat/appversions
S: * METADATA "" (/shared/vendor/deltachat/appversions {14}
S: {"clients":[]})
S: b OK Getmetadata completed
`)
}

func TestRule09MetadataNamesTheMailboxAndIsNeverEmpty(t *testing.T) {
	l := newLab(t)
	alice(t, l).Play(t, `
C: b GETMETADATA "" (/shared/comment /shared/admin)
S: * METADATA "" (/shared/comment NIL /shared/admin NIL)
S: b OK Getmetadata completed
C: c GETMETADATA "" (/shared/comment /shared/vendor/deltachat/maxsmtprecipients)
S: * METADATA "" (/shared/comment NIL /shared/vendor/deltachat/maxsmtprecipients {4}
S: 1000)
S: c OK Getmetadata completed
C: d GETMETADATA INBOX /private/devicetoken
S: * METADATA INBOX (/private/devicetoken {0}
S: )
S: d OK Getmetadata completed
C: e GETMETADATA (MAXSIZE 1) "" /shared/vendor/deltachat/maxsmtprecipients
S: e OK [METADATA LONGENTRIES 4] Getmetadata completed
C: f GETMETADATA (DEPTH infinity) "" (/shared /shared/vendor/deltachat)
S: f OK Getmetadata completed
`)
}

// A second address is tried after 300 ms: nothing may stand before the
// greeting, and nothing does, not even the store.
func TestRule14TheGreetingComesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		began := time.Now()
		p := transcript.New(t, l.dial(t))
		p.Play(t, "S~ \\* OK \\[CAPABILITY IMAP4rev1 .*\\] relay.test ready\n")
		if d := time.Since(began); d != 0 {
			t.Errorf("it took %v", d)
		}
		l.end()
		p.Play(t, "S~ \\* BYE .*\nS--\n")
		l.wg.Wait()
	})
}

// With keep-alives the core never leaves IDLE by itself, so days are normal.
func TestRule15IdleHasNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		conn := l.dial(t)
		p := transcript.New(t, conn, transcript.Timeout(time.Hour))
		l.born(t, "alice@relay.test")
		p.Play(t, login+"C: b IDLE\nS: + idling\n")
		began := time.Now()
		for range 1000 {
			p.Play(t, "S: * OK Still here\n")
		}
		if d := time.Since(began); d != 1000*DefaultKeepAlive {
			t.Errorf("1000 lines in %v", d)
		}
		p.Play(t, "C: DONE\nS: b OK Idle completed\nS- 10m\nC: c LOGOUT\nS* c OK .*\nS--\n")
		conn.Close()
		l.wg.Wait()
	})
}

// After COMPRESS, which some servers offer, clients count tags anew.
func TestRule17TagsMayRepeat(t *testing.T) {
	l := newLab(t)
	alice(t, l).Play(t, `
C: A0001 NOOP
S: A0001 OK Noop completed
C: A0001 GETQUOTAROOT "INBOX"
S* A0001 OK .*
C: A0001 SELECT "INBOX"
S* A0001 OK .*
`)
}

// A client that decrypts does not read. Nobody else may wait for it, and it
// is not cut off while it is within the bound.
func TestRule18SlowReadersAreWaitedFor(t *testing.T) {
	if stall < 2*time.Minute {
		t.Errorf("a write may stall for %v only", stall)
	}
	l := newLab(t)
	slow := selectedAlice(t, l)
	for range 20 {
		l.deliver(t, "alice@relay.test", letter+strings.Repeat("x\n", 4000))
	}
	slow.Play(t, "C: b UID FETCH 1:* (FLAGS BODY.PEEK[])\n")
	// Another session of the same account goes on meanwhile.
	p := transcript.New(t, l.dial(t))
	p.Play(t, login+`
C: b SELECT INBOX
S* b OK .*
C: c UID STORE 1:20 +FLAGS (\Deleted)
S* c OK .*
C: d CLOSE
S* d OK .*
`)
	slow.Play(t, "S* b OK .*\n")
}

func TestRule19TheListHasTheOldVersion(t *testing.T) {
	l := newLab(t, func(c *Config) { c.LoginCapabilities = []string{"IDLE", "NOSUCH", "QUOTA"} })
	alice(t, l).Play(t, `
C: b CAPABILITY
S~ \* CAPABILITY IMAP4rev1 .*
S: b OK Capability completed
`)
	l.play(t, `
S~ \* OK \[CAPABILITY IMAP4rev1 .*
C: a LOGIN alice@relay.test "secret-of-alice@relay.test"
S: a OK [CAPABILITY IMAP4rev1 IDLE QUOTA] Logged in
`)
}

// setFlags adds flags to a message of Alice's, as another session would.
func (l *lab) setFlags(t testing.TB, uid storage.UID, f storage.Flags) {
	t.Helper()
	l.asAlice(t, func(a storage.Account) storage.Op {
		return storage.SetFlags{Account: a, Mailbox: storage.InboxName, UIDs: []storage.UID{uid}, Mode: storage.AddFlags, Flags: f}
	})
}

func (l *lab) asAlice(t testing.TB, op func(storage.Account) storage.Op) {
	t.Helper()
	l.store.mu.Lock()
	a := l.store.accounts["alice@relay.test"].account
	l.store.mu.Unlock()
	res, err := l.store.Commit(l.ctx, storage.Batch{Ops: []storage.Op{op(a)}})
	if err != nil || res.Per[0].Err != nil {
		t.Fatal(err, res.Per)
	}
}

// expungeOne removes a message of Alice's.
func (l *lab) expungeOne(t testing.TB, uid storage.UID) {
	t.Helper()
	l.asAlice(t, func(a storage.Account) storage.Op {
		return storage.Expunge{Account: a, Mailbox: storage.InboxName, UIDs: []storage.UID{uid}}
	})
}
