package maildir

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand"
	"strings"
	"testing"
)

func zipped(t testing.TB, level int, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// padded puts something behind that is not to be read.
func padded(src []byte) []byte {
	return append(bytes.Clone(src), bytes.Repeat([]byte{0xa5}, padding)...)
}

// contents are of all kinds that compress differently.
func contents() map[string][]byte {
	r := rand.New(rand.NewSource(1))
	random := make([]byte, 70_000)
	r.Read(random)
	letters := make([]byte, 200_000)
	for i := range letters {
		letters[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[r.Intn(64)]
	}
	skewed := make([]byte, 100_000) // codes of all lengths
	for i := range skewed {
		skewed[i] = byte(min(r.ExpFloat64()*12, 255))
	}
	m := map[string][]byte{
		"empty": {}, "one": {'x'}, "two": []byte("ab"), "same": bytes.Repeat([]byte("a"), 100_000), "text": []byte(strings.Repeat("the same line again\r\n", 3000)),
		"random": random, "letters": letters, "skewed": skewed, "no match": []byte("abcdefghijklmnopqrstuvwxyz"),
	}
	for _, n := range []int{5, 100, 4096, 65535, 65536} {
		m[fmt.Sprint("letters ", n)] = letters[:n]
		m[fmt.Sprint("random ", n)] = random[:min(n, len(random))]
	}
	return m
}

func TestUnzipGivesBackWhatWasZipped(t *testing.T) {
	u := new(unzipper)
	for name, content := range contents() {
		for level := gzip.HuffmanOnly; level <= gzip.BestCompression; level++ {
			src := zipped(t, level, content)
			dst := make([]byte, len(content))
			if !u.unzip(dst, padded(src), len(src)) || !bytes.Equal(dst, content) {
				t.Errorf("%s at level %d is not read", name, level)
			}
			// Of another size, or cut short, it is not.
			if u.unzip(make([]byte, len(content)+1), padded(src), len(src)) || u.unzip(dst, padded(src[:len(src)-1]), len(src)-1) ||
				len(content) > 0 && u.unzip(dst[1:], padded(src), len(src)) {
				t.Errorf("%s at level %d is read as something else", name, level)
			}
		}
	}
}

func TestUnzipNeverTakesWhatIsBroken(t *testing.T) {
	u := new(unzipper)
	content := contents()["letters 4096"]
	src := zipped(t, gzip.BestSpeed, content)
	for i := 10; i < len(src); i++ {
		for bit := range 8 {
			broken := padded(src)
			broken[i] ^= 1 << bit
			dst := make([]byte, len(content))
			if u.unzip(dst, broken, len(src)) && !bytes.Equal(dst, content) {
				t.Fatalf("bit %d of octet %d", bit, i)
			}
		}
	}
}

// FuzzUnzip: what is taken is what compress/gzip reads, whatever it is.
func FuzzUnzip(f *testing.F) {
	for _, content := range contents() {
		if len(content) <= 4096 {
			for _, level := range []int{gzip.HuffmanOnly, gzip.NoCompression, gzip.BestSpeed, gzip.BestCompression} {
				f.Add(zipped(f, level, content), uint16(len(content)))
			}
		}
	}
	f.Add([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00"), uint16(0))
	f.Fuzz(func(t *testing.T, src []byte, size uint16) {
		u := new(unzipper)
		dst := make([]byte, size)
		// Without the checksum, which hardly any input would have.
		if len(src) >= 18 {
			u.src, u.end, u.at = padded(src), len(src)-8, 10
			if u.blocks(dst) && u.at-int(u.n/8) <= u.end {
				want, err := io.ReadAll(flate.NewReader(bytes.NewReader(src[10 : len(src)-8])))
				if err != nil || !bytes.Equal(dst, want) {
					t.Fatalf("%q, compress/flate reads %q, %v", dst, want, err)
				}
			}
		}
		if !u.unzip(dst, padded(src), len(src)) {
			return
		}
		r, err := gzip.NewReader(bytes.NewReader(src))
		if err != nil {
			t.Fatal(err)
		}
		want, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(dst, want) {
			t.Fatalf("%q, compress/gzip reads %q, %v", dst, want, err)
		}
	})
}

// FuzzUnzipBlocks: a stream that compress/gzip reads is read alike.
func FuzzUnzipBlocks(f *testing.F) {
	for _, content := range contents() {
		f.Add(content[:min(len(content), 2000)], 1)
	}
	f.Fuzz(func(t *testing.T, content []byte, level int) {
		level = gzip.HuffmanOnly + (level%12+12)%12
		src := zipped(t, level, content)
		dst := make([]byte, len(content))
		if !new(unzipper).unzip(dst, padded(src), len(src)) || !bytes.Equal(dst, content) {
			t.Fatalf("level %d: %q is not read", level, content)
		}
	})
}

func BenchmarkUnzip(b *testing.B) {
	content := contents()["letters 4096"]
	src := padded(zipped(b, gzip.BestSpeed, content))
	dst := make([]byte, len(content))
	u := new(unzipper)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		if !u.unzip(dst, src, len(src)-padding) {
			b.Fatal("not read")
		}
	}
}
