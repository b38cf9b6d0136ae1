package local

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"barid/internal/journal"
	"barid/storage"
	"barid/storage/maildir"
)

// ForgetServed removes the snapshots of an account's mailboxes that Dovecot
// has served since they were written: where its list has UIDs that the snapshot
// does not know, or another UIDVALIDITY. The store then makes the mailbox anew
// from that list, so that the UIDs which clients were told stay. It gives how
// many mailboxes that were.
//
// The store must not be open, and must have been closed well: what is in its
// journal only is in no list.
func ForgetServed(fsys journal.FS, dir string) (forgotten int, err error) {
	folders, err := maildir.Folders(fsys, dir)
	if err != nil {
		return 0, err
	}
	for _, folder := range append([]string{""}, folders...) {
		box := dir
		if folder != "" {
			box = path.Join(dir, "."+folder)
		}
		served, err := servedSince(fsys, box)
		if err != nil {
			return forgotten, fmt.Errorf("compare a snapshot with dovecot-uidlist: %w", err)
		}
		if !served {
			continue
		}
		if err := fsys.Remove(path.Join(box, snapshotName)); err != nil {
			return forgotten, fmt.Errorf("remove a snapshot: %w", err)
		}
		forgotten++
	}
	return forgotten, nil
}

// servedSince compares the snapshot and the list of a mailbox. A snapshot that
// cannot be read is left to who loads it.
func servedSince(fsys journal.FS, dir string) (bool, error) {
	text, err := readWhole(fsys, path.Join(dir, snapshotName))
	if text == nil || err != nil {
		return false, err
	}
	sn, err := decodeSnapshot(text)
	if err != nil {
		return false, nil
	}
	text, err = readWhole(fsys, path.Join(dir, maildir.UIDListName))
	if text == nil || err != nil {
		return false, err
	}
	list, err := maildir.ReadUIDList(bytes.NewReader(text))
	if err != nil {
		return false, nil // what a crash tore tells nothing
	}
	return servedBeyond(sn, list), nil
}

// servedBeyond tells whether a list has UIDs that the snapshot beside it does
// not know. A list whose UIDVALIDITY or UIDNEXT is lower is older than the
// snapshot, out of a backup perhaps: by it UIDs would be given twice.
func servedBeyond(sn *snapshot, list *maildir.UIDList) bool {
	switch validity, next := storage.UIDValidity(list.UIDValidity), storage.UID(list.UIDNext); {
	case validity != sn.validity:
		return validity > sn.validity
	case next != sn.next:
		return next > sn.next
	}
	known := make(map[uint32]string, len(sn.messages))
	for i := range sn.messages {
		known[uint32(sn.messages[i].UID)] = sn.items[i].base(&sn.messages[i])
	}
	for _, e := range list.Entries {
		base, _, _ := strings.Cut(e.Name, ",")
		if known[e.UID] != base {
			return true
		}
	}
	return false
}

// forgetServed is ForgetServed for one mailbox that is being read, and tells
// whether its snapshot is gone: an operator who went back to Dovecot for a
// while need not import first.
func (l *loading) forgetServed(dir maildir.Dir, sn *snapshot) (bool, error) {
	text, err := l.s.readFile(path.Join(dir.Path(), maildir.UIDListName), maxSnapshot)
	if err != nil {
		return false, nil // as good as no list: the snapshot has all that we know
	}
	list, err := maildir.ReadUIDList(bytes.NewReader(text))
	if err != nil || !servedBeyond(sn, list) {
		return false, nil // what a crash tore tells nothing
	}
	l.s.log.Info("Dovecot has served a mailbox since this relay did: its UIDs count", "part", "storage", "account", l.a.addr)
	if err := l.s.fs.Remove(path.Join(dir.Path(), snapshotName)); err != nil {
		return false, fmt.Errorf("remove a snapshot: %w", err)
	}
	// Before the records that make the mailbox anew: they must not meet it.
	return true, l.s.syncDirs(dir.Path())
}

// readWhole reads a file, nil when there is none.
func readWhole(fsys journal.FS, name string) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSnapshot+1))
	if err == nil && len(text) > maxSnapshot {
		err = fmt.Errorf("larger than %d octets", maxSnapshot)
	}
	if text == nil {
		text = []byte{}
	}
	return text, err
}
