package wire

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"barid/internal/netserve"
	"barid/smtp"
	"barid/test/transcript"
)

// Each test here is about something that the library, left alone, does wrong.

// The library would read on after a timeout and execute the rest of the
// content as commands.
func TestATimeoutInContentEndsTheConnection(t *testing.T) {
	for name, begin := range map[string]string{
		"DATA": "C: DATA\nS~ 354 .*\nC: hello\n",
		"BDAT": "C\\ BDAT 100 LAST\\r\\nhello\\r\\n\n",
	} {
		// The library tries twice to read a chunk, for 3 minutes each.
		for _, pause := range []time.Duration{4 * time.Minute, 7 * time.Minute, time.Hour} {
			t.Run(fmt.Sprint(name, " ", pause), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, nil)
					conn := r.dial(t)
					transcript.Play(t, conn, hello+envelope+begin)
					go io.Copy(io.Discard, conn)
					time.Sleep(pause)
					conn.SetWriteDeadline(time.Now().Add(time.Second))
					io.WriteString(conn, strings.Repeat("MAIL FROM:<evil@x.test>\r\nRCPT TO:<b@y.test>\r\n", 5))
					r.wait()
					for _, call := range r.calls {
						if strings.Contains(call, "evil") || strings.HasPrefix(call, "data") {
							t.Errorf("asked %s", call)
						}
					}
				})
			})
		}
	}
}

// The library's ReadTimeout bounds the whole of DATA, so it is not used.
func TestASteadySenderIsNotCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		conn := r.dial(t)
		p := transcript.New(t, conn)
		p.Play(t, hello+envelope+"C: DATA\nS~ 354 .*\n")
		line := strings.Repeat("x", 998) + "\r\n"
		for range 60 { // an hour of about 500 octets per second
			time.Sleep(time.Minute)
			io.WriteString(conn, strings.Repeat(line, 30))
		}
		p.Play(t, "C: .\nS: 250 2.0.0 OK\n"+quit)
	})
}

func TestATricklingSenderIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		conn := r.dial(t)
		transcript.Play(t, conn, hello+envelope+"C: DATA\nS~ 354 .*\n")
		start := time.Now()
		for {
			time.Sleep(time.Minute)
			if _, err := io.WriteString(conn, "x"); err != nil {
				break
			}
		}
		if took := time.Since(start); took > 20*time.Minute {
			t.Errorf("cut after %v", took)
		}
		r.expect(t, "mail <a@x.test>", "rcpt b@y.test", "broken read pipe: i/o timeout")
	})
}

func TestNULAndBareCRAndLFAreRefused(t *testing.T) {
	for _, octets := range []string{`a\x00b\r\n`, `a\nb\r\n`, `a\rb\r\n`, `\n\r\n`, `\r\r\n`, `\n`, `a\r\x00\n\r\n`} {
		t.Run(octets, func(t *testing.T) {
			r := newRig(t, nil)
			r.play(t, envelope+"C: DATA\nS~ 354 .*\nC\\ Subject: x\\r\\n"+octets+"more\\r\\n\nC: .\nS: 554 5.6.0 Message contains NUL or a bare CR or LF\n"+
				"C: NOOP\nS~ 250 .*\n"+quit)
			if strings.Contains(fmt.Sprint(r.calls), "data") {
				t.Error("it was taken")
			}
		})
	}
	t.Run("a CR at the end of a chunk", func(t *testing.T) {
		r := newRig(t, nil)
		r.play(t, envelope+"C\\ BDAT 6 LAST\\r\\nhello\\r\nS~ 554 5.6.0 .*\nC: NOOP\nS~ 250 .*\n"+quit)
		r.expect(t, "mail <a@x.test>", "rcpt b@y.test", "broken reply 554 5.6.0")
	})
}

// Each kind of dialogue says in its own words that it takes no such octets.
func TestBadOctetsHaveTheReplyOfTheDialogue(t *testing.T) {
	r := newRig(t, func(c *Config) { c.BadOctets = smtp.NewReply(500, "", "Not these") })
	for _, text := range []string{`a\nb\r\n.\r\n`, `a\rb\r\n.\r\n`, `a\x00b\r\n.\r\n`, `a\r\n.\rb\r\n.\r\n`} {
		r.play(t, envelope+"C: DATA\nS~ 354 .*\nC\\ "+text+"\nS: 500 Not these\n"+quit)
	}
	r.play(t, envelope+"C\\ BDAT 6 LAST\\r\\nhello\\r\nS: 500 Not these\n"+quit)
}

// <Postmaster> is the postmaster of our domain, alone and sent ahead with the
// commands before it. The library wants a domain.
func TestPostmasterNeedsNoDomain(t *testing.T) {
	ours := func(c *Config) { c.Domain = "relay.test" }
	t.Run("is ours", func(t *testing.T) {
		r := newRig(t, ours)
		r.play(t, "C: MAIL FROM:<a@x.test>\nS~ 250 .*\nC: RCPT TO:<Postmaster>\nS~ 250 .*\nC: rcpt  to: <POSTMASTER> \nS~ 250 .*\nC: DATA\nS~ 354 .*\nC: RCPT TO:<Postmaster>\nC: .\nS~ 250 .*\n"+quit)
		r.expect(t, "mail <a@x.test>", "rcpt Postmaster@relay.test", "rcpt POSTMASTER@relay.test", `data "RCPT TO:<Postmaster>\r\n"`)
	})
	t.Run("sent ahead", func(t *testing.T) {
		r := newRig(t, ours)
		r.play(t, "C\\ MAIL FROM:<a@x.test>\\r\\nRCPT TO:<b@y.test>\\r\\nRCPT TO:<postmaster>\\r\\nDATA\\r\\nRCPT TO:<postmaster>\\r\\n.\\r\\n\nS~ 250 .*\nS~ 250 .*\nS~ 250 .*\nS~ 354 .*\nS~ 250 .*\n"+quit)
		r.expect(t, "mail <a@x.test>", "rcpt b@y.test", "rcpt postmaster@relay.test", `data "RCPT TO:<postmaster>\r\n"`)
	})
	t.Run("nothing else is", func(t *testing.T) {
		r := newRig(t, ours)
		for _, path := range []string{"<abuse>", "<Postmaster", "Postmaster", "<Postmaster>x", "<\"Postmaster\">", "<P@stmaster", "<@a:Postmaster>", "<Postmaster> X=1"} {
			r.play(t, "C: MAIL FROM:<a@x.test>\nS~ 250 .*\nC: RCPT TO:"+path+"\nS~ 50[01] .*\n"+quit)
		}
		r.play(t, "C: RCPT TO:<Postmaster>\nS~ 502 .*\nC: MAIL FROM:<Postmaster>\nS~ 501 .*\nC: MAIL FROM:<a@x.test>\nS~ 250 .*\nC: RCPT TO:<P@stmaster>\nS~ 250 .*\n"+quit)
		r.expect(t, append(slices.Repeat([]string{"mail <a@x.test>"}, 9), "rcpt P@stmaster")...)
	})
	t.Run("where there is no domain", func(t *testing.T) {
		r := newRig(t, nil)
		r.play(t, "C: MAIL FROM:<a@x.test>\nS~ 250 .*\nC: RCPT TO:<Postmaster>\nS~ 501 .*\n"+quit)
		r.expect(t, "mail <a@x.test>")
	})
}

// The library cuts the connection at 2000 octets of DATA, does not look at
// BDAT, and takes a chunk that comes early for a line.
func TestLinesAreBoundedAlike(t *testing.T) {
	good, bad, huge := strings.Repeat("x", 2000), strings.Repeat("x", 2001), strings.Repeat("x", 10000)
	const ok, refused = "S: 250 2.0.0 OK\n", "S: 554 5.6.0 Message contains a line that is too long\n"
	for _, c := range []struct{ name, text string }{
		{"DATA", "C: DATA\nS~ 354 .*\nC: " + good + "\nC: .\n" + ok},
		{"DATA too long", "C: DATA\nS~ 354 .*\nC: " + bad + "\nC: .\n" + refused},
		{"DATA far too long", "C: DATA\nS~ 354 .*\nC: " + huge + "\nC: .\n" + refused},
		{"BDAT", fmt.Sprintf("C\\ BDAT 2002 LAST\\r\\n%s\\r\\n\n", good) + ok},
		{"BDAT too long", fmt.Sprintf("C\\ BDAT 2003 LAST\\r\\n%s\\r\\n\n", bad) + refused},
		{"BDAT far too long", fmt.Sprintf("C\\ BDAT 10002 LAST\\r\\n%s\\r\\n\n", huge) + refused},
		{"BDAT in two", fmt.Sprintf("C\\ BDAT 1500\\r\\n%s\nS~ 250 .*\nC\\ BDAT 502 LAST\\r\\n%s\\r\\n\n", good[:1500], good[1500:]) + ok},
		{"BDAT in two, too long", fmt.Sprintf("C\\ BDAT 1500\\r\\n%s\nS~ 250 .*\nC\\ BDAT 503 LAST\\r\\n%s\\r\\n\n", good[:1500], bad[1500:]) + refused},
	} {
		t.Run(c.name, func(t *testing.T) {
			newRig(t, nil).play(t, envelope+c.text+"C: NOOP\nS~ 250 .*\n"+quit)
		})
		t.Run(c.name+", all at once", func(t *testing.T) {
			early := strings.Replace(c.text, "C: DATA\nS~ 354 .*\n", "C: DATA\n", 1)
			if early != c.text {
				early = strings.Replace(early, "S: ", "S~ 354 .*\nS: ", 1)
			}
			newRig(t, nil).play(t, "C: MAIL FROM:<a@x.test>\nC: RCPT TO:<b@y.test>\nC: NOOP\n"+
				strings.Replace(early, "\nS", "\nS~ 250 .*\nS~ 250 .*\nS~ 250 .*\nS", 1)+"C: NOOP\nS~ 250 .*\n"+quit)
		})
	}
	t.Run("a line without end", func(t *testing.T) {
		newRig(t, nil).play(t, envelope+"C: DATA\nS~ 354 .*\nC: "+strings.Repeat("x", 100000)+"\nS~ 554 5.6.0 .*\nS~ 500 .*\nS--\n")
	})
	t.Run("a command without end", func(t *testing.T) {
		r := newRig(t, nil)
		r.play(t, "C: MAIL FROM:<"+strings.Repeat("x", 100000)+">\nS~ 500 .*\nS--\n")
		r.expect(t)
	})
}

// The library keeps the recipients of the first MAIL.
func TestASecondMailForgetsTheFirst(t *testing.T) {
	r := newRig(t, nil)
	r.play(t, envelope+"C: MAIL FROM:<c@x.test>\nS~ 250 .*\nC: DATA\nS~ 354 .*\nC: hello\nC: .\nS: 554 5.5.1 Error: no valid recipients\n"+
		envelope+"C: MAIL FROM:<c@x.test>\nS~ 250 .*\nC: RCPT TO:<d@y.test>\nS~ 250 .*\nC: DATA\nS~ 354 .*\nC: hello\nC: .\nS: 250 2.0.0 OK\n"+quit)
	r.expect(t, "mail <a@x.test>", "rcpt b@y.test", "mail <c@x.test>",
		"mail <a@x.test>", "rcpt b@y.test", "mail <c@x.test>", "rcpt d@y.test", `data "hello\r\n"`)
	if n := strings.Count(strings.Join(r.calls, " "), "reset"); n != 4 {
		t.Errorf("%d resets for 4 transactions: %v", n, r.calls)
	}
}

func TestRecipientsOfManyMailsDoNotPileUp(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxRecipients = 10 })
	text := ""
	for range 4 {
		text += "C: MAIL FROM:<a@x.test>\nS~ 250 .*\n" + strings.Repeat("C: RCPT TO:<b@y.test>\nS~ 250 .*\n", 10)
	}
	r.play(t, text+"C: MAIL FROM:<a@x.test>\nS~ 250 .*\nC: RCPT TO:<b@y.test>\nS~ 421 .*\nS--\n")
}

func TestPathsAreHeldToTheGrammar(t *testing.T) {
	for arg, want := range map[string]string{
		"<a@x.test>":                     "<a@x.test>",
		"<A.b+c@X.Test>":                 "<A.b+c@x.test>",
		" <a@x.test>":                    "<a@x.test>", // after the colon, often seen
		"<ac1_x@[192.0.2.7]>":            "<ac1_x@[192.0.2.7]>",
		"<a@[IPv6:2001:db8::1]>":         "<a@[IPv6:2001:db8::1]>",
		`<"a b"@x.test>`:                 `<"a b"@x.test>`,
		`<"a@b"@x.test>`:                 `<"a@b"@x.test>`,
		`<"a>b"@x.test>`:                 `<"a>b"@x.test>`,
		`<"a\"b"@x.test>`:                `<"a\"b"@x.test>`,
		"<@one.test,@two.test:a@x.test>": "<a@x.test>",
		"<a/b@x.test>":                   "<a/b@x.test>",
		"a@x.test":                       "",
		"<a@x.test":                      "",
		"a@x.test>":                      "",
		"<a@b@x.test>":                   "",
		`<"a@b@x.test>`:                  "",
		`<"a"b@x.test>`:                  "",
		"<a..b@x.test>":                  "",
		"<../a@x.test>":                  "",
		"<.a@x.test>":                    "",
		"<a@x..test>":                    "",
		"<a@>":                           "",
		"<@x.test>":                      "",
		"<a>":                            "",
		"<a b@x.test>":                   "",
		"<a@x.test >":                    "",
		"<a@x.test>x":                    "",
		"< a@x.test>":                    "",
		"<a@x.test><b@x.test>":           "",
		"<<a@x.test>>":                   "",
		"<\xc3\xa4@x.test>":              "",
		"<a\x00@x.test>":                 "",
		"<a@x.test\x00>":                 "",
		"<a\x7f@x.test>":                 "",
		"<a\rb@x.test>":                  "",
		"<" + strings.Repeat("a", 65) + "@x.test>": "",
	} {
		for _, command := range []string{"MAIL FROM:", "RCPT TO:"} {
			r := newRig(t, nil)
			text := ""
			if command == "RCPT TO:" {
				text = "C: MAIL FROM:<ok@x.test>\nS~ 250 .*\n"
			}
			reply := "S~ 250 .*\n"
			if want == "" {
				reply = "S~ 50[01] .*\n"
			}
			r.play(t, text+fmt.Sprintf("C\\ %s\nC: NOOP\n", escape(command+arg+"\r\n"))+reply+"S~ 250 .*\n"+quit)
			r.wait()
			got := ""
			for _, call := range r.calls {
				verb, path, _ := strings.Cut(call, " ")
				if path != "<ok@x.test>" && verb == "mail" {
					got = path
				} else if verb == "rcpt" {
					got = "<" + path + ">"
				}
			}
			if got != want {
				t.Errorf("%q became %q, want %q", command+arg, got, want)
			}
			if strings.Contains(r.log.String(), "dialogue") {
				t.Errorf("%q: the ear lost its way: %s", command+arg, r.log)
			}
		}
	}
}

func escape(s string) string {
	q := fmt.Sprintf("%q", s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

func TestTheNullPathIsForMailOnly(t *testing.T) {
	r := newRig(t, nil)
	r.play(t, "C: MAIL FROM:<>\nS~ 250 .*\nC: RCPT TO:<>\nS~ 501 .*\n"+quit)
	r.expect(t, "mail <>")
}

// The library would go on in the clear.
func TestAFailedHandshakeEndsTheConnection(t *testing.T) {
	r := newRig(t, underTLS)
	conn := r.dial(t)
	transcript.Play(t, conn, hello+"C: STARTTLS\nS~ 220 .*\n")
	go io.WriteString(conn, "\x16\x03\x01\x00\x05hello\r\nNOOP\r\nEHLO again\r\nMAIL FROM:<evil@x.test>\r\n")
	rest, _ := io.ReadAll(conn)
	if strings.Contains(string(rest), "250") {
		t.Errorf("it went on: %q", rest)
	}
	r.expect(t)
}

func TestNothingInTheClearBehindSTARTTLSIsExecuted(t *testing.T) {
	for name, cut := range map[string]bool{"in one segment": false, "after the reply": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *Config) { underTLS(c); c.Auth = true })
			conn := r.dial(t)
			p := transcript.New(t, conn)
			const evil = "EHLO evil\\r\\nMAIL FROM:<evil@x.test>\\r\\nRCPT TO:<b@y.test>\\r\\n\n"
			if cut {
				p.Play(t, hello+"C: STARTTLS\nS~ 220 .*\nC\\ "+evil)
			} else {
				p.Play(t, hello+"C\\ STARTTLS\\r\\n"+evil+"S~ 220 .*\n")
			}
			rest, _ := io.ReadAll(conn)
			if strings.Contains(string(rest), "250") {
				t.Errorf("it was executed: %q", rest)
			}
			r.expect(t)
		})
	}
}

// What the library may do depends on what it is given: a *tls.Conn or not.
func TestTheLibraryKnowsAboutTLS(t *testing.T) {
	r := newRig(t, underTLS)
	conn := r.dial(t)
	p := transcript.New(t, conn)
	p.Play(t, "S~ 220 .*\nC: EHLO a\nS~ 250-Hello a\nS: 250-PIPELINING\nS: 250-8BITMIME\nS: 250-ENHANCEDSTATUSCODES\nS: 250-CHUNKING\nS: 250-STARTTLS\nS: 250 SIZE 31457280\n"+
		"C: AUTH PLAIN "+plainLogin("a", "b")+"\nS: 530 5.7.0 Must issue a STARTTLS command first\n"+
		"C: MAIL FROM:<a@x.test>\nS: 530 5.7.0 Must issue a STARTTLS command first\n"+
		"C: STARTTLS\nS~ 220 .*\nTLS\nC: MAIL FROM:<a@x.test>\nS~ 502 .*\n"+
		"C: EHLO a\nS~ 250-Hello a\nS: 250-PIPELINING\nS: 250-8BITMIME\nS: 250-ENHANCEDSTATUSCODES\nS: 250-CHUNKING\nS: 250-AUTH PLAIN LOGIN\nS: 250 SIZE 31457280\n"+
		"C: STARTTLS\nS~ 502 .*\nC: AUTH PLAIN "+plainLogin("a", "b")+"\nS: 235 2.7.0 Authentication successful\n"+envelope+quit)
	r.expect(t, "auth a b", "mail <a@x.test>", "rcpt b@y.test")
}

func TestNothingIsAnEndOfDataButTheEnd(t *testing.T) {
	for _, sequence := range []string{
		`\n.\n`, `\n.\r\n`, `\r\n.\n`, `\r.\r`, `\r.\r\n`, `\r\n.\r`, `\r\n\x00.\r\n`, `\r\n.\x00\r\n`, `\n\n.\r\n`,
		`\r\r\n.\r\n`, `\r\n.\r\r\n.\r\n`, `\n.\r\n.\n`,
	} {
		t.Run(sequence, func(t *testing.T) {
			r := newRig(t, nil)
			r.play(t, envelope+"C: DATA\nS~ 354 .*\nC\\ x"+sequence+"MAIL FROM:<evil@x.test>\\r\\nRCPT TO:<b@y.test>\\r\\nDATA\\r\\n\\r\\n.\\r\\n\nS~ 554 5.6.0 .*\n"+
				envelope+"C: DATA\nS~ 354 .*\nC: .\nS~ 250 .*\n"+quit)
			r.expect(t, "mail <a@x.test>", "rcpt b@y.test", "broken reply 554 5.6.0", "mail <a@x.test>", "rcpt b@y.test", `data ""`)
		})
	}
}

func TestDotsAreUndone(t *testing.T) {
	r := newRig(t, nil)
	r.play(t, envelope+"C: DATA\nS~ 354 .*\nC: ..\nC: ...a\nC: .b\nC: a.\nC: .\nS~ 250 .*\n"+quit)
	r.expect(t, "mail <a@x.test>", "rcpt b@y.test", `data ".\r\n..a\r\nb\r\na.\r\n"`)
}

// A chunk that ends with the connection looks whole to the library.
func TestAChunkThatIsCutIsNotTaken(t *testing.T) {
	for name, text := range map[string]string{
		"last":       "C\\ BDAT 100 LAST\\r\\nhello\\r\\n\n--\n",
		"not last":   "C\\ BDAT 100\\r\\nhello\\r\\n\n--\n",
		"between":    "C\\ BDAT 7\\r\\nhello\\r\\n\nS~ 250 .*\n--\n",
		"with quit":  "C\\ BDAT 7\\r\\nhello\\r\\nQUIT\\r\\n\nS~ 250 .*\nS~ 221 .*\n",
		"with reset": "C\\ BDAT 7\\r\\nhello\\r\\nRSET\\r\\n\nS~ 250 .*\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.play(t, envelope+text)
			r.wait()
			for _, call := range r.calls {
				if strings.HasPrefix(call, "data") {
					t.Errorf("asked %s", call)
				}
			}
		})
	}
}

func TestChunksAreJoined(t *testing.T) {
	r := newRig(t, nil)
	r.play(t, envelope+"C\\ BDAT 7\\r\\nhello\\r\\nBDAT 7\\r\\nworld\\r\\nBDAT 0 LAST\\r\\nNOOP\\r\\n\nS~ 250 .*\nS~ 250 .*\nS: 250 2.0.0 OK\nS~ 250 .*\n"+
		envelope+"C\\ BDAT 0 LAST\\r\\n\nS: 250 2.0.0 OK\n"+quit)
	r.expect(t, "mail <a@x.test>", "rcpt b@y.test", `data "hello\r\nworld\r\n"`, "mail <a@x.test>", "rcpt b@y.test", `data ""`)
}

// The library executes what is behind QUIT, without a session.
func TestNothingBehindQuitIsExecuted(t *testing.T) {
	r := newRig(t, nil)
	r.play(t, "C\\ QUIT\\r\\nMAIL FROM:<evil@x.test>\\r\\nMAIL FROM:<evil@x.test>\\r\\n\nS~ 221 .*\nS--\n")
	r.expect(t)
	if r.log.Len() > 0 {
		t.Errorf("logged %s", r.log)
	}
}

// The accepted connection itself goes to the library, so its type stays.
func TestTheListenerGivesTheConnectionAsItIs(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	c := netserve.NewConn(a, netip.Addr{})
	l := &single{conn: c.Stream()}
	got, err := l.Accept()
	if err != nil || got != net.Conn(c) {
		t.Fatal(got, err)
	}
	if _, err := l.Accept(); err != io.EOF {
		t.Fatal(err)
	}
}

// The library replies to a refused chunk before it drops the octets, to a
// taken one after it read them.
func TestARefusedChunkIsNotExecuted(t *testing.T) {
	r := newRig(t, nil)
	r.play(t, "C\\ BDAT 22\\r\\nMAIL FROM:<c@x.test>\\r\\n\nC: NOOP\nS~ 502 .*\nS~ 250 .*\n"+
		"C: BDAT 22 LAST\nS~ 502 .*\nC\\ MAIL FROM:<c@x.test>\\r\\n\nC: NOOP\nS~ 250 .*\n"+
		"C: MAIL FROM:<a@x.test>\nS~ 250 .*\nC\\ BDAT 22 LAST\\r\\nMAIL FROM:<c@x.test>\\r\\n\nC: RCPT TO:<b@y.test>\nS~ 502 .*\nS~ 250 .*\n"+quit)
	r.expect(t, "mail <a@x.test>", "rcpt b@y.test")
}

// The library starts the reader of chunks in a goroutine, which may begin
// after its transaction ended, and whose word it takes for that of a later
// one; behind QUIT it waits for such a reader for ever.
func TestReadersOfChunksNeverOutliveTheirTransaction(t *testing.T) {
	for _, end := range []string{"RSET", "EHLO b", "QUIT"} {
		for range 20 {
			r := newRig(t, nil)
			conn := r.dial(t)
			transcript.Play(t, conn, hello+envelope)
			go io.WriteString(conn, "BDAT 0\r\n"+end+"\r\n"+strings.Repeat("BDAT 0\r\nMAIL FROM:<c@x.test>\r\nRCPT TO:<d@y.test>\r\n", 5)+"BDAT 0\r\nBDAT 2\r\n\r\nBDAT 0 LAST\r\n")
			io.Copy(io.Discard, conn)
			r.expect(t, "mail <a@x.test>", "rcpt b@y.test", "broken smtp: message transmission aborted")
		}
	}
}

// The library takes what is left at the end of the connection for a line.
func TestAnUnfinishedLineIsNotExecuted(t *testing.T) {
	for _, line := range []string{"MAIL FROM:<evil@x.test>", "RCPT TO:<evil@y.test>"} {
		r := newRig(t, nil)
		in, inServer := net.Pipe()
		out, outServer := net.Pipe()
		r.serve(t, halves{inServer, outServer})
		heard := make(chan struct{})
		go func() { io.Copy(io.Discard, out); close(heard) }()
		io.WriteString(in, "EHLO a\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\n"+line)
		in.Close()
		<-heard
		r.expect(t, "mail <a@x.test>", "rcpt b@y.test")
	}
}
