package imap

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"barid/imap/wire"
	"barid/storage"
)

// matchCost bounds what the patterns of one LIST may cost, in octets of names
// times octets of patterns.
const matchCost = 64 << 20

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
	l.Reference = c.AString()
	c.SP()
	l.Patterns = []string{c.ListMailbox()}
	if err := c.End(); err != nil {
		return noReply, err
	}
	return "OK Lsub completed", s.listLines("LSUB", l)
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
	names, ok := namesFor(boxes, l, s.spelled)
	if !ok {
		return refusal("[LIMIT] This asks for too much at once")
	}
	for i := range names {
		n := &names[i]
		attrs, extra, told := n.line(word, l)
		if !told {
			continue
		}
		s.listLine(word, attrs, s.spelled(n.Name), extra)
		if len(l.Status) > 0 && n.exists() {
			if err := s.statusLine(n.Name, l.Status); err != nil {
				return err
			}
		}
	}
	return nil
}

// listed is a name that LIST may tell of: of a mailbox, of a subscription
// whose mailbox is gone, or of a level above one of those.
type listed struct {
	storage.MailboxInfo
	matches bool // one of the patterns
	chosen  bool // meets the selection options
	parent  bool // of a mailbox
	// hides: something below is chosen and fits no pattern, so that who goes
	// down level by level comes to it only through this name.
	hides bool
}

func (n *listed) exists() bool { return n.ID != storage.MailboxID{} }

// spelled gives a name as the client knows it.
func (s *session) spelled(name string) string {
	if s.rev2 {
		if plain, ok := wire.FromUTF7(name); ok {
			return plain
		}
	}
	return name
}

// writeName writes the name of a mailbox.
func (s *session) writeName(name string) {
	if s.rev2 {
		s.writer().UTF8(s.spelled(name))
		return
	}
	s.writer().AString(name)
}

// namesFor gives all names there are, and what l asks of each, in the spelling
// that the client has for them. It is false when to find out would cost too
// much.
func namesFor(boxes []storage.MailboxInfo, l wire.List, spelled func(string) string) ([]listed, bool) {
	at := make(map[string]*listed, 2*len(boxes))
	names := make([]string, 0, 2*len(boxes))
	for _, b := range boxes {
		at[b.Name] = &listed{MailboxInfo: b}
		names = append(names, b.Name)
	}
	for _, b := range boxes {
		for name := range above(b.Name) {
			n := at[name]
			if n == nil {
				n = &listed{MailboxInfo: storage.MailboxInfo{Name: name}}
				at[name] = n
				names = append(names, name)
			}
			n.parent = n.parent || b.ID != storage.MailboxID{}
		}
	}
	left := matchCost
	for _, n := range at {
		name := spelled(n.Name)
		for _, p := range l.Patterns {
			if left -= len(name) * min(len(l.Reference)+len(p), 2*len(name)+1); left < 0 {
				return nil, false
			}
			if matches(l.Reference+p, name) {
				n.matches = true
				break
			}
		}
		n.chosen = (n.exists() || n.Subscribed && l.Subscribed) &&
			(!l.Subscribed || n.Subscribed) && (!l.SpecialUse || n.exists() && specialUse[n.Name] != "")
	}
	for _, n := range at {
		if !n.chosen || n.matches {
			continue
		}
		for name := range above(n.Name) {
			at[name].hides = true
		}
	}
	slices.SortFunc(names, compareNames)
	list := make([]listed, len(names))
	for i, name := range names {
		list[i] = *at[name]
	}
	return list, true
}

// above gives the levels above a name, the nearest first.
func above(name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := strings.LastIndex(name, delimiter); i > 0; i = strings.LastIndex(name[:i], delimiter) {
			if !yield(name[:i]) {
				return
			}
		}
	}
}

// compareNames puts INBOX first and the rest by name.
func compareNames(x, y string) int {
	if x == y {
		return 0
	}
	if x == storage.InboxName {
		return -1
	}
	if y == storage.InboxName {
		return 1
	}
	return strings.Compare(x, y)
}

// line gives what a line says of a name, and whether there is one.
func (n *listed) line(word string, l wire.List) (attrs []imap.MailboxAttr, extra string, told bool) {
	// Without selection options, and in LSUB, a level that is nothing itself is
	// told of when the pattern ends there (RFC 3501 sections 6.3.8 and 6.3.9);
	// with them it is the client's choice (RFC 5258 section 3.1).
	level := n.hides && !n.chosen && (l.Recursive || word == "LSUB" || !l.Subscribed && !l.SpecialUse)
	if !n.matches || !n.chosen && !level {
		return nil, "", false
	}
	switch {
	case word == "LSUB" && level, !n.exists() && !n.chosen && !l.Extended:
		attrs = append(attrs, imap.MailboxAttrNoSelect)
	case !n.exists():
		attrs = append(attrs, imap.MailboxAttrNonExistent)
	}
	switch {
	case n.parent, level && word == "LSUB":
		attrs = append(attrs, imap.MailboxAttrHasChildren)
	case n.exists():
		attrs = append(attrs, imap.MailboxAttrHasNoChildren)
	}
	if use, ok := specialUse[n.Name]; ok && n.exists() {
		attrs = append(attrs, use)
	}
	if word == "LIST" && n.Subscribed && (l.Subscribed || l.ReturnSubscribed) {
		attrs = append(attrs, imap.MailboxAttrSubscribed)
	}
	if n.hides && l.Recursive {
		extra = ` ("CHILDINFO" (` + selection(l) + `))`
	}
	return attrs, extra, true
}

// selection names the options that something below a name meets.
func selection(l wire.List) string {
	var words []string
	if l.Subscribed {
		words = append(words, `"SUBSCRIBED"`)
	}
	if l.SpecialUse {
		words = append(words, `"SPECIAL-USE"`)
	}
	return strings.Join(words, " ")
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
	if s.rev2 {
		out.UTF8(name)
	} else {
		out.AString(name)
	}
	out.Raw(extra)
	out.EOL()
}

var specialUse = map[string]imap.MailboxAttr{
	"Drafts": imap.MailboxAttrDrafts, "Junk": imap.MailboxAttrJunk, "Trash": imap.MailboxAttrTrash,
	"Sent": imap.MailboxAttrSent, "Sent Messages": imap.MailboxAttrSent,
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
