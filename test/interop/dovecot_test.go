package interop

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"barid/internal/app"
	"barid/internal/config"
	"barid/storage/cmdeploy"
	"barid/test/harness"
)

// dovecot serves a tree of accounts as the reference has it: Maildir, files
// compressed, passwords in files of their own.
type dovecot struct {
	t    *testing.T
	home string // outside of the test's own directory, which other users cannot enter
	tree string
	addr string
	uid  int
	gid  int
}

func newDovecot(t *testing.T) *dovecot {
	t.Helper()
	home, err := os.MkdirTemp("", "barid-dovecot-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	mail, err := user.Lookup("mail")
	if err != nil {
		t.Fatal(err)
	}
	d := &dovecot{t: t, home: home, tree: filepath.Join(home, "vmail", "mail", "relay.test"), addr: freeAddr(t)}
	d.uid, _ = strconv.Atoi(mail.Uid)
	d.gid, _ = strconv.Atoi(mail.Gid)
	d.must("make the tree", os.MkdirAll(d.tree, 0o700))
	for _, dir := range []string{home, filepath.Join(home, "vmail"), filepath.Join(home, "vmail", "mail"), d.tree} {
		d.must("open the way", os.Chmod(dir, 0o755))
		d.must("give the tree", os.Chown(dir, d.uid, d.gid))
	}
	host, port, _ := net.SplitHostPort(d.addr)
	write(t, filepath.Join(home, "dovecot.conf"), fmt.Sprintf(`
protocols = imap
listen = %[2]s
base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
ssl = no
disable_plaintext_auth = no
mail_location = maildir:%[4]s/%%u
mail_uid = %[5]d
mail_gid = %[6]d
first_valid_uid = 1
mail_plugins = zlib
plugin {
  zlib_save = gz
}
default_vsz_limit = 512M
service imap-login {
  inet_listener imap {
    port = %[3]s
  }
  inet_listener imaps {
    port = 0
  }
}
passdb {
  driver = passwd-file
  args = scheme=SHA512-CRYPT username_format=%%u %[1]s/users
}
userdb {
  driver = static
  args = home=%[4]s/%%u
}
`, home, host, port, d.tree, d.uid, d.gid))
	return d
}

func (d *dovecot) must(what string, err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatalf("dovecot: %s: %v", what, err)
	}
}

// account makes an account as the reference does.
func (d *dovecot) account(address, password string) {
	d.t.Helper()
	out, err := run(d.t, d.home, "doveadm", "-c", filepath.Join(d.home, "dovecot.conf"), "pw", "-s", "SHA512-CRYPT", "-p", password)
	d.must("hash a password", err)
	hash := strings.TrimSpace(out)
	dir := filepath.Join(d.tree, address)
	d.must("make an account", os.Mkdir(dir, 0o700))
	write(d.t, filepath.Join(dir, "password"), hash)
	write(d.t, filepath.Join(dir, "enforceE2EEincoming"), "")
	for _, name := range []string{dir, filepath.Join(dir, "password"), filepath.Join(dir, "enforceE2EEincoming")} {
		d.must("give an account", os.Chown(name, d.uid, d.gid))
	}
	users := write(d.t, filepath.Join(d.home, "users"), address+":"+hash+"\n")
	d.must("let Dovecot read", os.Chmod(users, 0o644))
}

// serve runs it until stop is called.
func (d *dovecot) serve() (stop func()) {
	d.t.Helper()
	conf := filepath.Join(d.home, "dovecot.conf")
	cmd := exec.Command("dovecot", "-F", "-c", conf)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8"}
	d.must("start", cmd.Start())
	stop = sync.OnceFunc(func() {
		d.command("doveadm", "-c", conf, "stop")
		kill := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		defer kill.Stop()
		d.must("end", cmd.Wait())
		d.idle()
	})
	d.t.Cleanup(stop)
	await(d.t, d.addr)
	return stop
}

// idle waits until no process works on the tree: sessions outlive their master
// by a moment.
func (d *dovecot) idle() {
	d.t.Helper()
	var busy []cmdeploy.Process
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var err error
		busy, _, err = cmdeploy.Busy("/proc", d.tree, true)
		d.must("look for processes", err)
		if len(busy) == 0 {
			return
		}
	}
	d.t.Fatalf("still at work: %v", busy)
}

func (d *dovecot) command(argv ...string) {
	d.t.Helper()
	if out, err := run(d.t, d.home, argv...); err != nil {
		log, _ := os.ReadFile(filepath.Join(d.home, "log"))
		d.t.Fatalf("%v: %v\n%s%s", argv, err, out, log)
	}
}

// client logs in.
func (d *dovecot) client(address, password string) far {
	d.t.Helper()
	conn, err := net.Dial("tcp", d.addr)
	d.must("dial", err)
	c := imapclient.New(conn, nil)
	d.t.Cleanup(func() { c.Close() })
	f := far{d.t, c}
	f.must("log in", c.Login(address, password).Wait())
	return f
}

// point tells mbsync where the account is now.
func (m *mbsync) point(from, to string) {
	m.t.Helper()
	text, err := os.ReadFile(m.config)
	if err != nil {
		m.t.Fatal(err)
	}
	changed := strings.Replace(string(text), from, to, 1)
	if changed == string(text) {
		m.t.Fatalf("no %q in %s", from, text)
	}
	write(m.t, m.config, changed)
}

// fetches runs mbsync once and counts the messages that it downloaded.
func (m *mbsync) fetches(when string) int {
	m.t.Helper()
	out, err := run(m.t, m.home, "mbsync", "-Dn", "-c", m.config, "both")
	lower := strings.ToLower(out)
	if err != nil || strings.Contains(lower, "error:") || strings.Contains(lower, "uidvalidity genuinely changed") {
		m.t.Fatalf("mbsync, %s: %v\n%s", when, err, out)
	}
	return len(regexp.MustCompile(`(?m)UID FETCH .*BODY\.PEEK\[\]`).FindAllString(out, -1))
}

// account is where a relay is, in the words of mbsyncrc.
func mbsyncAccount(host, port, tls string) string {
	return fmt.Sprintf("Host %s\nPort %s\n%s\n", host, port, tls)
}

// A relay of the reference that Dovecot serves is taken over in place, given
// back, and taken over again, with one client that synchronises all the while:
// it downloads what is new and nothing else, ever.
func TestInteropDovecotAndBack(t *testing.T) {
	need(t, "dovecot", "dovecot-imapd")
	need(t, "mbsync", "isync")
	t.Parallel()
	const address, password = "alice0001@relay.test", "a long password"
	d := newDovecot(t)
	d.account(address, password)
	dataDir := filepath.Join(d.home, "vmail")
	ini := write(t, filepath.Join(d.home, "chatmail.ini"), "[params]\nmail_domain = relay.test\nmailboxes_dir = "+d.tree+"\nmax_mailbox_size = 300M\nimap_rawlog = false\n")

	putKeys(t, d.home)

	// The client: one Maildir tree for all.
	home := t.TempDir()
	root := filepath.Join(home, "mail")
	d.must("make a directory", os.Mkdir(root, 0o700))
	host, port, _ := net.SplitHostPort(d.addr)
	there := mbsyncAccount(host, port, "SSLType None")
	m := &mbsync{t, home, write(t, filepath.Join(home, "mbsyncrc"), fmt.Sprintf(`
IMAPAccount relay
%sUser %s
Pass "%s"
AuthMechs LOGIN

IMAPStore far
Account relay

MaildirStore near
Path %[4]s/
Inbox %[4]s/INBOX
SubFolders Verbatim

Channel both
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState *
`, there, address, password, root))}
	here := &near{t: t, root: root}
	inMemory := func(when string, f far, want int) {
		t.Helper()
		if n := m.fetches(when); n != want {
			t.Errorf("%s: %d messages were downloaded, not %d", when, n, want)
		}
		same(t, when, here.messages(), f.messages())
	}

	// Dovecot receives, flags, expunges; the client synchronises.
	stop := d.serve()
	f := d.client(address, password)
	f.append("INBOX", nil, letters("first", 40)...)
	f.append("INBOX", []imap.Flag{imap.FlagSeen, "$Label1"}, letters("keyword", 3)...)
	f.must("create", f.c.Create("Archive", nil).Wait())
	f.must("subscribe", f.c.Subscribe("Archive").Wait())
	f.append("Archive", []imap.Flag{imap.FlagFlagged}, letters("archived", 5)...)
	f.selectMailbox("INBOX")
	f.store(f.some(4), imap.StoreFlagsAdd, imap.FlagSeen, imap.FlagAnswered)
	f.expunge(f.some(6))
	inMemory("with Dovecot", f, 40+3+5-6)
	before := here.messages()

	// While it runs, nothing is imported.
	importRelay := func(when string, wantErr error) *config.Config {
		t.Helper()
		im, err := app.PlanImport(app.ImportOrder{Root: d.home, INI: ini, Mail: d.tree, Owner: -1})
		d.must("plan, "+when, err)
		var said []string
		err = im.Run(t.Context(), func(l app.ImportLine) error {
			if l.Found != nil {
				said = append(said, l.Found.String())
			}
			if l.End != nil {
				said = append(said, fmt.Sprintf("%+v", *l.End))
				if l.End.Faults > 0 || l.End.Warnings > 0 {
					t.Errorf("%s: %v", when, said)
				}
			}
			return nil
		})
		t.Logf("import, %s: %v\n%s", when, err, strings.Join(said, "\n"))
		if err != wantErr {
			t.Fatalf("%s: %v, not %v", when, err, wantErr)
		}
		if wantErr != nil && !slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, "dovecot (process ") }) {
			t.Errorf("%s: %v", when, said)
		}
		return im.Config
	}
	importRelay("while Dovecot runs", app.ErrInTheWay)
	stop()

	// In place, twice: once after the export, once though there was none.
	for round := range 2 {
		var lift []string // the MODSEQ that the export says
		at := func(when string) string { return fmt.Sprintf("round %d, %s", round+1, when) }
		cfg := importRelay(at("in place"), nil)
		if cfg.DKIM.Selector != "opendkim" || cfg.DataDir != dataDir || cfg.Limits.MaxMailboxSize != 300*config.Mebi {
			t.Errorf("%+v", cfg)
		}
		relayHere := func(when string, do func(far)) {
			t.Helper()
			t.Run(when, func(t *testing.T) {
				r := harness.New(t, harness.Options{DataDir: dataDir})
				rHost, rPort, _ := net.SplitHostPort(r.Addr("imaps"))
				ours := mbsyncAccount(rHost, rPort, "SSLType IMAPS\nCertificateFile "+trust(t, r, home))
				m.point(there, ours)
				defer m.point(ours, there)
				c := imapclient.New(r.Dial(t, "imaps"), nil)
				defer c.Close()
				f := far{t, c}
				f.must("log in", c.Login(address, password).Wait())
				do(f)
			})
		}
		relayHere(at("here"), func(f far) {
			inMemory(at("after the import"), f, 0)
			same(t, at("after the import"), here.messages(), before)
			f.append("INBOX", nil, letters(fmt.Sprintf("here-%d", round), 7)...)
			f.selectMailbox("INBOX")
			f.store(f.some(3), imap.StoreFlagsAdd, imap.FlagFlagged)
			f.expunge(f.some(2))
			inMemory(at("new mail"), f, 7)
		})
		before = here.messages()

		if round == 0 {
			var said []string
			err := app.Export(context.Background(), cfg, app.ExportOrder{Owner: -1}, func(l app.ImportLine) error {
				if l.Found != nil {
					said = append(said, l.Found.String())
				}
				return nil
			})
			t.Logf("export: %v\n%s", err, strings.Join(said, "\n"))
			d.must("export", err)
			lift = regexp.MustCompile(`--min-highest-modseq (\d+)`).FindStringSubmatch(strings.Join(said, " "))
		} else {
			d.must("give back without export", chownTree(d.tree, d.uid, d.gid))
		}
		stop := d.serve()
		if len(lift) > 0 {
			d.command("doveadm", "-c", filepath.Join(d.home, "dovecot.conf"), "mailbox", "update", "-u", address, "--min-highest-modseq", lift[1], "INBOX")
		}
		f := d.client(address, password)
		inMemory(at("with Dovecot again"), f, 0)
		if data, err := f.c.Select("INBOX", &imap.SelectOptions{CondStore: true}).Wait(); err != nil {
			t.Errorf("%s: %v", at("with Dovecot again"), err)
		} else if len(lift) > 0 {
			if want, err := strconv.ParseUint(lift[1], 10, 64); err != nil || data.HighestModSeq < want {
				t.Errorf("%s: MODSEQ %d, not at least %d (%v)", at("with Dovecot again"), data.HighestModSeq, want, err)
			}
		} else if round == 0 {
			t.Error("the export names no MODSEQ")
		}
		same(t, at("with Dovecot again"), here.messages(), before)
		f.append("INBOX", nil, letters(fmt.Sprintf("there-%d", round), 5)...)
		f.append("Archive", nil, letters(fmt.Sprintf("archived-there-%d", round), 2)...)
		f.selectMailbox("INBOX")
		f.store(f.some(3), imap.StoreFlagsAdd, imap.FlagSeen)
		f.expunge(f.some(2))
		inMemory(at("new mail there"), f, 7)
		before = here.messages()
		stop()
	}
	importRelay("at the end", nil)
}

// putKeys makes the DKIM key and the certificate of the old relay.
func putKeys(t *testing.T, root string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cert, private := harness.NewCA(t).Files(t, "relay.test")
	files := map[string][]byte{"etc/dkimkeys/opendkim.private": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})}
	for to, from := range map[string]string{"fullchain": cert, "privkey": private} {
		if files["var/lib/acme/live/relay.test/"+to], err = os.ReadFile(from); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, path, string(text))
	}
}

// chownTree gives a tree to a user.
func chownTree(dir string, uid, gid int) error {
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, gid)
	})
}
