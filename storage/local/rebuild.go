package local

import (
	"bytes"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"

	"barid/storage"
	"barid/storage/maildir"
)

// uidGap is how far UIDNEXT of a mailbox without snapshot lies above the
// UIDs seen: those that were expunged left no trace.
const uidGap = 1 << 20

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
	id       storage.MailboxID      // likewise
	next     storage.UID
}

// plan reads the dovecot-uidlist, or else the UIDs in file names.
func (l *loading) plan(name string, dir maildir.Dir, names []string, listed map[string]maildir.File) (plan, error) {
	p := plan{uids: map[string]storage.UID{}, next: 1}
	if slices.Contains(names, maildir.UIDListName) {
		text, err := l.s.readFile(dir.Path()+"/"+maildir.UIDListName, maxSnapshot)
		if err != nil {
			return p, err
		}
		list, err := maildir.ReadUIDList(bytes.NewReader(text))
		if err == nil {
			p.validity, p.next = storage.UIDValidity(list.UIDValidity), max(1, storage.UID(list.UIDNext))
			if guid, err := hex.DecodeString(list.GUID); err == nil {
				copy(p.id[:], guid) // Dovecot gives it as MAILBOXID, too
			}
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
	if p.validity != 0 {
		p.id = l.ownID(p.id, name, p.validity)
	}
	return p, nil
}

// ownID gives the ID that a mailbox keeps: the one that was found with it,
// unless that is none, or a directory that was copied by hand brought it along.
func (l *loading) ownID(found storage.MailboxID, name string, validity storage.UIDValidity) storage.MailboxID {
	taken := slices.ContainsFunc(l.st.boxes, func(bs *boxState) bool { return bs.view.ID == found && bs.view.Name != name })
	if taken || found == (storage.MailboxID{}) {
		return l.s.ids.mailbox(l.a.addr, name, validity)
	}
	return found
}

// rebuild gives an empty mailbox without snapshot its messages.
func (l *loading) rebuild(bs *boxState, dir maildir.Dir, names []string, listed map[string]maildir.File) error {
	p, err := l.plan(bs.view.Name, dir, names, listed)
	if err != nil {
		return err
	}
	lost := p.validity == 0
	if lost {
		p.validity = l.s.nextValidity()
		p.id = l.s.ids.mailbox(l.a.addr, bs.view.Name, p.validity)
		if len(listed) > 0 {
			p.next += uidGap
		}
	}
	bs.view.ID = p.id // or the next mailbox might take it
	bs.adopting = adoptionBegins
	modseq := l.newModSeq(bs)
	l.changes = append(l.changes, rebuiltAs(bs.view.Name, p, modseq))
	l.adoptPlanned(bs, p, listed, modseq, lost)
	return nil
}

// goOnAdopting gives the files of a mailbox that an earlier run began to adopt,
// and did not end, the UIDs that it would have given them.
func (l *loading) goOnAdopting(bs *boxState, listed map[string]maildir.File) error {
	dir := l.s.dir(l.a, bs.view.Name)
	names, _, err := l.s.list(dir.Path())
	if err != nil {
		return err
	}
	p, err := l.plan(bs.view.Name, dir, names, listed)
	if err != nil {
		return err
	}
	lost := p.validity != bs.view.UIDValidity
	if lost {
		if p.validity != 0 { // a list that came later
			clear(p.uids)
			l.uidsFromNames(listed, p.uids)
		}
		p.next = 0
	}
	p.validity, p.id, p.next = bs.view.UIDValidity, bs.view.ID, max(p.next, bs.view.UIDNext)
	if n := len(bs.view.Messages); n > 0 { // UIDs were given in their order: what has a lower one came later
		last := bs.view.Messages[n-1].UID
		maps.DeleteFunc(p.uids, func(_ string, uid storage.UID) bool { return uid <= last })
	}
	l.adoptPlanned(bs, p, listed, l.nextModSeq(bs), lost)
	return nil
}

// adoptPlanned adopts the files that a plan has UIDs for, says that these are
// all, and then adopts the others. lost tells that UIDVALIDITY is a new one.
func (l *loading) adoptPlanned(bs *boxState, p plan, listed map[string]maildir.File, modseq storage.ModSeq, lost bool) {
	for _, f := range byUID(listed, p.uids) {
		n, _ := maildir.ParseName(f.Name)
		modseq++
		l.adoptFile(bs, f, p.uids[n.Base], modseq)
		delete(listed, n.Base)
	}
	l.changes = append(l.changes, rebuiltAs(bs.view.Name, p, modseq))
	// What has no UID yet comes after all that has one.
	rest := &boxState{view: bs.view}
	rest.view.UIDNext, rest.view.HighestModSeq = p.next, modseq
	if lost {
		rest.view.UIDNext = 1 // of no file can be said that it was expunged
	}
	l.adopt(rest, listed)
	clear(listed)
}

func rebuiltAs(name string, p plan, modseq storage.ModSeq) change {
	return change{kind: changeRebuilt, box: name, validity: p.validity, id: p.id, uid: p.next, modseq: modseq}
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
