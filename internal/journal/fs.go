package journal

import (
	"io"
	"io/fs"
)

// FS is the seam between everything that is stored and the disk: all file
// work of a store goes through one, so that a test can stand in for the disk,
// fail any operation and cut the power between any two. Names are
// slash-separated, relative, and can never leave the root of the FS.
//
// Nothing is durable before the flush that names it: File.Datasync for
// content, SyncDir for names, SyncFS for everything.
type FS interface {
	// OpenFile opens with the flags of os.OpenFile (O_RDONLY, O_RDWR, O_CREATE,
	// O_EXCL, O_TRUNC). Files are made with mode 0600, whatever the umask says.
	// Reading leaves no access time behind, where that is allowed.
	OpenFile(name string, flag int) (File, error)
	// Mkdir makes one directory with mode 0700; fs.ErrExist when it is there.
	Mkdir(name string) error
	Rename(oldname, newname string) error
	Link(oldname, newname string) error
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// RemoveAll removes a tree; no error when it is not there.
	RemoveAll(name string) error
	Stat(name string) (fs.FileInfo, error)
	// ReadDir lists a directory, unsorted.
	ReadDir(name string) ([]fs.DirEntry, error)
	// SyncDir flushes the names of one directory.
	SyncDir(name string) error
	// SyncFS flushes everything written so far, and fails if any of it could
	// not be written since the last call (syncfs, Linux 5.8).
	SyncFS() error
	// Free tells octets and inodes still to be had by us.
	Free() (octets, inodes uint64, err error)
	Close() error
}

// File is an open file of an FS.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Writer // at the end of what was written with Write
	io.Reader
	io.Closer
	Truncate(size int64) error
	Stat() (fs.FileInfo, error)
	// Datasync flushes content and size. After an error the content must be
	// taken for lost, whatever a second call says.
	Datasync() error
}
