package journal

import (
	"encoding/binary"
	"hash/crc32"
)

// Bounds of records.
const (
	// MaxRecord is how long a record may be, in octets. Where segments are
	// small, half a segment with the header is the bound.
	MaxRecord = 4 << 20

	headerSize = 40
	alignment  = 8 // records begin at multiples of it
)

// header stands before each record in a segment, in little-endian octets:
//
//	 0  4  CRC-32C of salt, octets 8 to 40, and the record
//	 4  4  CRC-32C of salt and octets 8 to 40
//	 8  4  length of the record
//	12  4  zero
//	16  8  generation of the segment
//	24  8  sequence number
//	32  8  highest durable sequence number when this was written
//
// The salt is the log's own secret: content of a mail that looks like a
// record is none. The generation is another for each use of a segment and
// each run of the process, so what an earlier lap or run left is none either.
type header struct {
	length     uint32
	generation uint64
	seq        Seq
	durable    Seq
}

// paddedSize is what a record of that length takes in a segment.
func paddedSize(length int64) int64 {
	return (headerSize + length + alignment - 1) / alignment * alignment
}

// checks knows the salt.
type checks struct{ salted uint32 }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func newChecks(salt uint64) checks {
	return checks{crc32.Checksum(binary.LittleEndian.AppendUint64(nil, salt), castagnoli)}
}

// seal fills in the header of a record, which stands behind it in b. Length,
// generation and seq of h must fit it.
func (c checks) seal(b []byte, h header) {
	le := binary.LittleEndian
	le.PutUint32(b[8:], h.length)
	le.PutUint32(b[12:], 0)
	le.PutUint64(b[16:], h.generation)
	le.PutUint64(b[24:], uint64(h.seq))
	le.PutUint64(b[32:], uint64(h.durable))
	of := crc32.Update(c.salted, castagnoli, b[8:headerSize])
	le.PutUint32(b[4:], of)
	le.PutUint32(b, crc32.Update(of, castagnoli, b[headerSize:headerSize+int(h.length)]))
}

// header reads a header; false when it is none of this log.
func (c checks) header(b []byte) (header, bool) {
	le := binary.LittleEndian
	h := header{
		length:     le.Uint32(b[8:]),
		generation: le.Uint64(b[16:]),
		seq:        Seq(le.Uint64(b[24:])),
		durable:    Seq(le.Uint64(b[32:])),
	}
	ok := h.generation != 0 && h.seq > h.durable && h.length <= MaxRecord && le.Uint32(b[12:]) == 0 &&
		le.Uint32(b[4:]) == crc32.Update(c.salted, castagnoli, b[8:headerSize])
	return h, ok
}

// record checks a record against its header's octets.
func (c checks) record(head, record []byte) bool {
	le := binary.LittleEndian
	return le.Uint32(head) == crc32.Update(le.Uint32(head[4:]), castagnoli, record)
}
