package dkim

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// The bounds of a header that is looked into.
const (
	MaxHeader = 64 << 10 // octets
	MaxFields = 250
)

var (
	errHeader     = errors.New("not a header")
	errManyFields = fmt.Errorf("%w: too many fields", errHeader)
)

// field is one header field, whole: folded lines and the last CRLF included.
type field struct {
	name string // lower case
	raw  string
}

// splitFields splits a header, whose lines end in CRLF. Where another reader
// could see other lines it is no header.
func splitFields(head string, most int) ([]field, error) {
	var fields []field
	for head != "" {
		if len(fields) == most {
			return nil, errManyFields
		}
		end := fieldEnd(head)
		raw := head[:end]
		head = head[end:]
		name, _, ok := strings.Cut(raw, ":")
		name = strings.ToLower(strings.TrimRight(name, " \t"))
		if !ok || !isFieldName(name) {
			return nil, fmt.Errorf("%w: a line without a field name", errHeader)
		}
		if n := strings.Count(raw, "\r\n"); strings.Count(raw, "\r") != n || strings.Count(raw, "\n") != n {
			return nil, fmt.Errorf("%w: a bare CR or LF", errHeader)
		}
		fields = append(fields, field{name, raw})
	}
	return fields, nil
}

// fieldEnd finds where the first field ends: a CRLF that no blank follows.
func fieldEnd(s string) int {
	for at := 0; ; {
		i := strings.Index(s[at:], "\r\n")
		if i < 0 {
			return len(s)
		}
		at += i + 2
		if at == len(s) || s[at] != ' ' && s[at] != '\t' {
			return at
		}
	}
}

// isFieldName is ftext of RFC 5322 section 3.6.8.
func isFieldName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == ':' {
			return false
		}
	}
	return s != ""
}

// headEnd finds the empty line that ends a header: where it begins, or -1.
// What is before from was looked at.
func headEnd(b []byte, from int) int {
	if bytes.HasPrefix(b, []byte("\r\n")) {
		return 0
	}
	if i := bytes.Index(b[from:], []byte("\r\n\r\n")); i >= 0 {
		return from + i + 2
	}
	return -1
}
