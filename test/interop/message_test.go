package interop

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/mail"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"barid/test/letter"
)

// messages are those of one account: "INBOX <id@localhost> FS 1f2e..." is the
// mailbox, the Message-ID, the flags as Maildir has them ("-" for none), and a
// hash of the content. Several that are the same are counted.
type messages map[string]int

func (m messages) add(t *testing.T, mailbox, flags string, content []byte) {
	t.Helper()
	content = plain(content)
	parsed, err := mail.ReadMessage(bytes.NewReader(content))
	if err != nil {
		t.Fatalf("a message in %s: %v", mailbox, err)
	}
	if flags == "" {
		flags = "-"
	}
	m[fmt.Sprintf("%s %s %s %.6x", mailbox, parsed.Header.Get("Message-ID"), flags, sha256.Sum256(content))]++
}

// plain is a message as it was before a program put it elsewhere: lines end
// in LF, without the field by which mbsync finds what it has put there.
func plain(content []byte) []byte {
	var out []byte
	for line := range bytes.Lines(bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))) {
		if !bytes.HasPrefix(line, []byte("X-TUID: ")) {
			out = append(out, line...)
		}
	}
	return out
}

// same compares two sets of messages.
func same(t *testing.T, when string, near, far messages) {
	t.Helper()
	if maps.Equal(near, far) {
		return
	}
	lines := func(a, b messages) string {
		var out []string
		for m, n := range a {
			if b[m] != n {
				out = append(out, fmt.Sprintf("%d x %s (there %d)", n, m, b[m]))
			}
		}
		slices.Sort(out)
		return strings.Join(out, "\n\t")
	}
	t.Errorf("%s: only here:\n\t%s\nonly on the relay:\n\t%s", when, lines(near, far), lines(far, near))
}

// letters are encrypted messages of alice's that differ.
func letters(prefix string, n int) [][]byte {
	w := letter.New(prefix, "alice0001@relay.test", 3000)
	var out [][]byte
	for range n {
		_, content := w.Next()
		out = append(out, content)
	}
	return out
}

// flagLetter is what Maildir writes for a flag.
func flagLetter(f imap.Flag) string {
	switch f {
	case imap.FlagDraft:
		return "D"
	case imap.FlagFlagged:
		return "F"
	case imap.FlagAnswered:
		return "R"
	case imap.FlagSeen:
		return "S"
	case imap.FlagDeleted:
		return "T"
	}
	return ""
}
