package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"time"

	"barid/internal/journal"
	"barid/storage"
)

// checkpoint makes the files of all mailboxes as the journal says, flushes
// them, and trims the journal. Any error leaves the journal as it is.
func (s *Store) checkpoint() error {
	s.disk.Lock()
	defer s.disk.Unlock()
	for {
		err := s.tryCheckpoint()
		if err == nil {
			return nil
		}
		// Each time some more accounts are in trouble, of which there are few.
		if !errors.Is(err, errAgain) {
			return fmt.Errorf("checkpoint: %w", err)
		}
	}
}

// errAgain says that other accounts are in trouble than before: a checkpoint that begins now
// has all their records behind it.
var errAgain = errors.New("accounts came into trouble, or out of it")

// tryCheckpoint makes a checkpoint. Store.disk is held.
func (s *Store) tryCheckpoint() error {
	cp, err := s.beginCheckpoint()
	if err != nil {
		return err
	}
	if cp == nil {
		return s.settler.settleAll() // nothing happened since the last
	}
	return cp.complete()
}

// beginCheckpoint takes what a checkpoint is to have, which complete puts on
// disk: at once, or later, when much of that mail is gone again and needs no
// file. Nil when nothing happened since the last. Store.disk is held, and may
// be let go before complete.
func (s *Store) beginCheckpoint() (*checkpoint, error) {
	if s.readOnly.Load() {
		return nil, storage.ErrReadOnly
	}
	known := s.inTroubleNow()
	began := s.cfg.Now()
	// All up to here is in accounts that are dirty, pending at least: a record
	// that is trimmed must be in what capture takes.
	s.placing.Lock()
	upTo := s.journal.Last()
	s.placing.Unlock()
	if err := s.journal.Wait(upTo); err != nil {
		return nil, s.failed(err)
	}
	if uint64(upTo) == s.trimmed.Load() {
		return nil, nil
	}
	cp := &checkpoint{s: s, seq: uint64(upTo), began: began, known: known, troubled: map[*account]bool{}}
	cp.capture()
	return cp, nil
}

// complete makes the files, and trims the journal. It gives errAgain when
// another checkpoint must begin. Store.disk is held.
func (cp *checkpoint) complete() error {
	s := cp.s
	if s.readOnly.Load() {
		return storage.ErrReadOnly
	}
	if s.trimmed.Load() >= cp.seq {
		return nil // another was quicker
	}
	// Who came out of trouble since may have got records, and be in trouble anew.
	if !maps.Equal(s.inTroubleNow(), cp.known) {
		return errAgain
	}
	if err := s.dropAbandoned(); err != nil {
		return err
	}
	if err := cp.run(); err != nil {
		cp.abandon()
		return err
	}
	s.log.Debug("checkpoint", "part", "storage", "accounts", len(cp.states), "took", s.cfg.Now().Sub(cp.began))
	return nil
}

// checkpoint is one on its way.
type checkpoint struct {
	s      *Store
	seq    uint64
	began  time.Time
	states []accountAt
	jobs   uint64      // the last job of those states
	files  []ownedFile // written under their new name, to be renamed

	queueVersion uint64 // that its index has; zero when none was written

	known    map[*account]*trouble // in trouble before seq was taken, and ever since
	troubled map[*account]bool     // those of them that still are: their records are carried on
}

// ownedFile is a file below the root of the FS, without the number of its
// checkpoint, or with it; nil is the store's own.
type ownedFile struct {
	a    *account
	name string
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
	for _, f := range cp.files {
		cp.s.abandoned = append(cp.s.abandoned, cp.numbered(f))
	}
}

// numbered gives the file with the name that it was written under.
func (cp *checkpoint) numbered(f ownedFile) ownedFile {
	return ownedFile{f.a, fmt.Sprintf("%s.%d", f.name, cp.seq)}
}

// dropAbandoned removes them. No later checkpoint may go on before: their
// numbers would look good.
func (s *Store) dropAbandoned() error {
	var again error
	for len(s.abandoned) > 0 {
		f := s.abandoned[0]
		if err := s.fs.Remove(f.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			if f.a == nil || !s.inTrouble(f.a, err, false) {
				return fmt.Errorf("remove what a failed checkpoint left: %w", err)
			}
			f.a.leftovers = append(f.a.leftovers, f.name)
			again = errAgain
		}
		s.abandoned = s.abandoned[1:]
	}
	return again
}

func (cp *checkpoint) run() error {
	s := cp.s
	failed := s.settler.settleEach(cp.jobs)
	for _, at := range cp.states {
		if t := at.a.trouble.Load(); failed[at.a] != nil || t != nil && t.closed {
			continue
		}
		s.settler.relieve()
		letOthers()
		from := len(cp.files)
		if err := cp.account(at); err != nil {
			failed[at.a] = fmt.Errorf("account %s: %w", at.a.addr, err)
			cp.withdraw(at.a, from)
		}
	}
	for a := range cp.known { // clean, but for files that have not got their name yet
		if failed[a] != nil {
			continue
		}
		if err := errors.Join(s.removeLeftovers(a), s.nameFiles(a)); err != nil {
			failed[a] = err
		}
	}
	if err := cp.younger(failed); err != nil {
		return err
	}
	if err := cp.sort(failed); err != nil {
		return err
	}
	s.noteAccounts(cp.states)
	if err := cp.queue(); err != nil {
		return err
	}
	if err := cp.counters(); err != nil {
		return err
	}
	if err := cp.carry(); err != nil {
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

// younger settles the copies that later records made of messages which go from
// the journal now. Such a message may have no file: it was expunged after what
// is captured here.
func (cp *checkpoint) younger(failed map[*account]error) error {
	s := cp.s
	for range 100 { // copies of copies may come meanwhile, until none has another source
		waiting := s.waitFor(cp.seq, failed)
		if len(waiting) == 0 {
			return nil
		}
		shown := map[*account]bool{}
		for _, j := range waiting {
			if shown[j.a] {
				continue
			}
			shown[j.a] = true
			if err := s.publishAll(j.a); err != nil {
				return err
			}
		}
		for a, err := range s.settler.doUrgent() { // what is gone lets its content go
			failed[a] = err
		}
		for i := range waiting {
			if j := &waiting[i]; failed[j.a] == nil {
				if err := s.settle(j); err != nil {
					failed[j.a] = err
				}
			}
		}
	}
	return errors.New("messages are copied faster than they get their files")
}

// waitFor gives the items that have no file, and whose content a record up to
// seq brought. Accounts that failed, or are closed, keep their records.
func (s *Store) waitFor(seq uint64, failed map[*account]error) (list []job) {
	s.bodies.Lock()
	defer s.bodies.Unlock()
	for c := range s.held {
		if c.first > seq {
			continue
		}
		for _, j := range c.waiting {
			if failed[j.a] != nil || j.it.content.Load() != c || j.it.loc.Load()&(locSettled|locDead) != 0 {
				continue
			}
			if t := j.a.trouble.Load(); t == nil || !t.closed {
				list = append(list, j)
			}
		}
	}
	return list
}

// sort tells accounts in trouble from a disk that is.
func (cp *checkpoint) sort(failed map[*account]error) error {
	s := cp.s
	if s.readOnly.Load() {
		return storage.ErrReadOnly
	}
	var again error
	for a, err := range failed {
		switch {
		case a == nil: // the queue
			return err
		case cp.known[a] != nil:
			cp.troubled[a] = true
		case s.inTrouble(a, err, false):
			again = errAgain
		default:
			return err
		}
	}
	for a := range cp.known {
		if a.trouble.Load().closed {
			cp.troubled[a] = true
		}
	}
	return again
}

// withdraw takes back the files of an account that could not be finished: they
// may be torn, and their number will look good.
func (cp *checkpoint) withdraw(a *account, from int) {
	for _, f := range cp.files[from:] {
		a.leftovers = append(a.leftovers, cp.numbered(f).name)
	}
	cp.files = cp.files[:from]
	_ = cp.s.removeLeftovers(a) // else before the next try
}

// capture takes the durable state of every account that no snapshot has.
func (cp *checkpoint) capture() {
	cp.s.queue.publish()
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
	cp.jobs = cp.s.settler.lastTaken() // the jobs of all these states are in the settler's hands
}

// account settles what is left of an account and writes its snapshots.
func (cp *checkpoint) account(at accountAt) error {
	if err := cp.s.removeLeftovers(at.a); err != nil {
		return err
	}
	if err := cp.s.nameFiles(at.a); err != nil {
		return err
	}
	// A later record may have ended it, and its directory is gone.
	if !at.st.alive || !at.a.now.Load().alive || cp.s.noticeGone(at.a) {
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
func (cp *checkpoint) write(a *account, name string, fill func(io.Writer) error) error {
	letOthers()
	cp.files = append(cp.files, ownedFile{a, name}) // in any case: it may be there in part
	return cp.s.createFile(fmt.Sprintf("%s.%d", name, cp.seq), fill)
}

// finish gives the files their names and lets go what is no longer needed.
// The journal is trimmed: nothing here may undo that.
func (cp *checkpoint) finish() error {
	s := cp.s
	var failed error
	late := map[*account]bool{} // whose snapshots are good, but have no name yet
	for _, f := range cp.files {
		letOthers()
		// A crash here is no harm: readNewest finds the new names. But a new
		// name must not stay behind while later checkpoints pass.
		err := s.fs.Rename(cp.numbered(f).name, f.name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			err = s.fs.Rename(cp.numbered(f).name, f.name) // it matters: once more
		}
		switch {
		case err == nil || errors.Is(err, fs.ErrNotExist):
		case f.a != nil && s.inTrouble(f.a, err, false):
			f.a.carried, cp.troubled[f.a], late[f.a] = true, true, true
			f.a.unnamed = append(f.a.unnamed, [2]string{cp.numbered(f).name, f.name})
		default:
			failed = s.lost(err)
		}
	}
	for a := range cp.known {
		if !cp.troubled[a] {
			s.outOfTrouble(a)
		}
	}
	for _, at := range cp.states {
		if cp.troubled[at.a] && !late[at.a] {
			continue // its snapshots are the old ones
		}
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
	if cp.queueVersion > 0 {
		s.queue.written.Store(cp.queueVersion)
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

// nameFiles gives files of a checkpoint the names that they could not get when
// it ended.
func (s *Store) nameFiles(a *account) error {
	for len(a.unnamed) > 0 {
		if err := s.fs.Rename(a.unnamed[0][0], a.unnamed[0][1]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("name what a checkpoint wrote: %w", err)
		}
		a.unnamed = a.unnamed[1:]
	}
	return nil
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
