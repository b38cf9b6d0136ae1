package wire

import (
	"bytes"
	"errors"
	"io"
)

// Errors of a Reader. After one of them the stream has lost its place, and
// the connection is to be closed.
var (
	// ErrLine: a line is longer than allowed.
	ErrLine = errors.New("line too long")
	// ErrLiteral: the client sent a literal, without asking, that is not taken.
	// Its octets must not be read as commands.
	ErrLiteral = errors.New("literal refused")
)

// The least room that is made for one read from the connection.
const readSize = 4 << 10

// Reader takes lines and literals from a connection. The zero Reader has no
// source. It is used by one goroutine.
type Reader struct {
	src  io.Reader
	buf  []byte
	r, w int // buf[r:w] is not yet taken
	full bool
}

// Reset gives the reader a new source and forgets everything but its memory.
func (r *Reader) Reset(src io.Reader) {
	if len(r.buf) > readSize {
		r.buf = nil // a long line is rare; its memory is not kept
	}
	*r = Reader{src: src, buf: r.buf}
}

// Buffered gives the number of octets that were read and not yet taken.
func (r *Reader) Buffered() int { return r.w - r.r }

// MayHide tells whether the last read filled all its room, so that more may
// wait in a layer above the socket.
func (r *Reader) MayHide() bool { return r.full }

// fill reads once. Room is made by moving what is there, then by growing.
func (r *Reader) fill() error {
	if r.r == r.w {
		r.r, r.w = 0, 0
	}
	if r.w == len(r.buf) && r.r > 0 {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	if r.w == len(r.buf) {
		grown := make([]byte, max(readSize, 2*len(r.buf)))
		copy(grown, r.buf[:r.w])
		r.buf = grown
	}
	n, err := r.src.Read(r.buf[r.w:])
	r.full = r.w+n == len(r.buf)
	r.w += n
	if n > 0 {
		return nil // the error comes again
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// Await reads until a whole line is there, or more than limit octets.
func (r *Reader) Await(limit int) error {
	seen := 0
	for bytes.IndexByte(r.buf[r.r+seen:r.w], '\n') < 0 {
		seen = r.w - r.r
		if seen > limit {
			return ErrLine
		}
		if err := r.fill(); err != nil {
			return err
		}
	}
	return nil
}

// line takes one line without its end, which is LF or CRLF. It is valid
// until the next read. A line of more than limit octets is ErrLine.
func (r *Reader) line(limit int) ([]byte, error) {
	seen := 0
	for {
		if i := bytes.IndexByte(r.buf[r.r+seen:r.w], '\n'); i >= 0 {
			if seen+i > limit {
				return nil, ErrLine
			}
			line := r.buf[r.r : r.r+seen+i]
			r.r += seen + i + 1
			return bytes.TrimSuffix(line, []byte("\r")), nil
		}
		seen = r.w - r.r
		if seen > limit {
			return nil, ErrLine
		}
		if err := r.fill(); err != nil {
			if err == io.EOF && seen > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// Line takes one line that is no command: DONE, or what answers a challenge.
func (r *Reader) Line(limit int) (string, error) {
	line, err := r.line(limit)
	return string(line), err
}

// Read takes octets of a literal.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.r == r.w {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.buf[r.r:r.w])
	r.r += n
	return n, nil
}
