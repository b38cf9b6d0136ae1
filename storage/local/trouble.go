package local

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"

	"barid/internal/finding"
	"barid/storage"
)

// An account whose files cannot be written (a file where a directory should
// be, another owner, an inode that the disk cannot read) must not hold up all
// others: without a checkpoint the journal grows until nobody gets mail. So
// such an account is in trouble: nobody writes to it, what is settled can be
// read, and what the journal knows of it is carried on past each checkpoint
// (carry.go). Trouble ends by itself when its files can be written again. One
// that could not be read when the journal was replayed is closed until the
// next start.

// maxTroubled is how many accounts may be in trouble. Where there are more it
// is the disk, not the accounts.
const maxTroubled = 64

// trouble is why nobody writes to an account.
type trouble struct {
	err    error
	since  time.Time
	closed bool // it cannot be read either
}

// errTrouble is inside the error of every write to an account in trouble.
var errTrouble = fmt.Errorf("the files of this account cannot be written: %w", storage.ErrReadOnly)

// theirs tells whether an error of the disk may be that of one account's files.
// A full disk and what is not known are not.
func theirs(err error) bool {
	for _, e := range []error{
		syscall.EACCES, syscall.EPERM, syscall.ENOTDIR, syscall.EISDIR, syscall.ENOTEMPTY, syscall.ELOOP, syscall.EEXIST,
		syscall.ENOENT, syscall.EINVAL, syscall.EIO, syscall.EUCLEAN, syscall.ENAMETOOLONG, syscall.ESTALE, syscall.EXDEV,
	} {
		if errors.Is(err, e) {
			return !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) && !errors.Is(err, syscall.EROFS)
		}
	}
	return false
}

// notTheirs gives what failed for another reason than the files of one account.
func notTheirs(failed map[*account]error) error {
	for _, err := range failed {
		if !theirs(err) {
			return err
		}
	}
	return nil
}

// usable gives errTrouble when nobody may write to the account. account.mu is
// held.
func (a *account) usable() error {
	if a.trouble.Load() != nil {
		return errTrouble
	}
	return nil
}

// inTrouble says that the files of an account cannot be written; false when
// there are too many of that kind, or the error is not one of theirs. After it
// no record of the account comes. Store.disk is held, or nobody else is there.
func (s *Store) inTrouble(a *account, cause error, closed bool) bool {
	if !theirs(cause) || s.readOnly.Load() {
		return false
	}
	s.mu.Lock()
	if s.troubled[a] == nil {
		if len(s.troubled) >= maxTroubled {
			s.mu.Unlock()
			return false
		}
		a.refs++
	}
	t := &trouble{err: cause, since: s.cfg.Now(), closed: closed}
	s.troubled[a] = t
	s.mu.Unlock()
	a.mu.Lock() // who is between its checks and its record ends first
	a.trouble.Store(t)
	a.mu.Unlock()
	s.log.Error("the files of an account cannot be written: it gets no mail, what waits for its files is kept",
		"part", "storage", "account", a.addr, "error", cause)
	return true
}

// outOfTrouble ends it.
func (s *Store) outOfTrouble(a *account) {
	if a.trouble.Swap(nil) == nil {
		return
	}
	s.mu.Lock()
	delete(s.troubled, a)
	s.mu.Unlock()
	a.failures, a.carried = 0, false
	s.log.Info("the files of an account can be written again", "part", "storage", "account", a.addr)
	s.release(a)
}

// inTroubleNow gives the accounts in trouble, and theirs.
func (s *Store) inTroubleNow() map[*account]*trouble {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.troubled)
}

// judgeRound looks at a round of the settler: who failed twice is in trouble, who
// has nothing left to fail is out of it. Store.disk is held.
func (s *Store) judgeRound(failed map[*account]error) {
	for a, err := range failed {
		if a == nil {
			continue // the queue
		}
		if a.failures++; a.failures > 1 && a.trouble.Load() == nil {
			s.inTrouble(a, err, false)
		}
	}
	for a := range s.inTroubleNow() {
		if failed[a] == nil && !a.carried && !a.trouble.Load().closed && !s.settler.hasJobs(a) {
			s.outOfTrouble(a)
		}
	}
}

// Findings tells an operator what is wrong with the store. It names no
// address.
func (s *Store) Findings() []finding.Finding {
	var list []finding.Finding
	if s.readOnly.Load() {
		list = append(list, finding.Finding{
			ID: "store.read-only", Severity: finding.Fault,
			Text:   "A flush of the disk failed, so the store takes no mail and no change any more; what is acknowledged is kept.",
			Remedy: "Look at the kernel's log for errors of the disk, make sure that it can be trusted again, and start barid anew.",
		})
	}
	list = append(list, s.queue.findings()...)
	if errors.Is(s.space(0), storage.ErrFull) {
		list = append(list, finding.Finding{
			ID: "store.full", Severity: finding.Fault,
			Text:   "The disk is full, in octets or in inodes, so no mail is taken and no account is made; what is there is served, and old mail goes on leaving.",
			Remedy: "Make room on the disk of the data directory, or let mail leave sooner (the table expiry of the configuration); it ends by itself.",
		})
	}
	s.mu.Lock()
	open, closed := 0, 0
	for _, t := range s.troubled {
		if t.closed {
			closed++
		} else {
			open++
		}
	}
	s.mu.Unlock()
	if open > 0 {
		list = append(list, finding.Finding{
			ID: "store.account-trouble", Severity: finding.Fault,
			Text:   fmt.Sprintf("The files of %d accounts cannot be written; they get no mail, all others do.", open),
			Remedy: "The log names the error; set the owner, the modes and the kinds of their files and directories right, and it ends by itself.",
		})
	}
	if closed > 0 {
		list = append(list, finding.Finding{
			ID: "store.account-closed", Severity: finding.Fault,
			Text:   fmt.Sprintf("The files of %d accounts could not be read at the start; they are closed, and what the journal knows of them is kept.", closed),
			Remedy: "The log names the error; set the owner, the modes and the kinds of their files and directories right, then start barid anew.",
		})
	}
	if s.overdue() {
		list = append(list, finding.Finding{
			ID: "store.checkpoint-fails", Severity: finding.Fault,
			Text:   fmt.Sprintf("The journal cannot be trimmed and has %d MiB; no mail is taken from %d MiB on.", s.journal.Size()>>20, s.maxWindow()>>20),
			Remedy: "The log names the error; most often the disk is full, or files below the data directory belong to another user.",
		})
	}
	return list
}

// windows times Config.CheckpointBytes is how long the journal may grow while
// it cannot be trimmed: all of it comes into memory at the next start.
const windows = 4

func (s *Store) maxWindow() int64 { return windows * max(s.cfg.CheckpointBytes, s.cfg.SegmentBytes) }

// overdue tells whether the journal is longer than checkpoints let it get.
func (s *Store) overdue() bool { return s.journal.Size() > s.maxWindow()/2 }

// hasJobs tells whether anything waits to be done for an account.
func (r *settler) hasJobs(a *account) bool {
	is := func(j job) bool { return j.a == a }
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.urgent, is) || slices.ContainsFunc(r.fresh, is)
}
