package receive

import (
	"io"

	"barid/smtp"
	"barid/smtp/wire"
)

var (
	replyData   = smtp.NewReply(500, "", "Invalid DATA")
	replyTooBig = smtp.NewReply(552, "", "Message exceeds maximum size")
)

// plain undoes the transparency of RFC 5321 section 4.5.2 in content that came
// in one piece, without the dot that ends it. The first fault ends it with a
// *smtp.Reply, and stays: a NUL, a bare CR or LF, a line of one dot, a line
// that is too long, no line end at the end, more octets than there may be.
type plain struct {
	r    io.Reader
	left int64 // octets that may still come
	at   place
	line int // octets of the present line
	some bool
	err  error
}

type place uint8

const (
	lineStart place = iota
	afterDot        // at the start, which is left out
	inLine
	afterCR
)

func (d *plain) Read(p []byte) (int, error) {
	for d.err == nil && len(p) > 0 {
		n, err := d.r.Read(p)
		d.some = d.some || n > 0
		out, ok := d.undo(p[:n])
		switch {
		case !ok:
			return 0, d.err
		case err == io.EOF && (d.at != lineStart || !d.some):
			d.err = replyData
			return 0, d.err
		case err != nil:
			d.err = err
		}
		if out > 0 || err != nil {
			return out, d.err
		}
	}
	return 0, d.err
}

// undo moves the octets that stay to the front of p.
func (d *plain) undo(p []byte) (out int, ok bool) {
	for _, c := range p {
		if !d.step(c) {
			d.err = replyData
			return 0, false
		}
		if d.at == afterDot {
			continue
		}
		if d.left--; d.left < 0 {
			d.err = replyTooBig
			return 0, false
		}
		p[out] = c
		out++
	}
	return out, true
}

// step takes one octet and tells whether it may stand here.
func (d *plain) step(c byte) bool {
	switch {
	case d.at == afterCR:
		d.at, d.line = lineStart, 0
		return c == '\n'
	case c == '\n' || c == 0:
		return false
	case c == '\r':
		was := d.at
		d.at = afterCR
		return was != afterDot
	case d.at == lineStart && c == '.':
		d.at = afterDot
		return true
	}
	d.at = inLine
	d.line++
	return d.line <= wire.LineLength
}
