package wire

import (
	"errors"
	"io"
	"slices"
)

// ErrDeflate is given when what the client sent is no DEFLATE data. The stream
// has lost its place.
var ErrDeflate = errors.New("broken compressed data")

const (
	windowSize = 32 << 10
	inflateIn  = 4 << 10 // more than any header of a block has
	maxBits    = 15
)

// Inflater takes the octets out of a DEFLATE stream (RFC 1951) as soon as
// they can be known, wherever the other side has flushed: the reader of
// compress/flate waits for the end of a block, and some clients end theirs in
// a way for which it waits for ever (a "partial flush").
//
// Between two reads it holds as much of the last 32 KiB as the client has
// sent, and nothing else of size. It is used by one goroutine.
type Inflater struct {
	src   io.Reader
	in    []byte // in[r:w] is not taken yet; nil while that is nothing
	r, w  int
	full  bool // the last read filled all its room
	short bool // what is in in is a piece of something

	bits  uint64 // taken from in, but not used
	count uint

	window []byte // the last octets, a ring once it is full
	at     int    // where the next octet goes

	state    inflateState
	final    bool
	stored   int // octets left of a stored block
	length   int // octets left of a match
	distance int
	literals huffman
	offsets  huffman
	err      error
}

type inflateState uint8

const (
	atBlock inflateState = iota
	inStored
	inCodes
)

// NewInflater makes an Inflater that reads from src.
func NewInflater(src io.Reader) *Inflater { return &Inflater{src: src} }

// Pending tells whether there may be more without waiting for the client.
func (z *Inflater) Pending() bool { return z.full || z.length > 0 || z.r < z.w && !z.short }

// errMore is the end of what came, for now.
var errMore = errors.New("more input is needed")

// Read gives at least one octet, or an error; it waits for the source only
// while it has none to give. The end of the stream is io.EOF.
func (z *Inflater) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	for n < len(p) && z.err == nil {
		var k int
		k, err = z.step(p[n:])
		n += k
		switch {
		case err != errMore:
			z.err = err
		case n > 0:
			return n, nil
		default:
			z.err = z.fill()
		}
	}
	if n > 0 {
		return n, nil
	}
	return 0, z.err
}

// fill reads once.
func (z *Inflater) fill() error {
	left := z.in[z.r:z.w]
	if z.in == nil {
		z.in = make([]byte, inflateIn)
	}
	z.w = copy(z.in, left)
	z.r = 0
	k, err := z.src.Read(z.in[z.w:])
	z.full = z.w+k == len(z.in)
	z.w += k
	switch {
	case k > 0:
		return nil // the error comes again
	case err == nil:
		return io.ErrNoProgress
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

// step goes on by one symbol, header or piece. errMore leaves everything as it
// was.
func (z *Inflater) step(p []byte) (n int, err error) {
	if z.length > 0 {
		return z.copyMatch(p), nil
	}
	bits, count, r := z.bits, z.count, z.r
	switch z.state {
	case atBlock:
		err = z.block()
	case inStored:
		n, err = z.copyStored(p)
	case inCodes:
		n, err = z.symbol(p)
	}
	if z.short = err == errMore; z.short {
		z.bits, z.count, z.r = bits, count, r
	}
	if z.r == z.w {
		z.in, z.r, z.w = nil, 0, 0
	}
	return n, err
}

// get takes so many bits, at most 16.
func (z *Inflater) get(k uint) (uint, error) {
	for z.count < k {
		if z.r == z.w {
			return 0, errMore
		}
		z.bits |= uint64(z.in[z.r]) << z.count
		z.r++
		z.count += 8
	}
	v := uint(z.bits & (1<<k - 1))
	z.bits >>= k
	z.count -= k
	return v, nil
}

// put gives one octet out and keeps it for matches.
func (z *Inflater) put(b byte) {
	if len(z.window) < windowSize {
		z.window = append(z.window, b)
		z.at = len(z.window) % windowSize
		return
	}
	z.window[z.at] = b
	z.at = (z.at + 1) % windowSize
}

func (z *Inflater) copyMatch(p []byte) int {
	n := min(len(p), z.length)
	for i := range n {
		from := z.at - z.distance
		if len(z.window) < windowSize {
			from = len(z.window) - z.distance
		} else if from < 0 {
			from += windowSize
		}
		p[i] = z.window[from]
		z.put(p[i])
	}
	z.length -= n
	return n
}

func (z *Inflater) block() error {
	if z.final {
		return io.EOF
	}
	head, err := z.get(3)
	if err != nil {
		return err
	}
	switch head >> 1 {
	case 0:
		err = z.storedHeader()
	case 1:
		z.literals, z.offsets = fixedCodes()
		z.state = inCodes
	case 2:
		err = z.dynamicHeader()
	default:
		err = ErrDeflate
	}
	if err == nil {
		z.final = head&1 == 1
	}
	return err
}

func (z *Inflater) storedHeader() error {
	z.bits >>= z.count % 8
	z.count -= z.count % 8
	size, err := z.get(16)
	if err != nil {
		return err
	}
	check, err := z.get(16)
	if err != nil {
		return err
	}
	if size != ^check&0xffff {
		return ErrDeflate
	}
	if z.stored = int(size); size > 0 {
		z.state = inStored
	}
	return nil
}

func (z *Inflater) copyStored(p []byte) (n int, err error) {
	for n < len(p) && z.stored > 0 {
		b, err := z.get(8)
		if err != nil {
			if n > 0 {
				return n, nil // it comes again
			}
			return 0, err
		}
		p[n] = byte(b)
		z.put(p[n])
		n++
		z.stored--
	}
	if z.stored == 0 {
		z.state = atBlock
	}
	return n, nil
}

// The bases and extra bits of lengths and distances, RFC 1951 section 3.2.5.
var (
	lengthBase = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthBits = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	offsetBase = [30]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145,
		8193, 12289, 16385, 24577}
	offsetBits  = [30]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
	headerOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)

func (z *Inflater) symbol(p []byte) (int, error) {
	code, err := z.literals.decode(z)
	switch {
	case err != nil:
		return 0, err
	case code < 256:
		p[0] = byte(code)
		z.put(p[0])
		return 1, nil
	case code == 256:
		z.state = atBlock
		return 0, nil
	case code > 285:
		return 0, ErrDeflate
	}
	code -= 257
	extra, err := z.get(uint(lengthBits[code]))
	if err != nil {
		return 0, err
	}
	length := int(lengthBase[code]) + int(extra)
	if code, err = z.offsets.decode(z); err != nil {
		return 0, err
	}
	if code > 29 {
		return 0, ErrDeflate
	}
	if extra, err = z.get(uint(offsetBits[code])); err != nil {
		return 0, err
	}
	distance := int(offsetBase[code]) + int(extra)
	if distance > len(z.window) {
		return 0, ErrDeflate
	}
	z.length, z.distance = length, distance
	return 0, nil
}

// dynamicHeader reads the codes of a block (RFC 1951 section 3.2.7).
func (z *Inflater) dynamicHeader() error {
	counts, err := z.get(14)
	if err != nil {
		return err
	}
	nl, nd, nh := int(counts&31)+257, int(counts>>5&31)+1, int(counts>>10)+4
	if nl > 286 || nd > 30 {
		return ErrDeflate
	}
	var lengths [286 + 30]uint8
	for i := range nh {
		n, err := z.get(3)
		if err != nil {
			return err
		}
		lengths[headerOrder[i]] = uint8(n)
	}
	head, ok := newHuffman(lengths[:19], false)
	if !ok {
		return ErrDeflate
	}
	clear(lengths[:19])
	if err := z.codeLengths(&head, lengths[:nl+nd]); err != nil {
		return err
	}
	literals, ok1 := newHuffman(lengths[:nl], true)
	offsets, ok2 := newHuffman(lengths[nl:nl+nd], true)
	if !ok1 || !ok2 || lengths[256] == 0 {
		return ErrDeflate
	}
	z.literals, z.offsets, z.state = literals, offsets, inCodes
	return nil
}

func (z *Inflater) codeLengths(head *huffman, lengths []uint8) error {
	for i := 0; i < len(lengths); {
		code, err := head.decode(z)
		if err != nil {
			return err
		}
		if code < 16 {
			lengths[i] = uint8(code)
			i++
			continue
		}
		var value uint8
		base, bits := 3, uint(2)
		switch code {
		case 16:
			if i == 0 {
				return ErrDeflate
			}
			value = lengths[i-1]
		case 17:
			bits = 3
		default:
			base, bits = 11, 7
		}
		extra, err := z.get(bits)
		if err != nil {
			return err
		}
		n := base + int(extra)
		if i+n > len(lengths) {
			return ErrDeflate
		}
		for range n {
			lengths[i] = value
			i++
		}
	}
	return nil
}

// huffman is a canonical code: how many symbols have each length, and the
// symbols in the order of their codes.
type huffman struct {
	count   [maxBits + 1]uint16
	symbols []uint16
}

// newHuffman makes the code with those lengths. It is false when it has too
// many codes for them, or too few; one code of one bit, and none at all, are
// allowed where lone is set.
func newHuffman(lengths []uint8, lone bool) (h huffman, ok bool) {
	for _, n := range lengths {
		h.count[n]++
	}
	h.symbols = make([]uint16, len(lengths)-int(h.count[0]))
	h.count[0] = 0
	var next [maxBits + 2]uint16
	left := 1
	for n := 1; n <= maxBits; n++ {
		left = left<<1 - int(h.count[n])
		if left < 0 {
			return h, false
		}
		next[n+1] = next[n] + h.count[n]
	}
	for s, n := range lengths {
		if n > 0 {
			h.symbols[next[n]] = uint16(s)
			next[n]++
		}
	}
	few := len(h.symbols) == 0 || len(h.symbols) == 1 && h.count[1] == 1
	return h, left == 0 || lone && few
}

// decode takes one symbol.
func (h *huffman) decode(z *Inflater) (int, error) {
	code, first, index := 0, 0, 0
	for n := 1; n <= maxBits; n++ {
		bit, err := z.get(1)
		if err != nil {
			return 0, err
		}
		code |= int(bit)
		count := int(h.count[n])
		if code-first < count {
			return int(h.symbols[index+code-first]), nil
		}
		index += count
		first = (first + count) << 1
		code <<= 1
	}
	return 0, ErrDeflate
}

// fixedCodes gives the codes of RFC 1951 section 3.2.6.
func fixedCodes() (literals, offsets huffman) {
	lengths := slices.Concat(slices.Repeat([]uint8{8}, 144), slices.Repeat([]uint8{9}, 112), slices.Repeat([]uint8{7}, 24), slices.Repeat([]uint8{8}, 8))
	literals, _ = newHuffman(lengths, false)
	offsets, _ = newHuffman(slices.Repeat([]uint8{5}, 32), false)
	return literals, offsets
}
