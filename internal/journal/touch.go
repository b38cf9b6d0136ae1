package journal

import (
	"time"

	"golang.org/x/sys/unix"
)

// Toucher is an FS that can set the time of modification of a file. Not all
// can: a caller asks for it.
type Toucher interface {
	Touch(name string, mtime time.Time) error
}

// Touch implements Toucher.
func (d *osFS) Touch(name string, mtime time.Time) error { return d.root.Chtimes(name, mtime, mtime) }

// Sizer is an FS that can tell how large the disk is. Not all can: a caller
// asks for it.
type Sizer interface {
	// Size gives the octets of the whole file system.
	Size() (octets uint64, err error)
}

// Size implements Sizer.
func (d *osFS) Size() (octets uint64, err error) {
	var st unix.Statfs_t
	if err := control(d.self, "statfs", func(fd int) error { return unix.Fstatfs(fd, &st) }); err != nil {
		return 0, err
	}
	unit := uint64(st.Frsize)
	if unit == 0 {
		unit = uint64(st.Bsize)
	}
	return st.Blocks * unit, nil
}
