package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"barid/internal/journal"
	"barid/storage"
	"barid/storage/maildir"
	"barid/storage/metadata"
)

const (
	countersName  = "barid-store"
	countersMagic = "barid-store 1\n"
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
	upTo := s.journal.Last()
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
		if at.a.snap[bs.id] == bs.seq && bs.seq != 0 {
			continue
		}
		if err := cp.box(at.a, bs); err != nil {
			return err
		}
	}
	return nil
}

func (cp *checkpoint) box(a *account, bs *boxState) error {
	if a.now.Load().of(bs.id) == nil {
		return nil // gone by a later record, and its directory perhaps too
	}
	if err := cp.s.makeDir(a, bs.view.Name); err != nil {
		return err
	}
	for i := range bs.items {
		j := job{kind: jobSettle, a: a, box: bs.view.Name, msg: bs.view.Messages[i], it: bs.items[i]}
		if err := cp.s.settle(&j); err != nil {
			return err
		}
		if err := cp.s.rename(&j); err != nil {
			return err
		}
	}
	dir := cp.s.dir(a, bs.view.Name)
	sn := snapshotOf(bs, cp.seq)
	sn.changed = cp.s.dirTimes(dir)
	if err := cp.write(dir.Path()+"/"+snapshotName, func(w io.Writer) error {
		_, err := w.Write(sn.encode())
		return err
	}); err != nil {
		return err
	}
	list := uidListOf(bs)
	return cp.write(dir.Path()+"/"+maildir.UIDListName, list.Write)
}

// rename gives a file the name that tells its message's flags.
func (s *Store) rename(j *job) error {
	loc := j.it.loc.Load()
	flags := j.msg.Flags & storage.SystemFlags
	if loc&locSettled == 0 || loc&locDead != 0 || locFlags(loc) == flags {
		return nil
	}
	want := locOf(loc&locCur != 0, flags) | locSettled
	fromSub, fromName := j.it.fileName(&j.msg, loc)
	sub, name := j.it.fileName(&j.msg, want)
	err := s.dir(j.a, j.box).Move(fromSub, fromName, sub, name)
	if errors.Is(err, fs.ErrNotExist) {
		s.log.Error("a message has lost its file", "part", "storage", "account", j.a.addr, "uid", uint32(j.msg.UID))
		return nil
	}
	if err != nil {
		return err
	}
	j.it.loc.Store(want)
	return nil
}

// uidListOf gives the mailbox as Dovecot reads it.
func uidListOf(bs *boxState) *maildir.UIDList {
	l := &maildir.UIDList{UIDValidity: uint32(bs.view.UIDValidity), UIDNext: uint32(bs.view.UIDNext)}
	l.Entries = make([]maildir.UIDEntry, 0, len(bs.items))
	for i, it := range bs.items {
		m := &bs.view.Messages[i]
		_, name := it.fileName(m, it.loc.Load())
		n, _ := maildir.ParseName(name)
		l.Entries = append(l.Entries, maildir.UIDEntry{UID: uint32(m.UID), Name: n.Stem()})
	}
	return l
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
			at.a.snap[bs.id] = bs.seq
		}
		at.a.written = writtenFiles{at.st.meta, at.st.subs}
		at.a.mu.Lock()
		clean := at.a.next == at.st
		if clean {
			at.a.dirty.Store(false)
		}
		at.a.mu.Unlock()
		if clean {
			s.mu.Lock()
			delete(s.dirty, at.a)
			s.mu.Unlock()
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
		if c.users > 0 || c.staged == "" {
			return true
		}
		if c.last > trimmed {
			return false
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

// counters writes the counters of the store.
func (cp *checkpoint) counters() error {
	return cp.write(countersName, func(w io.Writer) error {
		var e encoder
		e.b = append(e.b, countersMagic...)
		e.number(uint64(cp.s.validity.Load()))
		_, err := w.Write(sealed(e.b))
		return err
	})
}

// readCounters reads the counters. Of several files the highest numbers
// count: too high does no harm.
func (s *Store) readCounters() error {
	names, _, err := s.list(".")
	if err != nil {
		return err
	}
	for _, name := range names {
		n, ok := checkpointOf(name, countersName)
		if !ok {
			continue
		}
		if n > 0 {
			s.oldCounters = append(s.oldCounters, name)
		}
		text, err := s.readFile(name, 1<<10)
		if err != nil {
			return err
		}
		body, ok := unsealed(text, countersMagic)
		if !ok {
			continue // torn by a crash: the checkpoint did not count
		}
		d := decoder{b: body}
		s.raiseValidity(storage.UIDValidity(d.below(1 << 32)))
	}
	return nil
}

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
		if err := cp.write(at.a.dir+"/"+metadata.FileName, cloneMetadata(at.st.meta).Write); err != nil {
			return fmt.Errorf("write metadata: %w", err)
		}
	}
	if slices.Equal(at.a.written.subs, at.st.subs) {
		return nil
	}
	if err := cp.write(at.a.dir+"/"+maildir.SubscriptionsName, func(w io.Writer) error {
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
	name := a.dir + "/" + passwordName
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
	if _, err := s.fs.Stat(a.dir + "/" + enforceName); f.newborn && errors.Is(err, fs.ErrNotExist) {
		if err := s.createFile(a.dir+"/"+enforceName, func(io.Writer) error { return nil }); err != nil {
			return err
		}
	}
	info, err := s.fs.Stat(name)
	if err != nil {
		return err
	}
	f.mtime, f.size, f.wants, f.newborn = info.ModTime(), info.Size(), false, false
	if f.login.IsZero() {
		f.login = day(s.cfg.Now())
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
