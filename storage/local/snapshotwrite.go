package local

import (
	"errors"
	"io"
	"io/fs"

	"barid/storage"
	"barid/storage/maildir"
)

func (cp *checkpoint) box(a *account, bs *boxState) error {
	if a.now.Load().of(bs.id) == nil {
		return nil // gone by a later record, and its directory perhaps too
	}
	if bs.adopting == adoptionBegins {
		return nil // no record has anything of it
	}
	// Most accounts are new and get no mail for a while: their INBOX has no
	// directories, and no UIDs that another program could give twice.
	untouched := bs.view.Name == storage.InboxName && bs.view.UIDNext == 1
	if !untouched {
		if err := cp.s.makeDir(a, bs.view.Name); err != nil {
			return err
		}
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
	switch {
	case bs.adopting != adoptionEnded:
		sn.changed = timesAdopting
	case !a.partly.Load(): // else the next load has to look
		sn.changed = cp.s.dirTimes(dir)
	}
	if err := cp.write(a, dir.Path()+"/"+snapshotName, func(w io.Writer) error {
		_, err := w.Write(sn.encode())
		return err
	}); err != nil {
		return err
	}
	// While files wait for their record, Dovecot's list still says which UIDs
	// they have.
	if untouched || a.partly.Load() {
		return nil
	}
	list := uidListOf(bs)
	return cp.write(a, dir.Path()+"/"+maildir.UIDListName, list.Write)
}

// rename gives a file the name that tells its message's flags.
func (s *Store) rename(j *job) error {
	loc := j.it.loc.Load()
	flags := j.msg.Flags & storage.SystemFlags
	if loc&locSettled == 0 || loc&locDead != 0 || locFlags(loc) == flags {
		return nil
	}
	return s.place(j, loc, locOf(loc&locCur != 0, flags)|locSettled)
}

// place gives the file of an item that lies at loc the place it wants.
func (s *Store) place(j *job, loc, want uint32) error {
	fromSub, fromName := j.it.fileName(&j.msg, loc)
	sub, name := j.it.fileName(&j.msg, want)
	s.naming.Lock()
	err := s.dir(j.a, j.box).Move(fromSub, fromName, sub, name)
	if err == nil {
		j.it.loc.Store(want)
	}
	s.naming.Unlock()
	if errors.Is(err, fs.ErrNotExist) {
		s.log.Error("a message has lost its file", "part", "storage", "account", j.a.addr, "uid", uint32(j.msg.UID))
		return nil
	}
	return err
}

// uidListOf gives the mailbox as Dovecot reads it, without messages whose file
// names it could not read.
func uidListOf(bs *boxState) *maildir.UIDList {
	l := &maildir.UIDList{UIDValidity: uint32(bs.view.UIDValidity), UIDNext: uint32(bs.view.UIDNext), GUID: bs.view.ID.String()}
	l.Entries = make([]maildir.UIDEntry, 0, len(bs.items))
	for i, it := range bs.items {
		m := &bs.view.Messages[i]
		_, name := it.fileName(m, it.loc.Load())
		n, _ := maildir.ParseName(name)
		stem := n.Stem()
		if !maildir.Listable(stem) {
			continue // Dovecot would give it a UID of its own; others keep theirs
		}
		l.Entries = append(l.Entries, maildir.UIDEntry{UID: uint32(m.UID), Name: stem})
	}
	return l
}
