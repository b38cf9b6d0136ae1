package app

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"barid/internal/config"
	"barid/internal/finding"
	"barid/smtp"
	"barid/storage"
	"barid/storage/local"
)

const importHash = "{SHA512-CRYPT}$6$abcdefgh$yVfUwsw5T.JApa8POvClA1pQ5peiq97DUNyXCZN5IrF.BMSkiaLQ5kvpuEm/VQ1Tvh/KV2TcaWh8qinoW5dhA1"

func putOld(t *testing.T, text string, elem ...string) {
	t.Helper()
	name := filepath.Join(elem...)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// oldServer makes the root directory of a server of the reference, and an
// empty /proc.
func oldServer(t *testing.T, ini string) (root, proc string) {
	t.Helper()
	root = t.TempDir()
	proc = t.TempDir()
	putOld(t, "[params]\nmail_domain = relay.test\n"+ini, root, "usr/local/lib/chatmaild/chatmail.ini")
	tree := filepath.Join(root, "home/vmail/mail/relay.test")
	putOld(t, importHash, tree, "alice0001@relay.test", "password")
	putOld(t, "", tree, "alice0001@relay.test", "enforceE2EEincoming")
	putOld(t, "one", tree, "alice0001@relay.test", "cur", "1775324677.M1P1.mx,S=3:2,S")
	putOld(t, "3 V1275660208 N12\n7 :1775324677.M1P1.mx,S=3\n", tree, "alice0001@relay.test", "dovecot-uidlist")
	putOld(t, "alice0001@relay.test\n1795600000\n1111\n", tree, "pending_notifications", strings.Repeat("ab", 16))
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	putOld(t, string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})), root, "etc/dkimkeys/first.private")
	putOld(t, "first._domainkey.relay.test relay.test:first:/etc/dkimkeys/first.private\n", root, "etc/dkimkeys/KeyTable")
	return root, proc
}

// heard is what an import said.
type heard struct {
	settings map[string]ImportSetting
	found    []string // IDs, faults and warnings marked
	end      *ImportEnd
}

func (h *heard) line(l ImportLine) error {
	switch {
	case l.Setting != nil:
		h.settings[l.Setting.Key] = *l.Setting
	case l.Found != nil:
		id := l.Found.ID
		if l.Found.Severity != finding.Info {
			id = l.Found.Severity.String() + " " + id
		}
		h.found = append(h.found, id)
	case l.End != nil:
		h.end = l.End
	}
	return nil
}

func runImport(t *testing.T, o ImportOrder) (*Import, *heard, error) {
	t.Helper()
	if o.Now == nil {
		o.Now = func() time.Time { return time.Unix(1795600060, 0) }
	}
	o.Owner = -1
	im, err := PlanImport(o)
	if err != nil {
		t.Fatal(err)
	}
	h := &heard{settings: map[string]ImportSetting{}}
	err = im.Run(t.Context(), h.line)
	slices.Sort(h.found)
	return im, h, err
}

// Each key of the old file is one of ours, or is said to have no effect, and
// one whose value cannot be leaves our default.
func TestEveryKeyOfTheOldConfigurationIsAccountedFor(t *testing.T) {
	root, proc := oldServer(t, `max_user_send_per_minute = 30
max_user_send_burst_size = 5
max_mailbox_size = 1G
max_message_size = 1000000000
delete_mails_after = 40
delete_large_after = 14
delete_inactive_users_after = 100
username_min_length = 6
username_max_length = 700
password_min_length = 10
max_load_1m = 7.5
min_available_memory = 100M
min_free_disk_space = 2G
max_imap_connections = 50000
max_smtp_connections = 5000
tls_external_cert_and_key = /etc/certs/chain.pem /etc/certs/key.pem
www_folder =
disable_ipv6 = True
acme_email = admin@relay.test
imap_rawlog = false
imap_compress = true
iroh_relay =
mtail_address = 10.0.0.1
turn_socket_path = /run/turn.socket
privacy_postal = Street 1
  Town
privacy_mail = admin@relay.test
filtermail_smtp_port = 10080
passthrough_senders = x@y.test
min_free_disk_spase = 1G
delete_mails = x
`)
	im, h, err := runImport(t, ImportOrder{Root: root, Proc: proc, DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	c, d := im.Config, config.Default("relay.test")
	l := c.Limits
	if l.MaxUserSendPerMinute != 30 || l.MaxUserSendBurstSize != 5 || l.MaxMailboxSize != config.Gibi || l.MaxMessageSize != 1_000_000_000 ||
		l.MaxLoad1m != 7.5 || l.MinAvailableMemory != 100*config.Mebi || l.MinFreeDiskSpace != 2*config.Gibi ||
		l.MaxIMAPConnections != 50000 || l.MaxConnections != 100000 || l.MaxSMTPConnections != 5000 || l.SubmissionPerClient != 1000 {
		t.Errorf("limits %+v", l)
	}
	if e := c.Expiry; e.DeleteMailsAfter.String() != "40d" || e.DeleteLargeAfter.String() != "14d" || e.DeleteInactiveUsersAfter.String() != "100d" {
		t.Errorf("expiry %+v", e)
	}
	if a := c.Accounts; a.UsernameMinLength != 6 || a.UsernameMaxLength != d.Accounts.UsernameMaxLength || a.PasswordMinLength != 10 {
		t.Errorf("accounts %+v", a)
	}
	if c.TLS.Mode != config.TLSFiles || c.TLS.Cert != "/etc/certs/chain.pem" || c.ACME.Email != "admin@relay.test" || c.Contact.Admin != "admin@relay.test" {
		t.Errorf("%+v %+v", c.TLS, c.ACME)
	}
	if !c.IMAP.Compress || !slices.Contains(c.IMAP.LoginCapabilities, "COMPRESS=DEFLATE") || c.Iroh.Enabled || c.Iroh.URL != "" ||
		c.Listen.IMAPS[0] != "0.0.0.0:993" || c.Listen.Metrics[0] != "10.0.0.1:3903" {
		t.Errorf("%+v %+v %+v", c.IMAP, c.Iroh, c.Listen)
	}
	for _, key := range im.ini.Keys() {
		row, said := h.settings[key.Name]
		if !said || len(row.Ours) == 0 && row.Note == "" {
			t.Errorf("%s: %+v", key.Name, row)
		}
	}
	for key, effect := range map[string]bool{"username_max_length": false, "min_free_disk_spase": false, "imap_rawlog": false, "www_folder": false, "iroh_relay": true} {
		if row := h.settings[key]; len(row.Ours) > 0 != effect {
			t.Errorf("%+v", row)
		}
	}
	back := toINI(c)
	for _, line := range []string{"max_mailbox_size = 1024M", "delete_mails_after = 40", "disable_ipv6 = true", "iroh_relay = \n", "mtail_address = 10.0.0.1", "tls_external_cert_and_key = /etc/certs/chain.pem /etc/certs/key.pem"} {
		if !strings.Contains(back, line) {
			t.Errorf("no %q in\n%s", line, back)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "home/vmail/journal")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a dry run made something: %v", err)
	}
}

// uidOf opens the imported store and gives the UIDs of an account.
func uidsOf(t *testing.T, c *config.Config, name string) (uids []storage.UID, validity storage.UIDValidity) {
	t.Helper()
	if err := onStoppedStore(c, func(s *local.Store) error {
		m, err := s.Open(t.Context(), storage.Account{Address: smtp.Address{LocalPart: name, Domain: "relay.test"}}, "INBOX")
		if err != nil {
			return err
		}
		defer m.Close()
		v, err := m.View(t.Context())
		for _, m := range v.Messages {
			uids = append(uids, m.UID)
		}
		validity = v.UIDValidity
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return uids, validity
}

// All that lies beside the mail comes over, too; a second import in place
// changes nothing.
func TestImportsInPlaceWithAllThatLiesBeside(t *testing.T) {
	root, proc := oldServer(t, "www_folder = disabled\n")
	putOld(t, "", root, "etc/chatmail-nocreate")
	putOld(t, "<p>Hello</p>", root, "var/www/html/index.html")
	putOld(t, "x", root, "var/www/html/.well-known/acme-challenge/x")
	db, err := os.ReadFile("../../storage/cmdeploy/testdata/passdb.sqlite")
	if err != nil {
		t.Fatal(err)
	}
	putOld(t, string(db), root, "home/vmail/passdb.sqlite")
	putOld(t, "2", root, "home/vmail/mail/relay.test/user00002@relay.test/new/1775324677.M1P1.mx,S=1")
	for range 2 {
		im, h, err := runImport(t, ImportOrder{Root: root, Proc: proc})
		if err != nil {
			t.Fatal(err)
		}
		c := im.Config
		if h.end.Accounts != 62 || h.end.Messages != 2 || h.end.Faults != 0 || h.end.Waiting != 1 || c.DataDir != filepath.Join(root, "home/vmail") {
			t.Errorf("%+v, %v", h.end, h.found)
		}
		if c.DKIM.Selector != "first" || c.Web.Dir != filepath.Join(c.DataDir, "www") {
			t.Errorf("%+v, %+v, %v", c.DKIM, c.Web, h.found)
		}
		if keys, err := foundKeys(c); err != nil || keys[0].Selector != "first" {
			t.Errorf("%v, %v", keys, err)
		}
		for _, file := range []string{"nocreate", "www/index.html", "push/queue", "tls/self-signed.key", "mail/relay.test/user00002@relay.test/password"} {
			if _, err := os.Stat(filepath.Join(c.DataDir, file)); err != nil {
				t.Error(err)
			}
		}
		if _, err := os.Stat(filepath.Join(c.DataDir, "www/.well-known")); err == nil {
			t.Error("hidden pages were copied")
		}
		if uids, validity := uidsOf(t, c, "alice0001"); !slices.Equal(uids, []storage.UID{7}) || validity != 1275660208 {
			t.Errorf("%v, %d", uids, validity)
		}
	}
}

// A copy can be brought up to date until a relay has run on it, and not after.
func TestACopyIsRepeatedUntilARelayHasRunOnIt(t *testing.T) {
	root, proc := oldServer(t, "")
	order := ImportOrder{Root: root, Proc: proc, Copy: true, DataDir: filepath.Join(t.TempDir(), "data")}
	tree := filepath.Join(root, "home/vmail/mail/relay.test/alice0001@relay.test")
	live := order
	live.Live = true
	if _, h, err := runImport(t, live); err != nil || h.end.Phase != "copied" || h.end.Copied != 1 {
		t.Fatalf("%+v, %v", h.end, err)
	}
	for n := 2; n <= 3; n++ {
		putOld(t, "two", tree, "new", []string{"", "", "1775324690.M1P1.mx,S=3", "1775324691.M1P1.mx,S=3"}[n])
		im, h, err := runImport(t, order)
		if err != nil || h.end.Phase != "adopted" || h.end.Messages != int64(n) || h.end.Copied != 1 || h.end.Faults != 0 {
			t.Fatalf("%d: %+v, %v, %v", n, h.end, h.found, err)
		}
		if n == 3 {
			if uids, _ := uidsOf(t, im.Config, "alice0001"); !slices.Equal(uids, []storage.UID{7, 12, 13}) {
				t.Errorf("%v", uids)
			}
		}
	}
	im, _, err := runImport(t, order)
	if err == nil || !strings.Contains(err.Error(), "a relay has run on") {
		t.Errorf("after a relay had run: %v", err)
	}
	h := &heard{}
	if err := Export(t.Context(), im.Config, ExportOrder{Mail: filepath.Dir(tree), Proc: proc, Owner: -1}, h.line); err != nil || h.end.Copied != 0 {
		t.Errorf("%+v, %v", h.end, err)
	}
	if _, h, err := runImport(t, order); err != nil || h.end.Messages != 3 {
		t.Errorf("after it went back: %v, %v", h.end, err)
	}
	// An import that was cut off while it adopted is copied again.
	if err := (&importPhase{}).set(order.DataDir, phaseAdopting); err != nil {
		t.Fatal(err)
	}
	putOld(t, "two", tree, "new", "1775324695.M1P1.mx,S=3")
	if _, h, err := runImport(t, order); err != nil || h.end.Messages != 4 || h.end.Faults != 0 {
		t.Errorf("after a cut: %v, %v", h.end, err)
	}
	order.DataDir = t.TempDir()
	putOld(t, "", order.DataDir, "journal", "x")
	if _, _, err := runImport(t, order); err == nil || !strings.Contains(err.Error(), "was not imported") {
		t.Errorf("over another relay: %v", err)
	}
}

// Nothing begins while the old relay works on the tree or has mail to send.
func TestImportsNothingWhileTheOldRelayWorks(t *testing.T) {
	root, proc := oldServer(t, "")
	tree := filepath.Join(root, "home/vmail/mail/relay.test")
	process := func(pid, comm, cmdline string) string {
		putOld(t, comm+"\n", proc, pid, "comm")
		putOld(t, cmdline, proc, pid, "cmdline")
		if err := os.MkdirAll(filepath.Join(proc, pid, "fd"), 0o700); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(proc, pid)
	}
	link := func(to, name string) {
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(why string, want ...string) {
		t.Helper()
		_, h, err := runImport(t, ImportOrder{Root: root, Proc: proc})
		if !errors.Is(err, ErrInTheWay) || !slices.Equal(h.found, want) {
			t.Errorf("%s: %v, %v", why, h.found, err)
		}
		if _, err := os.Stat(filepath.Join(root, "home/vmail/journal")); err == nil {
			t.Fatalf("%s: something was made", why)
		}
	}
	const busy = "fault import.busy"
	process("100", "bash", "bash")
	master := process("101", "dovecot", "/usr/sbin/dovecot\x00-F")
	refused("a master of Dovecot", busy)
	os.RemoveAll(master)
	session := process("102", "imap", "dovecot/imap")
	link(tree+"/alice0001@relay.test", filepath.Join(session, "cwd"))
	refused("a session that outlives it", busy)
	os.RemoveAll(session)
	daemon := process("103", "python3", "/usr/local/lib/chatmaild/venv/bin/python3\x00chatmail-metadata")
	refused("a service of the reference", busy)
	os.RemoveAll(daemon)
	writer := process("104", "rsync", "rsync")
	link(tree+"/alice0001@relay.test/password", filepath.Join(writer, "fd", "3"))
	putOld(t, "pos:\t0\nflags:\t0100002\n", writer, "fdinfo", "3")
	refused("somebody who writes", busy)
	putOld(t, "pos:\t0\nflags:\t0100000\n", writer, "fdinfo", "3")
	putOld(t, "mail", root, "var/spool/postfix/deferred/A/ABCDEF")
	refused("mail that waits", "fault import.spool")

	_, h, err := runImport(t, ImportOrder{Root: root, Proc: proc, LeaveQueue: true})
	if err != nil || !slices.Contains(h.found, "warning import.spool") || h.end.Phase != "adopted" {
		t.Errorf("%v, %v", h.found, err)
	}
}

// A tree that does not lie as ours does can only be copied, and an import is of
// the relay whose configuration is there.
func TestSaysWhyATreeCannotBeTakenAsItLies(t *testing.T) {
	root, _ := oldServer(t, "mailboxes_dir = /srv/accounts\n")
	putOld(t, importHash, root, "srv/accounts/alice0001@relay.test/password")
	if _, err := PlanImport(ImportOrder{Root: root}); err == nil || !strings.Contains(err.Error(), "must be in a directory mail/relay.test") {
		t.Error(err)
	}
	if _, err := PlanImport(ImportOrder{Root: root, Copy: true, DataDir: t.TempDir()}); err != nil {
		t.Error(err)
	}
	other := config.Default("other.test")
	if _, err := PlanImport(ImportOrder{Root: root, Copy: true, DataDir: t.TempDir(), Config: other}); err == nil || !strings.Contains(err.Error(), "there is a configuration already") {
		t.Error(err)
	}
	if _, err := PlanImport(ImportOrder{Root: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "--ini") {
		t.Error(err)
	}
}

// The way back leaves nothing of ours in the tree, gives an INBOX without mail
// its list, and says what is lost; another tree becomes the same.
func TestExportsWhatDovecotNeeds(t *testing.T) {
	root, proc := oldServer(t, "")
	putOld(t, importHash, root, "home/vmail/mail/relay.test/empty0001@relay.test/password")
	im, _, err := runImport(t, ImportOrder{Root: root, Proc: proc})
	if err != nil {
		t.Fatal(err)
	}
	export := func(o ExportOrder) *heard {
		t.Helper()
		o.Proc, o.Owner = proc, -1
		h := &heard{}
		if err := Export(t.Context(), im.Config, o, h.line); err != nil {
			t.Fatal(err)
		}
		return h
	}
	_, validity := uidsOf(t, im.Config, "empty0001")
	tree := filepath.Join(im.Config.DataDir, "mail/relay.test")
	ours := func() (n int) {
		t.Helper()
		err := filepath.WalkDir(tree, func(_ string, e fs.DirEntry, err error) error {
			if err == nil && strings.HasPrefix(e.Name(), "barid") {
				n++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if h := export(ExportOrder{DryRun: true}); h.end.Phase != "dry-run" || ours() != 2 {
		t.Errorf("%+v, %d files of ours", h.end, ours())
	}
	back := filepath.Join(t.TempDir(), "relay.test")
	putOld(t, importHash, back, "gone00001@relay.test", "password")
	if h := export(ExportOrder{Mail: back}); h.end.Copied != 1 || !slices.Contains(h.found, "warning export.other") {
		t.Errorf("%+v, %v", h.end, h.found)
	}
	h := export(ExportOrder{})
	if h.end.Phase != "exported" || h.end.Faults != 0 || h.end.Accounts != 2 || ours() != 0 {
		t.Errorf("%+v, %d files of ours, %v", h.end, ours(), h.found)
	}
	for _, dir := range []string{tree, back} {
		text, err := os.ReadFile(filepath.Join(dir, "empty0001@relay.test/dovecot-uidlist"))
		if want := "3 V" + strconv.Itoa(int(validity)) + " N1 G"; err != nil || !strings.HasPrefix(string(text), want) {
			t.Errorf("%q, %v, not %q", text, err, want)
		}
		text, err = os.ReadFile(filepath.Join(dir, "alice0001@relay.test/dovecot-uidlist"))
		if err != nil || !strings.HasPrefix(string(text), "3 V1275660208 N12 G") || !strings.HasSuffix(string(text), "\n7 :1775324677.M1P1.mx,S=3\n") {
			t.Errorf("%q, %v", text, err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(im.Config.DataDir, "chatmail.ini")); err != nil || !strings.Contains(string(text), "mail_domain = relay.test\n") {
		t.Errorf("%q, %v", text, err)
	}
	if uids, again := uidsOf(t, im.Config, "alice0001"); !slices.Equal(uids, []storage.UID{7}) || again != 1275660208 {
		t.Errorf("%v, %d", uids, again)
	}
}

// Dovecot served once more without an export: the UIDs that it gave count when
// its tree is taken over again.
func TestImportsAgainAfterDovecotServed(t *testing.T) {
	root, proc := oldServer(t, "")
	if _, _, err := runImport(t, ImportOrder{Root: root, Proc: proc}); err != nil {
		t.Fatal(err)
	}
	alice := filepath.Join(root, "home/vmail/mail/relay.test/alice0001@relay.test")
	putOld(t, "late", alice, "new", "1775324700.M1P1.mx,S=4")
	putOld(t, "early", alice, "new", "1775324690.M1P1.mx,S=5")
	putOld(t, "3 V1275660208 N14\n7 :1775324677.M1P1.mx,S=3\n12 :1775324700.M1P1.mx,S=4\n13 :1775324690.M1P1.mx,S=5\n", alice, "dovecot-uidlist")
	im, h, err := runImport(t, ImportOrder{Root: root, Proc: proc})
	if err != nil || !slices.Contains(h.found, "import.stale") || h.end.Faults != 0 {
		t.Errorf("%v, %v", h.found, err)
	}
	if uids, _ := uidsOf(t, im.Config, "alice0001"); !slices.Equal(uids, []storage.UID{7, 12, 13}) {
		t.Errorf("%v", uids)
	}
}
