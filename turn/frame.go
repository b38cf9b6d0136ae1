package turn

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// errFrame ends a stream in which no message begins where one should: nobody
// can find the next one.
var errFrame = errors.New("neither a STUN message nor data of a channel")

// frames takes a stream apart into messages (RFC 8656 section 12.5, RFC 8489
// section 6.2.2).
type frames struct {
	in   *bufio.Reader
	have int // octets of the last frame, still in the buffer
}

func newFrames(r io.Reader) *frames { return &frames{in: bufio.NewReaderSize(r, 2048)} }

// next gives one STUN message, or data of a channel with its header and
// without padding. It is valid until the following call. Errors are errFrame,
// io.EOF between two frames, and those of the stream.
func (f *frames) next() ([]byte, error) {
	if _, err := f.in.Discard(f.have); err != nil {
		return nil, err
	}
	f.have = 0
	head, err := f.in.Peek(channelHeader)
	if err != nil {
		if err == io.EOF && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	size, padded := frameSize(head)
	if size == 0 {
		return nil, errFrame
	}
	b, err := f.in.Peek(padded)
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	f.have = padded
	return b[:size], nil
}

// frameSize tells the octets of a frame by its first four, and with padding;
// zero when none begins so, or one that is too long.
func frameSize(head []byte) (size, padded int) {
	length := int(binary.BigEndian.Uint16(head[2:]))
	switch {
	case isChannel(head):
		size = channelHeader + length
	case head[0]&0xC0 == 0 && length%4 == 0:
		size = headerSize + length
	}
	if size > maxMessage {
		return 0, 0
	}
	return size, (size + 3) &^ 3
}

// IsTURN tells whether a client that sent these octets first speaks STUN or
// TURN over a stream: the cookie stands where no other protocol has it. It
// wants eight octets.
func IsTURN(first []byte) bool {
	return len(first) >= 8 && first[0]&0xC0 == 0 && binary.BigEndian.Uint32(first[4:]) == cookie
}
