package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// The example of RFC 6455 section 1.3, and keys that are none.
func TestWSAccept(t *testing.T) {
	if got, ok := WSAccept("dGhlIHNhbXBsZSBub25jZQ=="); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || !ok {
		t.Error(got, ok)
	}
	for _, key := range []string{"", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ==x", "AAAA", "!"} {
		if _, ok := WSAccept(key); ok {
			t.Errorf("%q is no key", key)
		}
	}
}

// The examples of RFC 6455 section 5.7.
func TestWSExamples(t *testing.T) {
	m := &Messages{Max: 100}
	op, p, n, _, err := m.Cut(unhex(t, "81 85 37 fa 21 3d 7f 9f 4d 51 58"))
	if op != WSText || string(p) != "Hello" || n != 11 || err != nil {
		t.Error(op, p, n, err)
	}
	same(t, "a pong", AppendWSMessage(nil, WSPong, []byte("Hello")), "8a 05 48 65 6c 6c 6f")
	if b := AppendWSHead(nil, WSBinary, 256); !bytes.Equal(b, []byte{0x82, 0x7e, 1, 0}) {
		t.Errorf("%x", b)
	}
	if b := AppendWSHead(nil, WSBinary, 65536); !bytes.Equal(b, []byte{0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0}) {
		t.Errorf("%x", b)
	}
	same(t, "a goodbye", AppendWSClose(nil, WSGoingAway), "88 02 03e9")
}

// cut reads messages off a stream that comes octet by octet.
func cut(m *Messages, stream []byte) (out []string, err error) {
	for have := 0; len(stream) > 0; {
		op, p, n, need, err := m.Cut(stream[:have])
		if err != nil {
			return out, err
		}
		if n == 0 {
			if need <= have {
				return out, errors.New("asks for less than it has")
			}
			if need > len(stream) {
				return append(out, "rest"), nil
			}
			have = need
			continue
		}
		if op != 0 {
			out = append(out, string(rune('a'+op))+":"+string(p))
		}
		stream, have = stream[n:], 0
	}
	return out, nil
}

// Parts are put together, and control frames pass between them.
func TestWSParts(t *testing.T) {
	mask := [4]byte{1, 2, 3, 4}
	part := func(first byte, s string) []byte {
		b := AppendWSMasked(nil, WSBinary, mask, []byte(s))
		b[0] = first
		return b
	}
	stream := bytes.Join([][]byte{
		part(0x02, "abcdefghijk"), part(0x00, ""), AppendWSMasked(nil, WSPing, mask, []byte("p")), part(0x80, "lm"),
		AppendWSMasked(nil, WSBinary, mask, bytes.Repeat([]byte("x"), 300)),
	}, nil)
	got, err := cut(&Messages{Max: 300}, stream)
	if want := []string{"j:p", "c:abcdefghijklm", "c:" + strings.Repeat("x", 300)}; err != nil || strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := cut(&Messages{Max: 12}, stream); !errors.Is(err, ErrWSTooBig) || len(got) != 1 {
		t.Errorf("parts that are too long together: %q, %v", got, err)
	}
}

// What no client may send.
func TestWSFaults(t *testing.T) {
	for name, b := range map[string]string{
		"not masked": "82 01 61", "reserved bits": "c2 81 00000000 61", "unknown opcode": "83 80 00000000", "unknown control": "8b 80 00000000",
		"control in parts": "09 80 00000000", "long control": "89 fe 007e 00000000", "continues nothing": "80 81 00000000 61",
		"two at once": "02 81 00000000 61 82 81 00000000 61", "2^63": "82 ff 8000000000000000 00000000", "2^64-1": "82 ff ffffffffffffffff 00000000",
	} {
		if got, err := cut(&Messages{Max: 1 << 16}, unhex(t, b)); !errors.Is(err, ErrWebSocket) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
