package wire

import (
	"bytes"
	"strconv"
	"strings"
)

// ear hears both sides of a dialogue, as the library's Debug hook: what was
// read, before the library acts on it, and what was written, after the peer
// got it. Both come through the same Write, in the library's one goroutine
// per connection, so the ear follows the turns: the library answers every
// complete line before it reads again.
//
// It knows the line that is being answered, and whether all octets of a chunk
// came. Whoever relies on a line compares it with what the library made of
// it, so an ear that lost its way refuses instead of misleading.
type ear struct {
	onLine  func(line string)           // a command, before it is executed
	onReply func(line string, code int) // the last line of a reply, after it was written
	line    string                      // the command being executed, without its end
	owed    bool                        // a reply to line (or the greeting) is due
	pending []byte                      // from the peer, not yet a command
	// refuses tells whether the library refuses the chunk of line: then it
	// replies first and drops the octets afterwards. It is asked while the
	// command is executed, for the library resets itself after its replies.
	refuses func() bool
	// disguises tells whether the library would ask us about AUTH and RCPT.
	disguises  func() bool
	postmaster bool              // <Postmaster> needs no domain
	chunk      int64             // octets of a BDAT chunk to come
	body       *bodyEnd          // not nil within DATA
	stray      bool              // the last DATA had a CR that the library swallowed
	asked      bool              // AUTH asked for the next line, so it is no command
	out        []byte            // a reply line that came in pieces
	shaking    bool              // TLS is about to start
	onShake    func(failed bool) // how it went
}

// handshakeFailed is how the library tells the peer that TLS did not come
// about. It would then go on in the clear.
const handshakeFailed = "550 5.0.0 Handshake error"

func (e *ear) Write(p []byte) (int, error) {
	if e.shaking {
		e.shaking = false
		e.onShake(bytes.HasPrefix(p, []byte(handshakeFailed)))
	}
	if e.owed && e.body == nil && (e.chunk == 0 || e.refuses()) {
		e.said(p)
	} else {
		e.heard(p)
	}
	return len(p), nil
}

// heard takes octets of the peer.
func (e *ear) heard(p []byte) {
	if e.body != nil {
		n := e.body.find(p)
		p = p[n:]
		e.stray = e.body.stray
		if e.body.state != bodyFound {
			return
		}
		e.body = nil
	}
	n := min(e.chunk, int64(len(p)))
	e.chunk -= n
	first := !e.owed && !e.asked && e.chunk == 0 && len(e.pending) == 0
	e.pending = append(e.pending, p[n:]...)
	if !e.owed && e.chunk == 0 {
		e.next()
	}
	if first && e.disguises() {
		e.disguise(p[n:])
	}
}

// disguise changes commands that the library would answer without asking us
// into ones that it asks about. What it reads is changed where it lies, in the
// library's own buffer, behind the ear's copy.
//
// VRFY becomes AUTH for a mechanism that is none, whose reply is ours (see
// dialogue.Auth). <Postmaster> without a domain becomes a path with an "@" in
// it (see postmaster).
//
// Only whole lines at the beginning of a piece that was read can be changed,
// as far as each is known to be a command: MAIL, RCPT and VRFY are followed by
// a command, whatever the reply. Another VRFY has the library's reply, which
// has another enhanced code and tells as little; another <Postmaster> is
// refused by the library as bad syntax.
func (e *ear) disguise(p []byte) {
	for {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			return
		}
		line := bytes.TrimSuffix(p[:end], []byte("\r"))
		switch said := string(line); {
		case isVerify(said):
			for i := range line[copy(line, "AUTH X"):] {
				line[len("AUTH X")+i] = ' '
			}
		case !begins(said, "MAIL ") && !begins(said, "RCPT "):
			return
		case e.postmaster:
			if at := barePostmaster(said); at > 0 {
				copy(line[at:], disguisedPostmaster)
			}
		}
		p = p[end+1:]
	}
}

// isVerify tells whether a command is a VRFY with something to verify.
func isVerify(line string) bool {
	return begins(line, "VRFY ") && strings.TrimSpace(line[5:]) != ""
}

// begins tells whether s begins with word, in any letter case.
func begins(s, word string) bool {
	return len(s) >= len(word) && strings.EqualFold(s[:len(word)], word)
}

// next finds the next command in what the peer sent ahead.
func (e *ear) next() {
	i := bytes.IndexByte(e.pending, '\n')
	if i < 0 {
		return
	}
	e.line = strings.TrimSuffix(string(e.pending[:i]), "\r")
	e.owed = true
	rest := e.pending[i+1:]
	e.chunk = 0
	if size, _, ok := chunk(e.line); ok && !e.asked {
		e.chunk = size
	}
	n := min(e.chunk, int64(len(rest)))
	e.chunk -= n
	e.pending = append(e.pending[:0], rest[n:]...)
	e.onLine(e.line)
}

// said takes octets of ours.
func (e *ear) said(p []byte) {
	e.out = append(e.out, p...)
	if !bytes.HasSuffix(e.out, []byte("\n")) {
		return
	}
	reply := e.out
	e.out = e.out[:0]
	if len(reply) < 4 || reply[3] != ' ' {
		return
	}
	code, _ := strconv.Atoi(string(reply[:3]))
	if code == 354 {
		e.body = new(bodyEnd)
		ahead := e.pending
		e.pending = nil
		e.heard(ahead)
		return
	}
	e.owed, e.asked = false, code == 334
	e.shaking = code == 220 && e.line != ""
	e.onReply(e.line, code)
	if !e.shaking && e.chunk == 0 {
		e.next()
	}
}

// chunk reads a BDAT command as the library does: how many octets follow it,
// whether they are the last, and whether it is one at all (RFC 3030).
func chunk(line string) (size int64, last, ok bool) {
	if !begins(line, "BDAT ") {
		return 0, false, false
	}
	args := strings.Fields(line[5:])
	last = len(args) == 2 && strings.EqualFold(args[1], "LAST")
	if len(args) != 1 && !last {
		return 0, false, false
	}
	n, err := strconv.ParseUint(args[0], 10, 32)
	return int64(n), last, err == nil
}

// bodyEnd finds the end of DATA: CRLF "." CRLF and nothing else (RFC 5321
// section 4.1.1.4). It takes the very steps that the library takes, or the
// two would disagree on what follows.
type bodyEnd struct {
	state bodyState
	// stray is set when the library swallowed a bare CR behind a dot, so that
	// what it gave us is not what was sent.
	stray bool
}

type bodyState int

const (
	beginLine bodyState = iota
	afterDot
	afterDotCR
	afterCR
	inLine
	bodyFound
)

// find tells how many octets of p belong to DATA, its end included.
func (b *bodyEnd) find(p []byte) int {
	for i, c := range p {
		switch {
		case b.state == beginLine && c == '.':
			b.state = afterDot
		case b.state == beginLine && c == '\r', b.state == inLine && c == '\r':
			b.state = afterCR
		case b.state == afterDot && c == '\r':
			b.state = afterDotCR
		case b.state == afterDotCR && c == '\n':
			b.state = bodyFound
			return i + 1
		case b.state == afterCR && c == '\n':
			b.state = beginLine
		default:
			b.stray = b.stray || b.state == afterDotCR
			b.state = inLine
		}
	}
	return len(p)
}
