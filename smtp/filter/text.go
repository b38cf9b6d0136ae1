package filter

import (
	"bytes"
	"strings"
)

// space is what is trimmed from a short text.
const space = " \t\r\n\v\f"

// short keeps a text that is no longer than its few octets, without the space
// around it, however much that is.
type short struct {
	octets [40]byte
	n      int
	over   bool // there is more than fits
}

func (s *short) Write(p []byte) (int, error) {
	n := len(p)
	if s.n == 0 {
		p = bytes.TrimLeft(p, space)
	}
	for len(p) > 0 && !s.over {
		if s.n == len(s.octets) {
			s.over = len(bytes.TrimLeft(p, space)) > 0
			break
		}
		m := copy(s.octets[s.n:], p)
		s.n += m
		p = p[m:]
	}
	return n, nil
}

// text gives what was written, trimmed. It is false when that is longer.
func (s *short) text() (string, bool) {
	return strings.TrimRight(string(s.octets[:s.n]), space), !s.over
}
