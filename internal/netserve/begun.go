package netserve

import (
	"context"
	"crypto/tls"
	"time"
)

// begun is TLS with octets that were read already. net/http takes it for TLS
// by its ConnectionState.
type begun struct {
	*tls.Conn
	first []byte
}

// Read gives what was read already, then what comes. One goroutine at a time
// reads.
func (b *begun) Read(p []byte) (int, error) {
	if len(b.first) == 0 {
		return b.Conn.Read(p)
	}
	n := copy(p, b.first)
	if b.first = b.first[n:]; len(b.first) == 0 {
		b.first = nil
	}
	return n, nil
}

// guessed is how many octets tell a protocol.
const guessed = 8

// guess asks a.Guess what a client speaks that named no protocol, or HTTP/1.1,
// by the first octets inside TLS. They stay where a handler reads them. All such
// clients speak first; who does not within the time of a handshake is nobody's.
func (a *acceptor) guess(c *Conn) (Handler, error) {
	stop := context.AfterFunc(a.s.ctx, func() { c.Close() })
	defer stop()
	c.SetDeadline(time.Now().Add(a.s.cfg.HandshakeTimeout))
	first := make([]byte, 0, 512)
	for len(first) < guessed {
		n, err := c.tls.Read(first[len(first):cap(first)])
		first = first[:len(first)+n]
		if err != nil {
			return nil, err
		}
		if len(first) > 0 && first[0] >= ' ' {
			break // text: no binary protocol
		}
	}
	c.SetDeadline(time.Time{})
	c.begun = &begun{c.tls, first}
	if h := a.Guess(first); h != nil {
		return h, nil
	}
	return a.Handler, nil
}
