package wire

import (
	"bytes"
	"errors"
	"io"
)

// errBare is what content with a CR or LF of its own gives. Peers disagree
// about where such lines end, which is how messages are smuggled.
var errBare = errors.New("content with a bare CR or LF")

// Stuffer doubles the dots that lines begin with (RFC 5321 section 4.5.2) and
// lets only whole CRLF lines through. A Write of other content fails, and
// nothing more may be written then.
type Stuffer struct {
	w     io.Writer
	place place
}

// place is where in a line the next octet stands.
type place int

const (
	atBegin place = iota
	within
	behindCR
)

// NewStuffer gives one that writes to w.
func NewStuffer(w io.Writer) *Stuffer { return &Stuffer{w: w} }

// Write implements io.Writer.
func (s *Stuffer) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		rest := p[done:]
		switch s.place {
		case behindCR:
			if rest[0] != '\n' {
				return done, errBare
			}
			if _, err := s.w.Write(rest[:1]); err != nil {
				return done, err
			}
			s.place = atBegin
			done++
		case atBegin:
			if rest[0] == '.' {
				if _, err := s.w.Write([]byte{'.'}); err != nil {
					return done, err
				}
			}
			s.place = within
		case within:
			end := bytes.IndexAny(rest, "\r\n")
			if end < 0 {
				end = len(rest)
			} else if rest[end] == '\n' {
				return done + end, errBare
			} else {
				end++
				s.place = behindCR
			}
			if _, err := s.w.Write(rest[:end]); err != nil {
				return done, err
			}
			done += end
		}
	}
	return done, nil
}

// End is nil when the last line was whole.
func (s *Stuffer) End() error {
	if s.place != atBegin {
		return errBare
	}
	return nil
}
