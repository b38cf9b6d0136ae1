package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"barid/storage"
)

// EncryptedOnly implements storage.Store. The file is looked at each time:
// only mail in the clear asks, and an operator who removes it sees at once.
func (s *Store) EncryptedOnly(ctx context.Context, acct storage.Account) (bool, error) {
	a, _, err := s.account(ctx, acct)
	if err != nil {
		return true, fmt.Errorf("ask whether an account takes mail in the clear: %w", err)
	}
	defer s.release(a)
	if a.pw.unwritten() {
		return true, nil // the file comes with the password's
	}
	switch _, err := s.fs.Stat(a.dir() + "/" + enforceName); {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	default:
		return true, fmt.Errorf("ask whether an account takes mail in the clear: %w", err)
	}
}

// unwritten tells whether the account was born and has no files yet.
func (f *passwordFile) unwritten() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.newborn
}
