package filter

import (
	"bytes"
	"io"
)

const (
	armorBegin = "-----BEGIN PGP MESSAGE-----\r\n"
	armorEnd   = "-----END PGP MESSAGE-----"
	armorField = "Version: "
	maxLine    = 998
)

// armor reads one armored OpenPGP message, which must be all there is. The
// begin line, the end line and the checksum stand on lines of their own. The
// checksum may be missing and is not verified: RFC 9580 section 6.1 wants
// neither. In the data CR and LF count for nothing.
type armor struct {
	way    *way
	drop   bool // a "Version: " line is passed over (A3, incoming)
	data   decoder
	state  armorState
	at     int // octets of what the state waits for, that were seen
	length int // of the present line, without its end
	mark   [len(armorEnd) + 1]byte
	marked int // octets in mark: of a line that begins with "=" or "-"
	summed bool
	over   bool // the present line was found to be too long
	// returned: a CR stands where the present line begins, so it is no end line
	returned bool
}

type armorState uint8

const (
	atBegin   armorState = iota // in the begin line
	atField                     // right behind it
	inField                     // in a "Version: " line
	atBlank                     // before the data: line ends are passed over
	atLine                      // where a line of data begins
	inLine                      // in one
	inMark                      // in a line that begins with "=" or "-"
	atTail                      // behind the end line
	inNoArmor                   // there is nothing to read any more
)

func newArmor(w *way, drop bool, to io.Writer) *armor {
	a := &armor{way: w, drop: drop}
	a.data.to = to
	a.data.broken = func() { w.breaks(ArmorBase64) }
	return a
}

// Write takes the next octets. It never fails.
func (a *armor) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && a.way.open() {
		p = a.step(p)
	}
	return n, nil
}

func (a *armor) step(p []byte) (rest []byte) {
	switch a.state {
	case atBegin:
		if p[0] != armorBegin[a.at] {
			a.way.breaks(ArmorBegin)
			a.state, a.at = atField, 0
			return p
		}
		if a.at++; a.at == len(armorBegin) {
			a.state, a.at = atField, 0
		}
		return p[1:]
	case atField:
		if p[0] != armorField[a.at] {
			a.state = atBlank
			a.data.add([]byte(armorField[:a.at]))
			if a.at > 0 {
				a.state, a.length = inLine, a.at
			}
			return p
		}
		if a.at++; a.at == len(armorField) {
			if !a.drop {
				a.way.breaks(ArmorHeader)
			}
			a.state, a.length = inField, a.at
		}
		return p[1:]
	case inField:
		return a.skip(p)
	case atBlank:
		if p[0] == '\r' || p[0] == '\n' {
			a.returned = p[0] == '\r'
			return p[1:]
		}
		a.state = atLine
		return p
	case atLine:
		a.length, a.over = 0, false
		switch {
		case p[0] == '\r':
			a.returned = true
			return p[1:]
		case p[0] == '=' || p[0] == '-' && !a.returned:
			a.state, a.marked = inMark, 0
		default:
			a.state = inLine
		}
		a.returned = false
		return p
	case inLine:
		return a.line(p)
	case inMark:
		return a.marks(p)
	case atTail:
		return a.tail(p)
	}
	return nil
}

// skip passes over the rest of a line.
func (a *armor) skip(p []byte) (rest []byte) {
	line, rest, ended := bytes.Cut(p, []byte("\n"))
	a.length += len(line) - bytes.Count(line, []byte("\r"))
	a.long(a.length)
	if ended {
		a.state, a.returned = atBlank, false
	}
	return rest
}

// long breaks the rule when a line of that length is too long, once per line.
func (a *armor) long(length int) {
	if length > maxLine && !a.over {
		a.over = true
		a.way.breaks(ArmorLine)
	}
}

// line takes data up to a line end.
func (a *armor) line(p []byte) (rest []byte) {
	line := p
	if i := bytes.IndexByte(p, '\n'); i >= 0 {
		line, rest = p[:i], p[i+1:]
		a.state, a.returned = atLine, false
	}
	for {
		i := bytes.IndexByte(line, '\r')
		if i < 0 {
			a.octets(line)
			return rest
		}
		a.octets(line[:i])
		line = line[i+1:]
	}
}

// octets takes data without line ends.
func (a *armor) octets(p []byte) {
	if len(p) == 0 {
		return
	}
	if a.summed {
		a.way.breaks(ArmorSumLast)
		return
	}
	// What is found first must not depend on how the line was cut.
	room := min(max(maxLine-a.length, 0), len(p))
	a.data.pure(p[:room])
	a.length += len(p)
	a.long(a.length)
	a.data.pure(p[room:])
}

// marks takes a line that begins with "=" or "-", up to what it turns out to be.
func (a *armor) marks(p []byte) (rest []byte) {
	if p[0] == '\r' && a.marked > 0 && a.mark[0] == '=' {
		return p[1:]
	}
	if a.marked < len(armorEnd) && p[0] != '\n' {
		a.mark[a.marked] = p[0]
		if a.marked++; string(a.mark[:a.marked]) == armorEnd {
			a.state, a.at = atTail, 0
		}
		return p[1:]
	}
	mark := bytes.TrimRight(a.mark[:a.marked], "\r")
	if p[0] != '\n' { // longer than any line that may be here
		a.state = inLine
		a.length = len(mark)
		a.judge(mark, false)
		return p
	}
	a.state, a.returned = atLine, false
	a.judge(mark, true)
	return p[1:]
}

// judge decides what a line is that begins with "=" or "-".
func (a *armor) judge(mark []byte, whole bool) {
	switch {
	case a.summed:
		a.way.breaks(ArmorSumLast)
	case mark[0] == '=' && whole && len(mark) == 5 && isBase64(mark[1:]):
		a.summed = true
	case mark[0] == '=' && len(bytes.Trim(mark, "=")) == 0:
		a.data.add(mark) // padding that did not fit its line
	case mark[0] == '=':
		a.way.breaks(ArmorSum)
		a.summed = whole
	default:
		a.data.add(mark)
	}
}

// tail demands nothing but CRLF.
func (a *armor) tail(p []byte) (rest []byte) {
	for len(p) > 0 {
		if p[0] != "\r\n"[a.at] {
			a.way.breaks(ArmorBehind)
			a.state = inNoArmor
			return nil
		}
		a.at ^= 1
		p = p[1:]
	}
	return nil
}

// finish says that the armor is complete.
func (a *armor) finish() {
	switch {
	case !a.way.open():
		return
	case a.state == atTail && a.at == 0 || a.state == inNoArmor:
	case a.state == atTail:
		a.way.breaks(ArmorBehind)
	case a.state == atBegin:
		a.way.breaks(ArmorBegin)
	default:
		a.way.breaks(ArmorEnd)
		if a.state == inMark {
			a.judge(bytes.TrimRight(a.mark[:a.marked], "\r"), true)
		}
	}
	a.data.finish()
}

func isBase64(p []byte) bool {
	for _, c := range p {
		if !('A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '/') {
			return false
		}
	}
	return true
}
