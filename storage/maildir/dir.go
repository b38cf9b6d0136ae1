package maildir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	"barid/internal/journal"
)

// The directories of a mailbox.
const (
	Cur = "cur" // messages
	New = "new" // messages that no client was told of; we read them, and write to cur
	Tmp = "tmp" // files being written
)

// Dir is one mailbox directory within a file system. It is a value and holds
// nothing open. Nothing it does is durable before journal.FS.SyncFS.
type Dir struct {
	fs   journal.FS
	path string
}

// At gives the mailbox directory with that path in fsys, "" for its root.
func At(fsys journal.FS, dir string) Dir { return Dir{fsys, path.Clean(dir)} }

// Path is where the directory is.
func (d Dir) Path() string { return d.path }

func (d Dir) name(sub, name string) string { return path.Join(d.path, sub, name) }

// Make makes the directory with cur, new and tmp; what is there already is
// fine. The directory above it must exist.
func (d Dir) Make() error {
	for _, name := range []string{d.path, d.name(Cur, ""), d.name(New, ""), d.name(Tmp, "")} {
		if err := d.fs.Mkdir(name); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make maildir: %w", err)
		}
	}
	return nil
}

// Write puts content into a file, by way of tmp, replacing one of that name.
// With gzip it is compressed where that saves a block of the disk.
func (d Dir) Write(sub, name string, c Source, gzip bool) error {
	err := d.viaTmp(sub, name, func(f journal.File) error { return store(f, c, gzip) })
	if err != nil {
		return fmt.Errorf("write message file: %w", err)
	}
	return nil
}

// Source is content to be written.
type Source interface {
	io.ReaderAt
	Size() int64
}

// viaTmp makes a file in tmp, lets fill fill it, and gives it its name.
func (d Dir) viaTmp(sub, name string, fill func(journal.File) error) error {
	tmp := d.name(Tmp, name)
	f, err := d.fs.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if errors.Is(err, fs.ErrExist) {
		// Left by a crash. It may be one more link of a file that lives, so it
		// is never written into.
		if err := d.fs.Remove(tmp); err != nil {
			return err
		}
		f, err = d.fs.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	}
	if err != nil {
		return err
	}
	err = errors.Join(fill(f), f.Close())
	if err == nil {
		err = d.fs.Rename(tmp, d.name(sub, name))
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(d.fs.Remove(tmp)))
	}
	return nil
}

// Link gives the message file of another mailbox a second name here, without
// a second copy where the file system can, replacing a file of that name.
func (d Dir) Link(from Dir, fromSub, fromName, sub, name string) error {
	if err := d.link(from.name(fromSub, fromName), sub, name); err != nil {
		return fmt.Errorf("link message file: %w", err)
	}
	return nil
}

func (d Dir) link(source, sub, name string) error {
	tmp, dest := d.name(Tmp, name), d.name(sub, name)
	if source == dest {
		return nil
	}
	err := d.fs.Link(source, tmp)
	if errors.Is(err, fs.ErrExist) {
		if err := d.fs.Remove(tmp); err != nil {
			return err
		}
		err = d.fs.Link(source, tmp)
	}
	if mustCopy(err) {
		return d.copy(source, sub, name)
	}
	if err != nil {
		return err
	}
	// Rename between two links of one inode does nothing and leaves both
	// names, so tmp goes in any case.
	err = d.fs.Rename(tmp, dest)
	return errors.Join(err, ignoreMissing(d.fs.Remove(tmp)))
}

// mustCopy knows the errors that mean "no link here": too many links of one
// file, another owner's file (protected_hardlinks), another file system, one
// without links.
func mustCopy(err error) bool {
	for _, e := range []error{syscall.EMLINK, syscall.EPERM, syscall.EXDEV, syscall.EOPNOTSUPP, syscall.ENOSYS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// copy copies the file as it is, compressed or not.
func (d Dir) copy(source, sub, name string) error {
	in, err := d.fs.OpenFile(source, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer in.Close()
	return d.viaTmp(sub, name, func(f journal.File) error {
		_, err := io.Copy(struct{ io.Writer }{f}, struct{ io.Reader }{in})
		return err
	})
}

// Move renames a message file, replacing one of the new name.
func (d Dir) Move(fromSub, fromName, sub, name string) error {
	from, to := d.name(fromSub, fromName), d.name(sub, name)
	if from == to {
		return nil
	}
	if err := d.fs.Rename(from, to); err != nil {
		return fmt.Errorf("rename message file: %w", err)
	}
	// See link: when both were one file, the old name is still there.
	if err := ignoreMissing(d.fs.Remove(from)); err != nil {
		return fmt.Errorf("rename message file: %w", err)
	}
	return nil
}

// Remove removes a message file. One that is not there is no error.
func (d Dir) Remove(sub, name string) error {
	if err := ignoreMissing(d.fs.Remove(d.name(sub, name))); err != nil {
		return fmt.Errorf("remove message file: %w", err)
	}
	return nil
}

// Stat gives the size on disk and the time of modification of a message file.
func (d Dir) Stat(sub, name string) (fs.FileInfo, error) {
	info, err := d.fs.Stat(d.name(sub, name))
	if err != nil {
		return nil, fmt.Errorf("look at message file: %w", err)
	}
	return info, nil
}

// File is one message file of a mailbox.
type File struct {
	Sub  string // Cur or New
	Name string // see ParseName
}

// List gives the message files in cur and new, in no order. A directory that
// is not there has none.
func (d Dir) List() ([]File, error) {
	var files []File
	for _, sub := range []string{Cur, New} {
		entries, err := d.fs.ReadDir(d.name(sub, ""))
		if ignoreMissing(err) != nil {
			return nil, fmt.Errorf("list maildir: %w", err)
		}
		for _, e := range entries {
			if _, ok := ParseName(e.Name()); ok && e.Type().IsRegular() {
				files = append(files, File{sub, e.Name()})
			}
		}
	}
	return files, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
