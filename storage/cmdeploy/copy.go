package cmdeploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"barid/internal/journal"
	"barid/storage"
	"barid/storage/maildir"
	"barid/storage/metadata"
)

// tries is how often a mailbox is copied that changes meanwhile.
const tries = 3

// Copy brings the accounts of a tree to another place, and what became of them
// since it did so last: what is there already costs two looks at each file.
// The tree is only read. Nothing is durable before To.SyncFS.
type Copy struct {
	From *Tree
	To   journal.FS // must be a journal.Toucher
	Dir  string     // of the accounts, below To; it is there
	// Live says that others may write to the tree meanwhile: a copy to be
	// repeated when they no longer do.
	Live bool
	// Keep tells which of the small files of an account, and of a mailbox, are
	// left as they are at the other end.
	Keep func(name string) bool
}

// Copied is what a Copy did.
type Copied struct {
	Files, Octets     int64 // copied
	Renamed, Removed  int64
	Unchanged, Repeat int64 // messages that were there; mailboxes copied again
}

func (c *Copied) add(o Copied) {
	c.Files += o.Files
	c.Octets += o.Octets
	c.Renamed += o.Renamed
	c.Removed += o.Removed
	c.Unchanged += o.Unchanged
	c.Repeat += o.Repeat
}

// accountFiles are the small files of an account that are copied, the password
// last: until it is there, the account is none.
var accountFiles = [...]string{metadata.FileName, maildir.SubscriptionsName, enforceName, disabledName, passwordName}

// boxFiles are those of a mailbox.
var boxFiles = [...]string{maildir.UIDListName, keywordsName}

// Account copies one account. What it found is for the report; the error is
// that of a disk, or of ctx.
func (c *Copy) Account(ctx context.Context, name string) (sum Copied, found []Found, err error) {
	w := &copying{Copy: c, ctx: ctx, name: name}
	err = w.account()
	if err != nil {
		err = fmt.Errorf("copy an account: %w", err)
	}
	return w.sum, w.found, err
}

// DropOthers removes the accounts at the other end that are none of those: the
// source has them no more.
func (c *Copy) DropOthers(accounts []string) error {
	keep := make(map[string]bool, len(accounts))
	for _, name := range accounts {
		keep[name] = true
	}
	entries, err := c.To.ReadDir(c.Dir)
	if err != nil {
		return fmt.Errorf("list what was copied: %w", err)
	}
	for _, e := range entries {
		if keep[e.Name()] || !strings.Contains(e.Name(), "@") {
			continue
		}
		if err := c.To.RemoveAll(path.Join(c.Dir, e.Name())); err != nil {
			return fmt.Errorf("remove an account that is gone: %w", err)
		}
	}
	return nil
}

// copying is one account on its way.
type copying struct {
	*Copy
	ctx   context.Context
	name  string
	sum   Copied
	found []Found
}

func (w *copying) to(elem ...string) string { return path.Join(w.Dir, w.name, path.Join(elem...)) }

func (w *copying) account() error {
	if err := mkdir(w.To, w.to()); err != nil {
		return err
	}
	folders, err := maildir.Folders(w.From.fs, w.name)
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, box := range append([]string{storage.InboxName}, folders...) {
		sub, err := maildir.FolderPath(box)
		if err != nil {
			return err
		}
		wanted[box] = true
		if err := w.box(box, sub); err != nil {
			return err
		}
	}
	if err := w.dropFolders(wanted); err != nil {
		return err
	}
	for _, name := range accountFiles {
		if err := w.small("", name); err != nil {
			return err
		}
	}
	return nil
}

func mkdir(fsys journal.FS, name string) error {
	if err := fsys.Mkdir(name); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// dropFolders removes mailboxes that the source has no more.
func (w *copying) dropFolders(wanted map[string]bool) error {
	there, err := maildir.Folders(w.To, w.to())
	if err != nil {
		return err
	}
	for _, box := range there {
		if wanted[box] {
			continue
		}
		if err := w.To.RemoveAll(w.to("." + box)); err != nil {
			return err
		}
		w.sum.Removed++
	}
	return nil
}

// box copies one mailbox until it stands still.
func (w *copying) box(box, sub string) error {
	from := maildir.At(w.From.fs, path.Join(w.name, sub))
	to := maildir.At(w.To, w.to(sub))
	if err := to.Make(); err != nil {
		return err
	}
	for try := 1; ; try++ {
		before := w.stamps(sub)
		moved, err := w.files(from, to)
		if err != nil {
			return err
		}
		for _, name := range boxFiles {
			if err := w.small(sub, name); err != nil {
				return err
			}
		}
		if !moved && before == w.stamps(sub) {
			return w.dropSnapshots(sub)
		}
		if try == tries {
			f := info(FoundChanged, w.name, "changed while it was copied; copy it again when nobody serves the old tree any more.", "")
			if !w.Live {
				f = fault(FoundChanged, w.name, "changed while it was copied: somebody works on the old tree.", "Stop that, and import again.")
			}
			f.Mailbox = box
			w.found = append(w.found, f)
			return w.dropSnapshots(sub)
		}
		w.sum.Repeat++
	}
}

// stamps tell one state of a mailbox from another.
func (w *copying) stamps(sub string) (at [3]time.Time) {
	for i, name := range []string{maildir.Cur, maildir.New, maildir.UIDListName} {
		if info, err := w.From.fs.Stat(path.Join(w.name, sub, name)); err == nil {
			at[i] = info.ModTime()
		}
	}
	return at
}

// files makes the message files of to those of from. moved tells that one was
// gone when its turn came.
func (w *copying) files(from, to maildir.Dir) (moved bool, err error) {
	list, err := from.List()
	if err != nil {
		return false, err
	}
	there, err := to.List()
	if err != nil {
		return false, err
	}
	byBase := make(map[string]maildir.File, len(there))
	var extra []maildir.File
	for _, f := range there {
		n, _ := maildir.ParseName(f.Name)
		if _, double := byBase[n.Base]; double {
			extra = append(extra, f)
			continue
		}
		byBase[n.Base] = f
	}
	for _, f := range list {
		if err := w.ctx.Err(); err != nil {
			return false, err
		}
		n, _ := maildir.ParseName(f.Name)
		old, ok := byBase[n.Base]
		delete(byBase, n.Base) // a second file of that base is copied
		err := w.file(from, to, f, old, ok)
		if errors.Is(err, fs.ErrNotExist) {
			moved = true
			continue
		}
		if err != nil {
			return false, err
		}
	}
	for _, f := range byBase {
		extra = append(extra, f)
	}
	if moved {
		return true, nil // it may only have another name now
	}
	for _, f := range extra {
		if err := to.Remove(f.Sub, f.Name); err != nil {
			return false, err
		}
		w.sum.Removed++
	}
	return moved, nil
}

// file brings one message file over, or renames the one that is there.
func (w *copying) file(from, to maildir.Dir, f, old maildir.File, known bool) error {
	info, err := from.Stat(f.Sub, f.Name)
	if err != nil {
		return err
	}
	if known {
		if there, err := to.Stat(old.Sub, old.Name); err == nil && there.Size() == info.Size() {
			if old == f {
				w.sum.Unchanged++
				return nil
			}
			w.sum.Renamed++
			return to.Move(old.Sub, old.Name, f.Sub, f.Name)
		}
		if err := to.Remove(old.Sub, old.Name); err != nil {
			return err
		}
	}
	n, err := w.carry(path.Join(from.Path(), f.Sub, f.Name), path.Join(to.Path(), maildir.Tmp, f.Name), path.Join(to.Path(), f.Sub, f.Name), info.ModTime())
	if err != nil {
		return err
	}
	if n != info.Size() {
		return fmt.Errorf("a message file of %d octets has %d", info.Size(), n)
	}
	w.sum.Files++
	w.sum.Octets += n
	return nil
}

// carry copies a file by way of a temporary name, with its time.
func (w *copying) carry(from, tmp, to string, mtime time.Time) (n int64, err error) {
	in, err := w.From.fs.OpenFile(from, os.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := w.To.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return 0, atOtherEnd(err)
	}
	n, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err == nil {
		if t, ok := w.To.(journal.Toucher); ok {
			err = t.Touch(tmp, mtime)
		}
	}
	if err == nil {
		err = w.To.Rename(tmp, to)
	}
	return n, atOtherEnd(err)
}

// atOtherEnd keeps a file that is missing where it is written to from being
// taken for one that left the source.
func atOtherEnd(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the directory copied to is gone: %v", err)
	}
	return err
}

// small copies a small file if it changed, or removes it when the source has
// none.
func (w *copying) small(sub, name string) error {
	if w.Keep != nil && w.Keep(name) {
		return nil
	}
	from, to := path.Join(w.name, sub, name), w.to(sub, name)
	info, err := w.From.fs.Stat(from)
	if errors.Is(err, fs.ErrNotExist) {
		if err := w.To.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	if there, err := w.To.Stat(to); err == nil && there.Size() == info.Size() && there.ModTime().Equal(info.ModTime()) {
		return nil
	}
	_, err = w.carry(from, to+".new", to, info.ModTime())
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the stamps tell
	}
	return err
}

// dropSnapshots removes what our store made of an earlier copy: it makes it
// anew from what lies there now.
func (w *copying) dropSnapshots(sub string) error { return dropSnapshots(w.To, w.to(sub)) }

// dropSnapshots removes our own files from a mailbox's directory.
func dropSnapshots(fsys journal.FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if name == snapshotName || strings.HasPrefix(name, snapshotName+".") {
			if err := fsys.Remove(path.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}
