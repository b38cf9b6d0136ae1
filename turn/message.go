package turn

import (
	"encoding/binary"
	"errors"
	"iter"
	"net/netip"
)

const (
	// maxMessage is the largest message that is taken, in octets; the library
	// takes one less than its buffer.
	maxMessage = 1500
	headerSize = 20
	cookie     = 0x2112A442
	// maxAttributes of one message; a request of a client has ten.
	maxAttributes = 32
	// channelHeader stands before the data of a channel.
	channelHeader = 4
)

// The methods and attributes that are looked at (RFC 8656 sections 17 and 18).
const (
	methodRefresh          = 0x004
	methodSend             = 0x006
	methodCreatePermission = 0x008
	methodChannelBind      = 0x009

	attrIntegrity     = 0x0008
	attrChannelNumber = 0x000C
	attrLifetime      = 0x000D
	attrPeer          = 0x0012
	attrData          = 0x0013
	attrFamily        = 0x0017
	attrEvenPort      = 0x0018
	attrTransport     = 0x0019
	attrFingerprint   = 0x8028

	familyIPv4  = 0x01
	familyIPv6  = 0x02
	protocolUDP = 17
)

// message is what we want to know of a STUN message before the library reads it.
type message struct {
	method    uint16
	request   bool // else an indication; answers are nobody's to send us
	integrity bool
	// fingerprint tells of a FINGERPRINT.
	fingerprint bool
	ipv6        bool   // REQUESTED-ADDRESS-FAMILY asks for it
	evenPort    bool   // EVEN-PORT
	channel     uint16 // CHANNEL-NUMBER
	tcp         bool   // REQUESTED-TRANSPORT is not UDP
	// endsAllocation tells of a LIFETIME of zero (RFC 8656 section 7.2).
	endsAllocation bool
	seen           uint64 // attributes below 64, as bits
}

var errMessage = errors.New("no well-formed STUN request or indication")

// readMessage looks at a whole STUN message. Whatever it takes is well-formed
// as far as lengths go: the library reads some attributes without a look at
// them. Errors are errMessage.
func readMessage(b []byte) (m message, err error) {
	if len(b) < headerSize || len(b) > maxMessage || len(b)%4 != 0 || b[0]&0xC0 != 0 {
		return m, errMessage
	}
	if int(binary.BigEndian.Uint16(b[2:])) != len(b)-headerSize || binary.BigEndian.Uint32(b[4:]) != cookie {
		return m, errMessage
	}
	kind := binary.BigEndian.Uint16(b)
	switch class := kind>>7&2 | kind>>4&1; class {
	case 0:
		m.request = true
	case 1:
	default:
		return m, errMessage
	}
	m.method = kind&0x000F | kind>>1&0x0070 | kind>>2&0x0F80
	n := 0
	for rest := b[headerSize:]; len(rest) > 0; n++ {
		if len(rest) < 4 || n == maxAttributes {
			return m, errMessage
		}
		size := int(binary.BigEndian.Uint16(rest[2:]))
		padded := (size + 3) &^ 3
		attr := binary.BigEndian.Uint16(rest)
		if len(rest) < 4+padded || !fits(attr, rest[4:4+size]) {
			return m, errMessage
		}
		m.note(attr, rest[4:4+size])
		rest = rest[4+padded:]
	}
	return m, nil
}

// attributes gives those of a well-formed message.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for rest := b[headerSize:]; len(rest) >= 4; {
			size := int(binary.BigEndian.Uint16(rest[2:]))
			if !yield(binary.BigEndian.Uint16(rest), rest[4:4+size]) {
				return
			}
			rest = rest[4+(size+3)&^3:]
		}
	}
}

// readPeer gives the address of an XOR-PEER-ADDRESS of a well-formed message
// (RFC 8489 section 14.2).
func readPeer(value, msg []byte) netip.AddrPort {
	var ip [16]byte
	n := copy(ip[:], value[4:])
	for i := range n {
		ip[i] ^= msg[4+i] // the cookie, and the transaction behind it
	}
	addr := netip.AddrFrom16(ip).Unmap()
	if n == 4 {
		addr = netip.AddrFrom4([4]byte(ip[:4]))
	}
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(value[2:])^cookie>>16)
}

// fits tells whether an attribute has the size that it must have, of those that
// clients send.
func fits(attr uint16, value []byte) bool {
	size := len(value)
	switch attr {
	case attrPeer:
		return size == 8 && value[1] == familyIPv4 || size == 20 && value[1] == familyIPv6
	case attrIntegrity:
		return size == 20
	case attrChannelNumber, attrLifetime, attrFamily, attrTransport, attrFingerprint:
		return size == 4
	case attrEvenPort:
		return size == 1
	}
	return true
}

// note keeps what an attribute says: the first of its kind, and none behind the
// integrity but a fingerprint (RFC 8489 sections 14 and 14.5).
func (m *message) note(attr uint16, value []byte) {
	if attr != attrFingerprint && m.integrity || attr < 64 && m.seen>>attr&1 != 0 {
		return
	}
	if attr < 64 {
		m.seen |= 1 << attr
	}
	switch attr {
	case attrIntegrity:
		m.integrity = true
	case attrFamily:
		m.ipv6 = value[0] == familyIPv6
	case attrEvenPort:
		m.evenPort = true
	case attrLifetime:
		m.endsAllocation = binary.BigEndian.Uint32(value) == 0
	case attrTransport:
		m.tcp = value[0] != protocolUDP
	case attrFingerprint:
		m.fingerprint = true
	case attrChannelNumber:
		m.channel = binary.BigEndian.Uint16(value)
	}
}

// isChannel tells whether octets begin as data of a channel does.
func isChannel(b []byte) bool {
	return len(b) >= channelHeader && isChannelNumber(binary.BigEndian.Uint16(b))
}

// isChannelNumber tells whether a channel may have that number: 0x4000 to
// 0x4FFF, and up to 0x7FFF for clients of RFC 5766, such as coturn's.
func isChannelNumber(n uint16) bool { return n>>14 == 1 }

// readChannel takes data of a channel apart. In a datagram it may have padding
// behind it.
func readChannel(b []byte) (number uint16, data []byte, ok bool) {
	if !isChannel(b) {
		return 0, nil, false
	}
	size := int(binary.BigEndian.Uint16(b[2:]))
	if len(b) < channelHeader+size {
		return 0, nil, false
	}
	return binary.BigEndian.Uint16(b), b[channelHeader : channelHeader+size], true
}
