package header

import (
	"bytes"
	"io"
	"slices"
	"strings"
)

// Edit says what becomes of the top-level fields of a header. Names are
// compared without letter case; a field goes or stays with its folded lines.
type Edit struct {
	Remove []string // fields that go
	// Replace has whole fields, "Subject: [...]", that stand in for each of
	// their name. One that is not there is not added.
	Replace []string
	// Missing gives the value of fields that must be there: each is added at
	// the end when the header has none of its name.
	Missing []Field
}

// Editor passes a content on with its header edited. The body, and every
// field that is not named, passes octet for octet.
type Editor struct {
	edit Edit
	to   io.Writer
	head []byte
	body bool
}

// NewEditor makes an Editor that writes to w.
func NewEditor(w io.Writer, e Edit) *Editor { return &Editor{edit: e, to: w} }

// Write takes the next octets. The header is held until it is whole; one
// beyond MaxOctets gives ErrTooBig.
func (e *Editor) Write(p []byte) (int, error) {
	if e.body {
		return e.to.Write(p)
	}
	from := max(len(e.head)-3, 0)
	e.head = append(e.head, p...)
	end := headerEnd(e.head, from)
	if end < 0 {
		if len(e.head) > MaxOctets {
			return 0, ErrTooBig
		}
		return len(p), nil
	}
	rest := e.head[end:]
	if err := e.begin(e.head[:end]); err != nil {
		return 0, err
	}
	e.head = nil
	if _, err := e.to.Write(rest); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes a header that had no body behind it.
func (e *Editor) Close() error {
	if e.body {
		return nil
	}
	return e.begin(e.head)
}

// headerEnd is where the empty line begins, or -1; what is before from was
// looked at.
func headerEnd(b []byte, from int) int {
	if bytes.HasPrefix(b, []byte("\r\n")) {
		return 0
	}
	if i := bytes.Index(b[from:], []byte("\r\n\r\n")); i >= 0 {
		return from + i + 2
	}
	return -1
}

// begin writes the edited header.
func (e *Editor) begin(head []byte) error {
	e.body = true
	if len(head) > MaxOctets {
		return ErrTooBig
	}
	var out strings.Builder
	out.Grow(len(head) + 200)
	missing := slices.Clone(e.edit.Missing)
	for rest := string(head); rest != ""; {
		var field string
		field, rest = cutField(rest)
		name, _, _ := strings.Cut(field, ":")
		name = strings.TrimRight(name, " \t")
		missing = slices.DeleteFunc(missing, func(f Field) bool { return f.Is(name) })
		out.WriteString(e.edit.field(name, field))
	}
	for _, f := range missing {
		out.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
	_, err := io.WriteString(e.to, out.String())
	return err
}

// field gives what becomes of one field.
func (e *Edit) field(name, field string) string {
	same := func(s string) bool { return strings.EqualFold(s, name) }
	if slices.ContainsFunc(e.Remove, same) {
		return ""
	}
	for _, r := range e.Replace {
		if n, _, _ := strings.Cut(r, ":"); same(n) {
			return r + "\r\n"
		}
	}
	return field
}
