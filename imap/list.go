package imap

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"barid/imap/wire"
	"barid/storage"
)

// list answers LIST with its extensions (RFC 5258, RFC 5819, RFC 6154).
func (s *session) list(c *wire.Command) (string, error) {
	l := c.ListCommand()
	if !s.knownStatus(l.Status) {
		c.Fail("Unknown STATUS item")
	}
	if err := c.End(); err != nil {
		return noReply, err
	}
	if slices.Contains(l.Status, "HIGHESTMODSEQ") {
		s.useModSeqs()
	}
	return "OK List completed", s.listLines("LIST", l)
}

func (s *session) lsub(c *wire.Command) (string, error) {
	l := wire.List{Subscribed: true}
	c.SP()
	l.Reference = c.Mailbox()
	c.SP()
	l.Patterns = []string{c.ListMailbox()}
	if err := c.End(); err != nil {
		return noReply, err
	}
	if err := s.listLines("LSUB", l); err != nil {
		return noReply, err
	}
	return "OK Lsub completed", s.levelsAbove(l)
}

// levelsAbove tells of the levels that a pattern reaches when it ends above a
// mailbox that is subscribed to (RFC 3501 section 6.3.9): without them, who
// goes down level by level with "%" never gets there.
func (s *session) levelsAbove(l wire.List) error {
	pattern, _ := squeeze(l.Reference+l.Patterns[0], len(l.Reference)+len(l.Patterns[0]))
	if !strings.Contains(pattern, "%") {
		return nil
	}
	boxes, err := s.sv.cfg.Store.Mailboxes(s.ctx, s.account)
	if err != nil {
		return fault(err)
	}
	told := map[string]bool{}
	for _, b := range boxes {
		told[b.Name] = b.Subscribed // by the lines before, where it fits
	}
	for _, b := range boxes {
		if !b.Subscribed || matches(pattern, b.Name) {
			continue
		}
		for name := b.Name; strings.Contains(name, delimiter); {
			name = name[:strings.LastIndex(name, delimiter)]
			if !told[name] && matches(pattern, name) {
				told[name] = true
				s.listLine("LSUB", []imap.MailboxAttr{imap.MailboxAttrNoSelect, imap.MailboxAttrHasChildren}, name, "")
			}
		}
	}
	return nil
}

func (s *session) listLines(word string, l wire.List) error {
	if !l.Extended && l.Patterns[0] == "" { // asks for the delimiter
		s.listLine(word, []imap.MailboxAttr{imap.MailboxAttrNoSelect}, "", "")
		return nil
	}
	boxes, err := s.sv.cfg.Store.Mailboxes(s.ctx, s.account)
	if err != nil {
		return fault(err)
	}
	for i, b := range boxes {
		if !slices.ContainsFunc(l.Patterns, func(p string) bool { return matches(l.Reference+p, b.Name) }) {
			continue
		}
		attrs := attributes(boxes, i)
		chosen := (!l.Subscribed || b.Subscribed) && (!l.SpecialUse || specialUse[b.Name] != "")
		below := l.Recursive && subscribedBelow(boxes, b.Name)
		if !chosen && !below {
			continue
		}
		if word == "LIST" && b.Subscribed && (l.Subscribed || l.ReturnSubscribed) {
			attrs = append(attrs, imap.MailboxAttrSubscribed)
		}
		extra := ""
		if below {
			extra = ` ("CHILDINFO" ("SUBSCRIBED"))`
		}
		s.listLine(word, attrs, b.Name, extra)
		if len(l.Status) > 0 {
			if err := s.statusLine(b.Name, l.Status); err != nil {
				return err
			}
		}
	}
	return nil
}

// subscribedBelow tells whether mailboxes below a name are subscribed to.
func subscribedBelow(boxes []storage.MailboxInfo, name string) bool {
	return slices.ContainsFunc(boxes, func(b storage.MailboxInfo) bool {
		return b.Subscribed && strings.HasPrefix(b.Name, name+delimiter)
	})
}

func (s *session) listLine(word string, attrs []imap.MailboxAttr, name, extra string) {
	out := s.writer()
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
	out.Raw(extra)
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
