package imap

import (
	"context"
	"fmt"
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
	store, err := local.Open(local.Config{
		Dir: t.TempDir(), Domain: "relay.test", NoSync: true, Quota: 512000 << 10, SegmentBytes: 1 << 20, CheckpointBytes: 2 << 20,
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
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store, func() net.Conn {
		client, server := net.Pipe()
		wg.Go(func() { handler.ServeConn(ctx, netserve.NewConn(server, netip.MustParseAddr("192.0.2.7"))) })
		t.Cleanup(func() { client.Close() })
		return client
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
