package wire

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"barid/smtp"
)

// What parsePath takes is an address, however odd the line; what is the
// postmaster without a domain is none.
func FuzzPath(f *testing.F) {
	f.Add("rcpt TO: <postMASTER> X=1")
	f.Add("RCPT TO:<Postmaster>x")
	f.Add("MAIL TO:<Postmaster>")
	f.Add("<Postmaster>")
	f.Fuzz(func(t *testing.T, line string) {
		if at := barePostmaster(line); at > 0 {
			if !begins(line, "RCPT ") || !strings.EqualFold(line[at-1:at+11], "<Postmaster>") || !strings.HasPrefix(line[at+11:]+" ", " ") {
				t.Fatalf("%q is for the postmaster", line)
			}
			if path, _, err := parsePath(line, "TO:", false); err == nil {
				t.Fatalf("%q is for %s as well", line, path.Wire())
			}
		}
		for _, keyword := range []string{"FROM:", "TO:"} {
			path, unquoted, err := parsePath(line, keyword, keyword == "FROM:")
			if err != nil {
				continue
			}
			if path.IsNull() {
				if keyword == "TO:" || unquoted != "" {
					t.Fatalf("%q is the null path", line)
				}
				continue
			}
			if a, err := smtp.ParseAddress(path.Address.Wire()); err != nil || a != path.Address {
				t.Fatalf("%q gave %q", line, path.Wire())
			}
			if !strings.Contains(line, "<") || !strings.Contains(line, ">") {
				t.Fatalf("%q passed without angle brackets", line)
			}
		}
	})
}

// Whatever a peer sends, in one segment or octet by octet: the session is
// asked the same, the ear keeps up with the library, nothing panics, and
// content that was taken is clean.
func FuzzDialogue(f *testing.F) {
	f.Fuzz(func(t *testing.T, script string) {
		if len(script) > 8<<10 {
			return
		}
		if strings.Contains(strings.ToLower(script), "<postmaster>") {
			talk(t, script, len(script)+1) // in pieces the library refuses it
			return
		}
		once := talk(t, script, len(script)+1)
		if bits := talk(t, script, 7); once != bits {
			t.Fatalf("in one segment\n%s\nin pieces\n%s", once, bits)
		}
	})
}

// talk sends script in pieces of n octets and hangs up. It gives what the
// session was asked.
func talk(t *testing.T, script string, n int) string {
	r := newRig(t, func(c *Config) { c.MaxMessageSize, c.MaxRecipients, c.Domain = 4000, 10, "relay.test" })
	r.data = func(content io.Reader) (*smtp.Reply, error) {
		b, err := io.ReadAll(content)
		if err != nil {
			return nil, err
		}
		r.note("data %q", b)
		if s := strings.ReplaceAll(string(b), "\r\n", ""); strings.ContainsAny(s, "\r\n\x00") || len(b) > 4000 {
			t.Errorf("taken: %q", b)
		}
		return nil, nil
	}
	in, inServer := net.Pipe()
	out, outServer := net.Pipe()
	r.serve(t, halves{inServer, outServer})
	in.SetDeadline(time.Now().Add(10 * time.Second))
	heard := make(chan struct{})
	go func() { io.Copy(io.Discard, out); close(heard) }()
	for rest := script; rest != ""; rest = rest[min(n, len(rest)):] {
		if _, err := io.WriteString(in, rest[:min(n, len(rest))]); err != nil {
			break
		}
	}
	in.Close()
	<-heard
	r.wait()
	if r.log.Len() > 0 {
		t.Errorf("%q: logged %s", script, r.log)
	}
	// How a transaction ended before its content was there is not compared.
	var asked []string
	for _, call := range r.calls {
		if call != "reset" {
			asked = append(asked, call)
		}
	}
	return fmt.Sprint(strings.Join(asked, "\n"))
}

// halves is a connection whose peer can stop sending and still listen: the
// embedded half is read from, the other written to.
type halves struct {
	net.Conn
	out net.Conn
}

func (h halves) Write(p []byte) (int, error)        { return h.out.Write(p) }
func (h halves) SetWriteDeadline(t time.Time) error { return h.out.SetWriteDeadline(t) }
func (h halves) SetDeadline(t time.Time) error {
	h.Conn.SetDeadline(t)
	return h.out.SetDeadline(t)
}

func (h halves) Close() error {
	h.out.Close()
	return h.Conn.Close()
}

// Fuzzing by octets seldom makes a whole transaction; this makes many.
func TestDialoguesOfRandomPiecesReadTheSameInOneSegmentAndInMany(t *testing.T) {
	pieces := []string{
		"EHLO a\r\n", "MAIL FROM:<a@x.test>\r\n", "MAIL FROM:<c@x.test> SIZE=5000\r\n", "RCPT TO:<b@y.test>\r\n", "RCPT TO:<\"d>e\"@y.test>\r\n",
		"RCPT TO:bad\r\n", "DATA\r\n", "DATA\r\nhello\r\n.\r\n", "DATA\r\n..\r\n.\r\n", "DATA\r\nx\ny\r\n.\r\n", ".\r\n", "\r\n.\r\n", ".\rx", "hello",
		"BDAT 7\r\nhello\r\n", "BDAT 0\r\n", "BDAT 0 LAST\r\n", "BDAT 7 LAST\r\nhello\r\n", "BDAT 22 LAST\r\nMAIL FROM:<e@x.test>\r\n", "BDAT x\r\n",
		"BDAT 5000 LAST\r\n" + strings.Repeat(strings.Repeat("x", 98)+"\r\n", 50), "RSET\r\n", "NOOP\r\n", "VRFY x\r\n", "AUTH PLAIN AGEAYg==\r\n",
		"AUTH LOGIN\r\nYQ==\r\nYg==\r\n", "AUTH PLAIN\r\n", "*\r\n", "QUIT\r\n", "\r\n", "\x00\r\n", "FOO bar\r\n",
	}
	rounds := 200
	if testing.Short() {
		rounds = 50
	}
	for seed := range rounds {
		random := rand.New(rand.NewPCG(1, uint64(seed)))
		script := "EHLO a\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\n"
		for range 3 + random.IntN(12) {
			script += pieces[random.IntN(len(pieces))]
		}
		once := talk(t, script, len(script)+1)
		for _, n := range []int{1, 40 + random.IntN(100)} {
			if bits := talk(t, script, n); once != bits {
				t.Fatalf("%d: %q\nin one segment\n%s\nin pieces of %d\n%s", seed, script, once, n, bits)
			}
		}
	}
}
