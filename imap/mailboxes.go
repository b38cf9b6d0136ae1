package imap

import (
	"errors"
	"slices"
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
	if c.More() {
		c.SP()
		c.List(func() { // (USE (\Sent)): the name says it already
			if c.Atom() != "USE" {
				c.Fail("Unknown CREATE parameter")
			}
			c.SP()
			c.FlagList()
		})
	}
	if err := c.End(); err != nil {
		return noReply, err
	}
	// A trailing delimiter announces that levels below will follow.
	name = strings.TrimSuffix(name, delimiter)
	if err := s.mayName(1 + strings.Count(name, delimiter)); err != nil { // each level may be new
		return noReply, err
	}
	_, err := s.commit(storage.CreateMailbox{Account: s.account, Name: name})
	return "OK Create completed", bounded(err)
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

func (s *session) list(c *wire.Command) (string, error) { return s.listAs(c, "LIST", false) }
func (s *session) lsub(c *wire.Command) (string, error) { return s.listAs(c, "LSUB", true) }

func (s *session) listAs(c *wire.Command, word string, subscribed bool) (string, error) {
	c.SP()
	reference := c.Mailbox()
	c.SP()
	pattern := c.ListMailbox()
	if err := c.End(); err != nil {
		return noReply, err
	}
	out := s.writer()
	reply := "OK " + word[:1] + strings.ToLower(word[1:]) + " completed"
	if pattern == "" { // asks for the delimiter
		listLine(out, word, []imap.MailboxAttr{imap.MailboxAttrNoSelect}, "")
		return reply, nil
	}
	boxes, err := s.sv.cfg.Store.Mailboxes(s.ctx, s.account)
	if err != nil {
		return noReply, fault(err)
	}
	for i, b := range boxes {
		if (!subscribed || b.Subscribed) && matches(reference+pattern, b.Name) {
			listLine(out, word, attributes(boxes, i), b.Name)
		}
	}
	return reply, nil
}

func listLine(out *wire.Writer, word string, attrs []imap.MailboxAttr, name string) {
	out.Raw("* ")
	out.Raw(word)
	out.Raw(" (")
	for i, a := range attrs {
		if i > 0 {
			out.Raw(" ")
		}
		out.Raw(string(a))
	}
	out.Raw(`) "` + delimiter + `" `)
	out.AString(name)
	out.EOL()
}

var specialUse = map[string]imap.MailboxAttr{
	"Drafts": imap.MailboxAttrDrafts, "Junk": imap.MailboxAttrJunk, "Trash": imap.MailboxAttrTrash,
	"Sent": imap.MailboxAttrSent, "Sent Messages": imap.MailboxAttrSent,
}

// attributes gives those of the i-th mailbox: whether there are others below
// it (RFC 3348) and what its name says it is for (RFC 6154).
func attributes(boxes []storage.MailboxInfo, i int) []imap.MailboxAttr {
	attrs := []imap.MailboxAttr{imap.MailboxAttrHasNoChildren}
	for _, b := range boxes {
		if strings.HasPrefix(b.Name, boxes[i].Name+delimiter) {
			attrs[0] = imap.MailboxAttrHasChildren
			break
		}
	}
	if use, ok := specialUse[boxes[i].Name]; ok {
		attrs = append(attrs, use)
	}
	return attrs
}

// matches tells whether name fits a pattern of LIST: "*" is anything, "%"
// anything but the delimiter; INBOX in any case. It needs time in proportion
// to the square of the name's length at most, and to the pattern's.
func matches(pattern, name string) bool {
	if name == storage.InboxName {
		pattern = strings.ToUpper(pattern)
	}
	pattern, ok := squeeze(pattern, len(name))
	if !ok {
		return false
	}
	// at[i] is whether the pattern so far matches name[:i].
	at := make([]bool, len(name)+1)
	at[0] = true
	for p := range len(pattern) {
		switch c := pattern[p]; c {
		case '*', '%':
			for i := 1; i <= len(name); i++ {
				at[i] = at[i] || at[i-1] && (c == '*' || name[i-1:i] != delimiter)
			}
		default:
			for i := len(name); i > 0; i-- {
				at[i] = at[i-1] && name[i-1] == c
			}
			at[0] = false
		}
	}
	return at[len(name)]
}

// squeeze makes one wildcard of several in a row. It is false when the other
// octets are more than most, so that no name of that length can fit.
func squeeze(pattern string, most int) (short string, ok bool) {
	out := make([]byte, 0, min(len(pattern), 2*most+1))
	for i := range len(pattern) {
		c := pattern[i]
		if c != '*' && c != '%' {
			if most--; most < 0 {
				return "", false
			}
		} else if n := len(out); n > 0 && (out[n-1] == '*' || out[n-1] == '%') {
			if c == '*' {
				out[n-1] = c
			}
			continue
		}
		out = append(out, c)
	}
	return string(out), true
}

// statusItems in the order in which they are answered.
var statusItems = map[string]func(*storage.View) uint64{
	"MESSAGES":      func(v *storage.View) uint64 { return uint64(len(v.Messages)) },
	"RECENT":        func(*storage.View) uint64 { return 0 },
	"UIDNEXT":       func(v *storage.View) uint64 { return uint64(v.UIDNext) },
	"UIDVALIDITY":   func(v *storage.View) uint64 { return uint64(v.UIDValidity) },
	"UNSEEN":        func(v *storage.View) uint64 { return count(v, storage.FlagSeen, 0) },
	"DELETED":       func(v *storage.View) uint64 { return count(v, storage.FlagDeleted, storage.FlagDeleted) },
	"HIGHESTMODSEQ": func(v *storage.View) uint64 { return wireModSeq(v.HighestModSeq) },
	"SIZE": func(v *storage.View) (n uint64) {
		for _, m := range v.Messages {
			n += uint64(m.Size)
		}
		return n
	},
}

// count gives the number of messages whose flags of mask are as they should.
func count(v *storage.View, mask, should storage.Flags) (n uint64) {
	for _, m := range v.Messages {
		if m.Flags&mask == should {
			n++
		}
	}
	return n
}

func knownStatus(items []string) bool {
	for _, item := range items {
		if statusItems[item] == nil {
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
	if !knownStatus(items) {
		c.Fail("Unknown STATUS item")
	}
	if err := c.End(); err != nil {
		return noReply, err
	}
	if slices.Contains(items, "HIGHESTMODSEQ") {
		s.useModSeqs()
	}
	box, err := s.sv.cfg.Store.Open(s.ctx, s.account, name)
	if err != nil {
		return noReply, fault(err)
	}
	defer box.Close()
	v, err := box.View(s.ctx)
	if err != nil {
		return noReply, fault(err)
	}
	out := s.writer()
	out.Raw("* STATUS ")
	out.AString(name)
	out.Raw(" (")
	for i, item := range items {
		if i > 0 {
			out.Raw(" ")
		}
		out.Raw(item)
		out.Raw(" ")
		out.Number(statusItems[item](v))
	}
	out.Raw(")\r\n")
	return "OK Status completed", nil
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
		if s.enableFeature(w) && !strings.Contains(enabled+" ", " "+w+" ") {
			enabled += " " + w
		}
	}
	out := s.writer()
	out.Raw(enabled)
	out.EOL()
	return "OK Enable completed", nil
}
