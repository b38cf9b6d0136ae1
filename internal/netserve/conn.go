package netserve

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Conn is one accepted connection, below TLS. It enforces the Pace on every
// read and write, hands crypto/tls exactly one TLS record per Read, and knows
// when nothing is buffered, so that an idle session may sleep without any
// buffer (WaitReadable).
//
// Never put a layer above TLS: servers ask for *tls.Conn, or for its
// ConnectionState. Use Stream for reading and writing and From to come back here.
//
// One goroutine at a time may read (Read, WaitReadable, Buffered, StartTLS);
// everything else may be called at any time by anybody.
type Conn struct {
	net.Conn
	client netip.Addr
	tls    *tls.Conn
	begun  *begun  // tls with what was read of it already; nil when that is nothing
	srv    *Server // nil for a connection that no Server accepted
	list   *group  // what it is counted in; nil like srv

	// The reader's own; see record.go.
	raw     syscall.RawConn // made when first needed; nil without a descriptor
	try     func(fd uintptr) bool
	buf     *buffer // nil while nothing is buffered
	r, w    int     // buf[r:w] waits for the reader
	fillErr error   // what try met
	records records
	onTLS   bool // Read gives out single records
	shake   *handshake

	mu       sync.Mutex // guards the fields below
	pace     Pace
	slack    time.Duration // how long the peer may still make us wait, by Floor
	readBy   time.Time     // the deadlines that somebody set from above
	writeBy  time.Time
	closed   bool
	gone     chan struct{} // made when asked for, closed with the connection
	next     *Conn         // the server's list; guarded by the server's lock
	previous *Conn
}

// NewConn wraps a connection, for tests and for connections that were
// accepted elsewhere.
func NewConn(raw net.Conn, client netip.Addr) *Conn { return &Conn{Conn: raw, client: client} }

// From finds the Conn below c: c itself, or the one that a *tls.Conn, or what
// Stream gave, stands on. Nil when there is none.
func From(c net.Conn) *Conn {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
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
// there is one, else c. Where the first octets inside TLS told the protocol,
// they stand before the *tls.Conn; its methods are there all the same.
func (c *Conn) Stream() net.Conn {
	if c.begun != nil {
		return c.begun
	}
	if c.tls != nil {
		return c.tls
	}
	return c
}

// Close closes the connection at once: no word of TLS is said (for that,
// close the Stream). Reads, writes and waits of other goroutines end with
// net.ErrClosed. A second Close does nothing and returns nil.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	if c.gone != nil {
		close(c.gone)
	}
	return private(c.Conn.Close())
}

// CloseWrite tells the peer that nothing more comes, and leaves the other
// direction open; errors.ErrUnsupported where the connection has no such thing.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return private(half.CloseWrite())
	}
	return errors.ErrUnsupported
}

// discard throws away what the peer has sent and nobody read. A socket closed
// with such octets in it is reset, and a reset may overtake our last words.
// Where somebody has closed the connection already, nothing is left to read,
// and its reader may still be at it.
func (c *Conn) discard() {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed || !c.descriptor() {
		return
	}
	c.SetPace(Pace{})
	c.SetReadDeadline(time.Time{})
	for range 16 { // who sends on and on is reset
		c.fillErr = nil
		err := c.raw.Read(func(fd uintptr) bool { c.tryFill(fd); return true })
		if err != nil || c.buf == nil {
			return
		}
		c.release()
	}
}

// whenClosed gives a channel that is closed with the connection.
func (c *Conn) whenClosed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone == nil {
		c.gone = make(chan struct{})
		if c.closed {
			close(c.gone)
		}
	}
	return c.gone
}

// private takes the addresses out of an error of package net, which prints
// them. Everything else about the error stays.
func private(err error) error {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok {
		return err
	}
	word := op.Op
	if word == "raw-read" {
		word = "read"
	}
	return &net.OpError{Op: word, Net: op.Net, Err: op.Err}
}
