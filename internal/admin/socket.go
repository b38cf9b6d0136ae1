package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// SocketName is the socket's name in the data directory.
const SocketName = "admin.sock"

// maxSocketPath is the longest path that a socket address has room for, in
// octets (sun_path of unix(7), without the final zero).
const maxSocketPath = 107

// door is a path to the socket that fits into a socket address. A path that
// is too long goes through a file descriptor of the directory, so the door
// stays open as long as the path is in use.
type door struct {
	path string
	dir  *os.File // nil for a short path
}

func openDoor(dataDir string) (*door, error) {
	path := filepath.Join(dataDir, SocketName)
	if len(path) <= maxSocketPath {
		return &door{path: path}, nil
	}
	dir, err := os.Open(dataDir)
	if err != nil {
		return nil, err
	}
	short := fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
	if _, err := os.Stat(short); err != nil {
		dir.Close()
		return nil, fmt.Errorf("the path of the data directory has %d octets, more than %d take a mounted /proc: %w",
			len(dataDir), maxSocketPath-len(SocketName)-1, err)
	}
	return &door{path: short + "/" + SocketName, dir: dir}, nil
}

func (d *door) close() {
	if d.dir != nil {
		d.dir.Close()
	}
}

// listen makes the socket. One that is left from a process that died is
// removed: the caller holds the lock of the data directory, so nobody else
// can be behind it.
func (d *door) listen() (net.Listener, error) {
	info, err := os.Lstat(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is in the way and is no socket", SocketName)
	default:
		if err := os.Remove(d.path); err != nil {
			return nil, err
		}
	}
	// The mode is set before the name exists, so there is no moment in which
	// others could connect.
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var chmod error
		if err := c.Control(func(fd uintptr) { chmod = syscall.Fchmod(int(fd), 0o600) }); err != nil {
			return err
		}
		return chmod
	}}
	l, err := lc.Listen(context.Background(), "unix", d.path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(d.path, 0o600); err != nil { // a umask may have taken bits away
		l.Close()
		return nil, err
	}
	return l, nil
}
