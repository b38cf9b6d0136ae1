package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"barid/smtp"
)

// peer plays the server's side: lines beginning with "S: " are said, with
// "C: " expected. "C: *" takes the content up to its end,
// "C: ..." anything until the client goes.
func peer(t *testing.T, conn net.Conn, script string) <-chan struct{} {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer conn.Close()
		in := bufio.NewReader(conn)
		for line := range strings.Lines(script) {
			line = strings.TrimSpace(line)
			switch {
			case line == "C: ...":
				io.Copy(io.Discard, in)
			case line == "C: *":
				for {
					got, err := in.ReadString('\n')
					if err != nil {
						t.Errorf("in the content: %v", err)
						return
					}
					if got == ".\r\n" {
						break
					}
				}
			case strings.HasPrefix(line, "C: "):
				got, err := in.ReadString('\n')
				if err != nil || strings.TrimSpace(got) != line[3:] {
					t.Errorf("the client said %q (%v), want %q", got, err, line[3:])
					return
				}
			case strings.HasPrefix(line, "S: "):
				io.WriteString(conn, line[3:]+"\r\n")
			}
		}
	}()
	return done
}

const greeting = `
S: 220 peer.test ready
C: EHLO relay.test
`

// met gives a client that has said hello to a peer of the script.
func met(t *testing.T, script string) (*Client, <-chan struct{}) {
	t.Helper()
	ours, theirs := net.Pipe()
	done := peer(t, theirs, greeting+script)
	c, err := Dialogue(t.Context(), ours, "relay.test", Patience{Command: 5 * time.Second, Content: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c, done
}

func to(names ...string) Envelope {
	e := Envelope{From: smtp.Path{Address: smtp.Address{LocalPart: "us", Domain: "relay.test"}}, Size: 9}
	for _, name := range names {
		e.To = append(e.To, smtp.Address{LocalPart: name, Domain: "peer.test"})
	}
	return e
}

// outcomes prints what became of each recipient.
func outcomes(per []*smtp.Reply) string {
	var all []string
	for _, r := range per {
		all = append(all, r.Wire())
	}
	return strings.Join(all, " | ")
}

func TestEachRecipientHasItsOwnOutcome(t *testing.T) {
	for what, c := range map[string]struct{ script, want string }{
		"one after the other": {`
S: 250-peer.test
S: 250 SIZE 1000
C: MAIL FROM:<us@relay.test> SIZE=9
S: 250 2.1.0 fine
C: RCPT TO:<good@peer.test>
S: 250 2.1.5 fine
C: RCPT TO:<full@peer.test>
S: 452-4.2.2 no room
S: 452 4.2.2 for more
C: RCPT TO:<gone@peer.test>
S: 550 5.1.1 who is that
C: DATA
S: 354 go on
C: *
S: 250 2.0.0 taken
`, "250 2.0.0 taken | 452 4.2.2 no room for more | 550 5.1.1 who is that"},
		"all at once": {`
S: 250-peer.test
S: 250 PIPELINING
C: MAIL FROM:<us@relay.test>
C: RCPT TO:<good@peer.test>
C: RCPT TO:<full@peer.test>
C: RCPT TO:<gone@peer.test>
S: 250 fine
S: 250 fine
S: 452 4.2.2 no room
S: 550 5.1.1 who is that
C: DATA
S: 354 go on
C: *
S: 554 5.7.1 not that
`, "554 5.7.1 not that | 452 4.2.2 no room | 550 5.1.1 who is that"},
		"the sender is refused": {`
S: 250 peer.test
C: MAIL FROM:<us@relay.test>
S: 553 5.7.1 not you
C: RSET
S: 250 fine
`, "553 5.7.1 not you | 553 5.7.1 not you | 553 5.7.1 not you"},
		"everybody is refused": {`
S: 250-peer.test
S: 250 PIPELINING
C: MAIL FROM:<us@relay.test>
C: RCPT TO:<good@peer.test>
C: RCPT TO:<full@peer.test>
C: RCPT TO:<gone@peer.test>
S: 250 fine
S: 550 5.1.1 a
S: 550 5.1.1 b
S: 450 4.2.1 c
C: RSET
S: 250 fine
`, "550 5.1.1 a | 550 5.1.1 b | 450 4.2.1 c"},
		"DATA is refused": {`
S: 250 peer.test
C: MAIL FROM:<us@relay.test>
S: 250 fine
C: RCPT TO:<good@peer.test>
S: 250 fine
C: RCPT TO:<full@peer.test>
S: 450 4.2.2 later
C: RCPT TO:<gone@peer.test>
S: 250 fine
C: DATA
S: 451 4.3.0 not now
C: RSET
S: 250 fine
`, "451 4.3.0 not now | 450 4.2.2 later | 451 4.3.0 not now"},
	} {
		t.Run(what, func(t *testing.T) {
			script := c.script
			if !strings.Contains(script, "SIZE 1000") {
				script = strings.ReplaceAll(script, " SIZE=9", "")
			}
			client, done := met(t, script)
			per, _, err := client.Send(t.Context(), to("good", "full", "gone"), strings.NewReader("a\r\n.b\r\n"))
			if err != nil {
				t.Fatal(err)
			}
			if got := outcomes(per); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
			<-done
			client.Close()
		})
	}
}

// Only a reply to the content tells that a message was taken; a connection
// that ends before it leaves that open, and says so.
func TestASilentEndIsNoDelivery(t *testing.T) {
	client, _ := met(t, `
S: 250 peer.test
C: MAIL FROM:<us@relay.test>
S: 250 fine
C: RCPT TO:<good@peer.test>
S: 250 fine
C: DATA
S: 354 go on
C: *
`)
	defer client.Close()
	per, sent, err := client.Send(t.Context(), to("good"), strings.NewReader("a\r\n"))
	if err == nil || per != nil || !sent {
		t.Errorf("%v, sent %v, %v", per, sent, err)
	}
}

// A 250 to DATA is no reply to a content that was not even sent.
func TestAPeerThatAgreesToDATAHasTakenNothing(t *testing.T) {
	client, _ := met(t, `
S: 250 peer.test
C: MAIL FROM:<us@relay.test>
S: 250 fine
C: RCPT TO:<good@peer.test>
S: 250 fine
C: DATA
S: 250 fine
`)
	defer client.Close()
	per, sent, err := client.Send(t.Context(), to("good"), strings.NewReader("a\r\n"))
	if !errors.Is(err, errReply) || per != nil || sent {
		t.Errorf("%v, sent %v, %v", per, sent, err)
	}
}

// The end of the context ends a dialogue that waits for nothing just then.
func TestTheContextEndsADialogueBetweenTwoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := met(t, `
S: 250 peer.test
C: MAIL FROM:<us@relay.test>
S: 250 fine
C: RCPT TO:<good@peer.test>
S: 250 fine
C: DATA
S: 354 go on
C: ...
`)
		defer client.Close()
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		if _, _, err := client.Send(ctx, to("good"), &canceller{cancel, strings.NewReader("a\r\n")}); err == nil {
			t.Error("no error")
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("left after %v", took)
		}
	})
}

// canceller ends a context before it reads.
type canceller struct {
	cancel func()
	io.Reader
}

func (c *canceller) Read(b []byte) (int, error) {
	c.cancel()
	synctest.Wait() // the deadline has been set
	return c.Reader.Read(b)
}

func TestWhatIsNoReplyEndsTheDialogue(t *testing.T) {
	for what, said := range map[string]string{
		"garbage":           "hello there\r\n",
		"a huge line":       "220 " + strings.Repeat("x", 10<<20) + "\r\n",
		"endless lines":     strings.Repeat("220-x\r\n", 10000),
		"no end":            "220 cut",
		"codes that differ": "220-a\r\n221 b\r\n",
		"a code too high":   "620 a\r\n",
		"nothing":           "",
	} {
		ours, theirs := net.Pipe()
		go func() { io.WriteString(theirs, said); theirs.Close() }()
		if c, err := Dialogue(t.Context(), ours, "relay.test", Patience{}); err == nil || c != nil {
			t.Errorf("%s: %v", what, err)
		}
		theirs.Close()
	}
}

// A peer that refuses us says why, and that reaches the caller.
func TestARefusalAtTheDoorIsItsReply(t *testing.T) {
	ours, theirs := net.Pipe()
	go func() { io.WriteString(theirs, "554-5.7.1 no mail\r\n554 5.7.1 from you\r\n"); theirs.Close() }()
	_, err := Dialogue(t.Context(), ours, "relay.test", Patience{})
	reply, ok := errors.AsType[*smtp.Reply](err)
	if !ok || reply.Wire() != "554 5.7.1 no mail from you" {
		t.Errorf("%v", err)
	}
}

func TestBareLineEndsNeverLeave(t *testing.T) {
	for _, content := range []string{"a\nb\r\n", "a\rb\r\n", "a\r\n.\n", "a", "a\r", "\n", "a\r\r\n"} {
		var sent strings.Builder
		s := NewStuffer(&sent)
		_, err := io.WriteString(s, content)
		if err == nil {
			err = s.End()
		}
		if !errors.Is(err, errBare) {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func FuzzStuffedContentIsUndoneByAServer(f *testing.F) {
	f.Add([]byte("a\r\n.b\r\n"), 1)
	f.Add([]byte(".\r\n..\r\n"), 3)
	f.Add([]byte("a\r\n\r\n"), 2)
	f.Fuzz(func(t *testing.T, content []byte, piece int) {
		if piece < 1 || piece > len(content) {
			piece = len(content) + 1
		}
		var sent strings.Builder
		s := NewStuffer(&sent)
		for rest := content; len(rest) > 0; {
			n := min(piece, len(rest))
			if _, err := s.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
		if s.End() != nil {
			return
		}
		var got strings.Builder
		for line := range strings.Lines(sent.String()) {
			if line == ".\r\n" {
				t.Fatalf("%q ends the content in its middle", sent.String())
			}
			got.WriteString(strings.TrimPrefix(line, "."))
		}
		if got.String() != string(content) {
			t.Errorf("%q became %q", content, got.String())
		}
	})
}

// A peer that says nothing is waited for so long and no longer.
func TestASilentPeerIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		began := time.Now()
		if _, err := Dialogue(t.Context(), ours, "relay.test", Patience{Command: 30 * time.Second}); err == nil {
			t.Error("no error")
		}
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("left after %v", took)
		}
	})
}

// The end of the context ends any wait.
func TestTheContextEndsADialogue(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go func() { fmt.Fprint(theirs, "220 "); cancel() }()
	if _, err := Dialogue(ctx, ours, "relay.test", Patience{}); err == nil {
		t.Error("no error")
	}
}

func FuzzReplyOfAPeerIsOneLineOfOurs(f *testing.F) {
	f.Add("250 2.0.0 ok\r\n")
	f.Add("250-PIPELINING\r\n250 SIZE 1\r\n")
	f.Add("554 5.7.1\x00\xff\n")
	f.Fuzz(func(t *testing.T, text string) {
		reply, _, err := readReply(bufio.NewReaderSize(strings.NewReader(text), maxReplyLine))
		if err != nil {
			return
		}
		if line := reply.Wire(); strings.ContainsAny(line, "\r\n\x00") || len(line) > 2*maxReplyLine || reply.Code < 200 || reply.Code > 599 {
			t.Errorf("%q became %q", text, line)
		}
	})
}
