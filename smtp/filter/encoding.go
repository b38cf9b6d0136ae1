package filter

import (
	"bytes"
	"io"
	"strings"
)

// undo is a stage that undoes a Content-Transfer-Encoding.
type undo interface {
	io.Writer
	finish()
}

// newUndo gives the stage for the encoding of that name, which writes to to.
// It is nil when nobody knows the name.
//
// Source: RFC 2045 section 6.
func newUndo(name string, to io.Writer, broken func()) undo {
	switch strings.ToLower(name) {
	case "", "7bit", "8bit", "binary":
		return plain{to}
	case "base64":
		return &mimeBase64{decoder{to: to, broken: broken}}
	case "quoted-printable":
		return &quoted{to: to, broken: broken}
	}
	return nil
}

// plain changes nothing.
type plain struct{ io.Writer }

func (plain) finish() {}

// mimeBase64 is base64 with blanks and line ends anywhere.
type mimeBase64 struct{ decoder }

func (m *mimeBase64) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexAny(p, " \t")
		if i < 0 {
			m.add(p)
			break
		}
		m.add(p[:i])
		p = p[i+1:]
	}
	return n, nil
}

// quoted undoes quoted-printable (RFC 2045 section 6.7), line by line.
type quoted struct {
	to     io.Writer
	broken func()
	line   [maxLine + 2]byte
	n      int
}

func (q *quoted) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		line := p
		i := bytes.IndexByte(p, '\n')
		if i >= 0 {
			line = p[:i+1]
		}
		p = p[len(line):]
		m := copy(q.line[q.n:], line)
		q.n += m
		if m < len(line) {
			q.broken()
			q.n = 0
		} else if i >= 0 {
			q.decode()
		}
	}
	return n, nil
}

// decode gives the present line away, decoded in its place.
func (q *quoted) decode() {
	line, end := q.line[:q.n], ""
	q.n = 0
	if bytes.HasSuffix(line, []byte("\r\n")) {
		line, end = line[:len(line)-2], "\r\n"
	}
	line = bytes.TrimRight(line, " \t") // was added on the way
	if bytes.HasSuffix(line, []byte("=")) && end != "" {
		line, end = line[:len(line)-1], "" // a soft line break
	}
	out := line[:0]
	for {
		i := bytes.IndexByte(line, '=')
		if i < 0 {
			out = append(out, line...)
			break
		}
		out = append(out, line[:i]...)
		if i+2 >= len(line) || digit(line[i+1]) < 0 || digit(line[i+2]) < 0 {
			q.broken()
			break
		}
		out = append(out, byte(digit(line[i+1])<<4|digit(line[i+2])))
		line = line[i+3:]
	}
	out = append(out, end...)
	if len(out) > 0 {
		q.to.Write(out)
	}
}

func (q *quoted) finish() {
	if q.n > 0 {
		q.decode()
	}
}

// digit gives the value of a hexadecimal digit, or -1. Lower case is tolerated, as RFC 2045
// suggests.
func digit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
