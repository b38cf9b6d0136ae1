package local

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// counted is content that counts what is read of it.
type counted struct {
	*strings.Reader
	read int
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.Reader.ReadAt(p, off)
	c.read += n
	return n, err
}

func (c *counted) Size() int64 { return c.Reader.Size() }

func TestAHeaderIsReadToItsEmptyLineAndNotMuchFurther(t *testing.T) {
	long := "A: b\r\n" + strings.Repeat(" y\r\n", 50_000)
	for what, c := range map[string]struct {
		text string
		want int
	}{
		"short":               {"A: b\r\n\r\nbody", 8},
		"LF alone":            {"A: b\n\nbody", 6},
		"no end":              {"A: b\r\nB: c\r\n", 12},
		"empty":               {"", 0},
		"empty line first":    {"\r\nbody", 2},
		"long":                {long + "\r\n" + strings.Repeat("x", 1<<20), len(long) + 2},
		"at a chunk's end":    {"A: " + strings.Repeat("b", 8<<10-6) + "\r\n\r\nbody", 8<<10 + 1},
		"long without an end": {strings.Repeat("A: b\r\n", 1<<20), maxHeader},
	} {
		source := &counted{Reader: strings.NewReader(c.text)}
		h, err := headerOf(source)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		got, err := io.ReadAll(io.NewSectionReader(h, 0, h.Size()))
		if err != nil || len(got) != c.want || !bytes.HasPrefix([]byte(c.text), got) {
			t.Errorf("%s: %d octets, want %d, %v", what, len(got), c.want, err)
		}
		if most := max(2*c.want, 8<<10); source.read > most {
			t.Errorf("%s: %d octets were read for %d", what, source.read, c.want)
		}
		if inMemory, err := headerOf(octets(c.text)); err != nil || inMemory.Size() != int64(c.want) {
			t.Errorf("%s in memory: %d octets, %v", what, inMemory.Size(), err)
		}
	}
}
