package cmdeploy

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"barid/storage/maildir"
)

// lockAge is when a lock of Dovecot is nobody's any more: it breaks them
// itself after two minutes.
const lockAge = 5 * time.Minute

// box looks at one mailbox.
func (l *looker) box(name string) error {
	sub, err := maildir.FolderPath(name)
	if err != nil {
		return err // FolderName gave it
	}
	dir := path.Join(l.seen.Name, sub)
	b := &boxLook{looker: l, dir: dir, box: SeenBox{Name: name, UIDs: map[uint32]int64{}}, sizes: map[string]int64{}}
	for _, place := range []string{maildir.Cur, maildir.New} {
		if err := b.list(place); err != nil {
			return fmt.Errorf("list a mailbox: %w", err)
		}
	}
	if err := b.uidlist(); err != nil {
		return fmt.Errorf("read dovecot-uidlist: %w", err)
	}
	b.locks()
	b.judge()
	l.seen.Boxes = append(l.seen.Boxes, b.box)
	return nil
}

// boxLook is a mailbox that is being looked at.
type boxLook struct {
	*looker
	dir   string
	box   SeenBox
	sizes map[string]int64 // by base: what the name tells, or -1
	cur   map[string]bool  // bases in cur

	doubles, keyworded, links int
	unlisted                  int    // in cur, and dovecot-uidlist does not have it
	missized                  int    // whose name tells a wrong size
	missizedFile              string // the first of them
	listErr                   error  // why dovecot-uidlist cannot be read
}

func (b *boxLook) list(place string) error {
	entries, err := b.t.fs.ReadDir(path.Join(b.dir, place))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if place == maildir.Cur {
		b.cur = make(map[string]bool, len(entries))
	}
	for _, e := range entries {
		n, ok := maildir.ParseName(e.Name())
		if !ok || !e.Type().IsRegular() {
			if e.Name() != ".keep" {
				b.links++
			}
			continue
		}
		b.owner(e)
		if _, double := b.sizes[n.Base]; double {
			b.doubles++
			continue
		}
		b.sizes[n.Base] = n.Size
		if place == maildir.Cur {
			b.cur[n.Base] = true
		}
		if n.Keywords() != "" {
			b.keyworded++
		}
		if b.wrongSize(place, e, n) {
			if b.missized++; b.missized == 1 {
				b.missizedFile = path.Join(place, e.Name())
			}
		}
		b.box.Files++
		b.box.Octets += max(n.Size, 0)
	}
	return nil
}

// maxContent is the largest content that is opened: of what is larger the store
// tells, when somebody wants it.
const maxContent = 1 << 30

// wrongSize tells whether the name of a file says another size than its content
// has, or that it is compressed and broken. Of large compressed content it cannot
// tell: that is not inflated here.
func (b *boxLook) wrongSize(place string, e fs.DirEntry, n maildir.Name) bool {
	i, err := e.Info()
	if err != nil || n.Size < 0 || i.Size() == n.Size {
		return false
	}
	// Few get here that are not compressed.
	c, err := maildir.At(b.t.fs, b.dir).Open(place, e.Name(), maxContent)
	if err != nil {
		return maildir.Lasting(err)
	}
	defer c.Close()
	return c.Size() != n.Size
}

// uidlist takes the UIDs of the files there are.
func (b *boxLook) uidlist() error {
	text, err := readSmall(b.t.fs, path.Join(b.dir, maildir.UIDListName), maxUIDList)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errLarge) {
		b.listErr = err
		return nil
	}
	if err != nil {
		return err
	}
	list, err := maildir.ReadUIDList(bytes.NewReader(text))
	if err != nil {
		b.listErr = err // judge says so
		return nil
	}
	b.box.Validity, b.box.Next = list.UIDValidity, list.UIDNext
	listed := make(map[string]bool, len(list.Entries))
	for _, e := range list.Entries {
		n, ok := maildir.ParseName(e.Name)
		if !ok || listed[n.Base] {
			continue
		}
		if size, there := b.sizes[n.Base]; there {
			listed[n.Base] = true
			b.box.UIDs[e.UID] = size
		}
	}
	for base := range b.cur {
		if !listed[base] {
			b.unlisted++
		}
	}
	return nil
}

// locks looks for a lock of Dovecot's, which other machines hold too.
func (b *boxLook) locks() {
	const name = maildir.UIDListName + ".lock"
	i, err := b.t.fs.Stat(path.Join(b.dir, name))
	if err != nil {
		return
	}
	if age := b.t.now().Sub(i.ModTime()); age < lockAge && age > -lockAge {
		b.tell(fault(FoundLocked, "", "Dovecot holds this mailbox: it is working on the tree.", "Stop it, also on other machines, and import again."), name)
	}
}

// judge tells what does not come over as it was.
func (b *boxLook) judge() {
	switch {
	case b.box.Validity == 0 && b.box.Files > 0:
		b.tell(warning(FoundUIDList, "", fmt.Sprintf("%s: clients see the mailbox as a new one, %s.", b.whyNoList(),
			counted(b.box.Files, "message is downloaded again", "messages are downloaded again")), ""), maildir.UIDListName)
	case b.unlisted > 0:
		b.tell(warning(FoundUIDList, "", fmt.Sprintf("is not whole: %s.",
			counted(b.unlisted, "message gets a new UID and is downloaded again", "messages get new UIDs and are downloaded again")), ""), maildir.UIDListName)
	}
	if b.keyworded > 0 {
		names, _ := readSmall(b.t.fs, path.Join(b.dir, keywordsName), 64<<10)
		b.tell(info(FoundKeywords, "", fmt.Sprintf("%s keywords (%s): they stay in the file names for the way back, clients are not shown them.",
			counted(b.keyworded, "message has", "messages have"), keywordNames(names)), ""), "")
	}
	if b.missized > 0 {
		b.tell(warning(FoundSize, "", fmt.Sprintf("is the first of %s whose content is not as large as the name says (S=), or cannot be inflated: clients may get it cut off, or not at all.",
			counted(b.missized, "file", "files")), ""), b.missizedFile)
	}
	if b.doubles > 0 {
		b.tell(info(FoundDouble, "", fmt.Sprintf("%s of messages that are there already; one of each is shown.", counted(b.doubles, "file", "files")), ""), "")
	}
	if b.links > 0 {
		b.tell(warning(FoundForeign, "", fmt.Sprintf("%s in it that no message can be (links, directories, hidden files).", counted(b.links, "thing lies", "things lie")), ""), "")
	}
}

func (b *boxLook) whyNoList() string {
	if errors.Is(b.listErr, fs.ErrNotExist) {
		return "is missing"
	}
	return "cannot be read (" + b.listErr.Error() + ")"
}

func (b *boxLook) tell(f Found, file string) {
	f.Account, f.Mailbox, f.File = b.seen.Name, b.box.Name, file
	b.add(f)
}

// keywordNames gives the names in a file dovecot-keywords: "0 $Forwarded", one
// a line.
func keywordNames(text []byte) string {
	var names []string
	for line := range strings.Lines(string(text)) {
		if _, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok && len(names) < 26 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "names unknown"
	}
	return strings.Join(names, " ")
}
