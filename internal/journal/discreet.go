package journal

import (
	"io/fs"
	"os"
	"strings"
	"time"
)

// discreet is the real disk with errors that may be logged: directories of
// accounts have addresses for names, which errors of package os quote.
type discreet struct{ disk *osFS }

// hide takes addresses out of an error.
func hide(err error) error {
	switch e := err.(type) {
	case *fs.PathError:
		return &fs.PathError{Op: e.Op, Path: hidePath(e.Path), Err: e.Err}
	case *os.LinkError:
		return &os.LinkError{Op: e.Op, Old: hidePath(e.Old), New: hidePath(e.New), Err: e.Err}
	}
	return err
}

func hidePath(name string) string {
	if !strings.Contains(name, "@") {
		return name
	}
	elements := strings.Split(name, "/")
	for i, element := range elements {
		if strings.Contains(element, "@") {
			elements[i] = "(account)"
		}
	}
	return strings.Join(elements, "/")
}

func (d discreet) OpenFile(name string, flag int) (File, error) {
	f, err := d.disk.OpenFile(name, flag)
	if err != nil {
		return nil, hide(err)
	}
	return discreetFile{f}, nil
}

func (d discreet) Mkdir(name string) error              { return hide(d.disk.Mkdir(name)) }
func (d discreet) Rename(oldname, newname string) error { return hide(d.disk.Rename(oldname, newname)) }
func (d discreet) Link(oldname, newname string) error   { return hide(d.disk.Link(oldname, newname)) }
func (d discreet) Remove(name string) error             { return hide(d.disk.Remove(name)) }
func (d discreet) RemoveAll(name string) error          { return hide(d.disk.RemoveAll(name)) }
func (d discreet) SyncDir(name string) error            { return hide(d.disk.SyncDir(name)) }
func (d discreet) SyncFS() error                        { return d.disk.SyncFS() }
func (d discreet) Close() error                         { return d.disk.Close() }

func (d discreet) Stat(name string) (fs.FileInfo, error) {
	info, err := d.disk.Stat(name)
	return info, hide(err)
}

func (d discreet) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := d.disk.ReadDir(name)
	return entries, hide(err)
}

func (d discreet) Free() (octets, inodes uint64, err error) { return d.disk.Free() }

// Touch implements Toucher.
func (d discreet) Size() (octets uint64, err error) { return d.disk.Size() }

func (d discreet) Touch(name string, t time.Time) error { return hide(d.disk.Touch(name, t)) }

type discreetFile struct{ file File }

func (f discreetFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.file.ReadAt(p, off)
	return n, hide(err)
}

func (f discreetFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.file.WriteAt(p, off)
	return n, hide(err)
}

func (f discreetFile) Write(p []byte) (int, error) {
	n, err := f.file.Write(p)
	return n, hide(err)
}

func (f discreetFile) Read(p []byte) (int, error) {
	n, err := f.file.Read(p)
	return n, hide(err)
}

func (f discreetFile) Stat() (fs.FileInfo, error) {
	info, err := f.file.Stat()
	return info, hide(err)
}

func (f discreetFile) Truncate(size int64) error { return hide(f.file.Truncate(size)) }
func (f discreetFile) Datasync() error           { return hide(f.file.Datasync()) }
func (f discreetFile) Close() error              { return hide(f.file.Close()) }
