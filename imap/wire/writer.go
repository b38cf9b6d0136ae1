package wire

import (
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// writeSize is what one write carries at most: the plain octets of one TLS
// record.
const writeSize = 16 << 10

// Writer collects what goes to the client and writes it when Flush is called
// or 16 KiB are there. After a failed write it drops everything, and Flush
// tells the error. It is used by one goroutine.
type Writer struct {
	dst io.Writer
	buf []byte
	err error
}

// Reset gives the writer a new destination and forgets everything but its
// memory.
func (w *Writer) Reset(dst io.Writer) {
	if w.buf == nil {
		w.buf = make([]byte, 0, writeSize)
	}
	*w = Writer{dst: dst, buf: w.buf[:0]}
}

// Flush writes what was collected.
func (w *Writer) Flush() error {
	if w.err == nil && len(w.buf) > 0 {
		_, w.err = w.dst.Write(w.buf)
	}
	w.buf = w.buf[:0]
	return w.err
}

// Err gives the first error of a write or of the source of a literal.
func (w *Writer) Err() error { return w.err }

// Raw writes s as it is. It is for text of ours, never for a peer's.
func (w *Writer) Raw(s string) {
	for len(s) > 0 {
		n := copy(w.buf[len(w.buf):cap(w.buf)], s)
		w.buf = w.buf[:len(w.buf)+n]
		s = s[n:]
		if len(s) > 0 {
			w.Flush()
		}
	}
}

// Text writes human-readable text: whatever is not printable ASCII becomes
// "?", so that no line is broken or forged.
func (w *Writer) Text(s string) {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			b := []byte(s)
			for i, c := range b {
				if c < ' ' || c > '~' {
					b[i] = '?'
				}
			}
			s = string(b)
			break
		}
	}
	w.Raw(s)
}

// Number writes a number.
func (w *Writer) Number(n uint64) {
	var digits [20]byte
	w.Raw(string(strconv.AppendUint(digits[:0], n, 10)))
}

// EOL ends a line.
func (w *Writer) EOL() { w.Raw("\r\n") }

// String writes a quoted string, or a literal when s holds anything but
// printable ASCII, a quote or a backslash.
func (w *Writer) String(s string) {
	if needsLiteral(s) {
		w.LiteralString(s)
		return
	}
	w.Raw(`"`)
	w.Raw(s)
	w.Raw(`"`)
}

// AString writes an atom where s is one, else a String.
func (w *Writer) AString(s string) {
	if isAString(s) {
		w.Raw(s)
		return
	}
	w.String(s)
}

// UTF8 is AString for text that may hold any UTF-8 between quotes, for clients
// of RFC 9051.
func (w *Writer) UTF8(s string) {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '"' || r == '\\' }) {
		w.LiteralString(s)
		return
	}
	if isAString(s) {
		w.Raw(s)
		return
	}
	w.Raw(`"`)
	w.Raw(s)
	w.Raw(`"`)
}

// NString writes a String, or NIL when ok is false.
func (w *Writer) NString(s string, ok bool) {
	if !ok {
		w.Raw("NIL")
		return
	}
	w.String(s)
}

// LiteralString writes a literal. A NUL, which no literal may have, becomes
// a space.
func (w *Writer) LiteralString(s string) {
	w.literalSize(int64(len(s)))
	for i := range len(s) {
		if s[i] == 0 {
			b := []byte(s)
			for i := range b {
				if b[i] == 0 {
					b[i] = ' '
				}
			}
			s = string(b)
			break
		}
	}
	w.Raw(s)
}

func (w *Writer) literalSize(n int64) {
	w.Raw("{")
	w.Number(uint64(n))
	w.Raw("}\r\n")
}

// Literal writes n octets of r from off as a literal. When r gives fewer,
// the stream is spoiled: Flush tells the error and nothing more is written.
func (w *Writer) Literal(r io.ReaderAt, off, n int64) {
	w.literalSize(n)
	for n > 0 && w.err == nil {
		if len(w.buf) == cap(w.buf) {
			w.Flush()
			continue
		}
		free := w.buf[len(w.buf):cap(w.buf)]
		got, err := r.ReadAt(free[:min(int64(len(free)), n)], off)
		w.buf = w.buf[:len(w.buf)+got]
		off += int64(got)
		n -= int64(got)
		if n > 0 && err != nil {
			w.Abort(err)
		}
	}
}

// Stream is Literal for the next n octets of r.
func (w *Writer) Stream(r io.Reader, n int64) {
	w.literalSize(n)
	for n > 0 && w.err == nil {
		if len(w.buf) == cap(w.buf) {
			w.Flush()
			continue
		}
		free := w.buf[len(w.buf):cap(w.buf)]
		got, err := r.Read(free[:min(int64(len(free)), n)])
		w.buf = w.buf[:len(w.buf)+got]
		n -= int64(got)
		if n > 0 && err != nil {
			w.Abort(err)
		}
	}
}

// SourceError is the Writer's error when what was to be written could not be
// read.
type SourceError struct{ Err error }

func (e SourceError) Error() string { return "read what is to be written: " + e.Err.Error() }
func (e SourceError) Unwrap() error { return e.Err }

// Abort spoils the stream: in the middle of an answer its rest cannot be
// given. Nothing more is written, and Flush tells a SourceError with err.
func (w *Writer) Abort(err error) {
	if w.err == nil {
		w.err = SourceError{err}
	}
}

// Date writes a date-time (INTERNALDATE).
func (w *Writer) Date(t time.Time) {
	w.Raw(t.Format(`"02-Jan-2006 15:04:05 -0700"`))
}
