package local

import (
	"slices"
	"strings"

	"barid/storage"
	"barid/storage/maildir"
)

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
		if len(missing) > 0 && missing[0] == it { // in the same order
			missing = missing[1:]
			gone = append(gone, changed{uid: bs.view.Messages[i].UID})
		}
	}
	if len(gone) > 0 {
		l.s.log.Warn("message files are gone, taken for expunged", "part", "storage", "account", l.a.addr, "messages", len(gone))
		l.changes = append(l.changes, change{kind: changeExpunge, box: bs.view.Name, modseq: l.nextModSeq(bs), list: gone})
	}
	l.adopt(bs, listed)
}

// adopt takes message files that no snapshot has: they get new UIDs. After a
// crash those of ours that were expunged go; else such a file was put there by
// somebody, from a backup perhaps.
func (l *loading) adopt(bs *boxState, listed map[string]maildir.File) {
	uid := l.nextUID(bs)
	var foreign []maildir.File
	for _, f := range listed {
		n, _ := maildir.ParseName(f.Name)
		if l.crashed && ourBase(n.Base) && n.UID != 0 && storage.UID(n.UID) < bs.view.UIDNext {
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
