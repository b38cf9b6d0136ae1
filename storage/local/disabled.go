package local

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"barid/storage"
)

// disabledName is the file by which an operator disables, or freezes, an
// account: it can log in and read, but no mail goes to it or comes from it.
const disabledName = "DISABLED"

// disabledFor is how long an answer of the disk is believed.
const disabledFor = time.Second

// disabledFlag remembers whether an account is disabled.
type disabledFlag struct {
	is    atomic.Bool
	until atomic.Int64 // Unix ns, by the clock of the store
}

// disabled tells whether mail passes an account by. A directory that cannot
// be read holds up nobody: then it does not.
func (s *Store) disabled(a *account) bool {
	f := &a.disabled
	if now := s.cfg.Now(); now.UnixNano() >= f.until.Load() {
		_, err := s.fs.Stat(a.dir() + "/" + disabledName)
		f.set(err == nil, now)
	}
	return f.is.Load()
}

// set remembers what the disk says.
func (f *disabledFlag) set(is bool, now time.Time) {
	f.is.Store(is)
	f.until.Store(now.Add(disabledFor).UnixNano())
}

// MayMail implements storage.Store.
func (s *Store) MayMail(ctx context.Context, acct storage.Account) (bool, error) {
	a, _, err := s.account(ctx, acct)
	if err != nil {
		return false, fmt.Errorf("ask whether an account may mail: %w", err)
	}
	defer s.release(a)
	return !s.disabled(a), nil
}
