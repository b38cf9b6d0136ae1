package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"barid/internal/journal"
	"barid/storage"
)

// checkpoint makes the files of all mailboxes as the journal says, flushes
// them, and trims the journal. Any error leaves the journal as it is.
func (s *Store) checkpoint() error {
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.readOnly.Load() {
		return fmt.Errorf("checkpoint: %w", storage.ErrReadOnly)
	}
	began := s.cfg.Now()
	// All up to here is in accounts that are dirty, pending at least: a record
	// that is trimmed must be in what capture takes.
	s.placing.Lock()
	upTo := s.journal.Last()
	s.placing.Unlock()
	if err := s.journal.Wait(upTo); err != nil {
		return fmt.Errorf("checkpoint: %w", s.failed(err))
	}
	cp := &checkpoint{s: s, seq: uint64(upTo)}
	if cp.seq == s.trimmed.Load() {
		return s.settler.settleAll() // nothing happened since the last
	}
	if err := s.dropAbandoned(); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := cp.run(); err != nil {
		cp.abandon()
		return fmt.Errorf("checkpoint: %w", err)
	}
	s.log.Debug("checkpoint", "part", "storage", "accounts", len(cp.states), "took", s.cfg.Now().Sub(began))
	return nil
}

// checkpoint is one on its way.
type checkpoint struct {
	s      *Store
	seq    uint64
	states []accountAt
	files  []string // written under their new name, to be renamed
}

type accountAt struct {
	a  *account
	st *accountState
}

// abandon marks the files of a checkpoint that came to nothing.
func (cp *checkpoint) abandon() {
	if cp.s.trimmed.Load() == cp.seq {
		return // it did come to something
	}
	for _, name := range cp.files {
		cp.s.abandoned = append(cp.s.abandoned, fmt.Sprintf("%s.%d", name, cp.seq))
	}
}

// dropAbandoned removes them. No later checkpoint may go on before: their
// numbers would look good.
func (s *Store) dropAbandoned() error {
	for len(s.abandoned) > 0 {
		if err := s.fs.Remove(s.abandoned[0]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove what a failed checkpoint left: %w", err)
		}
		s.abandoned = s.abandoned[1:]
	}
	return nil
}

func (cp *checkpoint) run() error {
	s := cp.s
	cp.capture()
	// The jobs of every state that was captured are in the settler's hands.
	if err := s.settler.settleAll(); err != nil {
		return err
	}
	for _, at := range cp.states {
		if err := cp.account(at); err != nil {
			return fmt.Errorf("account %s: %w", at.a.addr, err)
		}
	}
	s.noteAccounts(cp.states)
	if err := cp.counters(); err != nil {
		return err
	}
	if err := s.syncFiles(); err != nil {
		return err
	}
	if err := s.journal.Trim(journal.Seq(cp.seq)); err != nil {
		return s.failed(err)
	}
	s.trimmed.Store(cp.seq)
	return cp.finish()
}

// capture takes the durable state of every account that no snapshot has.
func (cp *checkpoint) capture() {
	cp.s.mu.Lock()
	list := make([]*account, 0, len(cp.s.dirty))
	for a := range cp.s.dirty {
		list = append(list, a)
	}
	cp.s.mu.Unlock()
	for _, a := range list {
		cp.s.publish(a)
		a.pub.Lock()
		cp.states = append(cp.states, accountAt{a, a.now.Load()})
		a.pub.Unlock()
	}
}

// account settles what is left of an account and writes its snapshots.
func (cp *checkpoint) account(at accountAt) error {
	if !at.st.alive {
		return nil
	}
	if err := cp.s.writeAccount(at.a); err != nil {
		return err
	}
	if err := cp.ownFiles(at); err != nil {
		return err
	}
	for _, bs := range at.st.boxes {
		if bs.id.snapped == bs.seq && bs.seq != 0 {
			continue
		}
		if err := cp.box(at.a, bs); err != nil {
			return err
		}
	}
	return nil
}

// write writes a file under a name of this checkpoint.
func (cp *checkpoint) write(name string, fill func(io.Writer) error) error {
	cp.files = append(cp.files, name) // in any case: it may be there in part
	return cp.s.createFile(fmt.Sprintf("%s.%d", name, cp.seq), fill)
}

// finish gives the files their names and lets go what is no longer needed.
// The journal is trimmed: nothing here may undo that.
func (cp *checkpoint) finish() error {
	s := cp.s
	var failed error
	for _, name := range cp.files {
		// A crash here is no harm: readNewest finds the new names. But a new
		// name must not stay behind while later checkpoints pass.
		err := s.fs.Rename(fmt.Sprintf("%s.%d", name, cp.seq), name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = s.lost(err)
		}
	}
	for _, at := range cp.states {
		for _, bs := range at.st.boxes {
			bs.id.snapped = bs.seq
		}
		at.a.written = writtenFiles{at.st.meta, at.st.subs}
		at.a.mu.Lock()
		clean := at.a.next == at.st
		if clean {
			// Both under the account's lock, which markDirty's callers hold: or
			// what is marked in between would be in no later checkpoint.
			at.a.dirty.Store(false)
			s.mu.Lock()
			delete(s.dirty, at.a)
			s.mu.Unlock()
		}
		at.a.mu.Unlock()
		if clean {
			s.release(at.a)
		}
	}
	s.dropStaged(cp.seq)
	for _, name := range s.oldCounters {
		if err := s.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("an old file of counters is left behind", "part", "storage", "error", err)
		}
	}
	s.oldCounters = nil
	return failed
}

// dropStaged removes staging files that neither the journal nor an item needs.
func (s *Store) dropStaged(trimmed uint64) {
	s.bodies.Lock()
	var drop []string
	s.unneeded = slices.DeleteFunc(s.unneeded, func(c *content) bool {
		if c.users == 0 && c.last > trimmed {
			return false
		}
		s.wasted -= c.size
		if c.users > 0 || c.staged == "" {
			return true
		}
		drop = append(drop, c.staged)
		c.staged = ""
		return true
	})
	s.bodies.Unlock()
	for _, name := range drop {
		s.removeStaged(name)
	}
}
