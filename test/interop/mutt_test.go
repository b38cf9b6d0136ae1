package interop

import (
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"barid/test/harness"
)

// mutt is a mail reader with an account on a relay. It wants a terminal, and
// "script" gives it one.
type mutt struct {
	t      *testing.T
	home   string
	folder string // URL of the account
	common string // configuration
	runs   int
}

func newMutt(t *testing.T, r *harness.Relay, name string) *mutt {
	t.Helper()
	home := t.TempDir()
	host, port, err := net.SplitHostPort(r.Addr("imaps"))
	if err != nil {
		t.Fatal(err)
	}
	folder := fmt.Sprintf("imaps://%s:%s", host, port)
	return &mutt{t: t, home: home, folder: folder, common: fmt.Sprintf(`
set imap_user=%q imap_pass=%q folder="%s/" certificate_file=%q
# The relay has no name here.
unset ssl_verify_host
set delete=yes quit=yes move=no sleep_time=0 net_inc=0 read_inc=0 write_inc=0
unset confirmappend confirmcreate wait_key record trash header_cache
set mbox_type=Maildir sort=mailbox-order
# Nobody has the key: this says what was in the message.
unset crypt_use_gpgme pgp_check_gpg_decrypt_status_fd
set pgp_decrypt_command="printf 'Content-Type: text/plain\\n\\nThe secret.\\n'; : %%f"
`, r.Address(name), harness.PasswordOf(name).Wire(), folder, trust(t, r, home))}
}

// run opens a mailbox, presses keys, and leaves.
func (m *mutt) run(mailbox, keys string) {
	m.t.Helper()
	m.runs++
	rc := write(m.t, filepath.Join(m.home, "muttrc"), m.common+"push '"+keys+"<quit>'\n")
	out, err := run(m.t, m.home, "script", "-qec", fmt.Sprintf("mutt -n -F %s -f %s", rc, mailbox), "/dev/null")
	if err != nil {
		m.t.Fatalf("mutt, run %d: %v\n%q", m.runs, err, out)
	}
	// It goes on after an error, says so on its last line, and leaves.
	if lower := strings.ToLower(out); strings.Contains(lower, "error") || strings.Contains(lower, "could not") || strings.Contains(lower, "failed") {
		m.t.Errorf("mutt, run %d, complains:\n%q", m.runs, out)
	}
}

// A mail reader opens the mailbox of an account, reads, flags, deletes, saves
// a copy elsewhere, moves, and puts there what it has on its own disk.
func TestInteropMutt(t *testing.T) {
	need(t, "mutt", "mutt")
	need(t, "script", "bsdutils")
	t.Parallel()
	r := harness.New(t, harness.Options{})
	relay := newFar(t, r, "alice0001")
	relay.append("INBOX", nil, letters("mutt", 8)...)
	m := newMutt(t, r, "alice0001")
	disk := &near{t: t, root: m.home}
	disk.deliver("disk", letters("disk", 3)...)

	inbox := m.folder + "/INBOX"
	m.run(inbox, "1<enter><display-message><exit>"+
		"2<enter><flag-message>"+
		"3<enter><delete-message>"+
		"4<enter><copy-message>=Archive<enter>"+
		"5<enter><save-message>=Archive<enter>"+
		"6<enter><set-flag>r"+
		`<tag-pattern>=h "Message-ID: mutt-7"<enter><tag-prefix><flag-message>`+
		"<sync-mailbox>")
	m.run(disk.root+"/disk", "<tag-pattern>~A<enter><tag-prefix><copy-message>=INBOX<enter>")
	check := func(when string, want map[string]string) {
		t.Helper()
		if got := byName(relay.messages()); !maps.Equal(got, want) {
			t.Errorf("%s: %v, not %v", when, got, want)
		}
	}
	want := map[string]string{
		"INBOX mutt-1": "S", "INBOX mutt-2": "F", "INBOX mutt-4": "-", "INBOX mutt-6": "RS", "INBOX mutt-7": "F", "INBOX mutt-8": "-",
		"INBOX disk-1": "-", "INBOX disk-2": "-", "INBOX disk-3": "-",
		"Archive mutt-4": "-", "Archive mutt-5": "-",
	}
	check("at first", want)

	// What it set it finds again.
	m.run(inbox, "<delete-pattern>~F<enter><sync-mailbox>")
	delete(want, "INBOX mutt-2")
	delete(want, "INBOX mutt-7")
	check("when it came back", want)
}

// byName gives the flags of messages by mailbox and the Message-ID's first
// half, and "several" for what is there more than once.
func byName(all messages) map[string]string {
	out := map[string]string{}
	for m, n := range all {
		words := strings.Fields(m)
		id, _, _ := strings.Cut(strings.TrimPrefix(words[1], "<"), "@")
		name, flags := words[0]+" "+id, words[2]
		if _, twice := out[name]; twice || n > 1 {
			flags = "several"
		}
		out[name] = flags
	}
	return out
}
