package mime

import (
	"bytes"
	"mime"
	"slices"
	"strings"
)

// Bounds of what Parse looks at.
const (
	MaxDepth  = 20
	MaxParts  = 500
	MaxHeader = 64 << 10 // octets of the header of one part
	MaxSize   = 64 << 20 // octets of a message that are looked at
	maxValue  = 4 << 10  // octets of a Content field
)

// Part is a message or a part of one. Offsets count from the start of the
// message.
type Part struct {
	Header    int64 // where the header begins
	HeaderLen int64 // with the empty line
	Body      int64 // where the body begins
	BodyLen   int64 // without the line end that belongs to the boundary
	Lines     int64 // of the body

	Type, Subtype string            // lower case
	Params        map[string]string // of Content-Type, names in lower case; nil for none
	Fields        map[string]string // the Content fields of RFC 2045 and others asked for, by lower case name, unfolded

	Parts   []*Part // of a multipart, at least one
	Message *Part   // of message/rfc822
}

// Multipart tells whether p has parts.
func (p *Part) Multipart() bool { return len(p.Parts) > 0 }

// Child gives the part that a section specification names (RFC 9051 section
// 6.4.5.1), nil when there is none. p is a message.
func (p *Part) Child(numbers []int) *Part {
	message := true // p is a message whose parts are meant, not a part of one
	for _, n := range numbers {
		if !message && p.Message != nil {
			p, message = p.Message, true
		}
		switch {
		case p.Multipart() && n >= 1 && n <= len(p.Parts):
			p = p.Parts[n-1]
		case !p.Multipart() && message && n == 1:
			// The body of a message without parts is its part 1.
		default:
			return nil
		}
		message = false
	}
	return p
}

// EnvelopeFields reads the fields of an envelope (RFC 9051 section 7.5.2)
// from a header: the first of each, by lower case name, unfolded.
func EnvelopeFields(head []byte) map[string]string {
	return fields(head, func(name string) bool { return slices.Contains(envelopeFields, name) })
}

// leaf makes p what it is where nothing better is known.
func (p *Part) leaf() {
	p.Type, p.Subtype, p.Params = "application", "octet-stream", nil
	p.Parts, p.Message = nil, nil
}

// setType reads the Content-Type field. Missing means text/plain, or
// message/rfc822 inside a digest; unreadable means nobody knows, and is false.
func (p *Part) setType(digest bool) bool {
	v, ok := p.Fields["content-type"]
	switch {
	case !ok && digest:
		p.Type, p.Subtype = "message", "rfc822"
		return true
	case !ok:
		p.Type, p.Subtype = "text", "plain"
		p.Params = map[string]string{"charset": "us-ascii"}
		return true
	}
	mediaType, params, err := mime.ParseMediaType(v)
	if mediaType == "" || err != nil && err != mime.ErrInvalidMediaParameter {
		p.leaf()
		return false
	}
	p.Type, p.Subtype, ok = strings.Cut(mediaType, "/")
	if !ok {
		p.leaf()
		return false
	}
	if len(params) > 0 {
		p.Params = params
	}
	return true
}

// fields reads a header into Fields: the first of each of the names that
// keep holds for.
func fields(head []byte, keep func(name string) bool) map[string]string {
	out := map[string]string{}
	for len(head) > 0 {
		end := fieldEnd(head)
		field := head[:end]
		head = head[end:]
		name, value, ok := bytes.Cut(field, []byte(":"))
		if !ok {
			continue
		}
		key := strings.ToLower(string(bytes.TrimRight(name, " \t")))
		if _, have := out[key]; have || !keep(key) {
			continue
		}
		if strings.HasPrefix(key, "content-") {
			value = value[:min(len(value), maxValue)]
		}
		out[key] = unfold(value)
	}
	return out
}

// fieldEnd finds the end of the field that b begins with, folded lines
// included.
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

// unfold takes the line ends out of a value.
func unfold(v []byte) string {
	v = bytes.TrimSpace(v)
	if bytes.IndexByte(v, '\n') < 0 && bytes.IndexByte(v, '\r') < 0 {
		return string(v)
	}
	return string(bytes.Map(func(r rune) rune {
		if r == '\n' || r == '\r' {
			return -1
		}
		return r
	}, v))
}
