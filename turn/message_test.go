package turn

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/pion/stun/v3"
)

// Messages and data of channels are told apart in a stream, however it is cut.
func TestFramesOfAStream(t *testing.T) {
	binding := stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw
	channel := []byte{0x40, 1, 0, 5, 'h', 'e', 'l', 'l', 'o'}
	empty := []byte{0x7F, 0xFF, 0, 0}
	var stream []byte
	for _, f := range [][]byte{binding, channel, {0, 0, 0}, empty, binding} {
		stream = append(stream, f...)
	}
	for _, in := range []io.Reader{bytes.NewReader(stream), iotest.OneByteReader(bytes.NewReader(stream))} {
		f := newFrames(in)
		for i, want := range [][]byte{binding, channel, empty, binding} {
			got, err := f.next()
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("frame %d: %x %v", i, got, err)
			}
		}
		if _, err := f.next(); err != io.EOF {
			t.Error(err)
		}
	}
}

func TestFramesThatAreNone(t *testing.T) {
	for _, c := range []struct {
		stream string
		err    error
	}{
		{"GET / HTTP/1.1\r\n\r\n", errFrame},
		{"\x00\x01\xff\xfc", errFrame}, // longer than any message may be
		{"\x40\x00\xff\xff", errFrame},
		{"\x80\x00\x00\x00", errFrame}, // a channel that nobody can bind
		{"\x00\x01\x00\x01", errFrame}, // not a multiple of four
		{"\x00\x01\x00", io.ErrUnexpectedEOF},
		{"\x00\x01\x00\x00\x21\x12", io.ErrUnexpectedEOF},
		{"", io.EOF},
	} {
		if _, err := newFrames(bytes.NewReader([]byte(c.stream))).next(); !errors.Is(err, c.err) {
			t.Errorf("%q: %v", c.stream, err)
		}
	}
}

// The cookie tells TURN from HTTP and TLS.
func TestIsTURN(t *testing.T) {
	if !IsTURN(stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw) {
		t.Error("a binding request is TURN")
	}
	for _, other := range []string{"GET / HT", "PRI * HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01", "\x00\x01\x00\x00\x21\x12\xa4", ""} {
		if IsTURN([]byte(other)) {
			t.Errorf("%q is TURN", other)
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw)
	f.Add([]byte{0x40, 1, 0, 5, 'h', 'e', 'l', 'l', 'o', 0, 0, 0, 0x40, 0, 0, 0})
	f.Fuzz(func(t *testing.T, stream []byte) {
		in := newFrames(bytes.NewReader(stream))
		total := 0
		for {
			p, err := in.next()
			if err != nil {
				return
			}
			total += len(p)
			if len(p) < channelHeader || len(p) > maxMessage || total > len(stream) {
				t.Fatalf("%d octets, %d in all of %d", len(p), total, len(stream))
			}
			if isChannel(p) {
				if _, data, ok := readChannel(p); !ok || len(data) != len(p)-channelHeader {
					t.Fatal("data of a channel is not what its frame was")
				}
			}
		}
	})
}

// What we take for well-formed the library can read.
func FuzzReadMessage(f *testing.F) {
	f.Add(stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw)
	f.Add(stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodChannelBind, stun.ClassRequest),
		stun.RawAttribute{Type: attrChannelNumber, Value: []byte{0x40, 0, 0, 0}}, stun.NewUsername("1790000000")).Raw)
	f.Fuzz(func(t *testing.T, p []byte) {
		m, err := readMessage(p)
		if err != nil {
			return
		}
		theirs := &stun.Message{Raw: append([]byte{}, p...)}
		if err := theirs.Decode(); err != nil {
			t.Fatal(err)
		}
		if uint16(theirs.Type.Method) != m.method || (theirs.Type.Class == stun.ClassRequest) != m.request {
			t.Fatalf("%v, and we read %+v", theirs.Type, m)
		}
		if theirs.Contains(stun.AttrMessageIntegrity) != m.integrity {
			t.Fatal("integrity")
		}
	})
}
