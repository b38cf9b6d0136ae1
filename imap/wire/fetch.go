package wire

import (
	"strings"

	"github.com/emersion/go-imap/v2"
)

// Bounds of one FETCH command.
const (
	maxItems  = 50
	maxFields = 100
	maxParts  = MaxNesting
)

// Item is a kind of data that FETCH gives.
type Item int

// The items.
const (
	ItemUID Item = iota
	ItemFlags
	ItemInternalDate
	ItemSize          // RFC822.SIZE
	ItemModSeq        // RFC 7162
	ItemSaveDate      // RFC 8514
	ItemEmailID       // RFC 8474
	ItemThreadID      // likewise
	ItemEnvelope      //
	ItemBody          // BODY: the structure without extensions
	ItemBodyStructure //
	ItemSection       // everything that gives octets of the message as they are
	ItemBinary        // BINARY: a part without its transfer encoding (RFC 3516)
	ItemBinarySize    // BINARY.SIZE
)

// FetchItem is one item of a FETCH command.
type FetchItem struct {
	Item Item
	// Section is set for ItemSection, and for the BINARY items, of which it has
	// the part and the partial only.
	Section *imap.FetchItemBodySection
	// Name is how the answer calls a section, without the origin of a
	// partial: "BODY[HEADER]", "RFC822".
	Name string
}

// Fetch is the arguments of FETCH behind its set.
type Fetch struct {
	Items []FetchItem
	// ChangedSince is nil where it is not given. Vanished asks for the UIDs
	// that went since then, too (RFC 7162 section 3.2.6).
	ChangedSince *uint64
	Vanished     bool
}

var simpleItems = map[string]Item{
	"UID": ItemUID, "FLAGS": ItemFlags, "INTERNALDATE": ItemInternalDate, "RFC822.SIZE": ItemSize,
	"MODSEQ": ItemModSeq, "SAVEDATE": ItemSaveDate, "EMAILID": ItemEmailID, "THREADID": ItemThreadID, "ENVELOPE": ItemEnvelope, "BODYSTRUCTURE": ItemBodyStructure,
}

var macros = map[string][]Item{
	"ALL":  {ItemFlags, ItemInternalDate, ItemSize, ItemEnvelope},
	"FAST": {ItemFlags, ItemInternalDate, ItemSize},
	"FULL": {ItemFlags, ItemInternalDate, ItemSize, ItemEnvelope, ItemBody},
}

// Fetch takes the items of a FETCH command and its modifiers, to the end of
// the command.
func (c *Command) Fetch() Fetch {
	var f Fetch
	if c.Next('(') {
		c.List(func() { f.add(c.fetchItem()) })
	} else {
		f.item(c)
	}
	if c.More() {
		c.SP()
		c.List(func() {
			switch strings.ToUpper(c.Atom()) {
			case "CHANGEDSINCE":
				c.SP()
				n := c.Number64()
				f.ChangedSince = &n
			case "VANISHED":
				f.Vanished = true
			default:
				c.fail("Unknown FETCH modifier")
			}
		})
	}
	switch {
	case f.Vanished && f.ChangedSince == nil:
		c.fail("VANISHED without CHANGEDSINCE")
	case len(f.Items) == 0:
		c.fail("No FETCH item")
	case len(f.Items) > maxItems:
		c.fail("Too many FETCH items")
	}
	return f
}

// item takes what may stand without parentheses: an item or a macro.
func (f *Fetch) item(c *Command) {
	for name, items := range macros {
		if len(c.rest) >= len(name) && strings.EqualFold(string(c.rest[:len(name)]), name) &&
			(len(c.rest) == len(name) || c.rest[len(name)] == ' ') {
			c.token()
			c.rest = c.rest[len(name):]
			for _, i := range items {
				f.add(FetchItem{Item: i})
			}
			return
		}
	}
	f.add(c.fetchItem())
}

// add takes an item, once: an answer with the same twice says no more, and
// costs twice.
func (f *Fetch) add(i FetchItem) {
	if i.Section == nil && f.Has(i.Item) {
		return
	}
	if len(f.Items) <= maxItems {
		f.Items = append(f.Items, i)
	}
}

func isItemChar(b byte) bool {
	return b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || isDigit(b) || b == '.'
}

func (c *Command) fetchItem() FetchItem {
	if !c.token() {
		return FetchItem{}
	}
	name := strings.ToUpper(c.span(isItemChar))
	if item, ok := simpleItems[name]; ok {
		return FetchItem{Item: item}
	}
	s := &imap.FetchItemBodySection{}
	switch name {
	case "RFC822":
		return FetchItem{ItemSection, s, name}
	case "RFC822.HEADER":
		s.Peek, s.Specifier = true, imap.PartSpecifierHeader
		return FetchItem{ItemSection, s, name}
	case "RFC822.TEXT":
		s.Specifier = imap.PartSpecifierText
		return FetchItem{ItemSection, s, name}
	case "BODY":
		if !c.Next('[') {
			return FetchItem{Item: ItemBody}
		}
	case "BODY.PEEK":
		s.Peek = true
	case "BINARY", "BINARY.PEEK", "BINARY.SIZE":
		return c.binary(name, s)
	default:
		c.fail("Unknown FETCH item")
		return FetchItem{}
	}
	c.section(s)
	return FetchItem{ItemSection, s, SectionName(s)}
}

// binary takes the section of a BINARY item, which is a part or nothing.
func (c *Command) binary(name string, s *imap.FetchItemBodySection) FetchItem {
	if !c.take('[') {
		c.fail("Section expected")
	}
	if c.sectionPart(s) != "" {
		c.fail("Unknown section")
	}
	if !c.take(']') {
		c.fail("Unfinished section")
	}
	s.Peek = name != "BINARY"
	if name == "BINARY.SIZE" {
		return FetchItem{ItemBinarySize, s, "BINARY.SIZE" + strings.TrimPrefix(SectionName(s), "BODY")}
	}
	called := "BINARY" + strings.TrimPrefix(SectionName(s), "BODY")
	c.partial(s)
	return FetchItem{ItemBinary, s, called}
}

// section takes "[...]" and a partial.
func (c *Command) section(s *imap.FetchItemBodySection) {
	if !c.take('[') {
		c.fail("Section expected")
		return
	}
	word := c.sectionPart(s)
	switch word {
	case "":
	case "HEADER", "TEXT", "MIME":
		s.Specifier = imap.PartSpecifier(word)
	case "HEADER.FIELDS", "HEADER.FIELDS.NOT":
		s.Specifier = imap.PartSpecifierHeader
		var fields []string
		c.SP()
		c.List(func() {
			if fields = append(fields, c.AString()); len(fields) > maxFields {
				c.fail("Too many header fields")
			}
		})
		if len(fields) == 0 {
			c.fail("No header field")
		}
		if word == "HEADER.FIELDS" {
			s.HeaderFields = fields
		} else {
			s.HeaderFieldsNot = fields
		}
	default:
		c.fail("Unknown section")
	}
	if s.Specifier == imap.PartSpecifierMIME && len(s.Part) == 0 {
		c.fail("MIME without a part number")
	}
	if !c.take(']') {
		c.fail("Unfinished section")
	}
	c.partial(s)
}

// sectionPart takes the part numbers and gives the word behind them.
func (c *Command) sectionPart(s *imap.FetchItemBodySection) string {
	text := strings.ToUpper(c.span(isItemChar))
	for text != "" && isDigit(text[0]) {
		number, rest, more := strings.Cut(text, ".")
		n := 0
		for i := range len(number) {
			if !isDigit(number[i]) || n > 1e6 {
				c.fail("Bad part number")
				return ""
			}
			n = n*10 + int(number[i]-'0')
		}
		if s.Part = append(s.Part, n); n == 0 || len(s.Part) > maxParts || more && rest == "" {
			c.fail("Bad part number")
			return ""
		}
		text = rest
	}
	return text
}

// partial takes "<origin.size>".
func (c *Command) partial(s *imap.FetchItemBodySection) {
	if !c.take('<') {
		return
	}
	p := &imap.SectionPartial{Offset: int64(c.Number())}
	if !c.take('.') {
		c.fail("Bad partial")
	}
	p.Size = int64(c.Number())
	if !c.take('>') || p.Size == 0 {
		c.fail("Bad partial")
	}
	s.Partial = p
}

// SectionName gives the name of a section as FETCH answers it, without the
// origin of a partial.
func SectionName(s *imap.FetchItemBodySection) string {
	var b strings.Builder
	b.WriteString("BODY[")
	for i, n := range s.Part {
		if i > 0 {
			b.WriteByte('.')
		}
		writeInt(&b, n)
	}
	if s.Specifier != imap.PartSpecifierNone {
		if len(s.Part) > 0 {
			b.WriteByte('.')
		}
		b.WriteString(string(s.Specifier))
	}
	fields := s.HeaderFields
	switch {
	case s.HeaderFields != nil:
		b.WriteString(".FIELDS (")
	case s.HeaderFieldsNot != nil:
		b.WriteString(".FIELDS.NOT (")
		fields = s.HeaderFieldsNot
	default:
		b.WriteByte(']')
		return b.String()
	}
	for i, f := range fields {
		if i > 0 {
			b.WriteByte(' ')
		}
		writeField(&b, f)
	}
	b.WriteString(")]")
	return b.String()
}

// writeField writes a field name as astring. What would need a literal
// cannot be the name of any field and is shown with "?".
func writeField(b *strings.Builder, name string) {
	if isAString(name) {
		b.WriteString(name)
		return
	}
	b.WriteByte('"')
	for i := range len(name) {
		if needsLiteral(name[i : i+1]) {
			b.WriteByte('?')
		} else {
			b.WriteByte(name[i])
		}
	}
	b.WriteByte('"')
}

func writeInt(b *strings.Builder, n int) {
	if n >= 10 {
		writeInt(b, n/10)
	}
	b.WriteByte(byte('0' + n%10))
}

// Has tells whether an item is asked for.
func (f Fetch) Has(item Item) bool {
	for _, i := range f.Items {
		if i.Item == item {
			return true
		}
	}
	return false
}

// MarksSeen tells whether the command reads the message in a way that sets
// \Seen.
func (f Fetch) MarksSeen() bool {
	for _, i := range f.Items {
		if i.Section != nil && !i.Section.Peek {
			return true
		}
	}
	return false
}
