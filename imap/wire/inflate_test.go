package wire

import (
	"bytes"
	"compress/flate"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// pieces gives what it holds in pieces of so many octets, and then fails.
type pieces struct {
	b    []byte
	size int
	end  error
}

func (s *pieces) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, s.end
	}
	n := copy(p, s.b[:min(s.size, len(s.b))])
	s.b = s.b[n:]
	return n, nil
}

func deflated(t testing.TB, level int, texts ...string) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		io.WriteString(w, text)
		w.Flush()
	}
	return b.Bytes()
}

func TestInflateAnyLevelInAnyPieces(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 70000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	texts := []string{"a0001 NOOP\r\n", strings.Repeat("abc", 50000), string(noise), "", strings.Repeat("x", 40000) + "end"}
	want := strings.Join(texts, "")
	for _, level := range []int{flate.HuffmanOnly, 0, 1, 6, 9} {
		data := deflated(t, level, texts...)
		for _, size := range []int{1, 2, 7, 4096, 1 << 20} {
			z := NewInflater(&pieces{bytes.Clone(data), size, io.EOF})
			got, err := io.ReadAll(iotest.OneByteReader(z))
			if size > 7 {
				z = NewInflater(&pieces{bytes.Clone(data), size, io.EOF})
				got, err = io.ReadAll(z)
			}
			if string(got) != want || err != io.ErrUnexpectedEOF {
				t.Fatalf("level %d, pieces of %d: %d octets, %v", level, size, len(got), err)
			}
		}
	}
}

// A client may end what it says with an empty block of the fixed code, which
// tells a reader nothing about where the octets end.
func TestInflateDoesNotWaitForTheEndOfABlock(t *testing.T) {
	b := &bitWriter{}
	b.bits(2, 3) // a block of the fixed code, not the last
	for _, c := range []byte("a NOOP\r\n") {
		b.code(uint(c)+0x30, 8)
	}
	b.code(0, 7) // its end
	b.bits(2, 3) // an empty one
	b.code(0, 7)
	data := b.flushed() // without the bits of the last octet that are not full
	r, w := io.Pipe()
	go w.Write(data)
	got := make(chan string)
	go func() {
		p := make([]byte, 100)
		n, _ := io.ReadFull(NewInflater(r), p[:8])
		got <- string(p[:n])
	}()
	select {
	case s := <-got:
		if s != "a NOOP\r\n" {
			t.Errorf("%q", s)
		}
	case <-time.After(5 * time.Second):
		t.Error("it waits")
	}
	w.Close()
}

type bitWriter struct {
	out  []byte
	have uint
}

func (b *bitWriter) bits(v, n uint) {
	for i := range n {
		if b.have%8 == 0 {
			b.out = append(b.out, 0)
		}
		b.out[len(b.out)-1] |= byte(v>>i&1) << (b.have % 8)
		b.have++
	}
}

// code writes a Huffman code, whose first bit is its highest.
func (b *bitWriter) code(v, n uint) {
	for i := range n {
		b.bits(v>>(n-1-i)&1, 1)
	}
}

func (b *bitWriter) flushed() []byte { return b.out[:b.have/8] }

func TestInflateHoldsNothingWhileNothingComes(t *testing.T) {
	z := NewInflater(&pieces{deflated(t, 6, "a NOOP\r\n"), 1 << 20, io.EOF})
	p := make([]byte, 100)
	if n, err := z.Read(p); err != nil || string(p[:n]) != "a NOOP\r\n" {
		t.Fatal(n, err)
	}
	if z.Pending() || z.in != nil || cap(z.window) > 64 {
		t.Errorf("pending %v, %d octets of input, %d of window", z.Pending(), len(z.in), cap(z.window))
	}
}

// FuzzInflate: what compress/flate can read is read the same, and what it
// cannot read ends after no more octets than it gave.
func FuzzInflate(f *testing.F) {
	f.Add(deflated(f, 6, "a NOOP\r\n", "b NOOP\r\n"), uint8(1))
	f.Add(deflated(f, 0, "a NOOP\r\n"), uint8(3))
	f.Add(deflated(f, flate.HuffmanOnly, strings.Repeat("ab", 100)), uint8(200))
	f.Add(deflated(f, 9, strings.Repeat("abcdefgh", 5000)+"z"), uint8(255))
	f.Add([]byte{5, 0xe0, 0x81, 8, 0, 0, 0, 0, 0x20, 0x7f, 0xeb, 0xb, 0, 0}, uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		const most = 1 << 20
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(data)), most))
		z := NewInflater(&pieces{bytes.Clone(data), int(size) + 1, io.EOF})
		got, err := io.ReadAll(io.LimitReader(z, most))
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%v, %v", err, wantErr)
		}
		if err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%q, want %q", got, want)
		}
		if n := min(len(got), len(want)); !bytes.Equal(got[:n], want[:n]) {
			t.Fatalf("%q, want %q", got, want)
		}
	})
}

func BenchmarkInflate(b *testing.B) {
	data := deflated(b, 6, strings.Repeat("the quick brown fox jumps over the lazy dog; ", 20000))
	p := make([]byte, 16<<10)
	for b.Loop() {
		z := NewInflater(bytes.NewReader(data))
		total := 0
		for {
			n, err := z.Read(p)
			total += n
			if err != nil {
				break
			}
		}
		b.SetBytes(int64(total))
	}
}
