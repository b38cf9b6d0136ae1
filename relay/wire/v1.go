package wire

import (
	"encoding/binary"
	"fmt"
)

// Types of V1 and V2. All are below 64, where a QUIC varint is one octet.
const (
	v1Challenge   = 0
	v1ClientAuth  = 1
	v1Confirms    = 2
	v1Denies      = 3
	v1Send        = 4
	v1SendBatch   = 5
	v1Recv        = 6
	v1RecvBatch   = 7
	v1Gone        = 8
	v1Ping        = 9
	v1Pong        = 10
	v1Health      = 11 // V1 only
	v1Restarting  = 12
	v1Status      = 13 // V2 only
	v1ECNAndBatch = 3  // octets between the key and the datagrams of a batch
)

// message cuts a message of V1 or V2 into its type and its payload.
//
// Source: RFC 9000 section 16.
func message(b []byte) (number uint64, payload []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	n := 1 << (b[0] >> 6)
	if len(b) < n {
		return 0, nil, false
	}
	number = uint64(b[0] & 0x3f)
	for _, c := range b[1:n] {
		number = number<<8 | uint64(c)
	}
	return number, b[n:], true
}

func (d Dialect) parseV1(b []byte, from From) (Frame, error) {
	number, p, ok := message(b)
	if !ok {
		return Frame{}, broken(d, "no type")
	}
	toUs := from == FromClient
	switch {
	case number == v1Ping:
		return d.payload(Ping, p)
	case number == v1Pong:
		return d.payload(Pong, p)
	case number == v1Send && toUs, number == v1Recv && !toUs:
		return d.parsePacketV1(p, false)
	case number == v1SendBatch && toUs, number == v1RecvBatch && !toUs:
		return d.parsePacketV1(p, true)
	case number == v1Gone && !toUs:
		return d.payload(Gone, p)
	case number == v1Restarting && !toUs:
		return d.payload(Restarting, p)
	case number == v1Health && d == V1 && !toUs:
		return d.payload(Health, p)
	case number == v1Status && d == V2 && !toUs:
		return d.payload(Status, p)
	}
	return Frame{}, broken(d, fmt.Sprintf("type %d may not come from this side after login", number))
}

// parsePacketV1 reads what carries datagrams. A batch whose segments have no
// length is none.
func (d Dialect) parsePacketV1(p []byte, batch bool) (Frame, error) {
	head := KeySize + 1
	if batch {
		head = KeySize + v1ECNAndBatch
	}
	if len(p) < head {
		return Frame{}, broken(d, "a packet shorter than its head")
	}
	f := Frame{Kind: Datagrams, Key: Key(p[:KeySize]), ECN: p[KeySize] & 3, Data: p[head:]}
	if batch {
		f.Segment = binary.BigEndian.Uint16(p[KeySize+1:])
	}
	return f, nil
}

func (d Dialect) numberV1(f Frame, from From) int {
	switch f.Kind {
	case Datagrams:
		n := v1Send
		if from == FromRelay {
			n = v1Recv
		}
		if f.Segment != 0 {
			n++
		}
		return n
	case Gone:
		return v1Gone
	case Ping:
		return v1Ping
	case Pong:
		return v1Pong
	case Restarting:
		return v1Restarting
	case Health:
		if d == V1 {
			return v1Health
		}
	case Status:
		if d == V2 {
			return v1Status
		}
	}
	return -1
}
