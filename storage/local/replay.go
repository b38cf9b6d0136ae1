package local

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"barid/internal/journal"
	"barid/smtp"
	"barid/storage"
	"barid/storage/maildir"
)

// replayed is what is known of an account only while the journal is read.
type replayed struct {
	listed  map[string]map[string]maildir.File // by mailbox and base: files no message has yet
	bare    map[string][]string                // mailboxes whose directory has no snapshot: what lies in it
	rebuilt map[string]bool                    // mailboxes made of their files, as records needed them: whether UIDVALIDITY is lost
	missing map[*item]bool                     // items of the snapshot without file
	hashes  map[string]bool                    // that the password file may have by our doing
	hash    string                             // the last that a record set
	born    bool                               // a record bore the account
	trimmed uint64                             // earlier records of the account are in its files
}

func newReplayed() *replayed {
	return &replayed{
		listed: map[string]map[string]maildir.File{}, bare: map[string][]string{}, rebuilt: map[string]bool{},
		missing: map[*item]bool{}, hashes: map[string]bool{},
	}
}

// openJournal opens the journal and applies what it has.
func (s *Store) openJournal() error {
	var touched []*account
	any := false // is in the journal
	staged := map[string]*content{}
	log, err := journal.Open(journal.Config{
		FS: s.fs, Dir: journalDir, SegmentSize: s.cfg.SegmentBytes, NoSync: s.cfg.NoSync, Logger: s.log,
	}, func(seq journal.Seq, octets []byte) error {
		if !any {
			any = true
			s.trimmed.Store(uint64(seq) - 1)
			if err := s.queue.load(); err != nil {
				return err
			}
		}
		list, err := s.replayRecord(uint64(seq), octets, staged)
		for _, a := range list {
			if !slices.Contains(touched, a) {
				touched = append(touched, a)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	s.journal = log
	if !any {
		s.trimmed.Store(uint64(log.Last()))
		err = s.queue.load()
	} else {
		s.log.Info("journal replayed", "part", "storage", "records", uint64(log.Last())-s.trimmed.Load(), "accounts", len(touched))
	}
	if err == nil {
		err = s.queue.finishReplay()
	}
	for _, a := range touched {
		if failed := s.finishReplay(a); failed != nil && !s.closeAccount(a, failed) {
			err = errors.Join(err, failed)
		}
		s.release(a)
	}
	if err == nil {
		err = s.dropLeftovers(staged)
	}
	if err != nil {
		return errors.Join(err, log.Close())
	}
	return nil
}

// replayRecord applies a record as the journal has it.
func (s *Store) replayRecord(seq uint64, octets []byte, staged map[string]*content) ([]*account, error) {
	c := &carried{seq: seq, record: octets}
	if len(octets) > 0 && octets[0] == recordCarried {
		var err error
		if c, err = decodeCarried(octets); err != nil {
			return nil, fmt.Errorf("record %d: %w", seq, err)
		}
	}
	r, err := decodeRecord(c.record)
	if err != nil {
		return nil, fmt.Errorf("record %d: %w", seq, err)
	}
	if err := s.dropCarriedLeftovers(c); err != nil {
		return nil, fmt.Errorf("record %d: %w", seq, err)
	}
	return s.replay(seq, c, r, staged)
}

// dropCarriedLeftovers removes what failed checkpoints left of accounts in
// trouble: it would look good. Accounts where that still fails are closed.
func (s *Store) dropCarriedLeftovers(c *carried) error {
	for _, name := range c.leftovers {
		err := s.fs.Remove(name)
		if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		for _, local := range c.accounts {
			if err := s.closeFor(smtp.Address{LocalPart: local, Domain: s.cfg.Domain}, err); err != nil {
				return fmt.Errorf("remove what a failed checkpoint left: %w", err)
			}
		}
	}
	return nil
}

// closeAccount closes an account whose files cannot be read: what the journal
// has of it stays there. False when that is not its own fault.
func (s *Store) closeAccount(a *account, cause error) bool {
	if !s.inTrouble(a, cause, true) {
		return false
	}
	a.carried = true
	s.settler.forget(a)
	return true
}

// replay applies a record, or that part of it that is carried, and gives its
// accounts, each acquired for its first record.
func (s *Store) replay(at uint64, carried *carried, r *record, staged map[string]*content) ([]*account, error) {
	seq := carried.seq
	contents := s.replayContents(r, staged)
	builders := make([]*builder, len(r.accounts))
	var list []*account
	for i, addr := range r.accounts {
		addr, ok := s.ours(addr)
		if !ok {
			return list, errors.New("the journal is of another domain")
		}
		if at != seq && !carried.has(addr) {
			continue
		}
		a, err := s.acquire(addr)
		if errors.Is(err, errTrouble) || theirs(err) {
			if err := s.closeFor(addr, err); err != nil {
				return list, err
			}
			for _, c := range contents {
				c.last = max(c.last, at) // a staging file stays
			}
			continue
		}
		if err != nil {
			return list, err
		}
		list = append(list, a)
		if a.replay.trimmed == 0 {
			a.replay.trimmed = min(s.trimmed.Load(), seq-1)
		}
		if a.dirty.Load() {
			s.release(a) // an earlier record holds it
		} else {
			s.markDirty(a)
		}
		builders[i] = newBuilder(a, a.next)
	}
	n := uint32(0)
	for i := range r.changes {
		c := &r.changes[i]
		if c.kind.ofQueue() {
			if at == seq { // what is carried on is carried for accounts
				s.queue.replayChange(c, seq, contents)
			}
			continue
		}
		b := builders[c.account]
		if b == nil { // of no concern, or closed
			n += c.messages()
			continue
		}
		if err := s.replayChange(b, c, seq, n, contents); err != nil {
			return list, err
		}
		n += c.messages()
	}
	for _, b := range builders {
		if b == nil {
			continue
		}
		s.seal(b, seq)
		if b.died {
			b.a.died.Store(at) // there are records of the old life up to here
		}
		b.a.next = b.st
		b.a.now.Store(b.st)
		s.claim(b)
		s.settler.take(b.a, b.jobs)
	}
	return list, nil
}

// closeFor closes an account that could not be acquired.
func (s *Store) closeFor(addr smtp.Address, cause error) error {
	a, err := s.hook(addr)
	if err != nil {
		return err
	}
	defer s.release(a)
	if a.trouble.Load() == nil && !s.closeAccount(a, cause) {
		return cause
	}
	return nil
}

func (s *Store) replayContents(r *record, staged map[string]*content) []*content {
	contents := make([]*content, len(r.contents))
	for i, c := range r.contents {
		if c.staged == "" {
			contents[i] = &content{size: c.size, crc: c.crc, mem: append([]byte{}, c.octets...)}
			continue
		}
		if staged[c.staged] == nil {
			staged[c.staged] = &content{size: c.size, crc: c.crc, staged: c.staged}
		}
		contents[i] = staged[c.staged]
	}
	return contents
}

// replayChange applies a change that is newer than what the files had.
func (s *Store) replayChange(b *builder, c *change, seq uint64, n uint32, contents []*content) error {
	s.raiseValidity(c.validity)
	if c.validity != 0 && c.id == (storage.MailboxID{}) { // a record of an older version
		c.id = s.ids.mailbox(b.a.addr, c.box, c.validity)
	}
	r := b.a.replay
	switch c.kind {
	case changeEntry, changeSubscribe: // setting twice is setting once
	case changePassword:
		r.hash, r.hashes[c.text], r.hashes[c.old] = c.text, true, true
	case changeBorn, changeMakeBox, changeDied, changeDropBox:
		return s.replayLife(b, c, seq, n)
	case changeRebuilt:
		if _, bare := r.bare[c.box]; bare {
			delete(r.bare, c.box)
			b.makeBox(c.box, c.validity, c.id).adopting = adoptionBegins
		}
		if b.has(c.box, seq) {
			return nil
		}
		delete(r.rebuilt, c.box) // this is what an earlier run made up
	default:
		if err := errors.Join(s.replayBare(b, c.box), s.replayBare(b, c.to)); err != nil {
			return err
		}
		b.replayGone(c.box)
		if c.kind == changeCopy {
			b.replayGone(c.to)
		}
		if c.kind == changeCopy {
			if !b.has(c.to, seq) {
				s.replayCopy(b, c, n)
			}
			return nil
		}
		if b.has(c.box, seq) {
			return nil
		}
	}
	b.apply(c, n, contents)
	return nil
}

// has tells whether the mailbox has record seq already.
func (b *builder) has(name string, seq uint64) bool {
	bs := b.st.find(name)
	return bs != nil && bs.seq >= seq
}

// replayLife applies the begin or the end of an account or mailbox.
func (s *Store) replayLife(b *builder, c *change, seq uint64, n uint32) error {
	r := b.a.replay
	if c.kind == changeDied && b.has(storage.InboxName, seq) || b.has(c.box, seq) {
		return nil
	}
	delete(r.bare, c.box)
	switch c.kind {
	case changeBorn:
		r.hash, r.hashes[c.text], r.born = c.text, true, true
	case changeDied:
		r.hashes[c.old] = true
		clear(r.bare)
		clear(r.listed)
	case changeDropBox:
		delete(r.listed, c.box)
		delete(r.rebuilt, c.box)
		if b.st.find(c.box) == nil {
			b.jobs = append(b.jobs, job{kind: jobDropBox, box: c.box})
			b.died = true
			return nil
		}
	}
	if c.kind == changeMakeBox && b.st.find(c.box) != nil {
		return nil
	}
	b.apply(c, n, nil)
	return nil
}

// replayBare makes a mailbox whose snapshot is lost from its files, as far as
// they are older than the journal, so that records find it. What the files do
// not tell is made up for in finishReplay.
func (s *Store) replayBare(b *builder, name string) error {
	r := b.a.replay
	names, bare := r.bare[name]
	if !bare || name == "" {
		return nil
	}
	delete(r.bare, name)
	old := map[string]maildir.File{}
	for base, f := range r.listed[name] {
		if seq, ours := seqOf(base); !ours || seq <= r.trimmed {
			old[base] = f
		}
	}
	l := &loading{s: s, a: b.a, st: b.st}
	p, err := l.plan(name, s.dir(b.a, name), names, old)
	if err != nil {
		return err
	}
	bs := b.makeBox(name, p.validity, p.id)
	for _, f := range byUID(old, p.uids) {
		file, _ := maildir.ParseName(f.Name)
		l.adoptFile(bs, f, p.uids[file.Base], 1)
		delete(r.listed[name], file.Base)
	}
	for i := range l.changes {
		b.apply(&l.changes[i], 0, nil)
	}
	bs = b.edit(name)
	bs.view.UIDNext = max(bs.view.UIDNext, p.next)
	r.rebuilt[name] = p.validity == 0
	return nil
}

// replayGone makes a mailbox of which nothing is left on disk: a later record
// drops it, and an earlier run removed its directory already. What was put
// there may have been copied on, and has no file anywhere. Where no record
// drops it, somebody else removed the directory, and mail that is in the
// journal still is all it has.
func (b *builder) replayGone(name string) {
	if !b.st.alive || b.st.find(name) != nil {
		return
	}
	b.makeBox(name, 0, storage.MailboxID{})
	b.a.replay.rebuilt[name] = true
}

// replayCopy applies a copy. Where the source is gone, an earlier run gave
// the copy its file before it let the source go.
func (s *Store) replayCopy(b *builder, c *change, n uint32) {
	if b.st.find(c.to) != nil {
		b.apply(c, n, nil)
	}
}

// claim finds the files that an earlier run made of what a record added.
func (s *Store) claim(b *builder) {
	for _, add := range b.added {
		listed := b.a.replay.listed[add.box]
		base := add.it.base(&add.msg)
		f, ok := listed[base]
		if !ok {
			continue
		}
		delete(listed, base)
		if add.it.foreign != nil {
			n, _ := maildir.ParseName(f.Name)
			add.it.foreign = &n // others may have renamed it
			add.it.loc.Store(locSettled | locOf(f.Sub == maildir.Cur, n.Flags))
			continue
		}
		if b.a.found == nil {
			b.a.found = map[*item]maildir.File{}
		}
		b.a.found[add.it] = f
	}
}

// finishReplay explains what is left after all records.
func (s *Store) finishReplay(a *account) error {
	r := a.replay
	a.replay = nil
	st := *a.next
	l := &loading{s: s, a: a, st: &st, crashed: true}
	if !st.alive {
		return nil
	}
	if err := s.finishPassword(a, r); err != nil {
		return err
	}
	st.boxes = slices.Clone(st.boxes)
	for _, bs := range st.boxes {
		if lost, rebuilt := r.rebuilt[bs.view.Name]; rebuilt {
			l.finishRebuilt(bs, lost)
		}
		if bs.adopting != adoptionEnded {
			if err := l.goOnAdopting(bs, r.listed[bs.view.Name]); err != nil {
				return err
			}
		}
		var missing []*item
		for _, it := range bs.items {
			if r.missing[it] {
				missing = append(missing, it)
			}
		}
		l.explain(bs, missing, r.listed[bs.view.Name])
	}
	for name, names := range r.bare {
		if st.find(name) != nil {
			continue
		}
		bs := &boxState{id: &box{}, view: storage.View{Name: name, UIDNext: 1}}
		st.boxes = append(st.boxes, bs)
		if err := l.rebuild(bs, s.dir(a, name), names, r.listed[name]); err != nil {
			return err
		}
	}
	slices.SortFunc(st.boxes, func(x, y *boxState) int { return compareNames(x.view.Name, y.view.Name) })
	a.next = &st
	a.now.Store(&st)
	s.settler.take(a, append(l.remove, job{kind: jobAccount}))
	s.rehome(a, r.missing)
	s.settleFound(a)
	return l.write()
}

// finishRebuilt makes up for what a mailbox made of its files may have had.
func (l *loading) finishRebuilt(bs *boxState, lost bool) {
	c := change{
		kind: changeRebuilt, box: bs.view.Name, validity: bs.view.UIDValidity, id: bs.view.ID, uid: bs.view.UIDNext, modseq: l.newModSeq(bs),
	}
	if lost {
		c.validity = l.s.nextValidity()
		c.id = l.s.ids.mailbox(l.a.addr, bs.view.Name, c.validity)
		c.uid += uidGap
	}
	l.changes = append(l.changes, c)
}

// settleFound settles the copies whose only source an earlier run may have
// removed already: it gave them files first.
func (s *Store) settleFound(a *account) {
	for _, bs := range a.next.boxes {
		for i, it := range bs.items {
			if _, ok := a.found[it]; !ok {
				continue
			}
			if c := it.content.Load(); c != nil && (c.mem != nil || c.staged != "") {
				continue
			}
			j := job{kind: jobSettle, a: a, box: bs.view.Name, msg: bs.view.Messages[i], it: it}
			if err := s.settle(&j); err != nil {
				s.log.Error("a copy of a message cannot be settled yet", "part", "storage", "account", a.addr, "error", err)
			}
		}
	}
}

// finishPassword decides between the password file and the records: what is
// neither ours nor torn was put there by the operator, later.
func (s *Store) finishPassword(a *account, r *replayed) error {
	if r.hash == "" {
		return nil
	}
	hash, err := readHash(s, a.dir()+"/"+passwordName)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if hash != "" && !strings.ContainsRune(hash, 0) && !r.hashes[hash] {
		s.log.Info("a password file was changed by hand, it counts", "part", "storage", "account", a.addr)
		return nil
	}
	a.pw.set(r.hash, r.born)
	return nil
}

// dropLeftovers removes staging files that no record names.
func (s *Store) dropLeftovers(staged map[string]*content) error {
	entries, err := s.fs.ReadDir(stagingDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		c := staged[e.Name()]
		if c == nil || c.users == 0 && c.last == 0 {
			s.removeStaged(e.Name())
		}
	}
	for name, c := range staged {
		if _, err := s.fs.Stat(stagingDir + "/" + name); errors.Is(err, fs.ErrNotExist) && c.users > 0 {
			s.log.Error("a staging file is gone, and with it the content of messages", "part", "storage", "messages", c.users)
		}
	}
	return nil
}
