package app

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"barid/acme"
	"barid/dkim"
	"barid/imap/push"
	"barid/internal/config"
	"barid/internal/finding"
	"barid/internal/journal"
	"barid/internal/wholefile"
	"barid/storage/cmdeploy"
)

// Bounds of what is copied beside the mail.
const (
	maxImportFile = 1 << 20 // a key, a certificate
	maxWebFiles   = 2000
	maxWebOctets  = 200 << 20
)

// old gives a path of the old server.
func (im *Import) old(path string) string { return filepath.Join(im.order.Root, path) }

// beside takes over what lies beside the mail. What cannot be is said.
func (im *Import) beside(tree *cmdeploy.Tree, end *ImportEnd) error {
	for _, part := range []func() error{im.noCreate, im.adoptDKIM, im.adoptCertificate, im.adoptPages} {
		if err := part(); err != nil {
			return err
		}
	}
	if err := im.adoptPending(tree, end); err != nil {
		return err
	}
	return Prepare(im.Config)
}

// readOld reads a small file of the old server.
func readOld(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxImportFile+1))
	if err == nil && len(text) > maxImportFile {
		err = fmt.Errorf("%s is larger than %d octets", path, maxImportFile)
	}
	return text, err
}

// noCreate keeps registration closed where it was.
func (im *Import) noCreate() error {
	if _, err := os.Stat(im.old("/etc/chatmail-nocreate")); err != nil {
		return nil
	}
	if err := wholefile.Write(filepath.Join(im.Config.DataDir, "nocreate"), nil); err != nil {
		return err
	}
	return im.say("import.registration", finding.Info, "No accounts are made, as before.", `"barid registration open" changes that.`)
}

// adoptDKIM takes over the key that signs, so that the DNS stays as it is.
func (im *Import) adoptDKIM() error {
	if im.names.mail != im.names.host || im.Config.DKIM.Selector != "" {
		return nil
	}
	selector, path := im.order.DKIMSelector, im.order.DKIMKey
	if path == "" {
		selector, path = im.signingTable()
	}
	key, err := dkim.ReadKey(path, selector)
	var text []byte
	if err == nil {
		text, err = readOld(path)
	}
	if err != nil {
		return im.say("import.dkim", finding.Warning, "The DKIM key is not taken over: "+err.Error()+".",
			`Name it with --dkim-key and --dkim-selector, or publish the new ones ("barid dns") before the switch.`)
	}
	to := filepath.Join(im.Config.DataDir, "dkim", selector+".private")
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fmt.Errorf("adopt the DKIM key: %w", err)
	}
	if err := wholefile.Write(to, text); err != nil {
		return err
	}
	im.Config.DKIM = config.DKIM{Selector: key.Selector, Key: to}
	return nil
}

// signingTable finds selector and key as OpenDKIM has them, or where the
// reference keeps them.
func (im *Import) signingTable() (selector, path string) {
	selector, path = "opendkim", im.old("/etc/dkimkeys/opendkim.private")
	text, err := readOld(im.old("/etc/dkimkeys/KeyTable"))
	if err != nil {
		return selector, path
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 2 || strings.HasPrefix(line, "#") {
			continue
		}
		if part := strings.SplitN(f[1], ":", 3); len(part) == 3 && strings.EqualFold(part[0], im.names.mail) {
			return part[1], im.old(part[2])
		}
	}
	return selector, path
}

// adoptCertificate takes over key and certificate, which clients remember.
func (im *Import) adoptCertificate() error {
	chain, key := "/var/lib/acme/live/"+im.bare+"/fullchain", "/var/lib/acme/live/"+im.bare+"/privkey"
	switch im.Config.TLS.Mode {
	case config.TLSFiles:
		return im.say("import.tls", finding.Info, "The certificate is read from where it is, "+im.Config.TLS.Cert+" and "+im.Config.TLS.Key+".",
			"See that the user who runs this relay can read them.")
	case config.TLSSelfSigned:
		chain, key = "/etc/ssl/certs/mailserver.pem", "/etc/ssl/private/mailserver.key"
	}
	chainPEM, err := readOld(im.old(chain))
	var keyPEM []byte
	if err == nil {
		keyPEM, err = readOld(im.old(key))
	}
	if err == nil {
		c := acme.Config{Mode: im.Config.TLS.Mode, Names: append([]string{im.names.mail}, im.Config.TLS.Names...), Dir: filepath.Join(im.Config.DataDir, "tls")}
		if c.Mode == config.TLSACME {
			if c.Issuance, err = issuanceOf(im.Config); err != nil {
				return err
			}
		}
		err = acme.Adopt(c, chainPEM, keyPEM)
	}
	if errors.Is(err, acme.ErrOtherKey) {
		return im.say("import.tls", finding.Info, "There is a key from an earlier start, which stays.", "")
	}
	if err != nil {
		return im.say("import.tls", finding.Warning, "The certificate is not taken over: "+err.Error()+".",
			"The relay gets one of its own; until then a self-signed one serves.")
	}
	if im.Config.TLS.Mode == config.TLSACME {
		return im.say("import.tls", finding.Info, "The certificate is taken over and renewed from here, with the same key, by an ACME account of its own.",
			`A CAA record with the accounturi of the old one must change: "barid dns check" looks.`)
	}
	return nil
}

// adoptPages takes over the operator's own pages.
func (im *Import) adoptPages() error {
	folder, _ := im.ini.Get("www_folder")
	if folder == "" && im.order.WWW == "" || im.Config.Web.Dir != "" {
		return nil
	}
	from := im.order.WWW
	for _, dir := range []string{im.old(folder), im.old("/var/www/html")} {
		if from == "" && hasPage(dir) {
			from = dir
		}
	}
	if from == "" || !hasPage(from) {
		return im.say("import.www", finding.Warning, "No pages were found (an index.html in www_folder or /var/www/html).", "This program's own are shown; name yours with --www.")
	}
	to := filepath.Join(im.Config.DataDir, "www")
	if err := copyPages(from, to); err != nil {
		return im.say("import.www", finding.Warning, "The pages are not taken over: "+err.Error()+".", "Set web.dir to their directory.")
	}
	im.Config.Web.Dir = to
	return im.say("import.www", finding.Info, "The pages of "+from+" are taken over.", "What the old relay made of them for its own domain stays as it was made.")
}

func hasPage(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, "index.html"))
	return err == nil && info.Mode().IsRegular()
}

// copyPages copies the files of a directory, but not hidden ones.
func copyPages(from, to string) error {
	files, octets := 0, int64(0)
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		dest := filepath.Join(to, below)
		switch {
		case below != "." && strings.HasPrefix(e.Name(), "."):
			if e.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case e.IsDir():
			return os.MkdirAll(dest, 0o700)
		case !e.Type().IsRegular():
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if files, octets = files+1, octets+info.Size(); files > maxWebFiles || octets > maxWebOctets {
			return fmt.Errorf("%s has more than %d files or %d octets", from, maxWebFiles, maxWebOctets)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(dest, text, 0o600)
	})
}

// adoptPending takes over wake-ups that wait.
func (im *Import) adoptPending(tree *cmdeploy.Tree, end *ImportEnd) error {
	waiting, bad, err := tree.Pending()
	if err != nil {
		return im.say("import.pending", finding.Warning, err.Error()+".", "Devices look by themselves when their app is opened.")
	}
	if bad > 0 {
		if err := im.say("import.pending", finding.Info, fmt.Sprintf("%d files in pending_notifications are no wake-ups.", bad), ""); err != nil {
			return err
		}
	}
	if len(waiting) == 0 || !im.Config.Push.Enabled {
		return nil
	}
	list := make([]push.Waiting, len(waiting))
	for i, w := range waiting {
		list[i] = push.Waiting(w)
	}
	fsys, err := journal.OpenFS(filepath.Join(im.Config.DataDir, "push"))
	if err != nil {
		return err
	}
	defer fsys.Close()
	end.Waiting, err = push.Adopt(fsys, list, im.order.Now())
	return err
}

// ourEntries are what this program makes in a data directory.
var ourEntries = []string{
	"journal", "staging", "queue", "barid-store", "barid-accounts", "removed-names", "removed-names.key", "removed", "nocreate", "invites",
	"dkim", "tls", "push", "www", importFile, "lock", "mta-sts.json", "expiry.json", "turn-secrets", "mail",
}

// give gives what root made to who shall have it: the tree's owner, so that the
// relay can run as that user.
func (im *Import) give(tree *cmdeploy.Tree) error {
	owner := im.order.Owner
	if owner < 0 && !im.order.Copy {
		owner = int(tree.Owner())
	}
	if os.Geteuid() != 0 || owner < 0 {
		return nil
	}
	roots := []string{"."}
	if !im.order.Copy {
		roots = ourEntries // the directory may be somebody's home
	}
	if err := giveTree(im.Config.DataDir, uint32(owner), roots...); err != nil {
		return fmt.Errorf("give the data directory to its owner: %w", err)
	}
	return nil
}

// giveTree changes the owner of what lies below dir in those places and has
// another one, and its group to that of dir where dir has that owner.
func giveTree(dir string, owner uint32, below ...string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	info, err := root.Stat(".")
	if err != nil {
		return err
	}
	group := -1 // stays
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid == owner {
		group = int(st.Gid)
	}
	for _, start := range below {
		err := fs.WalkDir(root.FS(), start, func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != owner {
				return root.Lchown(path, int(owner), group)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
