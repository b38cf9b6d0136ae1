package imap

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"barid/imap/wire"
	"barid/internal/mime"
	"barid/storage"
)

// maxHeader bounds what is looked at as a message's header. A longer one is
// taken to end there.
const maxHeader = 1 << 20

// headerOnly tells whether a section lies within the header of the message.
func headerOnly(s *imap.FetchItemBodySection) bool {
	return len(s.Part) == 0 && s.Specifier == imap.PartSpecifierHeader
}

// messageBody gives sections of one message.
type messageBody struct {
	content storage.Content
	head    []byte     // nil until it is read
	parts   *mime.Part // nil until they are looked for
	picks   int        // how often fields were picked from head
	// measured has the parts that were read to know their size.
	measured map[plainKey]measured
}

// repeated tells how many octets were looked at more than once.
func (b *messageBody) repeated() int64 {
	return int64(len(b.head)) * int64(max(b.picks-1, 0))
}

// structure gives the parts of the message.
func (b *messageBody) structure() (*mime.Part, error) {
	var err error
	if b.parts == nil {
		b.parts, err = mime.Parse(b.content, b.content.Size())
	}
	return b.parts, err
}

// header gives the header with the empty line that ends it.
func (b *messageBody) header() ([]byte, error) {
	if b.head != nil {
		return b.head, nil
	}
	size := min(b.content.Size(), maxHeader)
	chunk := min(size, 8<<10)
	var head []byte
	for {
		from := len(head)
		head = slices.Grow(head, int(chunk))[:from+int(chunk)]
		if _, err := b.content.ReadAt(head[from:], int64(from)); err != nil && err != io.EOF {
			return nil, err
		}
		if n := headerEnd(head); n >= 0 {
			head = head[:n]
			break
		}
		if int64(len(head)) == size {
			break
		}
		chunk = min(chunk*2, size-int64(len(head)))
	}
	if head == nil {
		head = []byte{}
	}
	b.head = head
	return head, nil
}

// headerEnd finds the end of the empty line behind a header, or -1. Line
// ends are CRLF or LF.
func headerEnd(b []byte) int {
	for at := 0; at < len(b); {
		n := bytes.IndexByte(b[at:], '\n')
		if n < 0 {
			return -1
		}
		if n == 0 || n == 1 && b[at] == '\r' {
			return at + n + 1
		}
		at += n + 1
	}
	return -1
}

// section writes the octets of one section, or NIL where there is no such
// part.
func (b *messageBody) section(out *wire.Writer, i wire.FetchItem) error {
	s := i.Section
	out.Raw(i.Name)
	if s.Partial != nil {
		out.Raw("<")
		out.Number(uint64(s.Partial.Offset))
		out.Raw(">")
	}
	out.Raw(" ")
	r, off, n, err := b.find(s)
	switch {
	case err != nil:
		out.Abort(err) // in the middle of a line
		return err
	case r == nil:
		out.Raw("NIL")
		return nil
	}
	if p := s.Partial; p != nil {
		skip := min(p.Offset, n)
		off += skip
		n = min(n-skip, p.Size)
	}
	out.Literal(r, off, n)
	return nil
}

// find gives the octets of a section: n of r from off. r is nil when there
// is no such part.
func (b *messageBody) find(s *imap.FetchItemBodySection) (r io.ReaderAt, off, n int64, err error) {
	if len(s.Part) > 0 {
		return b.findPart(s)
	}
	if s.Specifier == imap.PartSpecifierNone {
		return b.content, 0, b.content.Size(), nil
	}
	head, err := b.header()
	if err != nil {
		return nil, 0, 0, err
	}
	if s.Specifier == imap.PartSpecifierText {
		n := int64(len(head))
		return b.content, n, b.content.Size() - n, nil
	}
	b.picks++
	head = pickFields(head, s)
	return bytes.NewReader(head), 0, int64(len(head)), nil
}

// findPart is find for a numbered part.
func (b *messageBody) findPart(s *imap.FetchItemBodySection) (r io.ReaderAt, off, n int64, err error) {
	root, err := b.structure()
	if err != nil {
		return nil, 0, 0, err
	}
	p := root.Child(s.Part)
	if p == nil {
		return nil, 0, 0, nil
	}
	switch s.Specifier {
	case imap.PartSpecifierNone:
		return b.content, p.Body, p.BodyLen, nil
	case imap.PartSpecifierMIME:
		return b.content, p.Header, p.HeaderLen, nil
	}
	if p = p.Message; p == nil {
		return nil, 0, 0, nil
	}
	if s.Specifier == imap.PartSpecifierText {
		return b.content, p.Body, p.BodyLen, nil
	}
	head := make([]byte, min(p.HeaderLen, maxHeader))
	if _, err := b.content.ReadAt(head, p.Header); err != nil && err != io.EOF {
		return nil, 0, 0, err
	}
	head = pickFields(head, s)
	return bytes.NewReader(head), 0, int64(len(head)), nil
}

// pickFields gives the header fields that a section asks for and an empty
// line.
func pickFields(head []byte, s *imap.FetchItemBodySection) []byte {
	names, want := s.HeaderFields, true
	if names == nil {
		names, want = s.HeaderFieldsNot, false
	}
	if names == nil {
		return head
	}
	listed := make(map[string]bool, len(names))
	for _, n := range names {
		listed[strings.ToLower(n)] = true
	}
	var picked []byte
	eachField(head, func(name string, field []byte) {
		if listed[strings.ToLower(name)] == want {
			picked = append(picked, field...)
		}
	})
	return append(picked, "\r\n"...)
}

// eachField calls f for each field of a header, with its folded lines and
// its line end.
func eachField(head []byte, f func(name string, field []byte)) {
	for len(head) > 0 {
		end := fieldEnd(head)
		field := head[:end]
		head = head[end:]
		name, _, ok := bytes.Cut(field, []byte(":"))
		if !ok {
			continue
		}
		f(string(bytes.TrimRight(name, " \t")), field)
	}
}

// fieldEnd finds where the field that b begins with ends.
func fieldEnd(b []byte) int {
	at := 0
	for {
		n := bytes.IndexByte(b[at:], '\n')
		if n < 0 {
			return len(b)
		}
		at += n + 1
		if at == len(b) || b[at] != ' ' && b[at] != '\t' {
			return at
		}
	}
}
