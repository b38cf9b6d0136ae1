package wire

import (
	"bytes"
	"errors"
	"testing"
)

// Whatever a frame is, it is refused or means the same when written again.
func FuzzFrames(f *testing.F) {
	k := make([]byte, KeySize)
	for _, b := range [][]byte{
		{}, {4}, append([]byte{4}, k...), append(append([]byte{5}, k...), 3, 0, 2, 'a', 'b', 'c'), {12, 1, 2, 3, 4, 5, 6, 7, 8}, {9, 1, 2, 3, 4, 5, 6, 7, 8},
		{0x40, 9, 1, 2, 3, 4, 5, 6, 7, 8}, append([]byte{8}, k...), {13, 1}, {11, 'x'}, {14, 'x'}, {15, 0, 0, 0, 1, 0, 0, 0, 2},
	} {
		for how := range byte(6) {
			f.Add(how, b)
		}
	}
	f.Fuzz(func(t *testing.T, how byte, b []byte) {
		d, from := Dialect(how%3), From(how/3%2)
		frame, err := d.Parse(b, from)
		if err != nil {
			if !errors.Is(err, ErrFrame) {
				t.Fatal(err)
			}
			return
		}
		if frame.Kind == Unknown {
			if d != P3 {
				t.Fatal("only P3 passes over what it does not know")
			}
			return
		}
		again := d.Append(nil, frame, from)
		if len(again) != d.size(frame) || len(again) > len(b) {
			t.Fatalf("%d octets were %d, size says %d", len(again), len(b), d.size(frame))
		}
		back, err := d.Parse(again, from)
		if err != nil || !bytes.Equal(d.Append(nil, back, from), again) {
			t.Fatalf("%x became %x: %v", b, again, err)
		}
		if frame.Kind == Datagrams && from == FromClient {
			crossesWell(t, frame, d)
		}
	})
}

// crossesWell looks that every client of each dialect can read what becomes
// of a packet.
func crossesWell(t *testing.T, f Frame, from Dialect) {
	for _, to := range []Dialect{P3, V1, V2} {
		Translate(f, from, to, nil, func(f Frame) bool {
			f.Key = Key{9}
			back, err := to.Parse(to.Append(nil, f, FromRelay), FromRelay)
			if err != nil || len(back.Data) == 0 {
				t.Fatalf("from %s to %s: %v, %d octets", from, to, err, len(back.Data))
			}
			if to == P3 && from != P3 && len(back.Data) > packetRoom {
				t.Fatalf("%d octets", len(back.Data))
			}
			return true
		})
	}
}

// However a stream is cut, the same messages come out, none too long, and a
// fault stays a fault.
func FuzzStreams(f *testing.F) {
	mask := [4]byte{1, 2, 3, 4}
	f.Add(AppendWSMasked(AppendWSMasked(nil, WSPing, mask, []byte("a")), WSBinary, mask, make([]byte, 200)))
	f.Add([]byte{0x02, 0x81, 0, 0, 0, 0, 'a', 0x80, 0x81, 0, 0, 0, 0, 'b'})
	f.Add([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4})
	f.Add(AppendStream(AppendStream(nil, Frame{Kind: Ping}), Frame{Kind: Datagrams, Data: []byte("abc")}))
	f.Fuzz(func(t *testing.T, stream []byte) {
		got, err := cut(&Messages{Max: 1000}, bytes.Clone(stream))
		for _, m := range got {
			if len(m) > 1002 {
				t.Fatalf("%d octets", len(m))
			}
		}
		if err != nil && !errors.Is(err, ErrWebSocket) {
			t.Fatal(err)
		}
		for rest := bytes.Clone(stream); ; {
			frame, n, need, err := CutStream(rest)
			if err != nil {
				if !errors.Is(err, ErrFrame) {
					t.Fatal(err)
				}
				break
			}
			if n == 0 {
				if need <= len(rest) {
					t.Fatalf("%d octets are enough, there are %d", need, len(rest))
				}
				break
			}
			if len(frame) != n-streamHead+1 {
				t.Fatalf("a frame of %d octets on %d", len(frame), n)
			}
			rest = rest[n:]
		}
	})
}

// No login frame of any kind makes trouble, and none is taken by chance.
func FuzzLogins(f *testing.F) {
	var c Challenge
	material := bytes.Repeat([]byte{7}, MaterialSize)
	f.Add(AppendClientInfo(nil, private(1)), "")
	f.Add(AppendClientAuth(nil, private(1), c), KeyAuthValue(private(1), material))
	f.Add(AppendDenies(nil, "no"), "AAAA")
	f.Add(AppendChallenge(nil, c), "")
	f.Fuzz(func(t *testing.T, frame []byte, header string) {
		if k, err := ParseClientInfo(frame); err == nil && k.smallOrder() {
			t.Fatal("a key of small order")
		}
		ParseClientAuth(frame, c)
		ParseChallenge(frame)
		ParseVerdict(frame)
		if a, err := ParseKeyAuth(header); err == nil {
			a.Verify(material)
		}
	})
}
