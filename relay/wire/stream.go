package wire

import "encoding/binary"

// streamHead is what carries a P3 frame on a stream: its type, which is also
// the first octet of the frame, and its length.
const streamHead = 5

// CutStream finds the first frame of a P3 stream: its type and its payload, n
// octets on the stream with everything. With n zero there is less than a
// frame, and need tells how long b must become. The frame's type is written
// over the last octet of its length, so that frame, like all frames here,
// begins with it.
//
// Errors wrap ErrFrame.
func CutStream(b []byte) (frame []byte, n, need int, err error) {
	if len(b) < streamHead {
		return nil, 0, streamHead, nil
	}
	length := binary.BigEndian.Uint32(b[1:])
	if length > maxP3-1 {
		return nil, 0, 0, broken(P3, "too long")
	}
	n = streamHead + int(length)
	if len(b) < n {
		return nil, 0, n, nil
	}
	b[streamHead-1] = b[0]
	return b[streamHead-1 : n : n], n, 0, nil
}

// Carriage is what carries frames.
type Carriage int

// The carriages. V1 and V2 know the second only.
const (
	Stream Carriage = iota
	WebSocket
)

// Size is the length of a frame of the relay with what carries it.
func (c Carriage) Size(d Dialect, f Frame) int {
	n := d.size(f)
	if c == Stream {
		return n + streamHead - 1
	}
	return n + wsHeadSize(n)
}

// Append writes a frame of the relay with what carries it.
func (c Carriage) Append(b []byte, d Dialect, f Frame) []byte {
	if c == WebSocket {
		return d.Append(AppendWSHead(b, WSBinary, d.size(f)), f, FromRelay)
	}
	return appendStream(b, f, FromRelay)
}

// AppendStream writes a P3 frame of a client on a stream.
func AppendStream(b []byte, f Frame) []byte { return appendStream(b, f, FromClient) }

func appendStream(b []byte, f Frame, from From) []byte {
	b = append(b, byte(numberP3(f, from)))
	b = binary.BigEndian.AppendUint32(b, uint32(P3.size(f)-1))
	return P3.appendPayload(b, f)
}
