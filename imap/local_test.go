package imap

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"barid/internal/netserve"
	"barid/smtp"
	"barid/storage"
	"barid/storage/local"
	"barid/test/transcript"
)

// onDisk is a server over the engine that relays use.
func onDisk(t *testing.T, change ...func(*Config)) (store storage.Store, dial func() net.Conn) {
	t.Helper()
	store, dial, _ = onDiskIn(t, t.TempDir(), change...)
	return store, dial
}

// onDiskIn is onDisk with the files of a directory, and may be stopped.
func onDiskIn(t *testing.T, dir string, change ...func(*Config)) (store storage.Store, dial func() net.Conn, stop func()) {
	t.Helper()
	store, err := local.Open(local.Config{
		Dir: dir, Domain: "relay.test", NoSync: true, Quota: 512000 << 10, SegmentBytes: 1 << 20, CheckpointBytes: 2 << 20,
		Policy: local.Policy{UsernameMin: 9, UsernameMax: 9, PasswordMin: 9},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Store: store, Domain: "relay.test",
		Annotations: func(_ context.Context, _ storage.Account, entry string) ([]byte, bool) {
			v, ok := annotations[entry]
			return []byte(v), ok
		},
	}
	for _, f := range change {
		f(&cfg)
	}
	sv := New(cfg)
	sv.judge = anything
	handler := sv.Clear()
	if cfg.TLS != nil {
		handler = sv
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return store, func() net.Conn {
		client, server := net.Pipe()
		wg.Go(func() { handler.ServeConn(ctx, netserve.NewConn(server, netip.MustParseAddr("192.0.2.7"))) })
		t.Cleanup(func() { client.Close() })
		return client
	}, stop
}

// asking is a client that gives answers as they are.
type asking struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func newAsking(t *testing.T, conn net.Conn) *asking {
	a := &asking{t, conn, bufio.NewReader(conn)}
	if _, err := a.in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	a.ask(`LOGIN alicealic@relay.test "secret of alice"`)
	return a
}

// ask gives the whole answer to a command, which must be OK.
func (a *asking) ask(command string) (answer string) {
	a.t.Helper()
	if _, err := io.WriteString(a.conn, "t "+command+"\r\n"); err != nil {
		a.t.Fatal(err)
	}
	for {
		line, err := a.in.ReadString('\n')
		if err != nil {
			a.t.Fatal(err)
		}
		answer += line
		if tagged, ok := strings.CutPrefix(line, "t "); ok {
			if !strings.HasPrefix(tagged, "OK ") {
				a.t.Fatalf("%s: %s", command, answer)
			}
			return answer
		}
	}
}

// What clients keep for the next time they come, mod-sequences, UIDs that went
// and IDs, holds when the relay was restarted meanwhile.
func TestOnDiskWhatClientsKeepOutlivesARestart(t *testing.T) {
	dir := t.TempDir()
	_, dial, stop := onDiskIn(t, dir)
	c := newAsking(t, dial())
	c.ask("CREATE work")
	for range 6 {
		c.ask("APPEND work {4+}\r\na: b")
	}
	c.ask("CREATE old")
	c.ask("RENAME work old.work")
	answer := c.ask("SELECT old.work")
	known := regexp.MustCompile(`(?s)UIDVALIDITY (\d+).*HIGHESTMODSEQ (\d+)`).FindStringSubmatch(answer)
	if known == nil {
		t.Fatal(answer)
	}
	c.ask(`STORE 2 +FLAGS (\Seen)`)
	c.ask(`STORE 4,6 +FLAGS (\Deleted)`)
	c.ask("EXPUNGE")
	c.ask("APPEND old.work {4+}\r\na: c")
	commands := []string{
		"ENABLE QRESYNC",
		fmt.Sprintf("SELECT old.work (QRESYNC (%s %s))", known[1], known[2]),
		"UID FETCH 1:* (FLAGS EMAILID SAVEDATE INTERNALDATE) (CHANGEDSINCE 1 VANISHED)",
		"STATUS old.work (MAILBOXID UIDVALIDITY UIDNEXT HIGHESTMODSEQ MESSAGES SIZE)",
		`LIST "" * RETURN (STATUS (MAILBOXID HIGHESTMODSEQ))`,
	}
	c.conn.Close() // nobody would read its BYE
	c = newAsking(t, dial())
	var before []string
	for _, command := range commands {
		before = append(before, c.ask(command))
	}
	if !strings.Contains(before[1], "* VANISHED (EARLIER) 4,6\r\n* 2 FETCH (UID 2 FLAGS (\\Seen) MODSEQ ") || !strings.Contains(before[1], "* 5 FETCH (UID 7 ") {
		t.Errorf("before the restart: %s", before[1])
	}
	c.conn.Close()
	stop()
	_, dial, _ = onDiskIn(t, dir)
	c = newAsking(t, dial())
	for i, command := range commands {
		if after := c.ask(command); after != before[i] {
			t.Errorf("%s\nbefore: %s\nafter: %s", command, before[i], after)
		}
	}
}

func TestOnDiskReceiveAndDelete(t *testing.T) {
	store, dial := onDisk(t)
	p := transcript.New(t, dial())
	p.Play(t, `
S~ \* OK .*
C: a LOGIN "Alicealic@relay.test" "secret of alice"
S~ a OK \[CAPABILITY .*\] Logged in
C: b SELECT INBOX
S* \* 0 EXISTS
S* b OK .*
C: c IDLE
S: + idling
`)
	to, _ := smtp.ParseAddress("alicealic@relay.test")
	text := strings.ReplaceAll(letter, "\n", "\r\n")
	for i := range 3 {
		res, err := store.Commit(t.Context(), storage.Batch{Ops: []storage.Op{storage.Deliver{To: to, Content: contentOf(text)}}})
		if err != nil || res.Per[0].Err != nil {
			t.Fatal(err, res.Per)
		}
		p.Play(t, fmt.Sprintf("S: * %d EXISTS\n", i+1))
	}
	p.Play(t, `
C: DONE
S: c OK Idle completed
C: d UID FETCH 1:2 (FLAGS BODY.PEEK[])
S: * 1 FETCH (UID 1 FLAGS () BODY[] {${#mail}}
S< mail
S: )
S: * 2 FETCH (UID 2 FLAGS () BODY[] {${#mail}}
S< mail
S: )
S: d OK Fetch completed
C: e UID FETCH 3 (UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])
S: * 3 FETCH (UID 3 RFC822.SIZE ${#mail} BODY[HEADER.FIELDS (MESSAGE-ID)] {30}
S: Message-ID: <1@relay.test>
S:
S: )
S: e OK Fetch completed
C: f UID STORE 1:2 +FLAGS (\Deleted)
S: * 1 FETCH (UID 1 FLAGS (\Deleted))
S: * 2 FETCH (UID 2 FLAGS (\Deleted))
S: f OK Store completed
C: g CLOSE
S: g OK Close completed
C: h SELECT INBOX
S* \* 1 EXISTS
S* \* OK \[UIDNEXT 4\] .*
S* h OK .*
C: i UID FETCH 1:* (UID)
S: * 1 FETCH (UID 3)
S: i OK Fetch completed
C: j CREATE DeltaChat
S~ j OK .*
C: k UID MOVE 3 DeltaChat
S~ \* OK \[COPYUID \d+ 3 1\] .*
S: * 1 EXPUNGE
S: k OK Move completed
C: l STATUS DeltaChat (MESSAGES UIDNEXT)
S: * STATUS DeltaChat (MESSAGES 1 UIDNEXT 2)
S: l OK Status completed
-- mail --
`+letter)
}

// Ten phones of one new account may come at the same moment.
func TestOnDiskFirstLoginsAtOnce(t *testing.T) {
	_, dial := onDisk(t)
	var wg sync.WaitGroup
	for range 10 {
		conn := dial()
		wg.Go(func() {
			transcript.Play(t, conn, "S~ \\* OK .*\nC: a LOGIN newcomer1@relay.test secret-of-all\nS~ a OK .*\n")
		})
	}
	wg.Wait()
	// Another with the same password is another.
	transcript.Play(t, dial(), "S~ \\* OK .*\nC: a LOGIN newcomer2@relay.test secret-of-all\nS~ a OK .*\n")
	for _, refused := range []string{"newcomer1@relay.test wrong-secret", "newcomer3@relay.test admin", "new@relay.test secret-of-all", "newcomer4@other.test secret-of-all"} {
		wg.Go(func() {
			transcript.Play(t, dial(), "S~ \\* OK .*\nC: a LOGIN "+refused+"\nS: a NO [AUTHENTICATIONFAILED] Authentication failed.\n")
		})
	}
	wg.Wait()
}

// The exchange about tokens that tests of the reference make.
func TestOnDiskDeviceTokens(t *testing.T) {
	_, dial := onDisk(t)
	transcript.Play(t, dial(), `
S~ \* OK .*
C: a LOGIN alicealic@relay.test secret-of-alice
S~ a OK .*
C\ b SETMETADATA INBOX (/private/devicetoken "1111" )\n
S: b OK Setmetadata completed
C\ c GETMETADATA INBOX /private/devicetoken\n
S: * METADATA INBOX (/private/devicetoken {4}
S: 1111)
S: c OK Getmetadata completed
C\ d SETMETADATA INBOX (/private/devicetoken "2222" )\n
S: d OK Setmetadata completed
C\ e GETMETADATA INBOX /private/devicetoken\n
S: * METADATA INBOX (/private/devicetoken {9}
S: 1111 2222)
S: e OK Getmetadata completed
`)
}

// Dialogues about extensions, one file for each, over the engine that relays
// use. Their file "server" says what is on there: "compress", "starttls".
func TestExtensions(t *testing.T) {
	transcript.Each(t, "testdata/extensions/*.txt", func(t *testing.T, s *transcript.Script) {
		t.Parallel()
		_, dial := onDisk(t, func(c *Config) {
			words, _ := s.File("server")
			for _, w := range strings.Fields(string(words)) {
				switch w {
				case "compress":
					c.Compress = true
				case "starttls":
					c.TLS = serverTLS(t)
				default:
					t.Fatalf("no server can be %q", w)
				}
			}
		})
		again := transcript.Dial(func(string) (net.Conn, error) { return dial(), nil })
		if err := transcript.New(t, dial(), again).Run(s); err != nil {
			t.Fatal(err)
		}
	})
}

// Each word that can be advertised has a dialogue of its own, under its name.
func TestEveryAdvertisedWordHasADialogue(t *testing.T) {
	spell := strings.NewReplacer("+", "-plus", "=", "-")
	for _, c := range capabilities() {
		name := "testdata/extensions/" + spell.Replace(strings.ToLower(c.word)) + ".txt"
		if _, err := os.Stat(name); err != nil {
			t.Errorf("%s: %v", c.word, err)
		}
	}
}

// Each command has been heard in a dialogue.
func TestEveryCommandHasADialogue(t *testing.T) {
	var all strings.Builder
	for _, pattern := range []string{"testdata/extensions/*.txt", "testdata/dialogues/*.txt"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(text)
			all.WriteByte('\n')
		}
	}
	for name := range commandTable() {
		if !regexp.MustCompile(`(?m)^C: \w+ ` + name + `( |$)`).MatchString(all.String()) {
			t.Errorf("%s is in no dialogue", name)
		}
	}
}
