// Package header reads the header of a message: what stands before the first
// empty line (RFC 5322 section 2.1).
package header

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/mail"
	"strings"

	"barid/smtp"
)

// The bounds of a header, in octets and in fields.
const (
	MaxOctets = 256 << 10
	MaxFields = 1000
	// MaxFrom is how long the value of a From field may be that we look into.
	MaxFrom = 4096
)

// Errors of Head.Fields and From.
var (
	ErrTooBig    = errors.New("header is too big")
	ErrMalformed = errors.New("malformed header")
	ErrFrom      = errors.New("not exactly one From field with one address")
)

// Field is one header field.
type Field struct {
	Name  string // as sent, without blanks before the colon
	Value string // unfolded, without blanks at its ends
}

// Is compares the field's name without letter case.
func (f Field) Is(name string) bool { return strings.EqualFold(f.Name, name) }

// Head keeps the header of a content that is written to it in pieces, and
// drops the rest. The zero Head is ready. Lines end in CRLF.
type Head struct {
	raw    bytes.Buffer
	done   bool // the empty line was seen
	tooBig bool
}

// Write takes the next octets. It never fails.
func (h *Head) Write(p []byte) (int, error) {
	if h.done || h.tooBig {
		return len(p), nil
	}
	// The empty line may begin in what was written before.
	from := max(h.raw.Len()-3, 0)
	h.raw.Write(p[:min(len(p), MaxOctets+4-h.raw.Len())])
	if end := headerEnd(h.raw.Bytes(), from); end >= 0 {
		h.raw.Truncate(end)
		h.done = true
	}
	h.tooBig = h.raw.Len() > MaxOctets
	return len(p), nil
}

// Raw gives the header as it was written, without the empty line, or what of
// it there is. It is valid until the next Write.
func (h *Head) Raw() []byte { return h.raw.Bytes() }

// Fields reads the fields, once all content was written. The error wraps
// ErrTooBig or ErrMalformed.
func (h *Head) Fields() ([]Field, error) {
	if h.tooBig {
		return nil, fmt.Errorf("%w: over %d octets", ErrTooBig, MaxOctets)
	}
	var fields []Field
	rest := h.raw.String()
	for rest != "" {
		if len(fields) == MaxFields {
			return nil, fmt.Errorf("%w: over %d fields", ErrTooBig, MaxFields)
		}
		var lines string
		lines, rest = cutField(rest)
		name, value, ok := strings.Cut(lines, ":")
		name = strings.TrimRight(name, " \t")
		if !ok || !isName(name) {
			return nil, fmt.Errorf("%w: a line without a field name", ErrMalformed)
		}
		value = strings.Trim(strings.ReplaceAll(value, "\r\n", ""), " \t")
		fields = append(fields, Field{name, value})
	}
	return fields, nil
}

// cutField takes one field with its continuation lines off s.
func cutField(s string) (field, rest string) {
	end := 0
	for {
		i := strings.Index(s[end:], "\r\n")
		if i < 0 {
			return s, ""
		}
		end += i + 2
		if end == len(s) || s[end] != ' ' && s[end] != '\t' {
			return s[:end], s[end:]
		}
	}
}

// isName is ftext of RFC 5322 section 3.6.8.
func isName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}

// From gives the author: exactly one From field with exactly one address, as
// RFC 5322 section 3.6.2 with no Sender needs it. The error wraps ErrFrom.
func From(fields []Field) (smtp.Address, error) {
	value, n := "", 0
	for _, f := range fields {
		if f.Is("From") {
			value, n = f.Value, n+1
		}
	}
	if n != 1 || len(value) > MaxFrom {
		return smtp.Address{}, fmt.Errorf("%w: %d fields", ErrFrom, n)
	}
	value, v6 := cutV6(value)
	parser := mail.AddressParser{WordDecoder: &mime.WordDecoder{CharsetReader: anyCharset}}
	one, err := parser.Parse(value)
	if err != nil || isGroup(value) {
		// What the parser says may quote the address.
		return smtp.Address{}, fmt.Errorf("%w: no single address", ErrFrom)
	}
	address := one.Address
	if v6 {
		local, literal, ok := cutLast(address, "@[")
		if !ok {
			return smtp.Address{}, fmt.Errorf("%w: no single address", ErrFrom)
		}
		address = local + "@[IPv6:" + literal
	}
	a, err := smtp.ParseAddress(address)
	if err != nil {
		return smtp.Address{}, fmt.Errorf("%w: %w", ErrFrom, err)
	}
	return a, nil
}

// tagV6 begins the literal of an IPv6 address (RFC 5321 section 4.1.3).
const tagV6 = "@[ipv6:"

// cutV6 takes the tag out of the first literal of an IPv6 address in a value:
// net/mail reads such addresses without it only.
func cutV6(value string) (string, bool) {
	lower := strings.ToLower(value)
	at := strings.Index(lower, tagV6)
	if at < 0 || len(lower) != len(value) {
		return value, false
	}
	return value[:at] + "@[" + value[at+len(tagV6):], true
}

// cutLast is strings.Cut at the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// isGroup tells whether value has a semicolon outside of quoted strings and
// comments: a group of one (RFC 6854), which not all readers take for an
// address.
func isGroup(value string) bool {
	quoted, depth := false, 0
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\':
			i++
		case c == '"' && depth == 0:
			quoted = !quoted
		case c == '(' && !quoted:
			depth++
		case c == ')' && !quoted:
			depth--
		case c == ';' && !quoted && depth == 0:
			return true
		}
	}
	return false
}

// anyCharset lets display names pass in whatever charset: we do not read them.
func anyCharset(_ string, in io.Reader) (io.Reader, error) { return in, nil }
