package netserve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"
)

// ErrBuffered is what StartTLS gives when octets in the clear wait in front
// of the handshake.
var ErrBuffered = errors.New("octets in the clear before the TLS handshake")

// handshakeTimeout is the default bound of a handshake as a whole.
const handshakeTimeout = 30 * time.Second

// gate lets a number of handshakes compute at once; the others queue in the
// order in which they came. It is held for computing only, never while
// waiting for a peer, or a few silent peers could close it for all.
type gate chan struct{}

// handshake is a Conn's place at the gate while its handshake lasts.
type handshake struct {
	gate     gate
	inside   bool
	answered bool // we sent our half; what is left to compute is little
}

// pause leaves the gate before a wait for the peer.
func (h *handshake) pause() {
	if h != nil && h.inside {
		<-h.gate
		h.inside = false
	}
}

// resume queues at the gate again after a wait.
func (h *handshake) resume() {
	if h != nil && h.gate != nil && !h.answered {
		h.gate <- struct{}{}
		h.inside = true
	}
}

// StartTLS does the server's half of a TLS handshake within the handshake
// deadline. A failed handshake closes the connection. Octets that a peer sent
// in the clear behind its STARTTLS are a fault (RFC 3207 section 6): the
// caller must have read none of them, and the handshake fails on them
// (ErrBuffered, or an error of crypto/tls).
//
// A deadline set with SetDeadline is gone afterwards; the Pace stays.
func (c *Conn) StartTLS(ctx context.Context, cfg *tls.Config) error {
	if c.Buffered() || c.tls != nil {
		c.Close()
		return fmt.Errorf("start TLS: %w", ErrBuffered)
	}
	return c.shakeHands(ctx, cfg)
}

// shakeHands is StartTLS for a connection whose first octets may be here.
func (c *Conn) shakeHands(ctx context.Context, cfg *tls.Config) error {
	bound := handshakeTimeout
	c.shake = new(handshake)
	if c.srv != nil {
		bound = c.srv.cfg.HandshakeTimeout
		c.shake.gate = c.srv.gate
	}
	defer func() {
		c.shake.pause()
		c.shake = nil
	}()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	c.SetDeadline(time.Now().Add(bound))
	c.onTLS = true
	t := tls.Server(c, cfg)
	err := c.hello()
	if err == nil {
		err = t.Handshake()
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		c.Close()
		return fmt.Errorf("TLS handshake: %w", err)
	}
	c.SetDeadline(time.Time{})
	c.tls = t
	return nil
}

// hello waits for the peer's first octets, if they are not here, and for the
// gate.
func (c *Conn) hello() error {
	if c.Buffered() {
		c.shake.resume()
		return nil
	}
	return c.fill()
}
