package imap

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime/quotedprintable"
	"strings"

	"barid/imap/wire"
	"barid/internal/mime"
)

// errEncoding tells of a part whose transfer encoding nobody knows, or that
// does not keep to it.
var errEncoding = errors.New("unknown transfer encoding")

// plain is a part without its transfer encoding. It can be read once only,
// but made as often as wanted.
type plain struct {
	body *messageBody
	off  int64
	n    int64
	cte  string
}

// findPlain gives the part that a BINARY item names (RFC 3516); nil when there
// is none.
func (b *messageBody) findPlain(part []int) (*plain, error) {
	if len(part) == 0 {
		return &plain{body: b, n: b.content.Size()}, nil
	}
	root, err := b.structure()
	if err != nil {
		return nil, err
	}
	p := root.Child(part)
	if p == nil {
		return nil, nil
	}
	return plainPart(b, p), nil
}

func plainPart(b *messageBody, p *mime.Part) *plain {
	cte := strings.ToLower(strings.TrimSpace(p.Fields["content-transfer-encoding"]))
	return &plain{body: b, off: p.Body, n: p.BodyLen, cte: cte}
}

// encoded tells whether there is something to undo.
func (p *plain) encoded() bool {
	switch p.cte {
	case "", "7bit", "8bit", "binary":
		return false
	}
	return true
}

// reader gives the octets. Reading fails with errEncoding when they are not
// what the encoding says, with another error when the source does.
func (p *plain) reader() (io.Reader, error) {
	raw := &source{r: io.NewSectionReader(p.body.content, p.off, p.n)}
	switch {
	case !p.encoded():
		return raw, nil
	case p.cte == "base64":
		return &decoder{raw, base64.NewDecoder(base64.StdEncoding, &alphabet{raw})}, nil
	case p.cte == "quoted-printable":
		return &decoder{raw, quotedprintable.NewReader(raw)}, nil
	}
	return nil, errEncoding
}

// measure tells how many octets a part has, and whether there is a NUL among
// them. That is found out once for each part of a message.
func (p *plain) measure() (measured, error) {
	key := plainKey{p.off, p.n, p.cte}
	m, ok := p.body.measured[key]
	if !ok {
		if m.size, m.nul, m.err = p.readAll(); m.err != nil && !errors.Is(m.err, errEncoding) {
			return m, m.err
		}
		if p.body.measured == nil {
			p.body.measured = map[plainKey]measured{}
		}
		p.body.measured[key] = m
	}
	return m, m.err
}

type plainKey struct {
	off, n int64
	cte    string
}

// measured is what is known of a part without its encoding.
type measured struct {
	size int64
	nul  bool
	err  error // errEncoding
}

// binaryCost tells how many octets the BINARY items of a command would read of
// a message.
func (b *messageBody) binaryCost(items []wire.FetchItem) (cost int64, err error) {
	known := map[plainKey]bool{}
	for _, i := range items {
		if i.Item != wire.ItemBinary && i.Item != wire.ItemBinarySize {
			continue
		}
		p, err := b.findPlain(i.Section.Part)
		if err != nil {
			return 0, err
		}
		if p == nil {
			continue
		}
		key := plainKey{p.off, p.n, p.cte}
		if !known[key] && (i.Item == wire.ItemBinary || p.encoded()) {
			known[key] = true
			cost += p.n
		}
		if i.Item == wire.ItemBinary {
			cost += p.n
		}
	}
	return cost, nil
}

// readAll reads a part to know it.
func (p *plain) readAll() (n int64, nul bool, err error) {
	r, err := p.reader()
	if err != nil {
		return 0, false, err
	}
	buf := make([]byte, 8<<10)
	for {
		k, err := r.Read(buf)
		n += int64(k)
		nul = nul || bytes.IndexByte(buf[:k], 0) >= 0
		if err == io.EOF {
			return n, nul, nil
		}
		if err != nil {
			return 0, false, err
		}
	}
}

// source remembers whose fault an error is.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// decoder makes errEncoding of what a decoder finds wrong.
type decoder struct {
	from *source
	io.Reader
}

func (d *decoder) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	if err != nil && err != io.EOF {
		if err = errEncoding; d.from.err != nil {
			err = d.from.err
		}
	}
	return n, err
}

// alphabet passes over what is no base64 (RFC 2045 section 6.8).
type alphabet struct{ r io.Reader }

func (a *alphabet) Read(p []byte) (int, error) {
	for {
		n, err := a.r.Read(p)
		kept := p[:0]
		for _, b := range p[:n] {
			if b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b == '+' || b == '/' || b == '=' {
				kept = append(kept, b)
			}
		}
		if len(kept) > 0 || err != nil || len(p) == 0 {
			return len(kept), err
		}
	}
}

// binary writes a BINARY or BINARY.SIZE item. It tells with errEncoding, after
// a value that stands for none, that the part cannot be decoded.
func (b *messageBody) binary(out *wire.Writer, i wire.FetchItem) error {
	out.Raw(i.Name)
	partial := i.Section.Partial
	if partial != nil {
		out.Raw("<")
		out.Number(uint64(partial.Offset))
		out.Raw(">")
	}
	out.Raw(" ")
	none := func() {
		if i.Item == wire.ItemBinarySize {
			out.Raw("0")
			return
		}
		out.Raw("NIL")
	}
	p, err := b.findPlain(i.Section.Part)
	var m measured
	switch {
	case err != nil || p == nil:
	case i.Item == wire.ItemBinarySize && !p.encoded():
		m.size = p.n
	default:
		m, err = p.measure()
	}
	n := m.size
	switch {
	case errors.Is(err, errEncoding):
		none()
		return err
	case err != nil:
		out.Abort(err)
		return err
	case p == nil:
		none()
		return nil
	case i.Item == wire.ItemBinarySize:
		out.Number(uint64(n))
		return nil
	}
	var skip int64
	if partial != nil {
		skip = min(partial.Offset, n)
		n = min(n-skip, partial.Size)
	}
	r, err := p.reader()
	if err == nil {
		_, err = io.CopyN(io.Discard, r, skip)
	}
	if err != nil {
		out.Abort(err)
		return err
	}
	if m.nul {
		out.Raw("~") // literal8
	}
	out.Stream(r, n)
	return nil
}
