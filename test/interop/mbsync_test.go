package interop

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"barid/test/harness"
)

// mbsync is a Maildir tree that mbsync keeps like an account on a relay.
type mbsync struct {
	t      *testing.T
	home   string
	config string
}

func newMbsync(t *testing.T, r *harness.Relay, name string) (*mbsync, *near) {
	t.Helper()
	home := t.TempDir()
	root := filepath.Join(home, "mail")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(r.Addr("imaps"))
	if err != nil {
		t.Fatal(err)
	}
	config := write(t, filepath.Join(home, "mbsyncrc"), fmt.Sprintf(`
IMAPAccount relay
Host %s
Port %s
User %s
Pass %s
SSLType IMAPS
CertificateFile %s

IMAPStore far
Account relay

MaildirStore near
Path %[6]s/
Inbox %[6]s/INBOX
SubFolders Verbatim

Channel both
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState *
`, host, port, r.Address(name), harness.PasswordOf(name).Wire(), trust(t, r, home), root))
	return &mbsync{t, home, config}, &near{t: t, root: root}
}

// sync runs it once.
func (m *mbsync) sync(when string) {
	m.t.Helper()
	out, err := run(m.t, m.home, "mbsync", "-c", m.config, "both")
	lower := strings.ToLower(out)
	if err != nil || strings.Contains(lower, "error") || strings.Contains(lower, "warning") {
		m.t.Fatalf("mbsync, %s: %v\n%s", when, err, out)
	}
}

// What changes on either side is on both after a run, in every mailbox: new
// messages, flags, moves, messages that are gone, a new mailbox.
func TestInteropMbsync(t *testing.T) {
	need(t, "mbsync", "isync")
	t.Parallel()
	r := harness.New(t, harness.Options{})
	relay := newFar(t, r, "alice0001")
	sync, here := newMbsync(t, r, "alice0001")
	both := func(when string) {
		t.Helper()
		sync.sync(when)
		same(t, when, here.messages(), relay.messages())
	}
	for round := range 2 {
		at := func(when string) string { return fmt.Sprintf("round %d, %s", round+1, when) }

		relay.append("INBOX", nil, letters(fmt.Sprintf("far-%d", round), 60)...)
		relay.append("INBOX", []imap.Flag{imap.FlagSeen, imap.FlagFlagged}, letters(fmt.Sprintf("far-flagged-%d", round), 3)...)
		here.deliver("INBOX", letters(fmt.Sprintf("near-%d", round), 60)...)
		here.deliver("Archive", letters(fmt.Sprintf("archive-%d", round), 5)...)
		both(at("new messages"))

		relay.selectMailbox("INBOX")
		relay.store(relay.some(5), imap.StoreFlagsAdd, imap.FlagSeen, imap.FlagAnswered)
		here.flag(here.some("INBOX", 5), "FS")
		both(at("flags"))

		relay.selectMailbox("INBOX")
		relay.move(relay.some(4), "Archive")
		here.move(here.some("INBOX", 4), "Archive")
		both(at("moves"))

		relay.selectMailbox("Archive")
		relay.move(relay.some(2), "INBOX")
		here.move(here.some("Archive", 2), "INBOX")
		both(at("moves back"))

		relay.selectMailbox("INBOX")
		relay.expunge(relay.some(6))
		here.flag(here.some("INBOX", 6), "ST")
		for _, path := range here.some("INBOX", 3) {
			here.must("remove", os.Remove(path))
		}
		both(at("messages gone"))

		all := here.messages()
		both(at("nothing"))
		same(t, at("nothing"), here.messages(), all)
	}
	// That both are the same would be true of two empty ones.
	got := map[string]int{}
	for m, n := range here.messages() {
		mailbox, rest, _ := strings.Cut(m, " ")
		got[mailbox+" "+strings.Fields(rest)[1]] += n
	}
	archived := 5 + 4 + 4 - 2 - 2
	want := map[string]int{
		"INBOX -":   2 * (60 + 60 - 5 - 5 - 4 - 4 + 2 + 2 - 6 - 6 - 3),
		"INBOX FS":  2 * (3 + 5),
		"INBOX RS":  2 * 5,
		"Archive -": 2 * archived,
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
}
