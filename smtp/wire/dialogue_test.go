package wire

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"barid/smtp"
	"barid/storage"
	"barid/test/transcript"
)

func TestRule11EndOfFileOrQuitInDataDiscards(t *testing.T) {
	for name, end := range map[string]string{
		"end of file":           "C--\n",
		"QUIT":                  "C: QUIT\nC--\n",
		"in a line":             "C\\ hel\n--\n",
		"before the last LF":    "C\\ .\\r\n--\n",
		"before the first line": "--\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			lines := "C: hello\n"
			if name == "before the first line" {
				lines = ""
			}
			r.play(t, envelope+"C: DATA\nS~ 354 .*\n"+lines+end)
			r.expect(t, "mail <a@x.test>", "rcpt b@y.test", "broken unexpected EOF")
		})
	}
	// What the client does when a pipelined RCPT was refused.
	t.Run("QUIT into the open DATA phase", func(t *testing.T) {
		r := newRig(t, nil)
		r.play(t, "C\\ MAIL FROM:<a@x.test>\\r\\nRCPT TO:<b@y.test>\\r\\nDATA\\r\\nQUIT\\r\\n\nS~ 250 .*\nS~ 250 .*\nS~ 354 .*\n--\n")
		r.expect(t, "mail <a@x.test>", "rcpt b@y.test", "broken unexpected EOF")
	})
}

func TestRule12AnIdleConnectionIsKeptFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		conn := r.dial(t)
		p := transcript.New(t, conn)
		p.Play(t, hello)
		for range 3 {
			p.Play(t, "S- 299s\n"+envelope+"C: DATA\nS~ 354 .*\nC: .\nS~ 250 .*\n")
		}
		start := time.Now()
		rest, _ := io.ReadAll(conn)
		if took := time.Since(start); took != 5*time.Minute || !strings.HasPrefix(string(rest), "421 ") {
			t.Errorf("after %v: %q", took, rest)
		}
	})
}

func TestRule14TheGreetingComesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		start := time.Now()
		r.play(t, quit)
		if took := time.Since(start); took > 0 {
			t.Errorf("it took %v", took)
		}
	})
}

// Three digits, a blank, text; the first digit 2 to 5, the second 0 to 5, all
// lines of a reply the same code.
func TestRule20EveryReplyHasTheFormThatClientsRead(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxMessageSize, c.MaxRecipients = 1000, 1 })
	r.auth = func(string, storage.Password) error { return smtp.NewReply(535, "5.7.8", "no") }
	r.rcpt = nil
	conn := r.dial(t)
	go io.WriteString(conn, strings.ReplaceAll(`NOOP
MAIL FROM:<a@x.test>
EHLO ä b
HELO a
VRFY a@x.test
EXPN a
HELP
ETRN a
FOO bar
AUTH
AUTH FOO
AUTH PLAIN =
AUTH PLAIN !
AUTH PLAIN AGEAYg==
AUTH LOGIN
YQ==
YQ==
AUTH PLAIN
*
RCPT TO:<b@y.test>
DATA
MAIL FROM:a
MAIL FROM:<a@x.test> SIZE=1001
MAIL FROM:<a@x.test> SMTPUTF8
MAIL FROM:<a@x.test> RET=HDRS
MAIL FROM:<a@x.test>
RCPT TO:b
RCPT TO:<b@y.test>
RCPT TO:<c@y.test>
BDAT 2000
`+strings.Repeat("x", 2000)+`MAIL FROM:<a@x.test>
RCPT TO:<b@y.test>
DATA
hello
.
RSET
BDAT 1
xNOOP
QUIT
`, "\n", "\r\n"))
	text, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	form := regexp.MustCompile(`^([2-5][0-5]\d-[ -~]*\r\n)*[2-5][0-5]\d [ -~]*\r\n$`)
	var reply string
	replies := 0
	for line := range strings.Lines(string(text)) {
		reply += line
		if len(line) > 3 && line[3] == '-' {
			continue
		}
		if replies++; !form.MatchString(reply) && !strings.Contains(reply, "Hello") {
			t.Errorf("%q", reply)
		}
		for part := range strings.Lines(reply) {
			if part[:3] != reply[:3] {
				t.Errorf("two codes: %q", reply)
			}
		}
		reply = ""
	}
	if replies < 35 || reply != "" {
		t.Errorf("%d replies, then %q: %s", replies, reply, text)
	}
}

func TestPipelinedInOneSegment(t *testing.T) {
	r := newRig(t, nil)
	r.play(t, "C\\ MAIL FROM:<a@x.test> BODY=8BITMIME\\r\\nRCPT TO:<b@y.test>\\r\\nRCPT TO:<c@y.test>\\r\\nDATA\\r\\n\n"+
		"S~ 250 .*\nS~ 250 .*\nS~ 250 .*\nS~ 354 .*\n"+
		"C\\ hello\\r\\n.\\r\\nMAIL FROM:<a@x.test>\\r\\nRCPT TO:<d@y.test>\\r\\nDATA\\r\\n\nS~ 250 .*\nS~ 250 .*\nS~ 250 .*\nS~ 354 .*\n"+
		"C\\ again\\r\\n.\\r\\nQUIT\\r\\n\nS~ 250 .*\nS~ 221 .*\nS--\n")
	r.expect(t, "mail <a@x.test>", "rcpt b@y.test", "rcpt c@y.test", `data "hello\r\n"`, "mail <a@x.test>", "rcpt d@y.test", `data "again\r\n"`)
}

func TestHelloIsNeverJudged(t *testing.T) {
	for _, name := range []string{"[127.0.0.1]", "localhost", "phone", "a_b", "[IPv6:::1]", "x\\x80y", "..", "a b c"} {
		newRig(t, nil).play(t, "C\\ EHLO "+name+"\\r\\n\nS* 250 .*\nC\\ HELO "+name+"\\r\\n\nS* 250 .*\n"+quit)
	}
}

func TestAFaultOfOursStaysOurs(t *testing.T) {
	for verb, set := range map[string]func(*rig, error){
		"MAIL": func(r *rig, err error) { r.mail = err },
		"RCPT": func(r *rig, err error) { r.rcpt = err },
		"DATA": func(r *rig, err error) { r.data = func(io.Reader) (*smtp.Reply, error) { return nil, err } },
	} {
		for name, c := range map[string]struct {
			err  error
			want string
		}{
			"fault":         {fmt.Errorf("while trying: %w", errOurs), "451 4.3.0 Local error, try again later"},
			"reply":         {smtp.NewReply(550, "5.1.1", "no"), "550 5.1.1 no"},
			"wrapped reply": {fmt.Errorf("because: %w", smtp.NewReply(550, "5.1.1", "no")), "550 5.1.1 no"},
			"no class":      {smtp.NewReply(250, "", "fine"), "451 4.3.0 Local error, try again later"},
			"two lines":     {&smtp.Reply{Code: 550, Enhanced: "5.1.1", Text: "no\r\n250 yes"}, "550 5.1.1 no??250 yes"},
			"no enhanced":   {smtp.NewReply(450, "", "4.7.1: Too much"), "450 4.7.1: Too much"},
		} {
			t.Run(verb+" "+name, func(t *testing.T) {
				r := newRig(t, nil)
				set(r, c.err)
				text := map[string]string{
					"MAIL": "C: MAIL FROM:<a@x.test>\n",
					"RCPT": "C: MAIL FROM:<a@x.test>\nS~ 250 .*\nC: RCPT TO:<b@y.test>\n",
					"DATA": envelope + "C: DATA\nS~ 354 .*\nC: hello\nC: .\n",
				}[verb]
				r.play(t, text+"S: "+c.want+"\nC: NOOP\nS~ 250 .*\n"+quit)
				r.wait()
				if logged := strings.Contains(r.log.String(), errOurs.Error()); logged != (name == "fault") {
					t.Errorf("log: %s", r.log)
				}
			})
		}
	}
}

func TestAPanicEndsOneConnectionAndIsLogged(t *testing.T) {
	r := newRig(t, nil)
	r.data = func(io.Reader) (*smtp.Reply, error) { panic("oh") }
	r.play(t, envelope+"C: DATA\nS~ 354 .*\nC: hello\nC: .\nS~ 421 .*\nS--\n")
	r.wait()
	if log := r.log.String(); !strings.Contains(log, "oh") || strings.Contains(log, "pipe") {
		t.Errorf("log: %s", log)
	}
}

func TestContentAcceptedUnreadIsNotAccepted(t *testing.T) {
	r := newRig(t, nil)
	r.data = func(io.Reader) (*smtp.Reply, error) { return nil, nil }
	r.play(t, envelope+"C: DATA\nS~ 354 .*\nC: hello\nC: .\nS~ 451 4.3.0 .*\n"+quit)
}

func TestSizeIsHeldToTheOctet(t *testing.T) {
	text := strings.Repeat("C: 12345678\n", 10) // 100 octets
	for name, c := range map[string]struct{ content, reply string }{
		"DATA":          {"C: DATA\nS~ 354 .*\n" + text + "C: .\n", "250 2.0.0 OK"},
		"DATA over":     {"C: DATA\nS~ 354 .*\n" + text + "C: \nC: .\n", "552 5.3.4 Message size exceeds fixed limit"},
		"DATA far over": {"C: DATA\nS~ 354 .*\n" + strings.Repeat(text, 50) + "C: .\n", "552 5.3.4 Message size exceeds fixed limit"},
		"BDAT":          {"C\\ BDAT 100 LAST\\r\\n" + strings.Repeat("12345678\\r\\n", 10) + "\n", "250 2.0.0 OK"},
		"BDAT over":     {"C\\ BDAT 110 LAST\\r\\n" + strings.Repeat("12345678\\r\\n", 11) + "\n", "552 5.3.4 Message size exceeds fixed limit"},
		"SIZE":          {"C: RSET\nS~ 250 .*\nC: MAIL FROM:<a@x.test> SIZE=101\n", "552 5.3.4 Max message size exceeded"},
		"SIZE of limit": {"C: RSET\nS~ 250 .*\nC: MAIL FROM:<a@x.test> SIZE=100\n", "250 2.0.0 Roger, accepting mail from <a@x.test>"},
	} {
		t.Run(name, func(t *testing.T) {
			newRig(t, func(cfg *Config) { cfg.MaxMessageSize = 100 }).play(t,
				envelope+c.content+"S: "+c.reply+"\nC: RSET\nS~ 250 .*\n"+envelope+quit)
		})
	}
}

func TestAPeerThatSendsOnAndOnIsCut(t *testing.T) {
	r := newRig(t, func(cfg *Config) { cfg.MaxMessageSize = 100 })
	conn := r.dial(t)
	transcript.Play(t, conn, hello+envelope+"C: DATA\nS~ 354 .*\n")
	sent := 0
	for {
		n, err := io.WriteString(conn, strings.Repeat(strings.Repeat("x", 998)+"\r\n", 100))
		if sent += n; err != nil {
			break
		}
	}
	if sent > 2<<20 {
		t.Errorf("%d octets were read", sent)
	}
}

func TestRecipientsOverTheLimit(t *testing.T) {
	r := newRig(t, func(cfg *Config) { cfg.MaxRecipients = 2 })
	r.play(t, envelope+"C: RCPT TO:<c@y.test>\nS~ 250 .*\nC: RCPT TO:<d@y.test>\nS: 452 4.5.3 Error: too many recipients\nC: DATA\nS~ 354 .*\nC: .\nS~ 250 .*\n"+envelope+quit)
	r.expect(t, "mail <a@x.test>", "rcpt b@y.test", "rcpt c@y.test", `data ""`, "mail <a@x.test>", "rcpt b@y.test")
}

func TestForeignProtocolsAreSentAway(t *testing.T) {
	for _, line := range []string{"GET / HTTP/1.1", "POST /new HTTP/1.1", "CONNECT relay.test:25 HTTP/1.1"} {
		for _, before := range []string{"S~ 220 .*\n", hello} {
			r := newRig(t, nil)
			conn := r.dial(t)
			transcript.Play(t, conn, before+"C\\ "+line+"\\r\\nHost: relay.test\\r\\n\\r\\nMAIL FROM:<evil@x.test>\\r\\n\nS: 221 2.7.0 Error: I can break rules, too. Goodbye.\nS--\n")
			r.expect(t)
		}
	}
}

// VRFY has one reply for all that may be asked, at any time after EHLO, and
// leaves a transaction alone. Sent ahead, or before EHLO, it still tells
// nothing.
func TestVerifyTellsNothing(t *testing.T) {
	const same = "S: 252 2.0.0 Cannot VRFY user, but will accept message\n"
	const ahead = "S: 252 2.5.0 Cannot VRFY user, but will accept message\n"
	r := newRig(t, nil)
	transcript.Play(t, r.dial(t), "S~ 220 .*\nC: VRFY a\n"+ahead+quit)
	r.play(t, "C: VRFY a@x.test\n"+same+"C: vrfy nobody\n"+same+"C: VRFY Alice B. =\n"+same+"C: VRFY =\n"+same+
		"C\\ VRFY a\\r\\nVRFY b\\r\\nNOOP\\r\\nVRFY c\\r\\n\n"+same+same+"S~ 250 .*\n"+ahead+
		"C: VRFY\n"+ahead+
		"C: MAIL FROM:<a@x.test>\nS~ 250 .*\nC: VRFY a\n"+same+"C: RCPT TO:<b@y.test>\nS~ 250 .*\n"+
		"C: DATA\nS~ 354 .*\nC: VRFY a\nC: .\nS~ 250 .*\nC: AUTH LOGIN\nS~ 334 .*\nC: VRFY a\nS~ 454 .*\n"+quit)
	r.expect(t, "mail <a@x.test>", "rcpt b@y.test", `data "VRFY a\r\n"`)
}

func TestAuth(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"PLAIN":                 {"C: AUTH PLAIN " + plainLogin("a@x.test", "s e:c") + "\nS: 235 2.7.0 Authentication successful\n", "auth a@x.test s e:c"},
		"plain, later":          {"C: auth plain\nS\\ 334 \\r\\n\nC: " + plainLogin("a", "b") + "\nS~ 235 .*\n", "auth a b"},
		"LOGIN":                 {"C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: YQ==\nS: 334 UGFzc3dvcmQ6\nC: Yg==\nS~ 235 .*\n", "auth a b"},
		"LOGIN with a name":     {"C: AUTH LOGIN YQ==\nS: 334 UGFzc3dvcmQ6\nC: Yg==\nS~ 235 .*\n", "auth a b"},
		"for oneself":           {"C: AUTH PLAIN QQBhAGI=\nS~ 235 .*\n", "auth a b"},
		"for another":           {"C: AUTH PLAIN YwBhAGI=\nS~ 501 .*\n", ""},
		"too many parts":        {"C: AUTH PLAIN AGEAYgBj\nS~ 501 .*\n", ""},
		"no name":               {"C: AUTH PLAIN AABi\nS~ 501 .*\n", ""},
		"empty":                 {"C: AUTH PLAIN =\nS~ 501 .*\n", ""},
		"cancelled":             {"C: AUTH PLAIN\nS~ 334 .*\nC: *\nS~ 501 .*\n", ""},
		"unknown":               {"C: AUTH CRAM-MD5\nS~ 504 .*\n", ""},
		"in a transaction":      {"C: MAIL FROM:<a@x.test>\nS~ 250 .*\nC: AUTH PLAIN AGEAYg==\nS~ 503 .*\n", "mail <a@x.test>"},
		"twice":                 {"C: AUTH PLAIN AGEAYg==\nS~ 235 .*\nC: AUTH PLAIN AGEAYg==\nS~ 503 .*\nC: EHLO a\nS* 250 .*\nC: AUTH PLAIN AGEAYg==\nS~ 503 .*\n", "auth a b"},
		"a long password":       {"C: AUTH PLAIN " + plainLogin("a", strings.Repeat("b", 8000)) + "\nS~ 235 .*\n", "auth a " + strings.Repeat("b", 8000)},
		"forgotten by STARTTLS": {"C: NOOP\nS~ 250 .*\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.play(t, c.text+quit)
			if c.want == "" {
				r.expect(t)
			} else {
				r.expect(t, c.want)
			}
			if strings.Contains(r.log.String(), "s e:c") {
				t.Error("a password in the log")
			}
		})
	}
}

func TestAFaultAtLoginIsTemporary(t *testing.T) {
	r := newRig(t, nil)
	r.auth = func(string, storage.Password) error { return errOurs }
	r.play(t, "C: AUTH PLAIN AGEAYg==\nS: 454 4.7.0 Temporary authentication failure\n"+quit)
}

func TestFailedLoginsAreBounded(t *testing.T) {
	r := newRig(t, func(cfg *Config) { cfg.MaxBadLogins = 3 })
	r.auth = func(string, storage.Password) error { return smtp.NewReply(535, "5.7.8", "no") }
	const again = "C: AUTH PLAIN AGEAYg==\nS: 535 5.7.8 no\n"
	r.play(t, again+again+"C: AUTH PLAIN AGEAYg==\nS~ 421 4.7.0 .*\nS--\n")
}

func TestRefusalsAreBounded(t *testing.T) {
	r := newRig(t, func(cfg *Config) { cfg.MaxErrors = 3 })
	r.mail = smtp.NewReply(550, "5.7.1", "no")
	const again = "C: MAIL FROM:<a@x.test>\nS: 550 5.7.1 no\n"
	r.play(t, again+again+again+"C: MAIL FROM:<a@x.test>\nC: MAIL FROM:<a@x.test>\nS~ 421 4.7.0 .*\nS--\n")
}

func TestNonsenseIsBounded(t *testing.T) {
	newRig(t, nil).play(t, "C: FOO a\nC: \nC: FO\nC: FOOOOO\nS~ 50[01] .*\nS~ 50[01] .*\nS~ 50[01] .*\nS~ 50[01] .*\nS~ 500 .*\nS--\n")
}

func TestCommandsAreBounded(t *testing.T) {
	r := newRig(t, func(cfg *Config) { cfg.MaxCommands = 5 })
	r.play(t, strings.Repeat("C: NOOP\nS~ 250 .*\n", 4)+"C\\ NOOP\\r\\nMAIL FROM:<a@x.test>\\r\\n\nS~ 421 4.7.0 .*\nS--\n")
	r.expect(t)
}

func TestASessionMayBeRefused(t *testing.T) {
	r := newRig(t, nil)
	r.begin = smtp.NewReply(421, "4.7.0", "too many of you")
	transcript.Play(t, r.dial(t), "S~ 220 .*\nC: EHLO a\nS: 421 4.7.0 too many of you\nS--\n")
}

func TestASessionEndsOnceWhateverHappens(t *testing.T) {
	for name, text := range map[string]string{"quit": quit, "hang up": "--\n", "in a transaction": envelope + "--\n", "in content": envelope + "C: DATA\nS~ 354 .*\n--\n"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.play(t, text)
			r.wait()
			all := strings.Join(r.calls, " ")
			if strings.Count(all, "close") != 1 || !strings.HasSuffix(all, "close") {
				t.Errorf("calls: %s", all)
			}
			if strings.Contains(all, "mail") && !strings.HasSuffix(all, "reset close") {
				t.Errorf("the transaction was not reset: %s", all)
			}
		})
	}
}

func TestADrainEndsAnIdleConnectionAtOnce(t *testing.T) {
	for name, h := range map[string]string{"before EHLO": "S~ 220 .*\n", "after it": hello, "between transactions": hello + envelope + "C: RSET\nS~ 250 .*\n"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			p := transcript.New(t, r.dial(t))
			p.Play(t, h)
			r.stop()
			p.Play(t, "S~ 421 .*\nS--\n")
		})
	}
}

func TestADrainLetsTheTransactionFinish(t *testing.T) {
	r := newRig(t, nil)
	p := transcript.New(t, r.dial(t))
	p.Play(t, hello+envelope)
	r.stop()
	p.Play(t, "C: RCPT TO:<c@y.test>\nS~ 250 .*\nC: DATA\nS~ 354 .*\nC: hello\nC\\ .\\r\\nMAIL FROM:<a@x.test>\\r\\n\nS: 250 2.0.0 OK\nS~ 421 .*\nS--\n")
	r.expect(t, "mail <a@x.test>", "rcpt b@y.test", "rcpt c@y.test", `data "hello\r\n"`)
}

func TestADrainUnderTLS(t *testing.T) {
	r := newRig(t, underTLS)
	p := transcript.New(t, r.dial(t))
	p.Play(t, hello+"C: STARTTLS\nS~ 220 .*\nTLS\nC: EHLO a\nS* 250 .*\n"+envelope)
	r.stop()
	p.Play(t, "C: DATA\nS~ 354 .*\nC: hello\nC: .\nS: 250 2.0.0 OK\nS~ 421 .*\nS--\n")
}

// A write is what a peer that does not read would block.
func TestAPeerThatDoesNotReadIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.dial(t)
		start := time.Now()
		r.wg.Wait()
		if took := time.Since(start); took > 7*time.Minute {
			t.Errorf("after %v", took)
		}
	})
}
