package wire

import "encoding/binary"

// Translate gives the packets of a client as clients of another dialect take
// them: zero or more frames, with Kind, ECN, Segment and Data set, each valid
// until yield returns. It stops when yield says false. What has to be written
// anew is written into scratch, which MaxPacket octets are enough for; with
// less, memory is taken for it.
//
// A client must not be able to hurt those it sends to: what would be empty,
// longer than the dialect allows, or cut off is left out. V1 and V2 carry
// packets alike, and what stays in a dialect stays as it is.
func Translate(f Frame, from, to Dialect, scratch []byte, yield func(Frame) bool) {
	switch {
	case (from == P3) == (to == P3):
		if len(f.Data) > 0 && to.size(f) <= to.Max() {
			yield(f)
		}
	case to == P3:
		if data := toP3(f, scratch[:0]); len(data) > 0 {
			yield(Frame{Kind: Datagrams, Data: data})
		}
	default:
		fromP3(f.Data, yield)
	}
}

// fromP3 gives each datagram of a P3 packet its own frame.
func fromP3(list []byte, yield func(Frame) bool) {
	for len(list) >= 2 {
		n := int(binary.LittleEndian.Uint16(list))
		if list = list[2:]; n > len(list) {
			return
		}
		f := Frame{Kind: Datagrams, Data: list[:n]}
		list = list[n:]
		if n > 0 && V2.size(f) <= maxV1 && !yield(f) {
			return
		}
	}
}

// toP3 puts the length before each datagram, behind list; nil when that makes
// more than a P3 client takes.
func toP3(f Frame, list []byte) []byte {
	segment := int(f.Segment)
	if segment == 0 {
		segment = len(f.Data)
	}
	if len(f.Data) == 0 {
		return nil
	}
	parts := (len(f.Data) + segment - 1) / segment
	if segment > 1<<16-1 || len(f.Data)+2*parts > packetRoom {
		return nil
	}
	for rest := f.Data; len(rest) > 0; {
		n := min(segment, len(rest))
		list = binary.LittleEndian.AppendUint16(list, uint16(n))
		list = append(list, rest[:n]...)
		rest = rest[n:]
	}
	return list
}
