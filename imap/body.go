package imap

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"barid/imap/wire"
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
	head    []byte // nil until it is read
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

// section writes the octets of one section.
func (b *messageBody) section(out *wire.Writer, i wire.FetchItem) error {
	s := i.Section
	out.Raw(i.Name)
	if s.Partial != nil {
		out.Raw("<")
		out.Number(uint64(s.Partial.Offset))
		out.Raw(">")
	}
	out.Raw(" ")
	switch {
	case len(s.Part) > 0:
		out.Raw("NIL")
		return nil
	case s.Specifier == imap.PartSpecifierNone:
		writePiece(out, b.content, 0, b.content.Size(), s.Partial)
		return nil
	}
	head, err := b.header()
	if err != nil {
		out.Abort(err)
		return err
	}
	if s.Specifier == imap.PartSpecifierText {
		n := int64(len(head))
		writePiece(out, b.content, n, b.content.Size()-n, s.Partial)
		return nil
	}
	head = pickFields(head, s)
	writePiece(out, bytes.NewReader(head), 0, int64(len(head)), s.Partial)
	return nil
}

// writePiece writes n octets from off, or the part of them that is asked for.
func writePiece(out *wire.Writer, r io.ReaderAt, off, n int64, p *imap.SectionPartial) {
	if p != nil {
		skip := min(p.Offset, n)
		off += skip
		n = min(n-skip, p.Size)
	}
	out.Literal(r, off, n)
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
	var picked []byte
	eachField(head, func(name string, field []byte) {
		if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) }) == want {
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
