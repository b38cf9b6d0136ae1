package smtp

import (
	"errors"
	"fmt"
)

// Reply is what a server answers: a code, an enhanced code or none, one line
// of ASCII text. It is an error, so that policy can return it; a Reply of
// class 2 or 3 is never returned as one.
//
// Source: RFC 5321 section 4.2, RFC 3463.
type Reply struct {
	Code     int    // 200 to 559
	Enhanced string // "5.1.1", or empty for none
	Text     string // US-ASCII, no line break
}

// NewReply makes a Reply. Characters that would break the line or leave
// ASCII become "?", so a peer's octets cannot forge a second line.
func NewReply(code int, enhanced, format string, args ...any) *Reply {
	text := []byte(fmt.Sprintf(format, args...))
	for i, c := range text {
		if c < 0x20 || c > 0x7e {
			text[i] = '?'
		}
	}
	return &Reply{code, enhanced, string(text)}
}

// Temporary tells whether the peer may try the same again (class 4).
func (r *Reply) Temporary() bool { return r.Code/100 == 4 }

// Error gives code and enhanced code only: the text may quote an address.
func (r *Reply) Error() string {
	if r.Enhanced == "" {
		return fmt.Sprintf("reply %d", r.Code)
	}
	return fmt.Sprintf("reply %d %s", r.Code, r.Enhanced)
}

// Wire gives the reply as the one line a peer reads, without CRLF.
func (r *Reply) Wire() string {
	if r.Enhanced == "" {
		return fmt.Sprintf("%03d %s", r.Code, r.Text)
	}
	return fmt.Sprintf("%03d %s %s", r.Code, r.Enhanced, r.Text)
}

// AsReply gives the Reply inside err, or the one for a fault of our own,
// whose cause stays in the log and out of the transcript.
func AsReply(err error) *Reply {
	if r, ok := errors.AsType[*Reply](err); ok {
		return r
	}
	return NewReply(451, "4.3.0", "Local error, try again later")
}
