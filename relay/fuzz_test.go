package relay

import (
	"io"
	"net"
	"testing"
	"time"

	"barid/relay/wire"
)

// script is a connection on which octets come in pieces.
type script struct {
	net.Conn
	in    []byte
	piece int
}

func (s *script) Read(b []byte) (int, error) {
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), s.piece)], s.in)
	s.in = s.in[n:]
	return n, nil
}

func (*script) Write(b []byte) (int, error)      { return len(b), nil }
func (*script) SetDeadline(time.Time) error      { return nil }
func (*script) SetReadDeadline(time.Time) error  { return nil }
func (*script) SetWriteDeadline(time.Time) error { return nil }
func (*script) Close() error                     { return nil }

// Whatever a client sends after its login, in whatever pieces, the others get
// packets that they can read, and no memory stays behind.
func FuzzConnection(f *testing.F) {
	mask := [4]byte{1, 2, 3, 4}
	to := wire.Key{9}
	for _, d := range []wire.Dialect{wire.P3, wire.V2} {
		var stream, ws []byte
		for _, frame := range []wire.Frame{
			{Kind: wire.Ping}, {Kind: wire.Datagrams, Key: to, Data: list("abc")}, {Kind: wire.Datagrams, Key: to, Segment: 2, ECN: 1, Data: []byte("abcde")}, {Kind: wire.Pong},
		} {
			stream = wire.AppendStream(stream, frame)
			ws = wire.AppendWSMasked(ws, wire.WSBinary, mask, d.Append(nil, frame, wire.FromClient))
		}
		f.Add(byte(d), byte(3), stream)
		f.Add(byte(d)|4, byte(200), wire.AppendWSMasked(ws, wire.WSPing, mask, []byte("x")))
	}
	f.Fuzz(func(t *testing.T, how, piece byte, in []byte) {
		s := New(Config{QueueBytes: 1 << 20, Memory: 1 << 20})
		from := &client{s: s, key: wire.Key{8}, dialect: wire.Dialect(how & 3 % 3), stream: &script{in: in, piece: int(piece) + 1}}
		if how&4 != 0 || from.dialect != wire.P3 {
			from.carriage = wire.WebSocket
		}
		from.messages.Max = from.dialect.Max()
		var readers []*client
		for _, d := range []wire.Dialect{wire.P3, wire.V1} {
			c := &client{s: s, key: to, dialect: d, carriage: wire.WebSocket}
			c.hold()
			readers = append(readers, c)
			s.hub.register(c)
			from.hold()
			if err := from.loop(); err == nil {
				t.Fatal("it never ends")
			}
			s.hub.unregister(c)
			from.stream = &script{in: in, piece: int(piece) + 1}
			from.source.release()
			from.messages = wire.Messages{Max: from.dialect.Max()}
		}
		from.forget()
		from.peers.forget(&s.memory)
		for _, c := range readers {
			for _, k := c.take(); k != nil; _, k = c.take() {
				readable(t, c.dialect, k)
				c.free(k)
			}
			c.forget()
		}
		if n := s.memory.held.Load(); n != 0 {
			t.Fatalf("%d octets stay", n)
		}
	})
}

// readable looks at a chunk of messages as its client would.
func readable(t *testing.T, d wire.Dialect, k *chunk) {
	frames := 0
	for b := k.b; len(b) > 0; frames++ {
		skip, n := 2, int(b[1])
		if n == 126 {
			skip, n = 4, int(b[2])<<8|int(b[3])
		} else if n == 127 {
			skip, n = 10, int(b[7])<<16|int(b[8])<<8|int(b[9])
		}
		if f, err := d.Parse(b[skip:skip+n], wire.FromRelay); err != nil || f.Kind != wire.Datagrams || len(f.Data) == 0 {
			t.Fatalf("%s: %+v, %v", d, f, err)
		}
		b = b[skip+n:]
	}
	if frames != k.frames {
		t.Fatalf("%d frames are counted as %d", frames, k.frames)
	}
}
