package transcript

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// parrot greets and repeats each line as it came, until "quit".
func parrot(t *testing.T) net.Conn {
	client, server := net.Pipe()
	var done sync.WaitGroup
	t.Cleanup(func() { client.Close(); done.Wait() })
	done.Go(func() {
		defer server.Close()
		io.WriteString(server, "220 parrot.test\r\n")
		in := bufio.NewReader(server)
		for {
			line, err := in.ReadString('\n')
			if err != nil || line == "quit\r\n" {
				return
			}
			if _, err := io.WriteString(server, line); err != nil {
				return
			}
		}
	})
	return client
}

func TestADialogueFromAFilePasses(t *testing.T) {
	Dir(t, "testdata/*.txt", parrot)
}

func TestTimeMayBeFake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		Play(t, parrot(t), "S: 220 parrot.test\nS- 10h\nC: quit\nS--\n")
	})
}

func TestEachDifferenceFails(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"another line", "S: 220 parrot.test\nC: one\nS: two\n", "dialogue:3: the peer says something else\n\twant  S: two\n\tgot   S: one\n\tafter\n\t\tS: 220 parrot.test\n\t\tC: one"},
		{"a longer line", "S: 220 parrot\n", "dialogue:1: "},
		{"a part of the line", "S~ parrot\n", "dialogue:1: the peer says something else\n\twant  S~ parrot\n\tgot   S: 220 parrot.test"},
		{"either part of a pattern", "S~ 220|parrot.test\n", "dialogue:1: "},
		{"a control character", "S: 220 parrot.test\nC\\ a\\x00b\\r\\n\nS: ab\n", `got   S\ "a\x00b"`},
		{"a bare LF", "S: 220 parrot.test\nC\\ a\\n\nS: a\n", "dialogue:3: the line ends in a bare LF"},
		{"no line", "S: 220 parrot.test\nS: more\n", "dialogue:2: nothing more came within"},
		{"never the line", "S: 220 parrot.test\nC: a\nS* b\n", "dialogue:3: no line matched: nothing more came within"},
		{"a line outside the set", "S: 220 parrot.test\nC: a\nC: a\nS& a\nS& b\n", "dialogue:4: no line of the set that is still missing matches\n\twant  S& a\n\t      S& b\n\tgot   S: a"},
		{"hangs up early", "S: 220 parrot.test\nC: quit\nS: bye\n", "dialogue:3: the peer hung up"},
		{"does not hang up", "S: 220 parrot.test\nS--\n", "dialogue:2: the peer did not hang up"},
		{"says more than it should", "S: 220 parrot.test\nC: a\nS--\n", "dialogue:3: the peer said something instead of hanging up"},
		{"is not silent", "S: 220 parrot.test\nC: a\nS- 1s\n", "dialogue:3: the peer was not silent"},
		{"is silent for being gone", "S: 220 parrot.test\nC: quit\nS- 1s\n", "dialogue:3: the peer hung up"},
		{"other octets", "S: 220 parrot.test\nC: abc\nS\\ abd\n", `dialogue:3: octet 3 of 3 differs: want "abd", got "abc"`},
		{"a name that nobody gave", "C: ${uid}\n", "dialogue:1: nobody gave ${uid}"},
		{"speaks after the end", "S: 220 parrot.test\nC: quit\nS--\nC: a\n", "dialogue:4: the connection is closed"},
		{"no second connection", "@ b\n", "dialogue:1: another connection needs the option Dial"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Parse("dialogue", c.text)
			if err != nil {
				t.Fatal(err)
			}
			err = New(t, parrot(t), Timeout(50*time.Millisecond)).Run(s)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v\nwant %s", err, c.want)
			}
		})
	}
}

// witness is a test that may fail without failing this one.
type witness struct {
	testing.TB
	fatal string
}

func (w *witness) Fatal(args ...any) { w.fatal = args[0].(error).Error() }

func TestPlayEndsTheTestOnADifference(t *testing.T) {
	w := &witness{TB: t}
	Play(w, parrot(t), "S: 221 parrot.test\n")
	if !strings.Contains(w.fatal, "dialogue:1: ") {
		t.Fatalf("got %q", w.fatal)
	}
}

func TestWhatCannotBePlayedIsNotRead(t *testing.T) {
	for text, want := range map[string]string{
		"":                    "without a step",
		"# only why\n":        "without a step",
		"\nhello\n":           "x.txt:2: no step begins so",
		"C:no space\n":        "a space is missing",
		"C! x\n":              "no sign",
		"S~ (\n":              "missing closing )",
		"C< none\n":           `no file "none"`,
		"S- long\n":           "invalid duration",
		"C\\ \\q\n":           "escapes",
		"S: ok\n@ \n":         "x.txt:2: no step begins so",
		"S~ [${uid}\n":        "missing closing ]",
		"S: a\n\n# b\nX: c\n": "x.txt:4: ",
	} {
		if _, err := Parse("x.txt", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestNamesOutliveADialogue(t *testing.T) {
	p := New(t, parrot(t), Vars(map[string]string{"long": strings.Repeat("a.", 70000)}))
	p.Play(t, "S~ (?P<code>\\d+) .*\nC: ${long}\nS~ ${long}\n")
	p.Play(t, "C: ${code}\nS: 220\n")
}

func TestStuffed(t *testing.T) {
	for in, want := range map[string]string{
		"":                ".\r\n",
		"a\r\n":           "a\r\n.\r\n",
		".\r\n..a\r\nb.":  "..\r\n...a\r\nb.\r\n.\r\n",
		"a\r\n\r\n.b\r\n": "a\r\n\r\n..b\r\n.\r\n",
	} {
		if got := string(stuffed([]byte(in))); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}

func TestBothEndsFromOneTextAndTLSBetween(t *testing.T) {
	const text = "S: 220 relay.test\nC: STARTTLS\nS: 220 go\nTLS\nC: EHLO a\nC: NOOP\nS: 250 a\nS: 250 ok\nC: QUIT\nS: 221 bye\nS--\n"
	client, server := net.Pipe()
	defer client.Close()
	done := make(chan error, 1)
	go func() {
		done <- Serve(t, server, text, TLS(&tls.Config{Certificates: []tls.Certificate{certificate(t)}}))
		server.Close()
	}()
	Play(t, client, text)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestBothEndsCompress(t *testing.T) {
	const text = "C: COMPRESS\nS: OK\nDEFLATE\nC: one\nC: two\nS: three\nC< mail\nS--\n-- mail --\na\nb\n"
	client, server := net.Pipe()
	defer client.Close()
	plain := &counting{Conn: client}
	failed := make(chan error, 1)
	go func() {
		defer server.Close()
		failed <- Serve(t, server, text)
	}()
	Play(t, plain, text)
	if err := <-failed; err != nil {
		t.Error(err)
	}
	if strings.Contains(plain.sent.String(), "one") || !strings.HasPrefix(plain.sent.String(), "COMPRESS\r\n") {
		t.Errorf("on the wire: %q", plain.sent.String())
	}
}

// counting keeps what is written.
type counting struct {
	net.Conn
	sent strings.Builder
}

func (c *counting) Write(p []byte) (int, error) {
	c.sent.Write(p)
	return c.Conn.Write(p)
}

func TestAServerSeesAWrongClient(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go io.WriteString(client, "HELO a\r\n")
	err := Serve(t, server, "C: EHLO a\n")
	if err == nil || !strings.Contains(err.Error(), "want  C: EHLO a\n\tgot   C: HELO a") {
		t.Fatal(err)
	}
}

func certificate(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"relay.test"}}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
