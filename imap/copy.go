package imap

import (
	"errors"
	"fmt"

	"barid/imap/wire"
	"barid/storage"
)

// tryCreate is for commands that put messages into a mailbox: a missing one
// is the client's to make.
func tryCreate(err error) error {
	if errors.Is(err, storage.ErrNoMailbox) {
		return refusal("[TRYCREATE] No such mailbox")
	}
	return err
}

func (s *session) copy(c *wire.Command) (string, error)    { return s.copyBy(c, false, false) }
func (s *session) uidCopy(c *wire.Command) (string, error) { return s.copyBy(c, true, false) }
func (s *session) move(c *wire.Command) (string, error)    { return s.copyBy(c, false, true) }
func (s *session) uidMove(c *wire.Command) (string, error) { return s.copyBy(c, true, true) }

// copyBy answers COPY and MOVE with the codes of RFC 4315 and RFC 6851.
func (s *session) copyBy(c *wire.Command, byUID, move bool) (string, error) {
	c.SP()
	set := takeNumbers(c)
	c.SP()
	dest := c.Mailbox()
	if err := c.End(); err != nil {
		return noReply, err
	}
	if move && s.box.readOnly {
		return noReply, refusal("[READ-ONLY] The mailbox is open for reading")
	}
	word := "Copy"
	if move {
		word = "Move"
	}
	uids := s.uids(s.pick(set, byUID))
	if len(uids) == 0 {
		return "OK " + word + " completed", nil
	}
	from := storage.Copy{Account: s.account, Mailbox: s.box.name, UIDValidity: s.box.validity, Dest: dest, UIDs: uids}
	var op storage.Op = from
	if move {
		op = storage.Move(from)
	}
	o, err := s.commit(op)
	if errors.Is(err, storage.ErrNoMailbox) {
		if _, gone := s.look(); gone != nil {
			return noReply, gone // then it is not dest that is missing
		}
	}
	if err != nil {
		return noReply, tryCreate(err)
	}
	if len(o.Copied) == 0 {
		return "OK " + word + " completed", nil
	}
	if !move {
		return "OK [" + copyUID(o) + "] Copy completed", nil
	}
	out := s.writer()
	out.Raw("* OK [")
	out.Raw(copyUID(o))
	out.Raw("] Moved UIDs\r\n")
	if err := s.tell(everything, nil); err != nil {
		return noReply, err
	}
	return "OK " + s.highestCode() + "Move completed", nil
}

func (s *session) uids(places []int) []storage.UID {
	uids := make([]storage.UID, len(places))
	for i, p := range places {
		uids[i] = s.box.told[p].UID
	}
	return uids
}

func copyUID(o storage.Outcome) string {
	source := make([]uint32, len(o.Copied))
	dest := make([]uint32, len(o.Copied))
	for i, c := range o.Copied {
		source[i], dest[i] = uint32(c.Source), uint32(c.Dest)
	}
	return fmt.Sprintf("COPYUID %d %s %s", o.UIDValidity, wire.FormatSet(source), wire.FormatSet(dest))
}

func (s *session) expunge(c *wire.Command) (string, error) {
	if err := c.End(); err != nil {
		return noReply, err
	}
	return s.expungeSome(nil)
}

// uidExpunge answers UID EXPUNGE (RFC 4315 section 2.1).
func (s *session) uidExpunge(c *wire.Command) (string, error) {
	c.SP()
	set := takeNumbers(c)
	if err := c.End(); err != nil {
		return noReply, err
	}
	uids := s.uidSet(set)
	return s.expungeSome(func(u storage.UID) bool { return uids.Has(uint32(u)) })
}

func (s *session) expungeSome(only func(storage.UID) bool) (string, error) {
	if s.box.readOnly {
		return noReply, refusal("[READ-ONLY] The mailbox is open for reading")
	}
	gone, err := s.expungeDeleted(only)
	if err != nil || gone.ModSeq == 0 {
		return "OK Expunge completed", err
	}
	if err := s.tell(everything, nil); err != nil {
		return noReply, err
	}
	return "OK " + s.highestCode() + "Expunge completed", nil
}

// unselectBox answers UNSELECT (RFC 3691): CLOSE without expunging.
func (s *session) unselectBox(c *wire.Command) (string, error) {
	if err := c.End(); err != nil {
		return noReply, err
	}
	s.unselect()
	return "OK Unselect completed", nil
}
