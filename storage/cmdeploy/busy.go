package cmdeploy

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Process is one that works on a tree, or may.
type Process struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
	Why  string `json:"why"`
}

func (p Process) String() string { return fmt.Sprintf("%s (process %d) %s", p.Name, p.PID, p.Why) }

// dovecots are the processes of Dovecot that touch mail.
var dovecots = map[string]bool{"imap": true, "imap-hibernate": true, "lmtp": true, "pop3": true, "doveadm": true, "indexer-worker": true, "dict": true, "quota-status": true}

// Busy finds the processes that work on tree: those that have a file in it open
// for writing, those of Dovecot that have any or stand in it, the services of
// the reference, and any master of Dovecot unless elsewhere says that it has
// other mail. proc is "/proc". blind tells that some processes could not be
// looked at, because they are another user's.
//
// A lock would tell less: Dovecot takes one for moments only, and keeps what it
// knows of a mailbox in between.
func Busy(proc, tree string, elsewhere bool) (busy []Process, blind bool, err error) {
	tree, err = filepath.EvalSymlinks(tree)
	if err != nil {
		return nil, false, fmt.Errorf("look for processes that use the tree: %w", err)
	}
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, false, fmt.Errorf("look for processes that use the tree: %w", err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		p, unseen := look(filepath.Join(proc, e.Name()), tree, elsewhere)
		blind = blind || unseen
		if p.Why != "" {
			p.PID = pid
			busy = append(busy, p)
		}
	}
	return busy, blind, nil
}

// look judges one process. One that ends meanwhile does nothing.
func look(dir, tree string, elsewhere bool) (p Process, blind bool) {
	comm, err := os.ReadFile(filepath.Join(dir, "comm"))
	if err != nil {
		return p, false
	}
	p.Name = strings.TrimSpace(string(comm))
	cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
	switch {
	case p.Name == "dovecot" && !elsewhere:
		p.Why = "serves mail"
		return p, false
	case bytes.Contains(cmdline, []byte("/usr/local/lib/chatmaild/")):
		p.Why = "is a service of the old relay"
		return p, false
	}
	cwd, err := os.Readlink(filepath.Join(dir, "cwd"))
	if dovecots[p.Name] && within(cwd, tree) {
		p.Why = "stands in " + tree
		return p, false
	}
	blind = errors.Is(err, fs.ErrPermission)
	fds, err := os.ReadDir(filepath.Join(dir, "fd"))
	blind = blind || errors.Is(err, fs.ErrPermission)
	for _, fd := range fds {
		file, err := os.Readlink(filepath.Join(dir, "fd", fd.Name()))
		if err != nil || !within(file, tree) {
			continue
		}
		if dovecots[p.Name] || writes(filepath.Join(dir, "fdinfo", fd.Name())) {
			p.Why = "has files open in " + tree
			return p, blind
		}
	}
	return p, blind
}

func within(name, tree string) bool { return name == tree || strings.HasPrefix(name, tree+"/") }

// writes tells from a file of fdinfo whether a descriptor was opened for
// writing.
func writes(fdinfo string) bool {
	text, err := os.ReadFile(fdinfo)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if octal, ok := strings.CutPrefix(line, "flags:"); ok {
			flags, err := strconv.ParseUint(strings.TrimSpace(octal), 8, 64)
			return err == nil && flags&(uint64(os.O_WRONLY)|uint64(os.O_RDWR)) != 0
		}
	}
	return false
}

// maxSpool is where counting mail in the spool ends.
const maxSpool = 1_000_000

// Spool counts the messages that wait in a Postfix's queue directory, zero
// where there is none.
func Spool(dir string) (n int, err error) {
	for _, queue := range []string{"maildrop", "incoming", "active", "deferred", "hold"} {
		err := filepath.WalkDir(filepath.Join(dir, queue), func(_ string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			if e.Type().IsRegular() {
				n++
			}
			if n >= maxSpool {
				return filepath.SkipAll
			}
			return nil
		})
		if err != nil {
			return n, fmt.Errorf("look into Postfix's queue: %w", err)
		}
	}
	return n, nil
}
