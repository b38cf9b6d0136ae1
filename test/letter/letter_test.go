package letter

import (
	"bytes"
	"testing"

	"barid/smtp/filter"
)

// A message is one that a relay takes for what the core sends: its parts, its
// packets, its size, lines that are ready for DATA.
func TestALetterIsShapedLikeTheCores(t *testing.T) {
	for _, size := range []int{1500, Size, 10_000, 1 << 20} {
		w := New("pair-1", "s00000001@relay.test", size)
		id, content := w.Next()
		if again, _ := w.Next(); again == id {
			t.Fatal("two messages have one Message-ID")
		}
		if n := len(content); n < size-size/50-300 || n > size+size/50+300 {
			t.Errorf("%d octets instead of %d", n, size)
		}
		if bytes.Count(content, []byte("\n")) != bytes.Count(content, []byte("\r\n")) || !bytes.HasSuffix(content, []byte("\r\n")) ||
			bytes.Contains(content, []byte("\n.")) {
			t.Error("lines are not ready for DATA")
		}
		if !bytes.Contains(content, []byte("Message-ID: <"+id+">\r\n")) {
			t.Error("no Message-ID")
		}
		v, err := filter.Read(bytes.NewReader(content), filter.Outgoing)
		if want := (filter.Packets{PKESK: 2, SEIPD: 2}); err != nil || v.Kind != filter.Encrypted || v.Packets != want {
			t.Errorf("verdict %+v, %v", v, err)
		}
	}
}

func TestArmorChecksum(t *testing.T) {
	if got := crc24([]byte("123456789")); got != 0x21cf02 {
		t.Fatalf("%06x", got)
	}
}
