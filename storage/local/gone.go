package local

import (
	"errors"
	"io/fs"

	"barid/smtp"
)

// gone tells whether somebody removed the directory of an account that had one
// with a password file in it: the way in which operators of the reference end
// an account.
func (s *Store) gone(a *account) bool {
	if !a.now.Load().alive || !a.pw.onDisk() {
		return false
	}
	_, err := s.fs.Stat(a.dir())
	return errors.Is(err, fs.ErrNotExist)
}

// noticeGone ends an account whose directory was removed by hand, as if it had
// been deleted; false when the directory is there. Store.disk is held.
func (s *Store) noticeGone(a *account) bool {
	if !s.gone(a) {
		return false
	}
	s.log.Warn("the directory of an account was removed by hand: the account ends", "part", "storage", "account", a.addr)
	err := s.write(a, &record{accounts: []smtp.Address{a.addr}, changes: []change{{kind: changeDied, old: a.pw.known()}}})
	if err != nil {
		s.log.Error("the end of an account cannot be recorded", "part", "storage", "account", a.addr, "error", err)
	}
	return err == nil
}

// onDisk tells whether the password file was seen, or written by us.
func (f *passwordFile) onDisk() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.wants && !f.mtime.IsZero()
}
