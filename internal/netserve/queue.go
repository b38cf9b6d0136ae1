package netserve

import (
	"context"
	"net"
	"sync"
	"time"
)

// Queue hands accepted connections to a server that wants to accept for
// itself, such as http.Server: it is a Handler on one side and a net.Listener
// on the other. Accept gives the *tls.Conn, its handshake done, or the *Conn
// of a connection without TLS; From finds the Conn below either.
type Queue struct {
	// Pace is set on every connection that passes. NewQueue gives it a Stall
	// of two minutes. To be changed before the first connection only.
	Pace Pace

	addr  net.Addr
	conns chan net.Conn
	once  sync.Once
	shut  chan struct{}
}

// NewQueue makes an empty queue. addr is what Addr gives; it names the queue
// to the server and may be of any kind.
func NewQueue(addr net.Addr) *Queue {
	return &Queue{
		Pace:  Pace{Stall: 2 * time.Minute},
		addr:  addr,
		conns: make(chan net.Conn),
		shut:  make(chan struct{}),
	}
}

// ServeConn passes c on and returns when it is closed. When nobody accepts
// before ctx ends or after Close, the connection ends.
func (q *Queue) ServeConn(ctx context.Context, c *Conn) {
	c.SetPace(q.Pace)
	gone := c.whenClosed()
	select {
	case q.conns <- c.Stream():
	case <-gone:
		return
	case <-q.shut:
		return
	case <-ctx.Done():
		return
	}
	<-gone
}

// Accept waits for the next connection; net.ErrClosed after Close.
func (q *Queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.shut:
		return nil, net.ErrClosed
	}
}

// Close ends Accept. Connections that were accepted stay.
func (q *Queue) Close() error {
	q.once.Do(func() { close(q.shut) })
	return nil
}

// Addr gives what NewQueue was given.
func (q *Queue) Addr() net.Addr { return q.addr }
