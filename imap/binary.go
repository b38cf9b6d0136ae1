package imap

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime/quotedprintable"
	"strings"

	"barid/imap/wire"
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
	cte := strings.ToLower(strings.TrimSpace(p.Fields["content-transfer-encoding"]))
	return &plain{body: b, off: p.Body, n: p.BodyLen, cte: cte}, nil
}

// reader gives the octets. Reading fails with errEncoding when they are not
// what the encoding says, with another error when the source does.
func (p *plain) reader() (io.Reader, error) {
	raw := &source{r: io.NewSectionReader(p.body.content, p.off, p.n)}
	switch p.cte {
	case "", "7bit", "8bit", "binary":
		return raw, nil
	case "base64":
		return &decoder{raw, base64.NewDecoder(base64.StdEncoding, &alphabet{raw})}, nil
	case "quoted-printable":
		return &decoder{raw, quotedprintable.NewReader(raw)}, nil
	}
	return nil, errEncoding
}

// measure reads everything: how much it is, and whether there is a NUL.
func (p *plain) measure() (n int64, nul bool, err error) {
	p.body.decoded += p.n
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
	var n int64
	var nul bool
	if err == nil && p != nil {
		n, nul, err = p.measure()
	}
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
	if nul {
		out.Raw("~") // literal8
	}
	out.Stream(r, n)
	return nil
}
