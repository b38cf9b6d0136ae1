package local

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"barid/smtp"
	"barid/storage"
	"barid/storage/maildir"
	"barid/storage/metadata"
)

// uidGap is how far UIDNEXT of a mailbox without snapshot lies above the
// UIDs seen: those that were expunged left no trace.
const uidGap = 1 << 20

// loading is an account on its way from disk to memory.
type loading struct {
	s       *Store
	a       *account
	st      *accountState
	changes []change // what must be a record before it may be shown
	remove  []job    // files that are nobody's
}

// load reads an account from disk. a.loading is held. While the journal is
// replayed, what the files do not explain is left for finishReplay.
func (s *Store) load(a *account) error {
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

// write makes records of what was found, in pieces that fit. The account is
// not seen yet, so nobody else writes to it.
func (l *loading) write() error {
	for piece := range slices.Chunk(l.changes, 2000) {
		if err := l.s.write(l.a, &record{accounts: []smtp.Address{l.a.addr}, changes: piece}); err != nil {
			return err
		}
	}
	return nil
}

func (l *loading) read() error {
	names, folders, err := l.s.list(l.a.dir)
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
	if err := l.readFiles(names); err != nil {
		return err
	}
	if err := l.readBox(storage.InboxName, names); err != nil {
		return err
	}
	for _, folder := range folders {
		names, _, err := l.s.list(l.a.dir + "/." + folder)
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
	text, err := l.s.readNewest(l.a.dir, metadata.FileName, names)
	if err != nil {
		return err
	}
	if text != nil {
		if l.st.meta, err = metadata.Read(bytes.NewReader(text), l.s.cfg.Now()); err != nil {
			l.s.log.Warn("metadata.json is not readable, its entries are lost", "part", "storage", "account", l.a.addr, "error", err)
		}
	}
	if text, err = l.s.readNewest(l.a.dir, maildir.SubscriptionsName, names); err != nil {
		return err
	}
	if text != nil {
		if l.st.subs, err = maildir.ReadSubscriptions(bytes.NewReader(text)); err != nil {
			l.s.log.Warn("subscriptions file is not readable", "part", "storage", "account", l.a.addr, "error", err)
		}
		slices.Sort(l.st.subs)
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
	bs := &boxState{id: &box{}, seq: sn.applied, items: sn.items, view: storage.View{
		Name: name, UIDValidity: sn.validity, UIDNext: sn.next, HighestModSeq: sn.modseq, Messages: sn.messages,
	}, floor: sn.modseq}
	l.s.raiseValidity(sn.validity)
	l.a.snap[bs.id] = sn.applied
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
	if err := l.s.replaceFile(name, func(w io.Writer) error {
		_, err := w.Write(sn.encode())
		return err
	}); err != nil {
		return err
	}
	if l.s.cfg.NoSync {
		return nil
	}
	return l.s.fs.SyncFS()
}

// match finds the files of the messages, takes them out of listed, and gives
// the items that have none.
func (l *loading) match(bs *boxState, listed map[string]maildir.File) (missing []*item) {
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
		loc := uint32(locSettled) | locOf(f.Sub == maildir.Cur, n.Flags)
		if f.Sub != maildir.Cur {
			loc &^= locCur
		}
		if was := it.loc.Load(); locFlags(was) != n.Flags && l.a.replay == nil {
			// Another program changed the flags in the name.
			l.changes = append(l.changes, change{
				kind: changeFlags, box: bs.view.Name, modseq: l.nextModSeq(bs), list: []changed{{uid: m.UID, flags: n.Flags}},
			})
		}
		it.loc.Store(loc)
	}
	return missing
}

// nextModSeq gives a ModSeq that no change in l has.
func (l *loading) nextModSeq(bs *boxState) storage.ModSeq {
	high := bs.view.HighestModSeq
	for i := range l.changes {
		if l.changes[i].box == bs.view.Name {
			high = max(high, l.changes[i].modseq)
		}
	}
	return high + 1
}

// nextUID gives a UID above all that changes in l have.
func (l *loading) nextUID(bs *boxState) storage.UID {
	next := bs.view.UIDNext
	for i := range l.changes {
		c := &l.changes[i]
		switch {
		case c.box != bs.view.Name:
		case c.kind == changeAdopt:
			next = max(next, c.uid+1)
		case c.kind == changeRebuilt:
			next = max(next, c.uid)
		}
	}
	return next
}

// explain makes changes of what other programs did to the files of a mailbox.
func (l *loading) explain(bs *boxState, missing []*item, listed map[string]maildir.File) {
	var gone []changed
	for i, it := range bs.items {
		if slices.Contains(missing, it) {
			gone = append(gone, changed{uid: bs.view.Messages[i].UID})
		}
	}
	if len(gone) > 0 {
		l.s.log.Warn("message files are gone, taken for expunged", "part", "storage", "account", l.a.addr, "messages", len(gone))
		l.changes = append(l.changes, change{kind: changeExpunge, box: bs.view.Name, modseq: l.nextModSeq(bs), list: gone})
	}
	l.adopt(bs, listed)
}

// adopt takes message files that no snapshot has: ours that were expunged go,
// others get new UIDs.
func (l *loading) adopt(bs *boxState, listed map[string]maildir.File) {
	uid := l.nextUID(bs)
	var foreign []maildir.File
	for _, f := range listed {
		n, _ := maildir.ParseName(f.Name)
		if ourBase(n.Base) && n.UID != 0 && storage.UID(n.UID) < bs.view.UIDNext {
			l.remove = append(l.remove, job{kind: jobRemove, box: bs.view.Name, file: f})
			continue
		}
		foreign = append(foreign, f)
	}
	if len(foreign) == 0 {
		return
	}
	sortFiles(foreign)
	l.s.log.Info("message files of other programs get UIDs", "part", "storage", "account", l.a.addr, "messages", len(foreign))
	modseq := l.nextModSeq(bs)
	for _, f := range foreign {
		l.adoptFile(bs, f, uid, modseq)
		uid++
		modseq++
	}
}

func (l *loading) adoptFile(bs *boxState, f maildir.File, uid storage.UID, modseq storage.ModSeq) {
	n, _ := maildir.ParseName(f.Name)
	received, size := n.Received(), n.Size
	dir := l.s.dir(l.a, bs.view.Name)
	if received.IsZero() {
		received = l.s.cfg.Now()
		if info, err := dir.Stat(f.Sub, f.Name); err == nil {
			received = info.ModTime()
		}
	}
	if size < 0 {
		c, err := dir.Open(f.Sub, f.Name, maxOpen)
		if err != nil {
			l.s.log.Error("a message file cannot be read and is left alone", "part", "storage", "account", l.a.addr, "error", err)
			return
		}
		size = c.Size()
		_ = c.Close() // only read
	}
	l.changes = append(l.changes, change{
		kind: changeAdopt, box: bs.view.Name, uid: uid, modseq: modseq, flags: n.Flags, at: received.Unix(), size: size,
		text: f.Name, remove: f.Sub == maildir.Cur,
	})
}

// sortFiles orders files by time, then name: the order of arrival, as far as
// it can be known.
func sortFiles(files []maildir.File) {
	slices.SortFunc(files, func(x, y maildir.File) int {
		nx, _ := maildir.ParseName(x.Name)
		ny, _ := maildir.ParseName(y.Name)
		if c := nx.Received().Compare(ny.Received()); c != 0 {
			return c
		}
		return strings.Compare(x.Name, y.Name)
	})
}

// withoutSnapshot makes a mailbox from its files alone, or with the help of
// the dovecot-uidlist that an adopted relay has.
func (l *loading) withoutSnapshot(name string, dir maildir.Dir, names []string, listed map[string]maildir.File) error {
	if r := l.a.replay; r != nil {
		r.listed[name] = listed
		r.bare[name] = names
		return nil
	}
	bs := &boxState{id: &box{}, view: storage.View{Name: name, UIDNext: 1}}
	l.st.boxes = append(l.st.boxes, bs)
	return l.rebuild(bs, dir, names, listed)
}

// plan is what can be known of a mailbox without snapshot.
type plan struct {
	uids     map[string]storage.UID // by base
	validity storage.UIDValidity    // zero: nobody knows what it was
	next     storage.UID
}

// plan reads the dovecot-uidlist, or else the UIDs in file names.
func (l *loading) plan(dir maildir.Dir, names []string, listed map[string]maildir.File) (plan, error) {
	p := plan{uids: map[string]storage.UID{}, next: 1}
	if slices.Contains(names, maildir.UIDListName) {
		text, err := l.s.readFile(dir.Path()+"/"+maildir.UIDListName, maxSnapshot)
		if err != nil {
			return p, err
		}
		list, err := maildir.ReadUIDList(bytes.NewReader(text))
		if err == nil {
			p.validity, p.next = storage.UIDValidity(list.UIDValidity), max(1, storage.UID(list.UIDNext))
			for _, e := range list.Entries {
				if n, ok := maildir.ParseName(e.Name); ok {
					p.uids[n.Base] = storage.UID(e.UID)
				}
			}
		} else {
			l.s.log.Warn("dovecot-uidlist is not readable", "part", "storage", "account", l.a.addr, "error", err)
		}
	}
	if p.validity == 0 {
		p.next = l.uidsFromNames(listed, p.uids)
	}
	l.s.raiseValidity(p.validity)
	return p, nil
}

// rebuild gives an empty mailbox without snapshot its messages.
func (l *loading) rebuild(bs *boxState, dir maildir.Dir, names []string, listed map[string]maildir.File) error {
	p, err := l.plan(dir, names, listed)
	if err != nil {
		return err
	}
	lost := p.validity == 0
	if lost {
		p.validity = l.s.nextValidity()
		if len(listed) > 0 {
			p.next += uidGap
		}
	}
	modseq := l.newModSeq(bs)
	rebuilt := change{kind: changeRebuilt, box: bs.view.Name, validity: p.validity, uid: 1, modseq: modseq}
	l.changes = append(l.changes, rebuilt)
	for _, f := range byUID(listed, p.uids) {
		n, _ := maildir.ParseName(f.Name)
		modseq++
		l.adoptFile(bs, f, p.uids[n.Base], modseq)
		delete(listed, n.Base)
	}
	rebuilt.uid, rebuilt.modseq = p.next, modseq
	l.changes = append(l.changes, rebuilt)
	// What has no UID yet comes after all that has one.
	rest := &boxState{view: bs.view}
	rest.view.UIDNext, rest.view.HighestModSeq = p.next, modseq
	if lost {
		rest.view.UIDNext = 1 // of no file can be said that it was expunged
	}
	l.adopt(rest, listed)
	return nil
}

// newModSeq gives a ModSeq higher than any that a mailbox can have had
// before its snapshot was lost: counting never gets near the clock.
func (l *loading) newModSeq(bs *boxState) storage.ModSeq {
	return max(bs.view.HighestModSeq+1, storage.ModSeq(max(l.s.cfg.Now().Unix(), 0))<<16)
}

// uidsFromNames finds the UIDs that our own file names have, and gives the
// one after the highest.
func (l *loading) uidsFromNames(listed map[string]maildir.File, uids map[string]storage.UID) storage.UID {
	taken := map[storage.UID]bool{}
	next := storage.UID(1)
	for base, f := range listed {
		n, _ := maildir.ParseName(f.Name)
		uid := storage.UID(n.UID)
		if !ourBase(base) || uid == 0 || taken[uid] || uid >= 1<<31 {
			continue
		}
		taken[uid] = true
		uids[base] = uid
		next = max(next, uid+1)
	}
	if len(listed) > 0 {
		l.s.log.Warn("a mailbox is made anew from its files", "part", "storage", "account", l.a.addr, "messages", len(listed))
	}
	return next
}

// byUID gives the files that have a UID, ascending.
func byUID(listed map[string]maildir.File, uids map[string]storage.UID) []maildir.File {
	var files []maildir.File
	for base, f := range listed {
		if uids[base] != 0 {
			files = append(files, f)
		}
	}
	uid := func(f maildir.File) storage.UID {
		n, _ := maildir.ParseName(f.Name)
		return uids[n.Base]
	}
	slices.SortFunc(files, func(x, y maildir.File) int { return int(int64(uid(x)) - int64(uid(y))) })
	return files
}

// ourBase tells whether we made a base name (maildir.NewBase).
func ourBase(base string) bool { return strings.HasSuffix(base, ".barid") }

// seqOf reads the record's number in a base name of ours.
func seqOf(base string) (uint64, bool) {
	_, rest, ok := strings.Cut(base, ".Q")
	if !ok || !ourBase(base) {
		return 0, false
	}
	digits, _, _ := strings.Cut(rest, "N")
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, err == nil
}

// base gives the part of its file name that never changes.
func (it *item) base(m *storage.Message) string {
	if it.foreign != nil {
		return it.foreign.Base
	}
	return maildir.NewBase(m.Received, it.seq, int(it.n))
}
