package filter

import (
	"bytes"
	"encoding/base64"
	"io"
)

// decoder undoes base64 strictly: alphabet, padding and left-over bits as
// RFC 4648 sections 3.2 to 3.5 want them. CR and LF may stand anywhere.
type decoder struct {
	to     io.Writer // gets what was decoded; never fails
	broken func()    // called for what is no base64

	in     [2048]byte // a multiple of four
	out    [1536]byte
	n      int
	padded bool // padding was seen: nothing may follow
}

// add takes octets with line ends between.
func (d *decoder) add(p []byte) {
	for len(p) > 0 {
		line := p
		i := bytes.IndexByte(p, '\n')
		if i >= 0 {
			line, p = p[:i], p[i+1:]
		} else {
			p = nil
		}
		for {
			j := bytes.IndexByte(line, '\r')
			if j < 0 {
				break
			}
			d.pure(line[:j])
			line = line[j+1:]
		}
		d.pure(line)
	}
}

// pure takes octets without line ends.
func (d *decoder) pure(p []byte) {
	for len(p) > 0 {
		if d.padded {
			d.broken()
			return
		}
		m := copy(d.in[d.n:], p)
		p = p[m:]
		d.n += m
		if d.n == len(d.in) {
			d.decode()
		}
	}
}

func (d *decoder) decode() {
	in := d.in[:d.n]
	d.n = 0
	m, err := base64.StdEncoding.Strict().Decode(d.out[:], in)
	if err != nil {
		d.broken()
	}
	d.padded = in[len(in)-1] == '='
	if m > 0 {
		d.to.Write(d.out[:m])
	}
}

// finish takes what is left.
func (d *decoder) finish() {
	if d.n > 0 {
		d.decode()
	}
}
