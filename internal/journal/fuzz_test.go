package journal

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"testing"
)

// FuzzReplay reads a segment of any octets. The sums of what looks like a
// record are put right first, else nothing would come through.
func FuzzReplay(f *testing.F) {
	f.Add([]byte{}, true)
	f.Add(bytes.Repeat([]byte{0xff}, 200), false)
	var two []byte
	two = appendRecord(two, header{length: 5, generation: 1, seq: 1}, [][]byte{[]byte("hello")})
	two = appendRecord(two, header{length: 0, generation: 1, seq: 2}, nil)
	f.Add(two, true)
	huge := appendRecord(nil, header{length: 3, generation: 1, seq: 1}, [][]byte{[]byte("abc")})
	huge[10] = 0x3f // a length of 4 MB
	f.Add(huge, true)
	f.Fuzz(func(t *testing.T, b []byte, right bool) {
		c := newChecks(1)
		if right {
			b = sumsRight(c, b)
		}
		in := &recordReader{checks: c, in: bufio.NewReaderSize(bytes.NewReader(b), 16), left: int64(len(b))}
		total := int64(0)
		for {
			h, record, ok, err := in.next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			if len(record) != int(h.length) {
				t.Fatalf("length %d, record of %d", h.length, len(record))
			}
			total += paddedSize(int64(h.length))
		}
		if total > int64(len(b)) || cap(in.buf) > len(b) {
			t.Fatalf("%d octets of records and a buffer of %d from a segment of %d", total, cap(in.buf), len(b))
		}
		r := &replayer{checks: c, give: func(Seq, []byte, int64) error { return nil }}
		s := &segment{file: readOnly{ReaderAt: bytes.NewReader(b)}, name: "seg", size: int64(len(b))}
		_, _, _ = r.run([]*segment{s}) // may be corrupt, may not panic
	})
}

func sumsRight(c checks, b []byte) []byte {
	b = bytes.Clone(b)
	for rest := b; len(rest) >= headerSize; {
		var h header
		h.length = uint32(rest[8]) | uint32(rest[9])<<8 | uint32(rest[10])<<16
		h.generation, h.seq, h.durable = uint64(rest[16]), Seq(rest[24]), Seq(rest[32])
		if paddedSize(int64(h.length)) > int64(len(rest)) {
			sum := crc32.Update(c.salted, castagnoli, rest[8:headerSize])
			binary.LittleEndian.PutUint32(rest[4:], sum) // a good header of a record that is not there
			break
		}
		c.seal(rest, h)
		rest = rest[paddedSize(int64(h.length)):]
	}
	return b
}

type readOnly struct {
	File
	io.ReaderAt
}

func (r readOnly) ReadAt(p []byte, off int64) (int, error) { return r.ReaderAt.ReadAt(p, off) }
