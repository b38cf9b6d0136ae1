package cmdeploy

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"barid/internal/journal"
	"barid/smtp"
	"barid/storage"
	"barid/storage/maildir"
	"barid/storage/metadata"
)

// The files of an account.
const (
	passwordName = "password"
	enforceName  = "enforceE2EEincoming"
	disabledName = "DISABLED"
	keywordsName = "dovecot-keywords"
	sizeName     = "maildirsize"
	snapshotName = "barid-mailbox" // ours, see storage/local
	pendingDir   = "pending_notifications"
)

// Bounds of what is read whole.
const (
	maxUIDList  = 128 << 20
	maxPassword = 1024
	maxMetadata = 8 << 20
)

// Tree is the directory that has a directory for each account. It is only
// read.
type Tree struct {
	fs     journal.FS
	domain string // behind the "@" of all addresses
	owner  uint32 // user ID of the tree's owner
	now    func() time.Time
}

// OpenTree opens the tree at path, which must be there, of the accounts at
// domain (a name, or "[192.0.2.7]"). Nothing can lead out of it. The caller
// closes it.
func OpenTree(path, domain string) (*Tree, error) {
	// OpenFS would make it.
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open the tree of accounts: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("open the tree of accounts: %s is no directory", path)
	}
	fsys, err := journal.OpenFS(path)
	if err != nil {
		return nil, fmt.Errorf("open the tree of accounts: %w", err)
	}
	return &Tree{fs: fsys, domain: domain, owner: ownerOf(info), now: time.Now}, nil
}

// Close closes it.
func (t *Tree) Close() error { return t.fs.Close() }

// Owner is the user that the tree belongs to.
func (t *Tree) Owner() uint32 { return t.owner }

func ownerOf(info fs.FileInfo) uint32 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Uid
	}
	return 0
}

// Accounts lists the directories that may be accounts, by name, and tells of
// what else lies there.
func (t *Tree) Accounts() (names []string, found []Found, err error) {
	entries, err := t.fs.ReadDir(".")
	if err != nil {
		return nil, nil, fmt.Errorf("list the tree of accounts: %w", err)
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == pendingDir:
		case !strings.Contains(name, "@") || !e.IsDir():
			f := info(FoundForeign, "", "belongs to no account and is left alone.", "")
			f.File = name
			found = append(found, f)
		case !t.ours(name):
			found = append(found, warning(FoundAddress, name, "is no address that this relay can have; its directory is left alone.",
				"Rename it to a lower-case address at "+t.domain+" if it is one of yours."))
		default:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	slices.SortFunc(found, func(x, y Found) int {
		return cmp.Or(strings.Compare(x.Account, y.Account), strings.Compare(x.File, y.File))
	})
	return names, found, nil
}

// ours tells whether an account of this relay can have that address: what the
// reference lets log in, in lower case.
func (t *Tree) ours(name string) bool {
	local, ok := strings.CutSuffix(name, "@"+t.domain)
	if !ok || local == "" || len(local) > smtp.MaxLocalPart {
		return false
	}
	return strings.Trim(local, "abcdefghijklmnopqrstuvwxyz0123456789._-[]") == ""
}

// address gives the address of a directory.
func (t *Tree) address(name string) smtp.Address {
	return smtp.Address{LocalPart: strings.TrimSuffix(name, "@"+t.domain), Domain: t.domain}
}

// Seen is an account as it lies on disk.
type Seen struct {
	Name    string // of its directory: the address
	Account bool   // it has a password file
	Boxes   []SeenBox
	Strange int // files of another owner

	used bool // it is not an empty directory
}

// SeenBox is a mailbox as it lies on disk.
type SeenBox struct {
	Name     string
	Validity uint32           // zero: no dovecot-uidlist that can be read
	Next     uint32           // likewise
	UIDs     map[uint32]int64 // of files that dovecot-uidlist has: the size that the name tells, or -1
	Files    int              // messages
	Octets   int64            // as far as names tell
}

// Messages counts the messages of all mailboxes.
func (s *Seen) Messages() (n int) {
	for _, b := range s.Boxes {
		n += b.Files
	}
	return n
}

// Octets adds up their sizes.
func (s *Seen) Octets() (n int64) {
	for _, b := range s.Boxes {
		n += b.Octets
	}
	return n
}

// looker looks at one account.
type looker struct {
	t     *Tree
	seen  *Seen
	found []Found
}

func (l *looker) add(f Found) { l.found = append(l.found, f) }

// Look reads an account's directory and changes nothing. What is wrong with it
// is in what it found; the error is that of the disk, or of ctx.
func (t *Tree) Look(ctx context.Context, name string) (*Seen, []Found, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	l := &looker{t: t, seen: &Seen{Name: name}}
	entries, err := t.fs.ReadDir(name)
	if err != nil {
		return nil, nil, fmt.Errorf("look at an account: %w", err)
	}
	folders := l.entries(entries)
	if err := l.password(); err != nil {
		return nil, nil, err
	}
	if !l.seen.Account {
		return l.seen, l.found, nil
	}
	l.tokens()
	for _, box := range append([]string{storage.InboxName}, folders...) {
		if err := l.box(box); err != nil {
			return nil, nil, err
		}
	}
	if l.seen.Strange > 0 {
		l.add(warning(FoundOwner, name, fmt.Sprintf("%s another owner than the tree.", counted(l.seen.Strange, "file has", "files have")),
			"They get the tree's owner when root imports."))
	}
	return l.seen, l.found, nil
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// entries goes through what lies in the account's directory, and gives the
// mailboxes.
func (l *looker) entries(entries []fs.DirEntry) (folders []string) {
	raw := 0
	for _, e := range entries {
		l.owner(e)
		name := e.Name()
		l.seen.used = true
		mailbox, isBox := maildir.FolderName(name)
		switch {
		case e.IsDir() && isBox:
			folders = append(folders, mailbox)
		case e.IsDir() && (name == maildir.Cur || name == maildir.New || name == maildir.Tmp):
		case !e.IsDir() && known(name):
		case !e.IsDir() && (strings.HasSuffix(name, ".in") || strings.HasSuffix(name, ".out")):
			raw++
		case e.IsDir() && strings.HasPrefix(name, "."):
			f := warning(FoundMailbox, l.seen.Name, "is a mailbox whose name no client can use here; it is left alone.", "")
			f.File = name
			l.add(f)
		default:
			f := info(FoundForeign, l.seen.Name, "is nothing of an account and is left alone.", "")
			f.File = name
			l.add(f)
		}
	}
	if raw > 0 {
		l.add(warning(FoundRawLog, l.seen.Name, fmt.Sprintf("%s of IMAP dialogues, made by imap_rawlog, with passwords inside.", counted(raw, "log", "logs")),
			"Remove *.in and *.out there; they are not taken over."))
	}
	slices.Sort(folders)
	return folders
}

// known are the files of an account that have a meaning, here or to Dovecot.
func known(name string) bool {
	switch name {
	case passwordName, enforceName, disabledName, sizeName, "maildirfolder", "password.lock", metadata.FileName + ".lock":
		return true
	}
	for _, prefix := range []string{"dovecot", metadata.FileName, maildir.SubscriptionsName, snapshotName} {
		if name == prefix || strings.HasPrefix(name, prefix+".") || strings.HasPrefix(name, prefix+"-") {
			return true
		}
	}
	return false
}

// owner counts what belongs to somebody else.
func (l *looker) owner(e fs.DirEntry) {
	if i, err := e.Info(); err == nil && ownerOf(i) != l.t.owner {
		l.seen.Strange++
	}
}

// password judges the password file. Whatever is in it stays.
func (l *looker) password() error {
	text, err := readSmall(l.t.fs, l.seen.Name+"/"+passwordName, maxPassword)
	hash := strings.TrimSpace(string(text))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if l.seen.used {
			l.add(warning(FoundNoPassword, l.seen.Name, "has no password file, so it is no account; its directory is left alone.", ""))
		}
		return nil
	case errors.Is(err, errLarge):
		hash = "" // below
	case err != nil:
		return fmt.Errorf("read a password file: %w", err)
	}
	l.seen.Account = true
	if scheme, rest, ok := strings.Cut(hash, "}"); ok && strings.HasPrefix(scheme, "{") {
		hash = rest
	}
	if !strings.HasPrefix(hash, "$") {
		f := warning(FoundNoHash, l.seen.Name, "has a password file that fits no password: nobody can log in, mail is kept.",
			"That is how an account is blocked; else write a hash of crypt(3) into it.")
		f.File = passwordName
		l.add(f)
	}
	return nil
}

// tokens judges metadata.json.
func (l *looker) tokens() {
	text, err := readSmall(l.t.fs, l.seen.Name+"/"+metadata.FileName, maxMetadata)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		_, err = metadata.Read(bytes.NewReader(text), l.t.now())
	}
	if err != nil {
		f := warning(FoundTokens, l.seen.Name, "cannot be read: its push tokens are lost.", "Devices set them again when they connect next.")
		f.File = metadata.FileName
		l.add(f)
	}
}

var errLarge = errors.New("too large")

// readSmall reads a file whole, at most limit octets: errLarge.
func readSmall(fsys journal.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = errLarge
	}
	return text, err
}
