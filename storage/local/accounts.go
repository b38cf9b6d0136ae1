package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"barid/smtp"
	"barid/storage"
)

// Accounts implements storage.Store. It holds the names of all accounts, some
// 50 octets each, and looks at two files of each.
func (s *Store) Accounts(ctx context.Context, prefix string, f func(storage.AccountInfo) error) error {
	names, err := s.accountNames(prefix)
	if err != nil {
		return fmt.Errorf("list accounts: %w", err)
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("list accounts: %w", err)
		}
		info, ok, err := s.about(smtp.Address{LocalPart: name, Domain: s.cfg.Domain})
		if err != nil {
			return fmt.Errorf("list accounts: %w", err)
		}
		if !ok {
			continue
		}
		if err := f(info); err != nil {
			return err
		}
	}
	return nil
}

// accountNames gives the local-parts of all that may be accounts, in order:
// those with a directory, and those in memory, which may have none yet.
func (s *Store) accountNames(prefix string) ([]string, error) {
	entries, err := s.fs.ReadDir(mailDir(s.cfg.Domain))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if name, ok := s.localPart(e.Name()); ok && e.IsDir() && strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, storage.ErrClosed
	}
	for addr := range s.accounts {
		if strings.HasPrefix(addr.LocalPart, prefix) {
			names = append(names, addr.LocalPart)
		}
	}
	s.mu.Unlock()
	slices.Sort(names)
	return slices.Compact(names), nil
}

// localPart gives the local-part of the account whose directory is called so.
func (s *Store) localPart(dir string) (string, bool) {
	n := len(dir) - len(s.cfg.Domain) - 1
	if n <= 0 || dir[n:] != "@"+s.cfg.Domain {
		return "", false
	}
	a, ok := s.ours(smtp.Address{LocalPart: dir[:n], Domain: s.cfg.Domain})
	return a.LocalPart, ok && a.LocalPart == dir[:n]
}

// About implements storage.Store.
func (s *Store) About(ctx context.Context, acct storage.Account) (storage.AccountInfo, error) {
	if err := ctx.Err(); err != nil {
		return storage.AccountInfo{}, fmt.Errorf("about account: %w", err)
	}
	addr, ok := s.ours(acct.Address)
	var info storage.AccountInfo
	var err error
	if ok {
		info, ok, err = s.about(addr)
	}
	if err == nil && !ok {
		err = storage.ErrNoAccount
	}
	if err != nil {
		return storage.AccountInfo{}, fmt.Errorf("about account: %w", err)
	}
	return info, nil
}

// about tells of one account without bringing it into memory.
func (s *Store) about(addr smtp.Address) (info storage.AccountInfo, alive bool, err error) {
	info.Address = addr
	dir := accountDir(addr)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return info, false, storage.ErrClosed
	}
	a := s.accounts[addr]
	s.mu.Unlock()
	if a != nil {
		if st := a.now.Load(); st != nil { // else it is just being read
			if !st.alive {
				return info, false, nil
			}
			info.LastLogin = a.pw.lastLogin(s.cfg.Now())
			alive = true
		}
	}
	if info.LastLogin.IsZero() {
		switch file, err := s.fs.Stat(dir + "/" + passwordName); {
		case err == nil:
			info.LastLogin, alive = day(file.ModTime()), true
		case !errors.Is(err, fs.ErrNotExist) && !theirs(err):
			return info, false, err
		}
	}
	if !alive {
		return info, false, nil
	}
	_, err = s.fs.Stat(dir + "/" + disabledName)
	info.Frozen = err == nil
	if errors.Is(err, fs.ErrNotExist) || theirs(err) {
		err = nil
	}
	return info, err == nil, err
}

// lastLogin gives the day of the last login, zero when only the file knows.
func (f *passwordFile) lastLogin(now time.Time) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !f.login.IsZero():
		return f.login
	case f.newborn:
		return day(now) // it has no file yet
	case f.mtime.IsZero():
		return time.Time{}
	}
	return day(f.mtime)
}

// Freeze implements storage.Store. It makes or removes the file that an
// operator can also make and remove by hand.
func (s *Store) Freeze(ctx context.Context, acct storage.Account, frozen bool) error {
	if err := s.writable(ctx); err != nil {
		return fmt.Errorf("freeze account: %w", err)
	}
	a, _, err := s.account(ctx, acct)
	if err != nil {
		return fmt.Errorf("freeze account: %w", err)
	}
	defer s.release(a)
	s.disk.Lock() // who dies now has its directory removed after this
	defer s.disk.Unlock()
	if !a.now.Load().alive {
		return fmt.Errorf("freeze account: %w", storage.ErrNoAccount)
	}
	if err := s.setFlag(a, frozen); err != nil {
		return fmt.Errorf("freeze account: %w", err)
	}
	a.disabled.set(frozen, s.cfg.Now())
	return nil
}

// setFlag makes the file durable, or its absence. An account that is some
// seconds old has no directory yet. Store.disk is held.
func (s *Store) setFlag(a *account, frozen bool) error {
	name := a.dir() + "/" + disabledName
	if !frozen {
		if err := s.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if _, err := s.fs.Stat(a.dir()); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return s.syncDirs(a.dir())
	}
	if err := s.makeAccountDir(a); err != nil {
		return err
	}
	if err := s.makeEmpty(name); err != nil {
		return err
	}
	return s.syncDirs(a.dir(), mailDir(s.cfg.Domain))
}

// makeEmpty makes an empty file, if there is none. All that is to be durable of
// it is its name.
func (s *Store) makeEmpty(name string) error {
	f, err := s.fs.OpenFile(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return err
	}
	return f.Close()
}

// syncDirs makes names durable.
func (s *Store) syncDirs(dirs ...string) error {
	if s.cfg.NoSync {
		return nil
	}
	for _, dir := range dirs {
		if err := s.fs.SyncDir(dir); err != nil {
			return s.lost(err)
		}
	}
	return nil
}

// Registration implements storage.Store.
func (s *Store) Registration(ctx context.Context) (open bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("ask for registration: %w", err)
	}
	switch _, err := s.fs.Stat(noCreate); {
	case err == nil:
		return false, nil
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	default:
		return false, fmt.Errorf("look for the file %s: %w", noCreate, err)
	}
}

// SetRegistration implements storage.Store.
func (s *Store) SetRegistration(ctx context.Context, open bool) error {
	err := s.writable(ctx)
	switch {
	case err != nil:
	case !open:
		err = s.makeEmpty(noCreate)
	default:
		if err = s.fs.Remove(noCreate); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err == nil {
		err = s.syncDirs(".")
	}
	if err != nil {
		return fmt.Errorf("open or close registration: %w", err)
	}
	return nil
}
