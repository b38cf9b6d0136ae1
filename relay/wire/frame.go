package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Dialect is one version of the protocol.
type Dialect int

// The dialects.
const (
	P3 Dialect = iota
	V1
	V2
)

// String gives the name that the protocol itself uses: "p3",
// "iroh-relay-v1", "iroh-relay-v2".
func (d Dialect) String() string {
	return [...]string{"p3", "iroh-relay-v1", "iroh-relay-v2"}[d]
}

// Kind is what a frame says, in whichever dialect.
type Kind int

// The kinds of frames after login.
const (
	Unknown    Kind = iota // a number that P3 does not know; a fault in V1 and V2
	Datagrams              // to the relay: Key is the destination; from it: the source
	Gone                   // Key has left
	Ping                   // Echo
	Pong                   // Echo, that of the ping
	Health                 // Text; P3 and V1
	Status                 // Code; V2
	Restarting             // In and For, in milliseconds
	KeepAlive              // P3; says nothing
	Preferred              // P3; says nothing that matters
)

// The largest frames, in octets, with their type and without what carries
// them. No client sends more: a packet of P3 has at most 65,536 octets, a
// frame of V1 and V2 as many with everything.
const (
	MaxPacket  = 1 << 16
	maxP3      = 1 + KeySize + MaxPacket
	maxV1      = 1 << 16
	packetRoom = 65504 // what a P3 client is ready to take
)

// Max is the largest frame of a dialect, in octets, without what carries it.
func (d Dialect) Max() int {
	if d == P3 {
		return maxP3
	}
	return maxV1
}

// Codes of Status.
const (
	Healthy      = 0 // the connection is as it should be again
	KeyElsewhere = 1 // the same key has connected anew
)

// Frame is one frame. Which fields mean something depends on Kind.
type Frame struct {
	Kind Kind
	Key  Key
	// ECN is the congestion mark of the datagrams, two bits; V1 and V2.
	ECN byte
	// Segment, when not zero, says that Data is many datagrams of that many
	// octets each, the last one perhaps shorter; V1 and V2.
	Segment uint16
	// Data of Datagrams: in P3 a list, each one with its length (16 bits, little
	// endian) before it; in V1 and V2 one datagram, or as Segment says. Parse
	// leaves it inside the octets it was given.
	Data    []byte
	Echo    [8]byte
	Text    []byte
	Code    byte
	In, For uint32
}

// From says who sent a frame.
type From int

// The senders.
const (
	FromClient From = iota
	FromRelay
)

// ErrFrame is wrapped by every error about a frame that breaks its dialect.
var ErrFrame = errors.New("frame breaks the protocol")

func broken(d Dialect, what string) error { return fmt.Errorf("%w (%s): %s", ErrFrame, d, what) }

// Parse reads one frame after login: its type and its payload, without what
// carried it. In P3 a number without meaning is Unknown; in V1 and V2 it is a
// fault, as is what only the other side may send. Errors wrap ErrFrame.
func (d Dialect) Parse(b []byte, from From) (Frame, error) {
	if len(b) > d.Max() {
		return Frame{}, broken(d, "too long")
	}
	if d == P3 {
		return parseP3(b, from)
	}
	return d.parseV1(b, from)
}

// Append writes a frame as Parse reads it. A frame that the dialect has no
// words for is a fault of ours and panics.
func (d Dialect) Append(b []byte, f Frame, from From) []byte {
	n := d.number(f, from)
	if n < 0 {
		panic(fmt.Sprintf("wire: %s has no frame of kind %d", d, f.Kind))
	}
	return d.appendPayload(append(b, byte(n)), f)
}

// appendPayload writes what stands after the type.
func (d Dialect) appendPayload(b []byte, f Frame) []byte {
	switch f.Kind {
	case Datagrams:
		b = append(b, f.Key[:]...)
		if d != P3 {
			b = append(b, f.ECN&3)
			if f.Segment != 0 {
				b = binary.BigEndian.AppendUint16(b, f.Segment)
			}
		}
		b = append(b, f.Data...)
	case Gone:
		b = append(b, f.Key[:]...)
	case Ping, Pong:
		b = append(b, f.Echo[:]...)
	case Health:
		b = append(b, f.Text...)
	case Status, Preferred:
		b = append(b, f.Code)
	case Restarting:
		b = binary.BigEndian.AppendUint32(b, f.In)
		b = binary.BigEndian.AppendUint32(b, f.For)
	}
	return b
}

// number gives the type of a frame, -1 where there is none.
func (d Dialect) number(f Frame, from From) int {
	if d == P3 {
		return numberP3(f, from)
	}
	return d.numberV1(f, from)
}

// size is the length of a frame as Append writes it.
func (d Dialect) size(f Frame) int {
	switch f.Kind {
	case Datagrams:
		n := 1 + KeySize + len(f.Data)
		if d != P3 {
			n++
			if f.Segment != 0 {
				n += 2
			}
		}
		return n
	case Gone:
		return 1 + KeySize
	case Ping, Pong, Restarting:
		return 1 + 8
	case Health:
		return 1 + len(f.Text)
	case Status, Preferred:
		return 2
	}
	return 1
}

// payload takes the fields of a frame of that kind out of p, which must have
// exactly the right length where there is one.
func (d Dialect) payload(kind Kind, p []byte) (Frame, error) {
	f := Frame{Kind: kind}
	length := len(p)
	want := length
	switch kind {
	case Gone:
		if want = KeySize; length == want {
			f.Key = Key(p)
		}
	case Ping, Pong:
		if want = len(f.Echo); length == want {
			f.Echo = [8]byte(p)
		}
	case Restarting:
		if want = 8; length == want {
			f.In, f.For = binary.BigEndian.Uint32(p), binary.BigEndian.Uint32(p[4:])
		}
	case Status, Preferred:
		if want = 1; length == want {
			f.Code = p[0]
		}
	case KeepAlive:
		want = 0
	case Health:
		f.Text = p
	}
	if length != want {
		return Frame{}, broken(d, fmt.Sprintf("%d octets instead of %d", length, want))
	}
	return f, nil
}
