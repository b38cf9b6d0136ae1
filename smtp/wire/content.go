package wire

import (
	"errors"
	"io"

	gosmtp "github.com/emersion/go-smtp"

	"barid/smtp"
)

// content is what a Session reads: the octets of one message, judged as they
// pass. The first fault ends it with a *smtp.Reply, and stays.
//
// Source: RFC 5321 section 2.3.8 (lines), 4.5.2 (transparency), 4.5.3.1.6
// (text line); RFC 5322 section 2.1 forbids bare CR and LF, and a NUL would
// break the IMAP literal it is later sent in.
type content struct {
	r       io.Reader
	cut     func() bool // does r end before the content does?
	stray   func() bool // was there a bare CR that r did not give?
	left    int64       // octets that may still come
	line    int         // octets of the present line, its end not counted
	longest int
	cr      bool        // the last octet was CR
	octets  *smtp.Reply // refuses NUL, bare CR and bare LF
	verdict *smtp.Reply
	err     error // what ended it; io.EOF when whole
	broken  bool  // the connection failed, so nothing after it may count
}

func (c *content) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.r.Read(p)
	if n > 0 && !c.judge(p[:n]) {
		return 0, c.err
	}
	switch {
	case err == nil:
	case err == io.EOF && c.cut():
		c.err, c.broken = io.ErrUnexpectedEOF, true
	case err == io.EOF && (c.cr || c.stray()):
		c.refuse(c.octets)
	case errors.Is(err, gosmtp.ErrTooLongLine):
		c.refuse(replyLongLine)
	case err == io.EOF:
		c.err = io.EOF
	default:
		c.err, c.broken = err, true
	}
	return n, c.err
}

// judge looks at every octet once.
func (c *content) judge(p []byte) bool {
	if c.left -= int64(len(p)); c.left < 0 {
		return c.refuse(replyTooBig)
	}
	for _, b := range p {
		switch {
		case b == '\n' && c.cr:
			c.cr, c.line = false, 0
			continue
		case c.cr || b == '\n' || b == 0:
			return c.refuse(c.octets)
		case b == '\r':
			c.cr = true
			continue
		}
		if c.line++; c.line > c.longest {
			return c.refuse(replyLongLine)
		}
	}
	return true
}

func (c *content) refuse(r *smtp.Reply) bool {
	c.verdict, c.err = r, r
	return false
}
