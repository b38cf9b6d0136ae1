package imap

import (
	"errors"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"barid/imap/wire"
	"barid/storage"
)

// delimiter separates the levels of mailbox names.
const delimiter = "."

// Bounds of how fast an account may make mailboxes: each one, born or
// renamed, takes a UIDVALIDITY from a counter that all accounts share.
const (
	nameBurst = 200
	nameEvery = 10 * time.Second
)

// mayName takes so many mailboxes from what the account may make for now.
func (s *session) mayName(n int) error {
	for range n {
		if ok, _ := s.sv.names.Allow(s.account.Address); !ok {
			return refusal("[LIMIT] Too many mailboxes were made, please try again later")
		}
	}
	return nil
}

// below gives how many mailboxes there are of a name and below it.
func (s *session) below(name string) (n int, err error) {
	boxes, err := s.sv.cfg.Store.Mailboxes(s.ctx, s.account)
	for _, b := range boxes {
		if b.ID == (storage.MailboxID{}) {
			continue // only subscribed to
		}
		if b.Name == name || strings.HasPrefix(b.Name, name+delimiter) {
			n++
		}
	}
	return n, fault(err)
}

// oneName takes the only argument of CREATE, DELETE, SUBSCRIBE and
// UNSUBSCRIBE.
func oneName(c *wire.Command) (string, error) {
	c.SP()
	name := c.Mailbox()
	return name, c.End()
}

func (s *session) create(c *wire.Command) (string, error) {
	c.SP()
	name := c.Mailbox()
	var uses []imap.Flag
	if c.More() {
		c.SP()
		c.List(func() {
			if strings.ToUpper(c.Atom()) != "USE" {
				c.Fail("Unknown CREATE parameter")
			}
			c.SP()
			uses = append(uses, c.FlagList()...)
		})
	}
	if err := c.End(); err != nil {
		return noReply, err
	}
	// A trailing delimiter announces that levels below will follow.
	name = strings.TrimSuffix(name, delimiter)
	for _, use := range uses { // the name says it, and nothing else does
		if !strings.EqualFold(string(use), string(specialUse[name])) {
			return noReply, refusal("[USEATTR] A mailbox of this name cannot be used for that")
		}
	}
	if err := s.mayName(1 + strings.Count(name, delimiter)); err != nil { // each level may be new
		return noReply, err
	}
	o, err := s.commit(storage.CreateMailbox{Account: s.account, Name: name})
	if err != nil {
		return noReply, bounded(err)
	}
	return "OK [MAILBOXID (" + objectID(o.Mailbox) + ")] Create completed", nil
}

// bounded is for commands that add names to an account, which has room for so
// many: to have filled it is no fault of ours.
func bounded(err error) error {
	if errors.Is(err, storage.ErrFull) {
		return refusal("[LIMIT] There is no room for more")
	}
	return err
}

func (s *session) delete(c *wire.Command) (string, error) {
	name, err := oneName(c)
	if err != nil {
		return noReply, err
	}
	_, err = s.commit(storage.DeleteMailbox{Account: s.account, Name: name})
	if err == nil && s.box.name == name && s.box.Mailbox != nil {
		s.unselect()
	}
	return "OK Delete completed", err
}

func (s *session) rename(c *wire.Command) (string, error) {
	c.SP()
	from := c.Mailbox()
	c.SP()
	to := c.Mailbox()
	if err := c.End(); err != nil {
		return noReply, err
	}
	n, err := s.below(from)
	if err == nil {
		err = s.mayName(n + strings.Count(to, delimiter))
	}
	if err != nil {
		return noReply, err
	}
	_, err = s.commit(storage.RenameMailbox{Account: s.account, From: from, To: to})
	if err == nil && s.box.Mailbox != nil && from != storage.InboxName &&
		(s.box.name == from || strings.HasPrefix(s.box.name, from+delimiter)) {
		s.unselect()
	}
	return "OK Rename completed", bounded(err)
}

func (s *session) subscribe(c *wire.Command) (string, error)   { return s.subscription(c, false) }
func (s *session) unsubscribe(c *wire.Command) (string, error) { return s.subscription(c, true) }

func (s *session) subscription(c *wire.Command, remove bool) (string, error) {
	name, err := oneName(c)
	if err != nil {
		return noReply, err
	}
	_, err = s.commit(storage.Subscribe{Account: s.account, Name: name, Remove: remove})
	if remove {
		return "OK Unsubscribe completed", err
	}
	return "OK Subscribe completed", bounded(err)
}

func (s *session) namespace(c *wire.Command) (string, error) {
	if err := c.End(); err != nil {
		return noReply, err
	}
	s.writer().Raw(`* NAMESPACE (("" "` + delimiter + `")) NIL NIL` + "\r\n")
	return "OK Namespace completed", nil
}

// enable answers ENABLE (RFC 5161). Words that are not known are passed over.
func (s *session) enable(c *wire.Command) (string, error) {
	var words []string
	for c.SP(); ; c.SP() {
		words = append(words, strings.ToUpper(c.Atom()))
		if !c.More() {
			break
		}
	}
	if err := c.End(); err != nil {
		return noReply, err
	}
	enabled := "* ENABLED"
	for _, w := range words {
		if strings.EqualFold(w, rev2Word) {
			w = rev2Word
		}
		if s.enableFeature(w) && !strings.Contains(enabled+" ", " "+w+" ") {
			enabled += " " + w
		}
	}
	out := s.writer()
	out.Raw(enabled)
	out.EOL()
	return "OK Enable completed", nil
}
