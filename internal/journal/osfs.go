package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// The modes of what we make: mail is nobody else's.
const (
	fileMode = 0o600
	dirMode  = 0o700
)

// ErrLocked means that another process holds the directory.
var ErrLocked = errors.New("another barid process uses this data directory")

// OpenFS gives the FS whose root is a directory of the real disk, which is
// made (mode 0700, parents too) when it is missing. No name, and no symbolic
// link, leads out of it. No error of it quotes a name with an "@". The caller
// closes it.
func OpenFS(dir string) (FS, error) {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	// syncfs tells each open file of the write errors since that file's last
	// call, so one and the same descriptor must serve for ever.
	self, err := root.Open(".")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open data directory: %w", err), root.Close())
	}
	return discreet{&osFS{root: root, self: self, chmod: umaskTakesOwnerBits()}}, nil
}

type osFS struct {
	root  *os.Root
	self  *os.File
	chmod bool // the umask would take bits from our own modes
}

func (d *osFS) OpenFile(name string, flag int) (File, error) {
	if flag&(os.O_WRONLY|os.O_RDWR) == 0 {
		// Else a fetched message costs a write of its inode. Only the owner of
		// a file may ask for this.
		f, err := d.root.OpenFile(name, flag|unix.O_NOATIME, fileMode)
		if err == nil {
			return &osFile{f}, nil
		}
		if !errors.Is(err, unix.EPERM) {
			return nil, err
		}
	}
	f, err := d.root.OpenFile(name, flag, fileMode)
	if err != nil {
		return nil, err
	}
	if d.chmod && flag&os.O_CREATE != 0 {
		if err := f.Chmod(fileMode); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return &osFile{f}, nil
}

func (d *osFS) Mkdir(name string) error {
	if err := d.root.Mkdir(name, dirMode); err != nil {
		return err
	}
	if d.chmod {
		return d.root.Chmod(name, dirMode)
	}
	return nil
}

func (d *osFS) Rename(oldname, newname string) error  { return d.root.Rename(oldname, newname) }
func (d *osFS) Link(oldname, newname string) error    { return d.root.Link(oldname, newname) }
func (d *osFS) Remove(name string) error              { return d.root.Remove(name) }
func (d *osFS) RemoveAll(name string) error           { return d.root.RemoveAll(name) }
func (d *osFS) Stat(name string) (fs.FileInfo, error) { return d.root.Stat(name) }
func (d *osFS) Close() error                          { return errors.Join(d.self.Close(), d.root.Close()) }
func (d *osFS) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}

func (d *osFS) SyncDir(name string) error {
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d *osFS) SyncFS() error { return control(d.self, "syncfs", unix.Syncfs) }

func (d *osFS) Free() (octets, inodes uint64, err error) {
	var st unix.Statfs_t
	err = control(d.self, "statfs", func(fd int) error { return unix.Fstatfs(fd, &st) })
	if err != nil {
		return 0, 0, err
	}
	unit := uint64(st.Frsize)
	if unit == 0 {
		unit = uint64(st.Bsize)
	}
	octets, inodes = st.Bavail*unit, st.Ffree
	if st.Files == 0 { // btrfs and others make inodes as they go
		inodes = math.MaxUint64
	}
	return octets, inodes, nil
}

type osFile struct{ *os.File }

func (f *osFile) Datasync() error { return control(f.File, "fdatasync", unix.Fdatasync) }

// control calls one system call on the descriptor of an open file, again when
// a signal came between.
func control(f *os.File, what string, call func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		for {
			failed = call(int(fd))
			if failed != unix.EINTR {
				return
			}
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return &fs.PathError{Op: what, Path: f.Name(), Err: err}
	}
	return nil
}

// umaskTakesOwnerBits tells whether the umask would change our modes. The
// kernel shows it without changing it here only; where it does not, we take
// the safe answer.
func umaskTakesOwnerBits() bool {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return true
	}
	for line := range bytes.Lines(status) {
		if value, ok := bytes.CutPrefix(line, []byte("Umask:")); ok {
			mask, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 8, 32)
			return err != nil || mask&dirMode != 0
		}
	}
	return true
}

// Lock takes the data directory for this process, by a lock on the file
// "lock" in it, which the kernel gives back when the process ends in any way.
// The directory is made when it is missing. ErrLocked when another holds it.
func Lock(dir string) (release func(), err error) {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	name := dir + "/lock"
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	err = control(f, "flock", func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("%w: %s", ErrLocked, name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil // closing gives the lock back
}
