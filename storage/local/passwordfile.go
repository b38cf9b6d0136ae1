package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"
)

// The files of an account beside its mail.
const (
	passwordName = "password"
	enforceName  = "enforceE2EEincoming"
)

// passwordFile is what is known of the file that has an account's hash. The
// operator may change it at any time, so each login looks at it.
type passwordFile struct {
	mu    sync.Mutex // guards the fields below; held across a stat and a read of the file
	hash  string
	wants bool // a record set hash, and the file does not have it yet
	// newborn: the record was that of the birth.
	newborn bool
	login   time.Time // day of the last login
	// What the file was when hash was read or written.
	mtime time.Time
	size  int64
}

// set takes the hash of a record: of the account's birth, or a later one.
func (f *passwordFile) set(hash string, newborn bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hash, f.wants = hash, true
	f.newborn = f.newborn || newborn
}

// known gives the hash as it was last seen.
func (f *passwordFile) known() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hash
}

// current gives the hash that counts now. Of a file that is gone or empty it
// is empty, which fits no password.
func (f *passwordFile) current(s *Store, a *account) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wants {
		return f.hash, nil
	}
	name := a.dir() + "/" + passwordName
	info, err := s.fs.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.hash, f.mtime, f.size = "", time.Time{}, 0
		return "", nil
	case err != nil:
		return "", fmt.Errorf("look at password file: %w", err)
	case info.ModTime().Equal(f.mtime) && info.Size() == f.size:
		return f.hash, nil
	}
	hash, err := readHash(s, name)
	if err != nil {
		return "", err
	}
	f.hash, f.mtime, f.size = hash, info.ModTime(), info.Size()
	return hash, nil
}

// loggedIn notes a login and tells whether the file's mtime must follow.
func (f *passwordFile) loggedIn(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.login = day(now)
	return !f.mtime.Equal(f.login)
}

// readHash reads a password file. What is too long, or is torn (has NULs), is
// no hash: the account is blocked.
func readHash(s *Store, name string) (string, error) {
	file, err := s.fs.OpenFile(name, os.O_RDONLY)
	if err != nil {
		return "", fmt.Errorf("read password file: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxHash+1))
	if err != nil {
		return "", fmt.Errorf("read password file: %w", err)
	}
	if len(text) > maxHash {
		return "", nil
	}
	return strings.TrimSpace(string(text)), nil
}
