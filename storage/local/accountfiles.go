package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"barid/internal/journal"
	"barid/storage/maildir"
	"barid/storage/metadata"
)

// writtenFiles is what the account's own files have.
type writtenFiles struct {
	meta *metadata.Metadata
	subs []string
}

// ownFiles writes those of the account's own files that are not as they should
// be. They have what records of earlier checkpoints said, so they too get
// new names until the journal is trimmed.
func (cp *checkpoint) ownFiles(at accountAt) error {
	if at.a.written.meta != at.st.meta && at.st.meta != nil {
		if err := cp.write(at.a, at.a.dir()+"/"+metadata.FileName, cloneMetadata(at.st.meta).Write); err != nil {
			return fmt.Errorf("write metadata: %w", err)
		}
	}
	if slices.Equal(at.a.written.subs, at.st.subs) {
		return nil
	}
	if err := cp.write(at.a, at.a.dir()+"/"+maildir.SubscriptionsName, func(w io.Writer) error {
		return maildir.WriteSubscriptions(w, at.st.subs)
	}); err != nil {
		return fmt.Errorf("write subscriptions: %w", err)
	}
	return nil
}

// writeAccount makes the account's directory and password file, without
// which no other program knows it. Store.disk is held.
func (s *Store) writeAccount(a *account) error {
	if !a.now.Load().alive {
		return nil
	}
	if err := s.makeAccountDir(a); err != nil {
		return err
	}
	if err := s.writePassword(a); err != nil {
		return fmt.Errorf("write password file: %w", err)
	}
	return nil
}

// writePassword writes the password file, if a record changed it, and sets
// its mtime to the day of the last login. A file that the operator changed
// meanwhile is left alone: the next login reads it.
func (s *Store) writePassword(a *account) error {
	f := &a.pw
	f.mu.Lock()
	defer f.mu.Unlock()
	name := a.dir() + "/" + passwordName
	if f.wants {
		if err := s.writeHash(a, name); err != nil {
			return err
		}
	} else if known, err := f.unchanged(s, name); err != nil || !known {
		return err
	}
	if f.login.IsZero() || f.login.Equal(f.mtime) {
		return nil
	}
	t, ok := s.fs.(journal.Toucher)
	if !ok {
		return nil
	}
	if err := t.Touch(name, f.login); err != nil {
		return err
	}
	f.mtime = f.login
	return nil
}

// writeHash writes the password file. The lock of a.pw is held.
func (s *Store) writeHash(a *account, name string) error {
	f := &a.pw
	if err := s.replaceFile(name, func(w io.Writer) error {
		_, err := io.WriteString(w, f.hash)
		return err
	}); err != nil {
		return err
	}
	if _, err := s.fs.Stat(a.dir() + "/" + enforceName); f.newborn && errors.Is(err, fs.ErrNotExist) {
		if err := s.createFile(a.dir()+"/"+enforceName, func(io.Writer) error { return nil }); err != nil {
			return err
		}
	}
	info, err := s.fs.Stat(name)
	if err != nil {
		return err
	}
	f.mtime, f.size, f.wants, f.newborn = info.ModTime(), info.Size(), false, false
	if f.login.IsZero() {
		f.login = day(s.clock.now())
	}
	return nil
}

// unchanged tells whether the file is as we know it.
func (f *passwordFile) unchanged(s *Store, name string) (bool, error) {
	info, err := s.fs.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return info.ModTime().Equal(f.mtime) && info.Size() == f.size, nil
}
