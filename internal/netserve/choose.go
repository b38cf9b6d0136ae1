package netserve

import (
	"context"
	"crypto/tls"
	"slices"
	"time"
)

// recordTypeHandshake is the first octet of every TLS connection (RFC 8446
// section 5.1).
const recordTypeHandshake = 0x16

// prepare makes the TLS configuration of a listener: one that agrees on a
// protocol when it can and goes on without when it cannot. crypto/tls by
// itself fails a handshake in which no name matches.
func (a *acceptor) prepare() {
	if a.Mode == Clear {
		return
	}
	names := a.TLS.NextProtos
	if a.Mode == Mux {
		names = nil
		for name := range a.ALPN {
			names = append(names, name)
		}
		if a.Handler != nil {
			names = append(names, "h2", "http/1.1")
		}
	}
	a.config = agreeable(a.TLS, names)
}

// agreeable gives a copy of cfg that takes the first of the client's
// protocols that is among names, or none.
func agreeable(cfg *tls.Config, names []string) *tls.Config {
	plain := cfg.Clone()
	plain.NextProtos = nil
	inner := cfg.GetConfigForClient
	if inner == nil && len(names) == 0 {
		return plain
	}
	ready := map[string]*tls.Config{}
	for _, name := range names {
		ready[name] = plain.Clone()
		ready[name].NextProtos = []string{name}
	}
	outer := plain.Clone()
	outer.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		var common string
		if i := slices.IndexFunc(hello.SupportedProtos, func(p string) bool { return ready[p] != nil }); i >= 0 {
			common = hello.SupportedProtos[i]
		}
		if inner != nil {
			own, err := inner(hello)
			if err != nil {
				return nil, err
			}
			if own != nil {
				own = own.Clone()
				own.NextProtos = nil
				if common != "" {
					own.NextProtos = []string{common}
				}
				return own, nil
			}
		}
		return ready[common], nil // nil: the outer one, which names none
	}
	return outer
}

// choose reads what the client begins with, does the handshake and gives the
// handler it asked for; nil when there is none.
func (a *acceptor) choose(c *Conn) (h Handler) {
	defer func() {
		if fault := recover(); fault != nil {
			a.caught(fault)
			h = nil
		}
	}()
	if a.Mode == Mux {
		first, err := a.first(c)
		switch {
		case err != nil:
			return nil
		case first >= 'A' && first <= 'Z':
			return a.Plain
		case first < recordTypeHandshake && a.Guess != nil: // a binary protocol in the clear, in one piece
			return a.Guess(c.buf[c.r:c.w])
		case first != recordTypeHandshake:
			return nil
		}
	}
	if err := c.shakeHands(a.s.ctx, a.config); err != nil {
		a.s.failed.Inc()
		a.s.log.Debug("handshake failed", "listener", a.Name, "error", err)
		return nil
	}
	if a.Mode == Mux {
		name := c.tls.ConnectionState().NegotiatedProtocol
		if h, ok := a.ALPN[name]; ok {
			return h
		}
		// Clients of coturn name HTTP/1.1 before TURN.
		if (name == "" || name == "http/1.1") && a.Guess != nil {
			h, err := a.guess(c)
			if err != nil {
				return nil
			}
			return h
		}
	}
	return a.Handler
}

// first waits for the first octet and leaves it where it is.
func (a *acceptor) first(c *Conn) (byte, error) {
	stop := context.AfterFunc(a.s.ctx, func() { c.Close() })
	defer stop()
	c.SetDeadline(time.Now().Add(a.s.cfg.HandshakeTimeout))
	if err := c.fill(); err != nil {
		return 0, err
	}
	c.SetDeadline(time.Time{})
	return c.buf[c.r], nil
}
