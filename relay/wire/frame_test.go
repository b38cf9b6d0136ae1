package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// What breaks the protocol is found; what P3 does not know it passes over.
func TestBrokenFrames(t *testing.T) {
	for _, v := range []struct {
		d     Dialect
		from  From
		frame []byte
	}{
		{P3, FromClient, nil},
		{P3, FromClient, append([]byte{4}, make([]byte, 31)...)},
		{P3, FromClient, []byte{12, 1, 2, 3}},
		{P3, FromClient, []byte{13, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{P3, FromClient, []byte{14, 'x'}}, // health comes from relays
		{P3, FromClient, []byte{6, 0}},
		{P3, FromClient, make([]byte, maxP3+1)},
		{P3, FromRelay, []byte{8, 1}},
		{V2, FromClient, nil},
		{V2, FromClient, []byte{0x40}},                           // half a number
		{V2, FromClient, []byte{0}},                              // challenge after login
		{V2, FromClient, []byte{2}},                              // confirmation from a client
		{V2, FromClient, append([]byte{6}, make([]byte, 40)...)}, // of the relay
		{V2, FromClient, append([]byte{4}, make([]byte, 32)...)},
		{V2, FromClient, append([]byte{5}, make([]byte, 34)...)},
		{V2, FromClient, []byte{9, 1}},
		{V2, FromClient, []byte{200, 0, 0, 0, 1, 2}},
		{V2, FromClient, make([]byte, maxV1+1)},
		{V1, FromRelay, []byte{13, 1}}, // each has its own
		{V2, FromRelay, []byte{11, 'x'}},
		{V2, FromRelay, []byte{13, 1, 2}},
	} {
		if f, err := v.d.Parse(v.frame, v.from); !errors.Is(err, ErrFrame) {
			t.Errorf("%s %.10x: %+v, %v", v.d, v.frame, f, err)
		}
	}
	for _, number := range []byte{0, 1, 2, 3, 5, 8, 9, 10, 11, 15, 16, 255} {
		if f, err := P3.Parse([]byte{number, 1, 2}, FromClient); f.Kind != Unknown || err != nil {
			t.Errorf("%d: %+v, %v", number, f, err)
		}
	}
}

// A number may be written longer than needed.
func TestLongNumbers(t *testing.T) {
	for _, b := range [][]byte{{0x40, 9}, {0x80, 0, 0, 9}, {0xc0, 0, 0, 0, 0, 0, 0, 9}} {
		f, err := V2.Parse(append(b, 1, 2, 3, 4, 5, 6, 7, 8), FromClient)
		if f.Kind != Ping || f.Echo != [8]byte{1, 2, 3, 4, 5, 6, 7, 8} || err != nil {
			t.Errorf("%x: %+v, %v", b, f, err)
		}
	}
}

// A batch without a segment size is one datagram.
func TestABatchWithoutSizeIsNone(t *testing.T) {
	b := append([]byte{5}, make([]byte, KeySize+v1ECNAndBatch)...)
	f, err := V2.Parse(append(b, "abc"...), FromClient)
	if err != nil || f.Segment != 0 || string(f.Data) != "abc" {
		t.Fatalf("%+v, %v", f, err)
	}
	if got := V2.Append(nil, f, FromRelay); got[0] != v1Recv || len(got) != 1+KeySize+1+3 {
		t.Errorf("passed on as %x", got)
	}
}

// A stream is cut at its frames however it arrives, and a frame that is too
// long is found by its head alone.
func TestCutStream(t *testing.T) {
	var stream []byte
	want := []Frame{{Kind: Ping, Echo: [8]byte{1}}, {Kind: Datagrams, Key: Key{2}, Data: make([]byte, MaxPacket)}, {Kind: KeepAlive}}
	for _, f := range want {
		stream = AppendStream(stream, f)
	}
	for _, f := range want {
		for have := 0; ; {
			frame, n, need, err := CutStream(stream[:have])
			if err != nil {
				t.Fatal(err)
			}
			if n > 0 {
				if got, err := P3.Parse(frame, FromClient); err != nil || got.Kind != f.Kind || len(got.Data) != len(f.Data) {
					t.Fatalf("%+v, %v", got.Kind, err)
				}
				stream = stream[n:]
				break
			}
			if need <= have {
				t.Fatalf("needs %d of %d octets", need, have)
			}
			have = need
		}
	}
	if _, _, _, err := CutStream([]byte{4, 0, 1, 0, 33}); !errors.Is(err, ErrFrame) {
		t.Error("a packet over the limit:", err)
	}
}

// Packets cross between the generations datagram by datagram.
func TestTranslation(t *testing.T) {
	p3 := func(parts ...string) (list []byte) {
		for _, p := range parts {
			list = append(binary.LittleEndian.AppendUint16(list, uint16(len(p))), p...)
		}
		return list
	}
	all := func(f Frame, from, to Dialect) (out []Frame) {
		Translate(f, from, to, nil, func(f Frame) bool {
			f.Data = bytes.Clone(f.Data)
			out = append(out, f)
			return true
		})
		return out
	}
	packet := func(data []byte, segment uint16) Frame {
		return Frame{Kind: Datagrams, Data: data, Segment: segment, ECN: 2}
	}
	want := func(what string, got []Frame, data ...string) {
		t.Helper()
		var have []string
		for _, f := range got {
			have = append(have, string(f.Data))
		}
		if !slices.Equal(have, data) {
			t.Errorf("%s: %q, not %q", what, have, data)
		}
	}
	want("one to new", all(packet(p3("abc"), 0), P3, V2), "abc")
	want("three to new, one empty", all(packet(p3("abc", "", "de"), 0), P3, V1), "abc", "de")
	want("cut off", all(packet(append(p3("abc"), 9, 0, 'x'), 0), P3, V2), "abc")
	want("too short for a length", all(packet([]byte{1}, 0), P3, V2))
	want("one to old", all(packet([]byte("abc"), 0), V2, P3), string(p3("abc")))
	want("a batch to old", all(packet([]byte("abcde"), 2), V1, P3), string(p3("ab", "cd", "e")))
	want("nothing to old", all(packet(nil, 0), V2, P3))
	want("more than an old one takes", all(packet(make([]byte, 65500), 1), V2, P3))
	want("nothing to new", all(packet(nil, 0), V2, V2))
	want("nothing among the old", all(packet(nil, 0), P3, P3))
	big := string(make([]byte, 65504-2))
	want("more than a new one takes", all(packet(p3(big), 0), P3, V2), big)
	want("the longest to new", all(packet(p3(string(make([]byte, 65503))), 0), P3, V2))
	if got := all(packet([]byte("abcd"), 2), V2, V1); len(got) != 1 || got[0].ECN != 2 || got[0].Segment != 2 {
		t.Errorf("among the new: %+v", got)
	}
}
