package wire

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
)

// WSOp says what a websocket message is.
//
// Source: RFC 6455 section 5.2.
type WSOp byte

// The opcodes.
const (
	wsContinued WSOp = 0
	WSText      WSOp = 1
	WSBinary    WSOp = 2
	WSClose     WSOp = 8
	WSPing      WSOp = 9
	WSPong      WSOp = 10
)

// Why a websocket is closed (RFC 6455 section 7.4.1).
const (
	WSNormal        = 1000
	WSGoingAway     = 1001
	WSProtocolError = 1002
	WSPolicy        = 1008
	WSTooBig        = 1009
)

// maxControl is the longest payload of a control frame.
const maxControl = 125

// ErrWebSocket is wrapped by every error about octets that are no websocket of
// a client.
var ErrWebSocket = errors.New("websocket frame breaks the protocol")

func noWebSocket(what string) error { return fmt.Errorf("%w: %s", ErrWebSocket, what) }

// WSAccept gives the Sec-WebSocket-Accept of a Sec-WebSocket-Key, which must
// be 16 octets in base64.
func WSAccept(key string) (accept string, ok bool) {
	if raw, err := base64.StdEncoding.DecodeString(key); err != nil || len(raw) != 16 {
		return "", false
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:]), true
}

// Messages cuts what a websocket client sends into messages, and puts those
// together that came in parts. The zero Messages takes none.
type Messages struct {
	// Max is the longest message taken, in octets.
	Max int

	op   WSOp // of the message that came in part; 0 for none
	part []byte
}

// Partial tells whether a message came in part.
func (m *Messages) Partial() bool { return m.op != 0 }

// Cut finds the first message in b. It is n octets on the wire; with n zero
// there is less than that, and need tells how long b must become. What is
// unmasked is unmasked in place; the message is valid until the next Cut. With
// n not zero and op zero, a part was taken and the message is not complete.
//
// No extension is ever agreed on, so the reserved bits must be zero. Text is
// not looked at. Errors wrap ErrWebSocket; a message that is too long gives
// ErrWSTooBig.
func (m *Messages) Cut(b []byte) (op WSOp, payload []byte, n, need int, err error) {
	h, n, need, err := m.head(b)
	if err != nil || n == 0 {
		return 0, nil, 0, need, err
	}
	if len(b) < n+h.length {
		return 0, nil, 0, n + h.length, nil
	}
	p := b[n : n+h.length : n+h.length]
	n += h.length
	unmask(h.mask, p)
	switch {
	case h.op >= WSClose:
		return h.op, p, n, 0, nil
	case h.op != wsContinued && h.final:
		return h.op, p, n, 0, nil
	case h.op != wsContinued:
		m.op = h.op
	}
	m.part = append(m.part, p...)
	if !h.final {
		return 0, nil, n, 0, nil
	}
	op, payload = m.op, m.part
	m.op, m.part = 0, nil
	return op, payload, n, 0, nil
}

// ErrWSTooBig is given for a message longer than Max.
var ErrWSTooBig = fmt.Errorf("%w: message too long", ErrWebSocket)

// wsHead is the head of a websocket frame of a client.
type wsHead struct {
	final  bool
	op     WSOp
	length int
	mask   [4]byte
}

// head reads a head and judges it by what came before.
func (m *Messages) head(b []byte) (h wsHead, n, need int, err error) {
	if len(b) < 2 {
		return h, 0, 2, nil
	}
	h.final, h.op = b[0]&0x80 != 0, WSOp(b[0]&0x0f)
	length := uint64(b[1] & 0x7f)
	switch {
	case b[0]&0x70 != 0:
		return h, 0, 0, noWebSocket("reserved bits")
	case b[1]&0x80 == 0:
		return h, 0, 0, noWebSocket("not masked")
	case h.op > WSPong || h.op > WSBinary && h.op < WSClose:
		return h, 0, 0, noWebSocket("unknown opcode")
	case h.op >= WSClose && (!h.final || length > maxControl):
		return h, 0, 0, noWebSocket("long control frame")
	case (h.op == WSText || h.op == WSBinary) && m.op != 0, h.op == wsContinued && m.op == 0:
		return h, 0, 0, noWebSocket("parts of two messages")
	}
	n = 2
	switch length {
	case 126:
		n = 4
	case 127:
		n = 10
	}
	if len(b) < n+4 {
		return h, 0, n + 4, nil
	}
	switch n {
	case 4:
		length = uint64(binary.BigEndian.Uint16(b[2:]))
	case 10:
		length = binary.BigEndian.Uint64(b[2:])
	}
	if length > uint64(m.Max-len(m.part)) && h.op < WSClose {
		return h, 0, 0, ErrWSTooBig
	}
	h.length, h.mask = int(length), [4]byte(b[n:])
	return h, n + 4, 0, nil
}

// unmask takes the mask off (RFC 6455 section 5.3).
func unmask(mask [4]byte, p []byte) {
	word := uint64(binary.LittleEndian.Uint32(mask[:]))
	word |= word << 32
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^word)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= mask[i&3]
	}
}

// AppendWSHead writes the head of a whole message of n octets from a server.
func AppendWSHead(b []byte, op WSOp, n int) []byte {
	b = append(b, 0x80|byte(op))
	switch {
	case n < 126:
		return append(b, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
}

// wsHeadSize is what AppendWSHead appends.
func wsHeadSize(n int) int {
	switch {
	case n < 126:
		return 2
	case n < 1<<16:
		return 4
	}
	return 10
}

// AppendWSMessage writes a whole message of a server.
func AppendWSMessage(b []byte, op WSOp, payload []byte) []byte {
	return append(AppendWSHead(b, op, len(payload)), payload...)
}

// AppendWSClose writes that a server closes, and why.
func AppendWSClose(b []byte, code uint16) []byte {
	return binary.BigEndian.AppendUint16(AppendWSHead(b, WSClose, 2), code)
}

// AppendWSMasked writes a whole message of a client.
func AppendWSMasked(b []byte, op WSOp, mask [4]byte, payload []byte) []byte {
	at := len(b)
	b = AppendWSHead(b, op, len(payload))
	b[at+1] |= 0x80
	b = append(b, mask[:]...)
	at = len(b)
	b = append(b, payload...)
	unmask(mask, b[at:])
	return b
}
