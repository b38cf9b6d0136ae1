package mime

import (
	"bytes"
	"strings"
)

// Bounds of what Flat reads of one header.
const (
	MaxHeadOctets = 256 << 10
	MaxHeadFields = 1000
	maxField      = 8 << 10 // octets that are kept of one field
	maxTail       = 64      // octets that are kept of what follows a boundary
)

// Flaw is something that two readers of a message may understand in two ways.
// What Flat does when it goes on nevertheless stands with each.
type Flaw uint8

// The flaws.
const (
	// FlawSize: a header with more octets or fields than the bounds, a field
	// that was asked for over 8 KiB, or a Content-Type over 4 KiB. The rest of
	// it is not read.
	FlawSize Flaw = iota + 1
	// FlawLine: a line in a header that is no field. It is passed over.
	FlawLine
	// FlawTwice: a second Content-Type or Content-Transfer-Encoding. The
	// first counts.
	FlawTwice
	// FlawBoundary: a boundary that RFC 2046 section 5.1.1 does not allow, or
	// one that readers who know no quotes, or who undo encoded words, do not
	// find where RFC 2045 section 5.1 has it. It is taken as RFC 2045 says.
	FlawBoundary
	// FlawContinued: the boundary is written as RFC 2231 allows, which many
	// readers do not know. It is taken as RFC 2231 says.
	FlawContinued
	// FlawDelimiter: a line that begins as a delimiter and goes on
	// otherwise, be it as a field of a part's header; RFC 2046 lets readers
	// take it for one. It is passed over.
	FlawDelimiter
	// FlawAfter: a delimiter after the closing one. It is passed over.
	FlawAfter
)

// Visitor is told what Flat finds. Part 0 is the message, parts 1 and
// following are those of a multipart. Slices are valid during the call only.
type Visitor interface {
	// Head is called when the header of a part has ended.
	Head(part int, h *Head)
	// Body brings a piece of a body, never empty; not for a multipart at
	// the top, whose preamble and epilogue nobody is told of.
	Body(part int, p []byte)
	// End is called when the body of a part has ended.
	End(part int)
	Flaw(f Flaw)
}

// nobody is told after Stop.
type nobody struct{}

func (nobody) Head(int, *Head)  {}
func (nobody) Body(int, []byte) {}
func (nobody) End(int)          {}
func (nobody) Flaw(Flaw)        {}

// Head is the header of a message or a part.
type Head struct {
	Type, Subtype string            // lower case; "" when Content-Type cannot be read
	Params        map[string]string // of Content-Type; nil for none
	fields        []headField
}

type headField struct{ name, value string }

// Values gives the values of all fields of that lower case name, unfolded, of
// those that were asked for; at most two, for a third tells no more.
func (h *Head) Values(name string) []string {
	var values []string
	for _, f := range h.fields {
		if f.name == name {
			values = append(values, f.value)
		}
	}
	return values
}

// Value gives the value of the first field of that lower case name, if any.
func (h *Head) Value(name string) (value string, ok bool) {
	for _, f := range h.fields {
		if f.name == name {
			return f.value, true
		}
	}
	return "", false
}

func (h *Head) count(name string) (n int) {
	for _, f := range h.fields {
		if f.name == name {
			n++
		}
	}
	return n
}

// Flat walks a message and the parts of its outermost multipart, as it is
// written to it. It does not go deeper: a multipart inside is a part whose
// body is not looked into. It keeps one header field at a time and nothing of
// the bodies, so its memory is constant. Lines end in CRLF.
//
// Source: RFC 5322 section 2.2, RFC 2045 section 5, RFC 2046 section 5.1.
type Flat struct {
	to   Visitor
	keep []string // names of fields, lower case

	state  flatState
	part   int
	head   Head
	octets int    // of this header
	count  int    // fields of this header
	field  []byte // the present field with its line ends
	cut    bool   // not all of the present field is in field
	fresh  bool   // a line has just ended

	delimiter []byte // CRLF "--" boundary; nil when there are no parts
	matched   int    // octets of it seen at the end of what was written
	from      int    // where in it this body begins: 2 right behind a header
	tail      []byte // what followed the boundary on its line
	closed    bool
	ended     bool
}

type flatState uint8

const (
	inHead flatState = iota
	inBody           // of the message, without parts
	inPart           // or in the preamble or the epilogue
	inTail           // behind a boundary, on its line
)

// NewFlat makes a Flat that tells to and keeps Content-Type,
// Content-Transfer-Encoding and the fields of the names given in lower case.
func NewFlat(to Visitor, names ...string) *Flat {
	return &Flat{
		to:    to,
		keep:  append([]string{"content-type", "content-transfer-encoding"}, names...),
		field: make([]byte, 0, 512), // most are shorter
	}
}

// Write takes the next octets. It never fails.
func (s *Flat) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && !s.ended {
		switch s.state {
		case inHead:
			p = s.header(p)
		case inBody:
			s.to.Body(0, p)
			p = nil
		case inPart:
			p = s.body(p)
		case inTail:
			p = s.delimit(p)
		}
	}
	return n, nil
}

// Stop ends the walk: nobody is told of anything any more. A Visitor may call
// it while it is told.
func (s *Flat) Stop() { s.to, s.ended = nobody{}, true }

// Close says that the message is complete. A second call does nothing.
func (s *Flat) Close() {
	if s.ended {
		return
	}
	s.ended = true
	switch s.state {
	case inHead:
		s.endHead()
	case inTail:
		s.endTail()
		if s.state == inHead { // a part without anything
			s.endHead()
		}
	}
	switch s.state {
	case inBody:
		s.to.End(0)
	case inPart:
		s.miss()
		s.endPart()
		s.to.End(0)
	}
}

// header takes one line, or what there is of it.
func (s *Flat) header(p []byte) (rest []byte) {
	if s.fresh && len(s.field) > 0 && p[0] != ' ' && p[0] != '\t' {
		s.endField()
	}
	line := p
	i := bytes.IndexByte(p, '\n')
	if i >= 0 {
		line = p[:i+1]
	}
	s.fresh = i >= 0
	s.octets += len(line)
	room := maxField - len(s.field)
	s.cut = s.cut || len(line) > room
	s.field = append(s.field, line[:min(len(line), room)]...)
	if string(s.field) == "\r\n" {
		s.field = s.field[:0]
		s.endHead()
	}
	return p[len(line):]
}

// endField looks at a complete field, and makes room for the next.
func (s *Flat) endField() {
	field, cut := s.field, s.cut
	s.field, s.cut = s.field[:0], false
	s.count++
	if s.count == MaxHeadFields+1 || s.octets > MaxHeadOctets {
		s.to.Flaw(FlawSize)
	}
	name, value, ok := bytes.Cut(field, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	if !ok || !isName(name) || !cut && bytes.Count(field, []byte("\n")) != bytes.Count(field, []byte("\r\n")) {
		s.to.Flaw(FlawLine)
		return
	}
	if s.part > 0 && bytes.HasPrefix(field, s.delimiter[2:]) {
		s.to.Flaw(FlawDelimiter)
		return
	}
	for i, key := range s.keep {
		if len(key) != len(name) || !strings.EqualFold(key, string(name)) {
			continue
		}
		have := s.head.count(key)
		switch {
		case cut:
			s.to.Flaw(FlawSize)
		case have > 0 && i < 2:
			s.to.Flaw(FlawTwice)
		case have < 2:
			s.head.fields = append(s.head.fields, headField{key, unfold(value)})
		}
		return
	}
}

// isName is ftext of RFC 5322 section 3.6.8.
func isName(name []byte) bool {
	for _, c := range name {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(name) > 0
}

// endHead is called at the empty line, and at the end of the message.
func (s *Flat) endHead() {
	if len(s.field) > 0 {
		s.endField()
	}
	s.fresh, s.count, s.octets = false, 0, 0
	s.setType()
	if s.part > 0 {
		s.state, s.matched, s.from = inPart, 2, 2
	} else if s.head.Type == "multipart" && s.setBoundary() {
		s.state, s.matched, s.from = inPart, 2, 2
	} else {
		s.state = inBody
	}
	s.to.Head(s.part, &s.head)
	s.head = Head{}
}

func (s *Flat) setType() {
	var part Part
	if v, ok := s.head.Value("content-type"); ok {
		if len(v) > maxValue {
			s.to.Flaw(FlawSize)
		}
		part.Fields = map[string]string{"content-type": v[:min(len(v), maxValue)]}
	}
	if !part.setType(false) {
		return // RFC 2045 section 5.2 guesses; a guess must not pass for the sender's word
	}
	s.head.Type, s.head.Subtype, s.head.Params = part.Type, part.Subtype, part.Params
}

// setBoundary tells whether there is one.
func (s *Flat) setBoundary() bool {
	boundary, ok := s.head.Params["boundary"]
	if !ok || boundary == "" || len(boundary) > maxValue {
		return false
	}
	v, _ := s.head.Value("content-type")
	switch named, continued := namesBoundary(v); {
	case continued:
		s.to.Flaw(FlawContinued)
	case named != 1 || strings.Contains(v, "=?") || !isBoundary(boundary):
		s.to.Flaw(FlawBoundary)
	}
	s.delimiter = append([]byte("\r\n--"), boundary...)
	return true
}

// namesBoundary counts where a reader who splits at every ";" could find the
// parameter, be it inside of a quoted string, and tells whether it is written
// as RFC 2231 allows.
func namesBoundary(contentType string) (named int, continued bool) {
	for _, behind := range strings.Split(strings.ToLower(contentType), "boundary")[1:] {
		switch behind = strings.TrimLeft(behind, " \t"); {
		case strings.HasPrefix(behind, "="):
			named++
		case strings.HasPrefix(behind, "*"):
			continued = true
		}
	}
	return named, continued
}

// isBoundary is the rule boundary of RFC 2046 section 5.1.1, and more of the
// printable characters, which real messages use. A blank, which the rule has,
// does not survive folding with every reader; of the others left out, some
// readers know the meaning and some do not.
func isBoundary(b string) bool {
	for i := range len(b) {
		if b[i] <= ' ' || b[i] > '~' || strings.IndexByte("\"\\;<>", b[i]) >= 0 {
			return false
		}
	}
	return len(b) <= 70
}

// body takes octets up to a delimiter.
func (s *Flat) body(p []byte) (rest []byte) {
	for len(p) > 0 {
		if s.matched > 0 {
			n := commonPrefix(s.delimiter[s.matched:], p)
			s.matched += n
			p = p[n:]
			if s.matched == len(s.delimiter) {
				s.state, s.tail = inTail, s.tail[:0]
				return p
			}
			if len(p) == 0 {
				return nil
			}
			s.miss()
		}
		p = s.seek(p)
	}
	return nil
}

// miss gives to the body what looked like a delimiter.
func (s *Flat) miss() {
	if s.matched > s.from {
		s.piece(s.delimiter[s.from:s.matched])
	}
	s.matched, s.from = 0, 0
}

// seek gives to the body what stands before the next CRLF "-", and before a
// CR LF or CR that p ends with. Hyphens are rarer than line ends in what we
// see most.
func (s *Flat) seek(p []byte) (rest []byte) {
	for from := 0; ; {
		i := bytes.IndexByte(p[from:], '-')
		if i < 0 {
			break
		}
		i += from
		if i >= 2 && p[i-1] == '\n' && p[i-2] == '\r' {
			s.piece(p[:i-2])
			s.matched = 2
			return p[i:]
		}
		from = i + 1
	}
	switch {
	case bytes.HasSuffix(p, []byte("\r\n")):
		s.matched = 2
	case bytes.HasSuffix(p, []byte("\r")):
		s.matched = 1
	}
	s.piece(p[:len(p)-s.matched])
	return nil
}

func (s *Flat) piece(p []byte) {
	if s.part > 0 && !s.closed && len(p) > 0 {
		s.to.Body(s.part, p)
	}
}

// delimit takes the rest of a line that begins with the boundary.
func (s *Flat) delimit(p []byte) (rest []byte) {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		i = len(p) - 1
	}
	s.tail = append(s.tail, p[:min(i+1, maxTail+1-len(s.tail))]...)
	if p[i] == '\n' {
		s.endTail()
	}
	return p[i+1:]
}

// endTail decides what the line that begins with the boundary is.
func (s *Flat) endTail() {
	tail, whole := bytes.CutSuffix(s.tail, []byte("\r\n"))
	tail = bytes.TrimRight(tail, " \t")
	switch {
	case (whole || s.ended) && len(s.tail) <= maxTail && string(tail) == "--":
		if s.closed {
			s.to.Flaw(FlawAfter)
		} else {
			s.endPart()
			s.closed = true
		}
	case (whole || s.ended) && len(s.tail) <= maxTail && len(tail) == 0:
		if !s.closed {
			s.endPart()
			s.part++
			s.state, s.matched, s.from = inHead, 0, 0
			return
		}
		s.to.Flaw(FlawAfter)
	default:
		s.to.Flaw(FlawDelimiter)
	}
	// The line end may begin the next delimiter.
	s.state, s.matched, s.from = inPart, 2, 2
}

func (s *Flat) endPart() {
	if s.part > 0 && !s.closed {
		s.to.End(s.part)
	}
}

func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
