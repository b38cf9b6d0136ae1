package submit

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"barid/storage"
	"barid/test/transcript"
)

const (
	begin = "C: MAIL FROM:<alice@relay.test>\nS~ 250 .*\n"
	toBob = begin + "C: RCPT TO:<bob@relay.test>\nS~ 250 .*\n"
	data  = "C: DATA\nS~ 354 .*\n"
	quit  = "C: QUIT\nS~ 221 .*\nS--\n"
)

func TestRule06ANULIsRefused(t *testing.T) {
	r := newRig(t, nil)
	r.play(t, "alice@relay.test", toBob+data+"C: From: <alice@relay.test>\nC\\ \\r\\na\\x00b\\r\\n\nC: .\nS~ 554 5\\.6\\.0 .*\n"+quit)
	if r.store.commits != 0 {
		t.Error("it was committed")
	}
}

func TestRule10EveryValidRecipientIsTaken(t *testing.T) {
	r := newRig(t, nil)
	text := begin
	for _, to := range []string{"bob@relay.test", "nobody@relay.test", "x@gone.test", "x@[192.0.2.9]", "x@[IPv6:2001:db8::9]", "BOB+tag@relay.test", `"a b"@relay.test`, "a/b@relay.test"} {
		text += "C: RCPT TO:<" + to + ">\nS~ 250 .*\n"
	}
	r.play(t, "alice@relay.test", text+quit)
}

func TestRule11AnUnfinishedMessageIsDiscarded(t *testing.T) {
	for name, end := range map[string]string{"end of file": "--\n", "QUIT": "C: QUIT\n--\n"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			conn := r.dial(t, r.Clear())
			transcript.Play(t, conn, hello("alice@relay.test")+toBob+data+"C: From: <alice@relay.test>\nC: \nC: hello\n"+end)
			conn.Close()
			r.wg.Wait()
			if r.store.commits != 0 {
				t.Error("it was committed")
			}
		})
	}
}

func TestRule12AnAuthenticatedConnectionIsKeptFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.play(t, "alice@relay.test", "S- 299s\n"+toBob+data+letter+"S~ 250 .*\nS- 299s\n"+toBob+data+letter+"S~ 250 .*\n"+quit)
	})
}

func TestRule14TheGreetingComesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		start := time.Now()
		transcript.Play(t, r.dial(t, r), "S~ 220 .*\n")
		if took := time.Since(start); took > 0 {
			t.Errorf("it took %v", took)
		}
	})
}

func TestRule20NothingAPeerSaysBreaksAReply(t *testing.T) {
	r := newRig(t, nil)
	r.play(t, "alice@relay.test", toBob+data+"C\\ From: =?utf-8?q?=0D=0A250_ok?= <a\\xc3\\xa4@relay.test>\\r\\n\\r\\n.\\r\\n\nS~ 500 Invalid FROM [ -~]*\n"+
		"C: NOOP\nS~ 250 .*\n"+quit)
}

// The first login creates, the second works, a wrong or short password
// does not.
func TestLoginCreatesAndChecks(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct{ login, password, reply string }{
		{"dave@relay.test", "new password", "235 2.7.0 Authentication successful"},
		{"dave@relay.test", "new password", "235 2.7.0 Authentication successful"},
		{"DAVE@Relay.Test", "new password", "235 2.7.0 Authentication successful"},
		{"dave@relay.test", "old password", "535 5.7.8 Error: authentication failed: (reason unavailable)"},
		{"eve@relay.test", "admin", "535 5.7.8 Error: authentication failed: (reason unavailable)"},
		{"eve@other.test", "new password", "535 5.7.8 Error: authentication failed: (reason unavailable)"},
		{"eve", "new password", "535 5.7.8 Error: authentication failed: (reason unavailable)"},
		{"../eve@relay.test", "new password", "535 5.7.8 Error: authentication failed: (reason unavailable)"},
		// Two accounts may have one password.
		{"frank@relay.test", "new password", "235 2.7.0 Authentication successful"},
	} {
		r.play(t, "", "C: AUTH PLAIN "+credentials(c.login, c.password)+"\nS: "+c.reply+"\n"+quit)
	}
	r.store.loginErr = errors.New("disk")
	r.play(t, "", "C: AUTH PLAIN "+credentials("dave@relay.test", "new password")+"\nS~ 454 4\\.7\\.0 .*\n"+quit)
}

func TestTenFirstLoginsAtOnceAllSucceed(t *testing.T) {
	r := newRig(t, nil)
	t.Run("group", func(t *testing.T) {
		for i := range 10 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				r.play(t, "", "C: AUTH PLAIN "+credentials("new@relay.test", "new password")+"\nS~ 235 .*\n"+quit)
			})
		}
	})
}

func TestAFailedLoginTakesTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.LoginDelay = 0 })
		start := time.Now()
		r.play(t, "", "C: AUTH PLAIN "+credentials("alice@relay.test", "wrong one")+"\nS~ 535 .*\n"+quit)
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestNothingIsTakenWithoutLogin(t *testing.T) {
	r := newRig(t, nil)
	r.play(t, "", begin+"C: RCPT TO:<bob@relay.test>\nS: 554 5.7.1 <unknown>: Client host rejected: Access denied\nC: DATA\nS~ 502 .*\n"+quit)
}

func TestNothingIsTakenBeforeTLS(t *testing.T) {
	r := newRig(t, nil)
	transcript.Play(t, r.dial(t, r), "S~ 220 .*\nC: EHLO a\nS* 250 .*\n"+
		"C: AUTH PLAIN "+credentials("alice@relay.test", "password")+"\nS: 530 5.7.0 Must issue a STARTTLS command first\n"+
		"C: MAIL FROM:<alice@relay.test>\nS: 530 5.7.0 Must issue a STARTTLS command first\n"+
		"C: STARTTLS\nS~ 220 2\\.0\\.0 .*\nTLS\nC: EHLO a\nS* 250 .*\n"+
		"C: AUTH PLAIN "+credentials("alice@relay.test", "password")+"\nS~ 235 .*\n"+toBob+data+letter+"S~ 250 .*\n"+quit)
	if len(r.store.mail("bob@relay.test")) != 1 {
		t.Error("nothing arrived")
	}
}

func TestASenderIsNobodyElse(t *testing.T) {
	r := newRig(t, nil)
	for _, from := range []string{"bob@relay.test", "alice@other.test", "alice+tag@relay.test", "x@example.test"} {
		r.play(t, "alice@relay.test", "C: MAIL FROM:<"+from+">\nS~ 250 .*\nC: RCPT TO:<carol@relay.test>\nS: 553 5.7.1 <"+from+
			">: Sender address rejected: not owned by user alice@relay.test\nC: RCPT TO:<bob@relay.test>\nS~ 553 .*\nC: RSET\nS~ 250 .*\n"+toBob+quit)
	}
	r.play(t, "alice@relay.test", "C: MAIL FROM:<ALICE@Relay.test>\nS~ 250 .*\nC: RCPT TO:<bob@relay.test>\nS~ 250 .*\n"+data+letter+"S~ 250 .*\n"+quit)
}

// A forged author is refused, and so is none or more than one.
func TestTheAuthorIsTheSender(t *testing.T) {
	for from, reply := range map[string]string{
		"From: <bob@relay.test>":                              "500 Invalid FROM <bob@relay.test> for <alice@relay.test>",
		"From: <someone@example.test>":                        "500 Invalid FROM <someone@example.test> for <alice@relay.test>",
		"From: <alice@relay.test>\nC: From: <bob@relay.test>": "500 Invalid FROM header: .*",
		"From: alice@relay.test, bob@relay.test":              "500 Invalid FROM header: .*",
		"Subject: none":                                       "500 Invalid FROM header: .*",
		"From: alice":                                         "500 Invalid FROM header: .*",
		"no header at all\nC: ":                               "500 Failed to parse message: .*",
		"From: Alice <ALICE@relay.test>":                      "250 2.0.0 OK",
		"from: alice@relay.test":                              "250 2.0.0 OK",
		"X-Long: " + strings.Repeat("x", 900) + "\nC: From:\nC:  <alice@relay.test>": "250 2.0.0 OK",
	} {
		r := newRig(t, nil)
		r.play(t, "alice@relay.test", toBob+data+"C: "+from+"\n"+cipher+"S~ "+reply+"\n"+quit)
		if (r.store.commits == 1) != strings.HasPrefix(reply, "250") {
			t.Errorf("%s: %d commits", from, r.store.commits)
		}
	}
}

func TestTheNullSenderIsRefusedAfterData(t *testing.T) {
	r := newRig(t, nil)
	r.play(t, "alice@relay.test", "C: MAIL FROM:<>\nS~ 250 .*\nC: RCPT TO:<bob@relay.test>\nS~ 250 .*\n"+data+letter+"S: 500 Invalid FROM <alice@relay.test> for <>\n"+quit)
}

func TestTheRateIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		p := transcript.New(t, r.dial(t, r.Clear()))
		p.Play(t, hello("alice@relay.test"))
		for range 10 {
			p.Play(t, toBob+"C: RCPT TO:<carol@relay.test>\nS~ 250 .*\n"+data+letter+"S~ 250 .*\n")
		}
		const refused = begin + "C: RCPT TO:<bob@relay.test>\nS~ 450 4\\.7\\.1: Too much mail from alice@relay\\.test, .*\n" +
			"C: RCPT TO:<carol@relay.test>\nS~ 450 .*\nC: RSET\nS~ 250 .*\n"
		for range 170 { // they cost nothing
			p.Play(t, refused)
		}
		time.Sleep(time.Second)
		p.Play(t, toBob+data+letter+"S~ 250 .*\n"+refused)
		// A transaction without recipient costs nothing either.
		time.Sleep(time.Second)
		p.Play(t, begin+begin+"C: MAIL FROM:<bob@relay.test>\nS~ 250 .*\nC: RCPT TO:<carol@relay.test>\nS~ 553 .*\n"+toBob+"C: RSET\nS~ 250 .*\n"+refused)
		// Another account has a rate of its own, a second connection has not.
		r.play(t, "bob@relay.test", "C: MAIL FROM:<bob@relay.test>\nS~ 250 .*\nC: RCPT TO:<carol@relay.test>\nS~ 250 .*\n"+quit)
		r.play(t, "alice@relay.test", refused+quit)
		p.Play(t, quit)
	})
}

func TestSizeOverTheLimit(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxMessageSize = 1000 })
	r.play(t, "alice@relay.test", "C: MAIL FROM:<alice@relay.test> SIZE=1001\nS~ 552 5\\.3\\.4 .*\n"+
		toBob+data+strings.Repeat("C: "+strings.Repeat("x", 98)+"\n", 11)+"C: .\nS: 552 5.3.4 Message size exceeds fixed limit\n"+
		toBob+data+letter+"S~ 250 .*\n"+quit)
}

func TestThousandRecipientsThenNoMore(t *testing.T) {
	r := newRig(t, nil)
	var text strings.Builder
	text.WriteString(begin)
	for i := range 1000 {
		name := fmt.Sprintf("user%d@relay.test", i)
		r.store.passwords[address(name)] = "password"
		fmt.Fprintf(&text, "C: RCPT TO:<%s>\n", name)
	}
	text.WriteString(strings.Repeat("S~ 250 .*\n", 1000) + "C: RCPT TO:<bob@relay.test>\nS: 452 4.5.3 Error: too many recipients\n" + data + letter + "S: 250 2.0.0 OK\n")
	r.play(t, "alice@relay.test", text.String()+quit)
	if r.store.commits != 1 || len(r.store.inbox) != 1000 {
		t.Errorf("%d commits, %d inboxes", r.store.commits, len(r.store.inbox))
	}
}

func TestOneRecipientTwiceGetsOneCopy(t *testing.T) {
	r := newRig(t, nil)
	r.play(t, "alice@relay.test", toBob+"C: RCPT TO:<BOB@relay.test>\nS~ 250 .*\nC: RCPT TO:<bob+x@relay.test>\nS~ 250 .*\n"+data+letter+"S~ 250 .*\n"+quit)
	if n := len(r.store.mail("bob@relay.test")); n != 1 {
		t.Errorf("%d copies", n)
	}
}

// What becomes of recipients is known after the content: the message is
// refused when nobody is good.
func TestTheFatesOfRecipients(t *testing.T) {
	for name, c := range map[string]struct {
		to    []string
		reply string
		bobs  int
		quota float64
	}{
		"nobody":           {[]string{"nobody@relay.test"}, "550 5.1.1 <nobody@relay.test> User doesn't exist: nobody@relay.test", 0, 0},
		"no domain":        {[]string{"Postmaster"}, "550 5.1.1 <Postmaster@relay.test> User doesn't exist: Postmaster@relay.test", 0, 0},
		"full":             {[]string{"full@relay.test"}, "552 5.2.2 <full@relay.test> Quota exceeded (mailbox for user is full)", 0, 1},
		"nobody then full": {[]string{"nobody@relay.test", "full@relay.test"}, "550 5.1.1 <nobody@relay.test> User doesn't exist: nobody@relay.test", 0, 1},
		"some":             {[]string{"nobody@relay.test", "bob@relay.test", "full@relay.test"}, "250 2.0.0 OK", 1, 1},
		"foreign":          {[]string{"x@other.test"}, "550 5.4.4 <x@other.test>: this relay sends no mail to other servers", 0, 0},
		"some foreign":     {[]string{"bob@relay.test", "nobody@other.test"}, "250 2.0.0 OK", 1, 0},
		"fault":            {[]string{"broken@relay.test"}, "451 4.3.0 Local error, try again later", 0, 0},
		"some with fault":  {[]string{"bob@relay.test", "broken@relay.test"}, "451 4.3.0 Local error, try again later", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.store.passwords[address("full@relay.test")], r.store.full[address("full@relay.test")] = "x", true
			r.store.passwords[address("broken@relay.test")], r.store.broken[address("broken@relay.test")] = "x", true
			text := begin
			for _, to := range c.to {
				text += "C: RCPT TO:<" + to + ">\nS~ 250 .*\n"
			}
			r.play(t, "alice@relay.test", text+data+letter+"S: "+c.reply+"\n"+quit)
			if n := len(r.store.mail("bob@relay.test")); n != c.bobs {
				t.Errorf("bob got %d", n)
			}
			// Whoever failed while another did not is told to the author.
			told := 0
			if c.reply[0] == '2' {
				told = 1
			}
			if got := r.store.mail("alice@relay.test"); len(got) != told || told == 1 && !strings.Contains(got[0], "Final-Recipient: rfc822; nobody@") {
				t.Errorf("alice got %q", got)
			}
			values, _ := r.cfg.Metrics.Values()
			if values["quota_exceeded"] != c.quota || values["delivered_mail"] != float64(c.bobs) {
				t.Errorf("quota_exceeded %v, delivered_mail %v", values["quota_exceeded"], values["delivered_mail"])
			}
			r.log.Reset() // the fault of the fake quotes an address on purpose
		})
	}
}

func TestAFullDiskIsTemporary(t *testing.T) {
	for name, fill := range map[string]func(*fakeStore){
		"in the draft":  func(f *fakeStore) { f.room = 100 },
		"at its start":  func(f *fakeStore) { f.room = 1 },
		"at the commit": func(f *fakeStore) { f.commitErr = fmt.Errorf("commit: %w", storage.ErrFull) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			fill(r.store)
			r.play(t, "alice@relay.test", toBob+data+letter+"S: 452 4.3.1 Insufficient system storage\nC: NOOP\nS~ 250 .*\n"+quit)
		})
	}
	r := newRig(t, nil)
	r.store.commitErr = storage.ErrReadOnly
	r.play(t, "alice@relay.test", toBob+data+letter+"S: 451 4.3.0 Local error, try again later\n"+quit)
}

func TestADrainDoesNotBreakTheCommit(t *testing.T) {
	r := newRig(t, nil)
	p := transcript.New(t, r.dial(t, r.Clear()))
	p.Play(t, hello("alice@relay.test")+toBob+data)
	r.stop()
	p.Play(t, letter+"S: 250 2.0.0 OK\nS~ 421 .*\nS--\n")
}

// A message of 30 MiB, over TCP, in not much more memory than a small one.
func TestALargeMessageStreams(t *testing.T) {
	const size = 30 << 20
	r := newRig(t, nil)
	r.store.forget = true
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r.wg.Go(func() {
		if server, err := l.Accept(); err == nil {
			r.serve(server, r.Clear())
		}
	})
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// One packet in lines of 48 octets, the first with the packet's header.
	const lines = size / 66 / 1000 * 1000
	first := make([]byte, 48)
	first[0], first[1], first[6] = 0xd2, 0xff, 1
	binary.BigEndian.PutUint32(first[2:], 48*(lines+1)-6)
	before, behind, _ := strings.Cut(letter, "C: 0hQBAAAAAAAAAAAAAAAAAAAAAAAAAA==\n")
	p := transcript.New(t, conn)
	p.Play(t, hello("alice@relay.test")+toBob+data+before+"C: "+base64.StdEncoding.EncodeToString(first)+"\n")
	block := bytes.Repeat(append(bytes.Repeat([]byte("A"), 64), '\r', '\n'), 1000)
	most, sent := uint64(0), 0
	var start, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&start)
	for ; sent < lines; sent += 1000 {
		if _, err := conn.Write(block); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&now)
		most = max(most, now.TotalAlloc-start.TotalAlloc)
	}
	p.Play(t, behind+"S: 250 2.0.0 OK\n"+quit)
	if r.store.taken < size-1<<20 {
		t.Errorf("%d octets arrived", r.store.taken)
	}
	if most > 2<<20 {
		t.Errorf("%d octets were allocated on the way", most)
	}
}
