package imap

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"barid/internal/netserve"
	"barid/smtp"
	"barid/smtp/filter"
	"barid/storage"
	"barid/test/transcript"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a server over a fake store, for dialogues in the clear.
type lab struct {
	store *fakeStore
	sv    *Server
	ctx   context.Context
	end   context.CancelFunc
	wg    sync.WaitGroup
}

// annotations is what servers under test tell of themselves.
var annotations = map[string]string{
	"/shared/vendor/deltachat/irohrelay":         "https://relay.test",
	"/shared/vendor/deltachat/maxsmtprecipients": "1000",
	"/shared/vendor/deltachat/appversions":       `{"clients":[]}`,
}

func newLab(t testing.TB, change ...func(*Config)) *lab {
	l := &lab{store: newFakeStore()}
	l.ctx, l.end = context.WithCancel(context.Background())
	cfg := Config{
		Store: l.store, Domain: "relay.test",
		Annotations: func(_ context.Context, _ storage.Account, entry string) ([]byte, bool) {
			v, ok := annotations[entry]
			return []byte(v), ok
		},
	}
	for _, f := range change {
		f(&cfg)
	}
	l.sv = New(cfg)
	l.sv.judge = anything
	t.Cleanup(func() {
		l.end()
		l.wg.Wait()
	})
	return l
}

// anything lets everything pass: most dialogues are easier to read with mail
// in the clear.
func anything(storage.Account) judge { return pass{io.Discard} }

type pass struct{ io.Writer }

func (pass) Verdict() filter.Verdict { return filter.Verdict{Kind: filter.Encrypted} }

// dial opens a connection on which a login needs no TLS.
func (l *lab) dial(t testing.TB) net.Conn {
	client, server := net.Pipe()
	l.wg.Go(func() {
		l.sv.Clear().ServeConn(l.ctx, netserve.NewConn(server, netip.MustParseAddr("192.0.2.7")))
		server.Close()
	})
	t.Cleanup(func() { client.Close() })
	return client
}

// play plays a dialogue on a new connection; "@ name" opens another.
func (l *lab) play(t *testing.T, text string) {
	t.Helper()
	transcript.Play(t, l.dial(t), text, transcript.Dial(func(string) (net.Conn, error) { return l.dial(t), nil }))
}

// born makes an account by logging in.
func (l *lab) born(t testing.TB, name string) {
	a, err := smtp.ParseAddress(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.store.Login(l.ctx, a, storage.Password("secret-of-"+name), storage.Origin{}); err != nil {
		t.Fatal(err)
	}
}

// deliver puts a message into the account's INBOX.
func (l *lab) deliver(t testing.TB, name, content string) {
	a, _ := smtp.ParseAddress(name)
	content = strings.ReplaceAll(content, "\n", "\r\n")
	res, err := l.store.Commit(l.ctx, storage.Batch{Ops: []storage.Op{storage.Deliver{To: a, Content: contentOf(content)}}})
	if err != nil || res.Per[0].Err != nil {
		t.Fatal(err, res.Per)
	}
}

// login logs Alice in, in a dialogue.
const login = `
S~ \* OK .*
C: a LOGIN "alice@relay.test" "secret-of-alice@relay.test"
S~ a OK .*
`

func TestDialogues(t *testing.T) { playAll(t, "testdata/dialogues") }

// Every command that a real core sent gets the answer that it waits for.
func TestReplaysOfRealCores(t *testing.T) { playAll(t, "testdata/replays") }

func playAll(t *testing.T, dir string) {
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(dir + "/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		t.Run(f.Name(), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.born(t, "alice@relay.test")
			l.born(t, "bob@relay.test")
			l.play(t, string(text))
		})
	}
}

const letter = `Message-ID: <1@relay.test>
Date: Wed, 25 Nov 2026 10:00:00 +0000
From: <bob@relay.test>
To: <alice@relay.test>
Subject: [...]
Chat-Version: 1.0
Content-Type: multipart/encrypted; protocol="application/pgp-encrypted";
 boundary="b"

--b
Content-Type: application/pgp-encrypted

Version: 1
--b
Content-Type: application/octet-stream

secret
--b--
`

// The receive loop of core 2.57, with a message that comes while it idles.
func TestCoreReceivesAMessage(t *testing.T) {
	l := newLab(t)
	l.born(t, "alice@relay.test")
	conn := l.dial(t)
	p := transcript.New(t, conn)
	p.Play(t, `
S: * OK [CAPABILITY IMAP4rev1 SASL-IR ID IDLE LITERAL+ XCHATMAIL XDELTAPUSH AUTH=PLAIN] relay.test ready
C: A0001 LOGIN "alice@relay.test" "secret-of-alice@relay.test"
S: A0001 OK [CAPABILITY IMAP4rev1 IDLE METADATA XCHATMAIL XDELTAPUSH LITERAL+ QUOTA] Logged in
C: A0002 GETQUOTAROOT "INBOX"
S: * QUOTAROOT INBOX "User quota"
S: * QUOTA "User quota" (STORAGE 0 512000)
S: A0002 OK Getquotaroot completed
C: A0003 GETMETADATA "" (/shared/comment /shared/admin /shared/vendor/deltachat/irohrelay /shared/vendor/deltachat/turn /shared/vendor/deltachat/maxsmtprecipients)
S: * METADATA "" (/shared/comment NIL /shared/admin NIL /shared/vendor/deltachat/irohrelay {18}
S: https://relay.test /shared/vendor/deltachat/turn NIL /shared/vendor/deltachat/maxsmtprecipients {4}
S: 1000)
S: A0003 OK Getmetadata completed
C: A0004 SELECT "INBOX"
S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft)] Flags permitted
S: * 0 EXISTS
S: * 0 RECENT
S~ \* OK \[UIDVALIDITY \d+\] .*
S: * OK [UIDNEXT 1] Predicted next UID
S: * OK [HIGHESTMODSEQ 2] Highest mod-sequence
S: A0004 OK [READ-WRITE] Select completed
C: A0005 UID FETCH 1:500 (UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE FROM CONTENT-TYPE SECURE-JOIN)])
S: A0005 OK Fetch completed
C: A0006 IDLE
S: + idling
`)
	l.deliver(t, "alice@relay.test", letter)
	p.Play(t, `
S: * 1 EXISTS
C: DONE
S: A0006 OK Idle completed
C: A0007 UID FETCH 1:500 (UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE FROM CONTENT-TYPE SECURE-JOIN)])
S: * 1 FETCH (UID 1 RFC822.SIZE ${#mail} BODY[HEADER.FIELDS (MESSAGE-ID DATE FROM CONTENT-TYPE SECURE-JOIN)] {${#header}}
S< header
S: )
S: A0007 OK Fetch completed
C: A0008 UID FETCH 1 (FLAGS BODY.PEEK[])
S: * 1 FETCH (UID 1 FLAGS () BODY[] {${#mail}}
S< mail
S: )
S: A0008 OK Fetch completed
C: A0009 UID STORE 1 +FLAGS (\Deleted)
S: * 1 FETCH (UID 1 FLAGS (\Deleted))
S: A0009 OK Store completed
C: A0010 CLOSE
S: A0010 OK Close completed
C: A0011 SELECT "INBOX"
S* \* OK \[UIDNEXT 2\] .*
S~ \* OK \[HIGHESTMODSEQ \d+\] .*
S: A0011 OK [READ-WRITE] Select completed
C: A0012 IDLE
S: + idling
S- 20ms
-- mail --
`+letter+`-- header --
Message-ID: <1@relay.test>
Date: Wed, 25 Nov 2026 10:00:00 +0000
From: <bob@relay.test>
Content-Type: multipart/encrypted; protocol="application/pgp-encrypted";
 boundary="b"

`)
}

func within(t *testing.T, d time.Duration, f func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come about")
		}
	}
}
