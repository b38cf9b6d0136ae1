package imap

import (
	"errors"
	"slices"

	"barid/imap/wire"
	"barid/storage"
)

// statusItems gives the value of each item of STATUS.
var statusItems = map[string]func(*storage.View) uint64{
	"MESSAGES":      func(v *storage.View) uint64 { return uint64(len(v.Messages)) },
	"RECENT":        func(*storage.View) uint64 { return 0 },
	"UIDNEXT":       func(v *storage.View) uint64 { return uint64(v.UIDNext) },
	"UIDVALIDITY":   func(v *storage.View) uint64 { return uint64(v.UIDValidity) },
	"UNSEEN":        func(v *storage.View) uint64 { return count(v, storage.FlagSeen, 0) },
	"DELETED":       func(v *storage.View) uint64 { return count(v, storage.FlagDeleted, storage.FlagDeleted) },
	"HIGHESTMODSEQ": func(v *storage.View) uint64 { return wireModSeq(v.HighestModSeq) },
	"SIZE":          func(v *storage.View) uint64 { return octets(v, 0) },
	// RFC 9208 section 4.1.4, in octets.
	"DELETED-STORAGE": func(v *storage.View) uint64 { return octets(v, storage.FlagDeleted) },
}

// appendLimit is the item of RFC 7889, the same for every mailbox.
const appendLimit = "APPENDLIMIT"

// mailboxID is the item of RFC 8474, the one whose value is no number.
const mailboxID = "MAILBOXID"

// objectID writes the ID of a mailbox as RFC 8474 section 4 wants it.
func objectID(id storage.MailboxID) string { return "F" + id.String() }

// count gives the number of messages whose flags of mask are as they should.
func count(v *storage.View, mask, should storage.Flags) (n uint64) {
	for _, m := range v.Messages {
		if m.Flags&mask == should {
			n++
		}
	}
	return n
}

// octets gives the size of the messages that have all of the flags.
func octets(v *storage.View, flags storage.Flags) (n uint64) {
	for _, m := range v.Messages {
		if m.Flags&flags == flags {
			n += uint64(m.Size)
		}
	}
	return n
}

func (s *session) knownStatus(items []string) bool {
	for _, item := range items {
		if statusItems[item] == nil && item != appendLimit && item != mailboxID {
			return false
		}
	}
	return true
}

func (s *session) status(c *wire.Command) (string, error) {
	c.SP()
	name := c.Mailbox()
	c.SP()
	items := c.StatusItems()
	if !s.knownStatus(items) {
		c.Fail("Unknown STATUS item")
	}
	if err := c.End(); err != nil {
		return noReply, err
	}
	if slices.Contains(items, "HIGHESTMODSEQ") {
		s.useModSeqs()
	}
	v, err := s.viewOf(name)
	if err != nil {
		return noReply, err
	}
	s.writeStatus(name, items, v)
	return "OK Status completed", nil
}

// statusLine is the line of one mailbox of a LIST; none when it went
// meanwhile.
func (s *session) statusLine(name string, items []string) error {
	v, err := s.viewOf(name)
	if errors.Is(err, storage.ErrNoMailbox) {
		return nil
	}
	if err == nil {
		s.writeStatus(name, items, v)
	}
	return err
}

func (s *session) viewOf(name string) (*storage.View, error) {
	box, err := s.sv.cfg.Store.Open(s.ctx, s.account, name)
	if err != nil {
		return nil, fault(err)
	}
	defer box.Close()
	v, err := box.View(s.ctx)
	return v, fault(err)
}

func (s *session) writeStatus(name string, items []string, v *storage.View) {
	out := s.writer()
	out.Raw("* STATUS ")
	s.writeName(name)
	out.Raw(" (")
	for i, item := range items {
		if i > 0 {
			out.Raw(" ")
		}
		out.Raw(item)
		out.Raw(" ")
		switch item {
		case appendLimit:
			out.Number(uint64(s.sv.cfg.MaxMessageSize))
		case mailboxID:
			out.Raw("(")
			out.Raw(objectID(v.ID))
			out.Raw(")")
		default:
			out.Number(statusItems[item](v))
		}
	}
	out.Raw(")\r\n")
}
