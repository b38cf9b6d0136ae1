package dkim

import (
	"bytes"
	"hash"
	"strings"
)

// canon is a way in which header or body is put in order before it is hashed
// (RFC 6376 section 3.4).
type canon uint8

const (
	simple canon = iota
	relaxed
)

func (c canon) String() string { return [...]string{"simple", "relaxed"}[c] }

// parseCanon reads c=, header "/" body, both simple unless said otherwise.
func parseCanon(s string) (head, body canon, ok bool) {
	switch s {
	case "simple", "simple/simple":
		return simple, simple, true
	case "simple/relaxed":
		return simple, relaxed, true
	case "relaxed", "relaxed/simple":
		return relaxed, simple, true
	case "relaxed/relaxed":
		return relaxed, relaxed, true
	}
	return simple, simple, false
}

// body hashes a body in order as it arrives. It stands in front of the
// library: a body that is not the one of bh= costs neither a look-up nor a
// second reading. For a signature it decides only where the library does not
// look (holdsLate); else only against one.
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

// maxEmptyLines is how many lines without text may follow each other. The
// library copies the ones it holds back with each piece it is given, so that
// its time grows with their square; up to here it does not matter.
const maxEmptyLines = 8 << 10

// emptyLines watches a body for more of them. Lines of blanks count too: the
// library holds their ends in memory.
type emptyLines struct {
	n    int
	text bool // this line has some
	over bool // there were too many
}

// Write takes the next octets. It never fails.
func (e *emptyLines) Write(p []byte) (int, error) {
	n := len(p)
	for !e.over {
		end := bytes.IndexByte(p, '\n')
		line := p
		if end >= 0 {
			line = p[:end]
		}
		e.text = e.text || len(bytes.TrimLeft(line, " \t\r")) > 0
		if end < 0 {
			break
		}
		if e.n++; e.text {
			e.n = 0
		}
		e.over = e.n > maxEmptyLines
		e.text, p = false, p[end+1:]
	}
	return n, nil
}
