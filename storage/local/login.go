package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"time"

	"barid/smtp"
	"barid/storage"
)

// noCreate is the file that stops the birth of accounts while it is there.
const noCreate = "nocreate"

// removedDir has the directories of accounts whose name was given anew after
// their password file was removed.
const removedDir = "removed"

// Login implements storage.Store.
func (s *Store) Login(ctx context.Context, addr smtp.Address, p storage.Password, from storage.Origin) (storage.Account, error) {
	ours, ok := s.ours(addr)
	if !ok || p == "" || len(p) > maxPassword {
		return storage.Account{}, storage.ErrRefused
	}
	a, err := s.acquire(ours)
	if err != nil {
		return storage.Account{}, fmt.Errorf("login: %w", err)
	}
	defer s.release(a)
	if st := a.now.Load(); st.alive && !s.nobody(a) {
		return s.enter(ctx, a, p)
	}
	if err := s.mayBeBorn(ctx, ours, p); err != nil {
		return storage.Account{}, s.refuseBirth(ours, err)
	}
	birth := a.birthGate()
	if err := birth.enter(ctx); err != nil {
		return storage.Account{}, fmt.Errorf("login: %w", err)
	}
	defer birth.leave()
	if st := a.now.Load(); st.alive { // another login was faster
		return s.enter(ctx, a, p)
	}
	if err := s.nameIsFree(ctx, a, p); err != nil {
		return storage.Account{}, s.refuseBirth(ours, err)
	}
	if err := s.admit(ctx, ours, from); err != nil {
		return storage.Account{}, s.refuseBirth(ours, err)
	}
	if err := s.bear(ctx, a, p); err != nil {
		return storage.Account{}, s.refuseBirth(ours, err)
	}
	s.created.Inc()
	s.log.Info("account created", "part", "storage", "account", ours)
	return storage.Account{Address: ours, Born: true}, nil
}

// nobody tells whether the account has just been found to be gone.
func (s *Store) nobody(a *account) bool {
	if !s.gone(a) {
		return false
	}
	s.disk.Lock()
	defer s.disk.Unlock()
	return s.noticeGone(a)
}

// enter is a login to an account that exists, whatever today's rules say.
func (s *Store) enter(ctx context.Context, a *account, p storage.Password) (storage.Account, error) {
	hash, err := a.pw.current(s, a)
	if err != nil {
		return storage.Account{}, fmt.Errorf("login: %w", err)
	}
	if hash == "" {
		if ok, _ := s.refusals.Allow(noHash); ok {
			s.log.Warn("a password file is empty or gone: nobody can log in to that account", "part", "storage", "account", a.addr)
		}
	}
	ok, err := s.check(ctx, a.addr, p, hash)
	if err != nil {
		return storage.Account{}, fmt.Errorf("login: %w", err)
	}
	if !ok {
		return storage.Account{}, storage.ErrRefused
	}
	if a.pw.loggedIn(s.clock.now()) {
		s.settler.take(a, []job{{kind: jobAccount}})
	}
	return storage.Account{Address: a.addr}, nil
}

// bear makes the account. It is durable when bear returns.
func (s *Store) bear(ctx context.Context, a *account, p storage.Password) error {
	if err := s.writable(ctx); err != nil {
		return err
	}
	if err := s.space(0); err != nil {
		return err
	}
	hash, err := s.hash(ctx, a.addr, p)
	if err != nil {
		return err
	}
	if err := s.bury(a); err != nil {
		return err
	}
	if err := s.setAside(a); err != nil {
		return err
	}
	a.disabled.until.Store(0) // what was known of an earlier life
	r := &record{accounts: []smtp.Address{a.addr}}
	validity := s.nextValidity()
	r.changes = []change{{
		kind: changeBorn, box: storage.InboxName, validity: validity, id: s.ids.mailbox(a.addr, storage.InboxName, validity), text: hash,
	}}
	return s.write(a, r)
}

// bury waits until no record that ended a, or a mailbox of it, is left in the
// journal: replay never meets two lives of one name.
func (s *Store) bury(a *account) error {
	if a.died.Load() <= s.trimmed.Load() {
		return nil
	}
	return s.checkpoint()
}

// setAside moves away, durably, what lies where a new account is to be: an
// earlier one whose password file was removed by hand. Its mail is not the new
// owner's, and its snapshots know UIDs of another UIDVALIDITY; but it may be
// that the file went by mistake.
func (s *Store) setAside(a *account) error {
	if _, err := s.fs.Stat(a.dir()); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("look for an earlier account: %w", err)
	}
	s.disk.Lock()
	defer s.disk.Unlock()
	if err := s.fs.Mkdir(removedDir); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make directory: %w", err)
	}
	if err := s.syncDirs("."); err != nil { // or the directory is gone with all that moved there
		return err
	}
	name := fmt.Sprintf("%s/%s.%d", removedDir, path.Base(a.dir()), s.nextValidity())
	if err := s.fs.Rename(a.dir(), name); err != nil {
		return fmt.Errorf("move an earlier account aside: %w", err)
	}
	s.log.Warn("the directory of an account without password file was moved to "+removedDir, "part", "storage", "account", a.addr)
	if s.cfg.NoSync {
		return nil
	}
	for _, dir := range []string{removedDir, mailDir(s.cfg.Domain)} {
		if err := s.fs.SyncDir(dir); err != nil {
			return s.lost(err)
		}
	}
	return nil
}

// write makes the record of one account durable and shows it.
func (s *Store) write(a *account, r *record) error {
	a.mu.Lock()
	if err := a.usable(); err != nil {
		a.mu.Unlock()
		return err
	}
	b := newBuilder(a, a.next)
	n := uint32(0)
	for i := range r.changes {
		b.apply(&r.changes[i], n, nil)
		n += r.changes[i].messages()
	}
	seq, err := s.append(r, []*builder{b}, nil)
	a.mu.Unlock()
	if err != nil {
		return err
	}
	return s.finish(seq, []*account{a})
}

// nextValidity gives a UIDVALIDITY higher than any before, near the clock.
// At the end of the numbers it stands still: none ever goes down.
func (s *Store) nextValidity() storage.UIDValidity {
	for {
		last := s.validity.Load()
		if last == math.MaxUint32 {
			return math.MaxUint32
		}
		next := max(last+1, uint32(min(max(s.clock.now().Unix(), 1), 1<<32-1)))
		if s.validity.CompareAndSwap(last, next) {
			return storage.UIDValidity(next)
		}
	}
}

// raiseValidity makes sure that v is not given out again.
func (s *Store) raiseValidity(v storage.UIDValidity) {
	for {
		last := s.validity.Load()
		if last >= uint32(v) || s.validity.CompareAndSwap(last, uint32(v)) {
			return
		}
	}
}

// day is the day of a login as the password file's mtime has it.
func day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }
