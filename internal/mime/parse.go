package mime

import (
	"bufio"
	"bytes"
	"io"
	"slices"
)

// Fields that are kept of each part, and of each message beside them.
var (
	contentFields = []string{
		"content-type", "content-transfer-encoding", "content-id", "content-description",
		"content-disposition", "content-language", "content-location", "content-md5",
	}
	envelopeFields = []string{
		"date", "subject", "from", "sender", "reply-to", "to", "cc", "bcc", "in-reply-to", "message-id",
	}
)

// Parse finds the parts of a message of size octets. Fields of a message
// hold those of its envelope, too. Behind MaxSize no boundary is looked for:
// what is open there goes to the end of the message. The error is one of r.
func Parse(r io.ReaderAt, size int64) (*Part, error) {
	p := parser{in: bufio.NewReaderSize(io.NewSectionReader(r, 0, min(size, MaxSize)), 8<<10), size: size}
	root := p.entity(0, true, false)
	return root, p.err
}

// parser reads line by line. Lines longer than its buffer come in pieces.
type parser struct {
	in    *bufio.Reader
	size  int64 // of the message
	at    int64 // offset behind the present line
	err   error // of the source
	line  []byte
	start int64 // offset of the present line
	whole bool  // the present piece begins a line
	eol   int64 // length of the line end before the present line
	last  int64 // of the one of the present line

	boundaries [][]byte // of the multiparts that are open, outermost first
	hit        int      // index of the boundary that the present line is, or -1
	final      bool     // and it is the closing one
	parts      int
	lines      int64 // begun since entity was told to count
}

// next takes a piece of a line. It is false at the end, and at a boundary.
func (p *parser) next() bool {
	p.whole = p.last > 0 || p.at == 0
	p.start, p.eol = p.at, p.last
	line, err := p.in.ReadSlice('\n')
	if err != nil && err != bufio.ErrBufferFull && err != io.EOF {
		p.err = err
	}
	p.line, p.at = line, p.at+int64(len(line))
	p.last = 0
	if bytes.HasSuffix(line, []byte("\n")) {
		p.last = 1
		if bytes.HasSuffix(line, []byte("\r\n")) {
			p.last = 2
		}
	}
	p.hit = -1
	if len(line) == 0 || p.err != nil {
		p.eol = 0 // the last line end is the body's
		if p.at >= MaxSize {
			p.start = p.size
		}
		return false
	}
	if p.whole {
		p.hit, p.final = p.boundary(line)
	}
	return p.hit < 0
}

// boundary tells which of the open multiparts line delimits.
func (p *parser) boundary(line []byte) (index int, final bool) {
	rest, ok := bytes.CutPrefix(line, []byte("--"))
	if !ok {
		return -1, false
	}
	rest = bytes.TrimRight(rest, " \t\r\n")
	for i := len(p.boundaries) - 1; i >= 0; i-- {
		switch tail, ok := bytes.CutPrefix(rest, p.boundaries[i]); {
		case !ok:
		case len(tail) == 0:
			return i, false
		case string(tail) == "--":
			return i, true
		}
	}
	return -1, false
}

// entity reads a header and a body, up to a boundary or the end. It leaves
// the parser at the line that ended it.
func (p *parser) entity(depth int, message, digest bool) *Part {
	p.parts++
	part := &Part{Header: p.at}
	ended := p.header(part, message)
	part.Body = p.at
	if ended {
		part.Body = p.start
	}
	part.HeaderLen = part.Body - part.Header
	part.setType(digest)
	boundary := part.Params["boundary"]
	deep := depth >= MaxDepth || p.parts >= MaxParts
	switch {
	case part.Type == "multipart" && (deep || boundary == "" || len(boundary) > 200):
		part.leaf()
	case part.Type == "message" && part.Subtype == "rfc822" && deep:
		part.leaf()
	}
	first := part.Body
	switch {
	case ended:
	case part.Type == "multipart":
		p.multipart(part, depth, boundary)
	case part.Type == "message" && part.Subtype == "rfc822":
		before := p.lines
		part.Message = p.entity(depth+1, true, false)
		part.Lines = p.lines - before
	default:
		before := p.lines
		for p.next() {
			p.count()
		}
		part.Lines = p.lines - before
	}
	if part.Type == "multipart" && len(part.Parts) == 0 || part.Type == "message" && part.Subtype == "rfc822" && part.Message == nil {
		part.leaf()
	}
	part.BodyLen = max(p.start-p.eol-first, 0)
	return part
}

// count counts the lines of bodies.
func (p *parser) count() {
	if p.whole {
		p.lines++
	}
}

// header reads a header with its empty line. It tells whether a boundary or
// the end came first.
func (p *parser) header(part *Part, message bool) (ended bool) {
	var head []byte
	for {
		if !p.next() {
			ended = true
			break
		}
		p.count()
		if p.whole && len(bytes.TrimRight(p.line, "\r\n")) == 0 {
			break
		}
		if len(head) < MaxHeader {
			head = append(head, p.line...)
		}
	}
	part.Fields = fields(head, func(name string) bool {
		return slices.Contains(contentFields, name) || message && slices.Contains(envelopeFields, name)
	})
	return ended
}

// multipart reads the parts of a multipart, and what stands around them.
func (p *parser) multipart(part *Part, depth int, boundary string) {
	mine := len(p.boundaries)
	p.boundaries = append(p.boundaries, []byte(boundary))
	defer func() { p.boundaries = p.boundaries[:mine] }()
	before := p.lines
	for p.next() { // the preamble
		p.count()
	}
	for p.hit == mine && !p.final {
		if p.parts >= MaxParts {
			for p.next() || p.hit == mine {
			}
			break
		}
		part.Parts = append(part.Parts, p.entity(depth+1, false, part.Subtype == "digest"))
	}
	if p.hit == mine { // the closing one: what follows is the epilogue
		p.boundaries = p.boundaries[:mine]
		for p.next() {
			p.count()
		}
	}
	part.Lines = p.lines - before
}
