package filter

import (
	"bytes"
	"encoding/binary"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Tags of the packets an encrypted message consists of (RFC 9580 section 5).
const (
	tagPKESK = 1
	tagSKESK = 3
	tagSEIPD = 18
)

// packets walks over OpenPGP packets without looking into them, and demands
// session keys and then one encrypted data packet that ends where the data
// ends.
//
// The lengths are read here and not by go-crypto: it takes lengths that must
// not be, wants to pull where we are fed, and knows fewer versions than may
// pass. It is asked what the encrypted data is.
type packets struct {
	way    *way
	head   [6]byte // tag octet and length octets of the present packet or piece
	headed int     // octets in head
	tag    int     // of the present packet, or of the last when headed and left are 0
	left   uint64  // octets of the present piece
	more   bool    // another piece follows it
	count  int     // packets begun
	found  Packets
	sample [64]byte // the beginning of the last packet of tag 18, header included
	taken  int      // octets in sample
}

// Write takes the next octets. It never fails.
func (w *packets) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && w.way.open() {
		if w.left > 0 {
			m := int(min(w.left, uint64(len(p))))
			w.keep(p[:m])
			w.left -= uint64(m)
			p = p[m:]
			continue
		}
		w.header(p[0])
		p = p[1:]
	}
	return n, nil
}

// keep takes the beginning of a packet of tag 18 into the sample.
func (w *packets) keep(p []byte) {
	if w.tag == tagSEIPD {
		w.taken += copy(w.sample[w.taken:], p)
	}
}

// header takes one octet of the header of a packet, or of a later piece.
func (w *packets) header(c byte) {
	if w.headed == 0 && !w.more {
		w.begin(c)
	}
	w.head[w.headed] = c
	w.headed++
	w.keep(w.head[w.headed-1 : w.headed])
	length := w.head[:w.headed]
	if w.more { // a piece begins with its length
		w.newLength(length)
		return
	}
	switch tagOctet, length := length[0], length[1:]; {
	case tagOctet&0x40 != 0:
		if len(length) > 0 {
			w.newLength(length)
		}
	case tagOctet&3 == 3:
		w.way.breaks(PacketOpen)
		w.body(0, false)
	case len(length) == 1<<(tagOctet&3):
		var n uint64
		for _, c := range length {
			n = n<<8 | uint64(c)
		}
		w.body(n, false)
	}
}

// begin takes the first octet of a packet.
func (w *packets) begin(c byte) {
	if w.count > 0 && w.tag != tagPKESK && w.tag != tagSKESK {
		w.way.breaks(PacketBefore)
	}
	w.count++
	if c&0x80 == 0 {
		w.way.breaks(PacketMark)
	}
	if w.tag = int(c & 0x3f); c&0x40 == 0 {
		w.tag >>= 2
	}
	switch w.tag {
	case tagPKESK:
		w.found.PKESK++
	case tagSKESK:
		w.found.SKESK++
	case tagSEIPD:
		w.taken = 0
	}
}

// newLength reads the length of the current format, when its octets are there.
func (w *packets) newLength(b []byte) {
	switch c := b[0]; {
	case c < 192:
		w.body(uint64(c), false)
	case c < 224:
		if len(b) == 2 {
			w.body(uint64(c-192)<<8+uint64(b[1])+192, false)
		}
	case c < 255:
		if w.tag != tagSEIPD {
			w.way.breaks(PacketPieces)
		}
		w.body(1<<(c&31), true)
	case len(b) == 5:
		w.body(uint64(binary.BigEndian.Uint32(b[1:])), false)
	}
}

// body begins the body of a packet, or a piece of it.
func (w *packets) body(n uint64, more bool) { w.left, w.more, w.headed = n, more, 0 }

// finish says that the data is complete.
func (w *packets) finish() {
	switch {
	case !w.way.open():
	case w.count == 0:
		w.way.breaks(PacketNone)
	case w.left > 0 || w.headed > 0 || w.more:
		if w.way.breaks(PacketCut) {
			return
		}
		fallthrough
	default:
		if w.tag != tagSEIPD {
			w.way.breaks(PacketLast)
		}
	}
}

// packets tells what was found, once all passed.
func (w *packets) packets() Packets {
	p, err := packet.Read(bytes.NewReader(w.sample[:w.taken]))
	if data, ok := p.(*packet.SymmetricallyEncrypted); ok && err == nil && data.IntegrityProtected {
		w.found.SEIPD = data.Version
	}
	return w.found
}
