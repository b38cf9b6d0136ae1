package dkim

import (
	"hash"
	"strings"
)

// canon is a way in which a part of a message is put in order before it is
// hashed (RFC 6376 section 3.4).
type canon uint8

const (
	simple canon = iota
	relaxed
)

func (c canon) String() string { return [...]string{"simple", "relaxed"}[c] }

// parseCanon reads c=: header "/" body, both simple unless said otherwise.
func parseCanon(s string) (head, body canon, ok bool) {
	one := func(s string) (canon, bool) {
		switch s {
		case "simple":
			return simple, true
		case "relaxed":
			return relaxed, true
		}
		return simple, false
	}
	first, second, two := strings.Cut(s, "/")
	head, ok = one(first)
	if two && ok {
		body, ok = one(second)
	}
	return head, body, ok
}

// field appends one header field in order to b.
func (c canon) field(b []byte, raw string) []byte {
	if c == simple {
		return append(b, raw...)
	}
	name, value, _ := strings.Cut(raw, ":")
	for i := range len(name) {
		ch := name[i]
		if ch >= 'A' && ch <= 'Z' {
			ch |= 0x20
		}
		if ch != ' ' && ch != '\t' {
			b = append(b, ch)
		}
	}
	b = append(b, ':')
	blank, begun := false, false
	for i := range len(value) {
		switch ch := value[i]; ch {
		case ' ', '\t', '\r', '\n':
			blank = begun
		default:
			if blank {
				b = append(b, ' ')
				blank = false
			}
			b = append(b, ch)
			begun = true
		}
	}
	return append(b, "\r\n"...)
}

// body hashes a body in order, in pieces.
type body struct {
	canon canon
	hash  hash.Hash
	cr    bool // the last octet was a CR that is not hashed yet
	blank bool // relaxed: blanks that are not hashed yet
	lines int  // line ends that are not hashed yet
	begun bool // something was hashed
	sum   []byte
}

// newlines is what lines is hashed from.
var newlines = strings.Repeat("\r\n", 512)

// text hashes octets that are no line end and no blank that may have to go,
// with what was held back before them.
func (b *body) text(p []byte) {
	if len(p) == 0 {
		return
	}
	for b.lines > 0 {
		n := min(b.lines, len(newlines)/2)
		b.hash.Write([]byte(newlines[:2*n]))
		b.lines -= n
	}
	if b.blank {
		b.hash.Write([]byte{' '})
		b.blank = false
	}
	b.hash.Write(p)
	b.begun = true
}

// Write takes the next octets. It never fails.
func (b *body) Write(p []byte) (int, error) {
	n := len(p)
	if b.cr && n > 0 {
		b.cr = false
		if p[0] == '\n' {
			b.newline()
			p = p[1:]
		} else {
			b.text([]byte{'\r'})
		}
	}
	if b.canon == simple {
		b.writeSimple(p)
	} else {
		b.writeRelaxed(p)
	}
	return n, nil
}

func (b *body) newline() {
	b.lines++
	b.blank = false
}

// writeSimple holds back the line ends at the end of p.
func (b *body) writeSimple(p []byte) {
	end := len(p)
	if end > 0 && p[end-1] == '\r' {
		b.cr = true
		end--
	}
	lines := 0
	for end >= 2 && p[end-2] == '\r' && p[end-1] == '\n' {
		lines++
		end -= 2
	}
	b.text(p[:end])
	b.lines += lines
}

// writeRelaxed passes runs of octets between blanks and line ends.
func (b *body) writeRelaxed(p []byte) {
	start := 0
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case ' ', '\t':
			b.text(p[start:i])
			b.blank, start = true, i+1
		case '\r':
			if i+1 == len(p) {
				b.text(p[start:i])
				b.cr, start = true, i+1
			} else if p[i+1] == '\n' {
				b.text(p[start:i])
				b.newline()
				i++
				start = i + 1
			}
		}
	}
	b.text(p[start:])
}

// end gives the hash of all that was written: a body ends in one line end,
// and an empty one is that alone (simple) or nothing (relaxed).
func (b *body) end() []byte {
	if b.sum == nil {
		if b.cr {
			b.cr = false
			b.text([]byte{'\r'})
		}
		if b.begun || b.canon == simple {
			b.hash.Write([]byte("\r\n"))
		}
		b.sum = b.hash.Sum(nil)
	}
	return b.sum
}
