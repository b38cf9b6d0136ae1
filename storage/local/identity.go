package local

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"barid/smtp"
	"barid/storage"
	"barid/storage/maildir"
)

// idKey keeps to itself what Message.ID is made of: file names count the
// records of the whole store, and nobody should read its traffic from the IDs
// of two mails to himself.
type idKey [16]byte

// of gives the ID of the content whose first file has, or would have had, this
// base name: 64 bits of a keyed hash. No base comes again (maildir.NewBase),
// and of a million messages some two share an ID with a probability of 3e-8.
// So the ID is the same when a mailbox is made anew from its files.
func (k *idKey) of(base string) uint64 {
	text := append(append(make([]byte, 0, 128), k[:]...), base...)
	sum := sha256.Sum256(text)
	return binary.BigEndian.Uint64(sum[:])
}

// mailbox gives the ID of a mailbox that has none yet, of what it is then. A
// UIDVALIDITY never comes again for a name, so neither does this.
func (k *idKey) mailbox(a smtp.Address, name string, validity storage.UIDValidity) (id storage.MailboxID) {
	text := append(append(make([]byte, 0, 256), k[:]...), "mailbox\x00"...) // no base begins so
	for _, s := range []string{a.LocalPart, name} {
		text = append(append(text, s...), 0)
	}
	sum := sha256.Sum256(binary.BigEndian.AppendUint32(text, uint32(validity)))
	copy(id[:], sum[:])
	return id
}

// identify gives an added message its ID, now that its record has a number.
// Nobody has seen the state yet.
func (s *Store) identify(b *builder, add *addition, seq uint64) {
	loc := add.it.loc.Load()
	if loc&locNumbered == 0 {
		return // a copy, with the ID of its source
	}
	add.it.loc.Store(loc &^ locNumbered)
	if f := add.it.foreign; f != nil {
		add.msg.ID = s.ids.of(f.Base)
	} else {
		add.msg.ID = s.ids.of(maildir.NewBase(add.msg.Received.Time(), seq, int(add.msg.ID)))
	}
	bs := b.st.find(add.box)
	if bs == nil {
		return // the same record ends the mailbox
	}
	if at, ok := bs.index(add.msg.UID); ok && bs.items[at] == add.it {
		bs.view.Messages[at].ID = add.msg.ID
	}
}

// makeIDs makes the key of a store that has none, before any ID is made of it.
func (s *Store) makeIDs() error {
	if s.ids != (idKey{}) {
		return nil
	}
	rand.Read(s.ids[:]) // never fails
	const fresh = countersName + ".new"
	if err := s.createFile(fresh, func(w io.Writer) error {
		_, err := w.Write(s.encodeCounters())
		return err
	}); err != nil {
		return fmt.Errorf("make key of message IDs: %w", err)
	}
	// The old file stays until the new one is whole. Its new name is there for
	// good before anybody sees an ID: opening the journal flushes the names of
	// this directory.
	if err := s.flushFiles(); err != nil {
		return err
	}
	if err := s.fs.Rename(fresh, countersName); err != nil {
		return fmt.Errorf("make key of message IDs: %w", err)
	}
	return nil
}

// flushFiles flushes the file system, unless nothing is to be flushed.
func (s *Store) flushFiles() error {
	if s.cfg.NoSync {
		return nil
	}
	return s.fs.SyncFS()
}
