package local

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"

	"barid/smtp"
	"barid/storage"
	"barid/storage/maildir"
	"barid/storage/metadata"
)

// loading is an account on its way from disk to memory.
type loading struct {
	s       *Store
	a       *account
	st      *accountState
	changes []change // what must be a record before it may be shown
	remove  []job    // files that are nobody's
	crashed bool     // the journal had records of it: files of what was expunged may be left
}

// load reads an account from disk. a.loading is held. While the journal is
// replayed, what the files do not explain is left for finishReplay.
func (s *Store) load(a *account) error {
	if l := a.unfinished; l != nil {
		return l.write()
	}
	l := &loading{s: s, a: a, st: &accountState{}}
	if s.journal == nil {
		a.replay = newReplayed()
	}
	if err := l.read(); err != nil {
		return err
	}
	a.next = l.st
	a.now.Store(l.st)
	s.settler.take(a, l.remove)
	return l.write()
}

// foundAtOnce is the default of how many changes that were found one record
// holds.
const foundAtOnce = 2000

// write makes records of what was found, in pieces that fit. The account is
// not seen yet, so nobody else writes to it. When a piece fails, the next who
// wants the account goes on with it: to begin anew would give files twice a UID.
func (l *loading) write() error {
	atOnce := l.s.cfg.pieces
	l.a.partly.Store(len(l.changes) > atOnce || l.a.unfinished != nil)
	for len(l.changes) > 0 {
		piece := l.changes[:min(len(l.changes), atOnce)]
		if err := l.s.write(l.a, &record{accounts: []smtp.Address{l.a.addr}, changes: piece}); err != nil {
			l.a.unfinished = l
			return err
		}
		l.changes = l.changes[len(piece):]
	}
	l.a.unfinished = nil
	l.a.partly.Store(false)
	return nil
}

func (l *loading) read() error {
	names, folders, err := l.s.list(l.a.dir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if l.a.replay == nil && !slices.Contains(names, passwordName) {
		return nil // no account
	}
	if slices.Contains(names, passwordName) {
		l.st.alive = true
		if _, err := l.a.pw.current(l.s, l.a); err != nil {
			return err
		}
		l.st.hash = l.a.pw.known()
	}
	l.s.dropMaildirsize(l.a.dir(), names)
	if err := l.readFiles(names); err != nil {
		return err
	}
	if err := l.readBox(storage.InboxName, names); err != nil {
		return err
	}
	for _, folder := range folders {
		names, _, err := l.s.list(l.a.dir() + "/." + folder)
		if err != nil {
			return err
		}
		if err := l.readBox(folder, names); err != nil {
			return err
		}
	}
	slices.SortFunc(l.st.boxes, func(x, y *boxState) int { return compareNames(x.view.Name, y.view.Name) })
	return nil
}

// list gives the names in a directory, and the mailboxes among them.
func (s *Store) list(dir string) (names, folders []string, err error) {
	entries, err := s.fs.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		} else if folder, ok := maildir.FolderName(e.Name()); ok {
			folders = append(folders, folder)
		}
	}
	slices.Sort(folders)
	return names, folders, nil
}

// readFiles reads the account's own files.
func (l *loading) readFiles(names []string) error {
	text, err := l.s.readNewest(l.a.dir(), metadata.FileName, names)
	if err != nil {
		return err
	}
	if text != nil {
		if l.st.meta, err = metadata.Read(bytes.NewReader(text), l.s.cfg.Now()); err != nil {
			l.s.log.Warn("metadata.json is not readable, its entries are lost", "part", "storage", "account", l.a.addr, "error", err)
		}
	}
	if text, err = l.s.readNewest(l.a.dir(), maildir.SubscriptionsName, names); err != nil {
		return err
	}
	if text != nil {
		if l.st.subs, err = maildir.ReadSubscriptions(bytes.NewReader(text)); err != nil {
			l.s.log.Warn("subscriptions file is not readable", "part", "storage", "account", l.a.addr, "error", err)
		}
		slices.Sort(l.st.subs)
		l.st.subs = slices.Compact(l.st.subs)
	}
	l.a.written = writtenFiles{meta: l.st.meta, subs: l.st.subs}
	return nil
}

// readBox reads one mailbox. names is what lies in its directory.
func (l *loading) readBox(name string, names []string) error {
	dir := l.s.dir(l.a, name)
	if _, err := l.s.nameNewest(dir.Path(), maildir.UIDListName, names); err != nil {
		return err
	}
	sn, err := l.s.readSnapshot(dir.Path(), names)
	if err != nil && !errors.Is(err, errSnapshot) {
		return err
	}
	if sn != nil && l.a.replay == nil && sn.changed[0] != 0 && sn.changed == l.s.dirTimes(dir) {
		return l.trust(name, dir, sn)
	}
	listed, listErr := listFiles(dir)
	if listErr != nil {
		return listErr
	}
	if sn != nil && l.a.replay == nil {
		served, err := l.forgetServed(dir, sn)
		if err != nil {
			return err
		}
		if served {
			return l.withoutSnapshot(name, dir, names, listed)
		}
	}
	if sn == nil {
		if err != nil {
			l.s.log.Error("mailbox snapshot is not readable, made anew from the files", "part", "storage", "account", l.a.addr, "error", err)
		}
		return l.withoutSnapshot(name, dir, names, listed)
	}
	bs, err := l.newBox(name, dir, sn)
	if err != nil {
		return err
	}
	missing := l.match(bs, listed)
	if r := l.a.replay; r != nil {
		r.listed[name] = listed
		for _, it := range missing {
			r.missing[it] = true
		}
		return nil
	}
	if bs.adopting != adoptionEnded {
		if err := l.goOnAdopting(bs, listed); err != nil {
			return err
		}
	}
	l.explain(bs, missing, listed)
	return nil
}

// listFiles lists the message files of a mailbox by base.
func listFiles(dir maildir.Dir) (map[string]maildir.File, error) {
	files, err := dir.List()
	if err != nil {
		return nil, err
	}
	listed := make(map[string]maildir.File, len(files))
	for _, f := range files {
		n, _ := maildir.ParseName(f.Name)
		if double, ok := listed[n.Base]; ok && double.Sub == maildir.Cur {
			continue
		}
		listed[n.Base] = f
	}
	return listed, nil
}

// trust takes a snapshot whose directories did not change since.
func (l *loading) trust(name string, dir maildir.Dir, sn *snapshot) error {
	bs, err := l.newBox(name, dir, sn)
	if err != nil {
		return err
	}
	for i := range bs.view.Messages {
		bs.octets += bs.view.Messages[i].Size
	}
	return nil
}

// newBox gives a snapshot's mailbox to the account.
func (l *loading) newBox(name string, dir maildir.Dir, sn *snapshot) (*boxState, error) {
	if err := l.renumber(dir.Path(), sn); err != nil {
		return nil, err
	}
	bs := &boxState{id: &box{snapped: sn.applied}, seq: sn.applied, items: sn.items, view: storage.View{
		Name: name, ID: l.ownID(sn.id, name, sn.validity), UIDValidity: sn.validity, UIDNext: sn.next, HighestModSeq: sn.modseq, Messages: sn.messages,
	}, floor: sn.modseq}
	if sn.changed == timesAdopting {
		bs.adopting = adoptionGoesOn
	}
	bs.setOldest()
	l.s.raiseValidity(sn.validity)
	l.st.boxes = append(l.st.boxes, bs)
	l.st.seq = max(l.st.seq, sn.applied)
	return bs, nil
}

// renumber repairs a snapshot of a journal that was lost: the new one counts
// from the beginning, and its records must not look older than the snapshot.
func (l *loading) renumber(dir string, sn *snapshot) error {
	if l.s.journal == nil || sn.applied <= uint64(l.s.journal.Last()) {
		return nil
	}
	l.s.log.Warn("a mailbox knows of records that the journal has lost", "part", "storage", "account", l.a.addr)
	sn.applied = 0
	name := dir + "/" + snapshotName
	if err := l.s.createFile(name+".new", func(w io.Writer) error {
		_, err := w.Write(sn.encode())
		return err
	}); err != nil {
		return err
	}
	// The old one stays until the new one is whole.
	if err := l.s.flushFiles(); err != nil {
		return err
	}
	if err := l.s.fs.Rename(name+".new", name); err != nil {
		return err
	}
	return l.s.flushFiles()
}

// match finds the files of the messages, takes them out of listed, and gives
// the items that have none.
func (l *loading) match(bs *boxState, listed map[string]maildir.File) (missing []*item) {
	var flagged []changed // another program changed the flags in their names
	for i := range bs.view.Messages {
		m, it := &bs.view.Messages[i], bs.items[i]
		bs.octets += m.Size
		base := it.base(m)
		f, ok := listed[base]
		if !ok {
			missing = append(missing, it)
			continue
		}
		delete(listed, base)
		n, _ := maildir.ParseName(f.Name)
		if it.foreign != nil {
			it.foreign = &n // others may have renamed it
		}
		loc := uint32(locSettled) | locOf(f.Sub == maildir.Cur, n.Flags)
		if f.Sub != maildir.Cur {
			loc &^= locCur
		}
		if was := it.loc.Load(); locFlags(was) != n.Flags && l.a.replay == nil {
			flagged = append(flagged, changed{uid: m.UID, flags: n.Flags})
		}
		it.loc.Store(loc)
	}
	if len(flagged) > 0 {
		l.changes = append(l.changes, change{kind: changeFlags, box: bs.view.Name, modseq: l.nextModSeq(bs), list: flagged})
	}
	return missing
}

// base gives the part of its file name that never changes.
func (it *item) base(m *storage.Message) string {
	if it.foreign != nil {
		return it.foreign.Base
	}
	return maildir.NewBase(m.Received.Time(), it.seq, int(it.n))
}
