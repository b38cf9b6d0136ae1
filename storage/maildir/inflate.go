package maildir

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// unzipper inflates a small gzip file from memory to memory, whose size is
// known: most messages are one short block of base64, and reading them is what
// a client waits for. It is several times as fast as a reader that hands out
// octets as they come, for which see Content.
//
// It takes what gzip writers make and no more: one member, complete codes.
// Whatever else there is, and whatever is broken, is for compress/gzip to
// read or to refuse.
//
// Source: RFC 1951, RFC 1952.
type unzipper struct {
	src []byte // followed by padding octets, which are no part of it
	end int    // of the part that is
	at  int    // of the next octet that is not in bits
	// bits has the next n bits of the stream, the first lowest. What is above
	// them is not to be looked at.
	bits uint64
	n    uint

	lengths [maxLit + maxDist]uint8
	lit     [1<<litBits + maxLit<<(maxCode-litBits)]uint32
	dist    [1<<distBits + maxDist<<(maxCode-distBits)]uint32
}

const (
	maxCode  = 15 // bits of a code
	litBits  = 10 // of a code that one look finds
	distBits = 8
	maxLit   = 288
	maxDist  = 32

	// padding is how many octets must be there behind the source, so that eight
	// can be taken at once.
	padding = 16
)

// An element of a table tells of a code: how many bits it has, in the lowest
// four, and what it stands for. With no bits it is where in the table the
// second look is, for codes that are longer than the first.
const isLiteral = 1 << 31

// unzip inflates src[:end] into dst. It is false when that does not give
// exactly as many octets as dst has, with the right checksum.
func (u *unzipper) unzip(dst, src []byte, end int) bool {
	if len(src) < end+padding || end < 18 {
		return false
	}
	// The header without name and comment, which is all that is ours.
	if src[0] != gzipMagic[0] || src[1] != gzipMagic[1] || src[2] != 8 || src[3] != 0 {
		return false
	}
	u.src, u.end, u.at, u.bits, u.n = src, end-8, 10, 0, 0
	defer func() { u.src = nil }()
	if !u.blocks(dst) {
		return false
	}
	tail := src[end-8 : end]
	return u.at-int(u.n/8) == u.end &&
		binary.LittleEndian.Uint32(tail) == crc32.ChecksumIEEE(dst) && binary.LittleEndian.Uint32(tail[4:]) == uint32(len(dst))
}

// fill makes bits at least 56. It is false behind the end.
func (u *unzipper) fill() bool {
	if u.at > u.end+padding-8 {
		return false
	}
	u.bits |= binary.LittleEndian.Uint64(u.src[u.at:]) << u.n
	u.at += int((63 - u.n) >> 3)
	u.n |= 56
	return true
}

// take takes k bits, which are there.
func (u *unzipper) take(k uint) uint {
	v := uint(u.bits & (1<<k - 1))
	u.bits >>= k
	u.n -= k
	return v
}

func (u *unzipper) blocks(dst []byte) bool {
	at := 0
	for {
		if !u.fill() {
			return false
		}
		last, kind := u.take(1) == 1, u.take(2)
		ok := false
		switch kind {
		case 0:
			at, ok = u.stored(dst, at)
		case 1:
			if u.fixed() {
				at, ok = u.coded(dst, at)
			}
		case 2:
			if u.dynamic() {
				at, ok = u.coded(dst, at)
			}
		}
		if !ok {
			return false
		}
		if last {
			return at == len(dst)
		}
	}
}

// stored takes a block that is not compressed.
func (u *unzipper) stored(dst []byte, at int) (int, bool) {
	u.take(u.n & 7)
	u.at -= int(u.n / 8) // back to where the octets begin
	u.bits, u.n = 0, 0
	if u.at+4 > u.end {
		return 0, false
	}
	size := int(binary.LittleEndian.Uint16(u.src[u.at:]))
	if size^0xffff != int(binary.LittleEndian.Uint16(u.src[u.at+2:])) {
		return 0, false
	}
	u.at += 4
	if u.at+size > u.end || at+size > len(dst) {
		return 0, false
	}
	copy(dst[at:], u.src[u.at:u.at+size])
	u.at += size
	return at + size, true
}

// fixed sets the codes of RFC 1951 section 3.2.6.
func (u *unzipper) fixed() bool {
	l := u.lengths[:]
	for i := range maxLit {
		switch {
		case i < 144:
			l[i] = 8
		case i < 256:
			l[i] = 9
		case i < 280:
			l[i] = 7
		default:
			l[i] = 8
		}
	}
	for i := range maxDist {
		l[maxLit+i] = 5
	}
	return build(u.lit[:], l[:maxLit], litBits, 256) && build(u.dist[:], l[maxLit:], distBits, 0)
}

// order is that of the lengths of the codes for lengths of codes.
var order = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamic reads the codes of a block (RFC 1951 section 3.2.7).
func (u *unzipper) dynamic() bool {
	lits, dists, codes := int(u.take(5))+257, int(u.take(5))+1, int(u.take(4))+4
	if lits > 286 || dists > 30 {
		return false
	}
	var short [19]uint8
	for i := range codes {
		if u.n < 3 && !u.fill() {
			return false
		}
		short[order[i]] = uint8(u.take(3))
	}
	const shortBits = 7
	table := u.dist[:1<<shortBits] // which is made only later
	if !build(table, short[:], shortBits, 0) {
		return false
	}
	l := u.lengths[:lits+dists]
	for i := 0; i < len(l); {
		if u.n < 7+7 && !u.fill() {
			return false
		}
		e := table[u.bits&(1<<shortBits-1)]
		if e == 0 {
			return false
		}
		u.take(uint(e & 15))
		symbol := e >> 4
		if symbol < 16 {
			l[i] = uint8(symbol)
			i++
			continue
		}
		again, value := 0, uint8(0)
		switch symbol {
		case 16:
			if i == 0 {
				return false
			}
			again, value = int(u.take(2))+3, l[i-1]
		case 17:
			again = int(u.take(3)) + 3
		default:
			again = int(u.take(7)) + 11
		}
		if i+again > len(l) {
			return false
		}
		for range again {
			l[i] = value
			i++
		}
	}
	if l[256] == 0 { // nothing would end the block
		return false
	}
	return build(u.lit[:], l[:lits], litBits, 256) && build(u.dist[:], l[lits:], distBits, 0)
}

// build makes the table for codes of these lengths; the first literals of what
// they stand for are octets. It is false for codes that are not complete, or
// would not be with one more: distances need no code when there are none, and
// nobody has half a bit for the only one.
func build(table []uint32, lengths []uint8, look uint, literals int) bool {
	var count, next [maxCode + 1]uint32
	for _, n := range lengths {
		count[n]++
	}
	few := len(lengths)-int(count[0]) <= 1
	count[0] = 0
	code, left := uint32(0), 1
	for n := 1; n <= maxCode; n++ {
		code = (code + count[n-1]) << 1
		next[n] = code
		if left = left<<1 - int(count[n]); left < 0 {
			return false
		}
	}
	if left != 0 && !(few && literals == 0) {
		return false
	}
	second := uint32(1) << look // where the next table for a second look goes
	clear(table[:second])
	for symbol, n := range lengths {
		if n == 0 {
			continue
		}
		element := uint32(symbol)<<4 | uint32(n)
		if symbol < literals {
			element |= isLiteral
		}
		code := bits.Reverse16(uint16(next[n])) >> (16 - n) // they come with their first bit lowest
		next[n]++
		if uint(n) <= look {
			for i := uint32(code); i < 1<<look; i += 1 << n {
				table[i] = element
			}
			continue
		}
		first := uint32(code) & (1<<look - 1)
		if table[first] == 0 {
			table[first] = second << 4
			second += 1 << (maxCode - look)
		}
		rest := table[table[first]>>4:][:1<<(maxCode-look)]
		for i := uint32(code) >> look; i < uint32(len(rest)); i += 1 << (uint(n) - look) {
			rest[i] = element
		}
	}
	return true
}

var (
	lengthBase  = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBase    = [30]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distExtra   = [30]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

// coded takes a block of codes and gives where dst is filled up to.
func (u *unzipper) coded(dst []byte, at int) (int, bool) {
	const litMask, distMask = 1<<litBits - 1, 1<<distBits - 1
	const atOnce = 5 // so many literals that one look finds are in 56 bits
	for {
		if !u.fill() {
			return 0, false
		}
		bits, n := u.bits, u.n
		e := u.lit[bits&litMask]
		for k := 0; k < atOnce && e >= isLiteral && at < len(dst); k++ {
			dst[at] = byte(e >> 4)
			at++
			bits >>= e & 15
			n -= uint(e & 15)
			e = u.lit[bits&litMask]
		}
		u.bits, u.n = bits, n
		if n < 48 { // which a length and its distance may have
			continue
		}
		if e&15 == 0 {
			e = u.lit[e>>4+uint32(u.bits>>litBits)&(1<<(maxCode-litBits)-1)]
		}
		if e >= isLiteral {
			if at == len(dst) {
				return 0, false
			}
			dst[at] = byte(e >> 4)
			at++
			u.take(uint(e & 15))
			continue
		}
		u.take(uint(e & 15))
		symbol := e >> 4
		if symbol == 256 {
			return at, true
		}
		if symbol > 285 {
			return 0, false
		}
		size := int(lengthBase[symbol-257]) + int(u.take(uint(lengthExtra[symbol-257])))
		e = u.dist[u.bits&distMask]
		if e == 0 {
			return 0, false
		}
		if e&15 == 0 {
			e = u.dist[e>>4+uint32(u.bits>>distBits)&(1<<(maxCode-distBits)-1)]
		}
		u.take(uint(e & 15))
		symbol = e >> 4
		if symbol > 29 {
			return 0, false
		}
		back := int(distBase[symbol]) + int(u.take(uint(distExtra[symbol])))
		if back > at || size > len(dst)-at {
			return 0, false
		}
		if back >= size {
			copy(dst[at:at+size], dst[at-back:])
			at += size
			continue
		}
		for end := at + size; at < end; at++ {
			dst[at] = dst[at-back]
		}
	}
}
