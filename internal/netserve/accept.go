package netserve

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime/debug"
	"time"
)

// The waits after a failed accept: no descriptors left, mostly. They grow by
// two and are spread by half.
const (
	firstWait = 5 * time.Millisecond
	lastWait  = time.Second
)

// acceptor is one listening socket at work.
type acceptor struct {
	Listener
	ln     net.Listener
	s      *Server
	group  *group
	config *tls.Config // made so that no ALPN fails it
}

// run accepts until the socket is closed. No other error ends it.
func (a *acceptor) run() {
	wait := firstWait
	for {
		raw, err := a.ln.Accept()
		if err == nil {
			wait = firstWait
			a.take(raw)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		a.s.faults.Inc()
		if wait == firstWait { // once for each burst
			a.s.log.Error("accept failed", "listener", a.Name, "error", private(err))
		}
		if !a.sleep(wait/2 + rand.N(wait/2)) {
			return
		}
		wait = min(2*wait, lastWait)
	}
}

// sleep waits, but not beyond the end of the server.
func (a *acceptor) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-a.s.ctx.Done():
		return false
	}
}

// take lets a connection in or refuses it.
func (a *acceptor) take(raw net.Conn) {
	if a.proxied(raw) {
		a.s.work.Add(1)
		go a.behindProxy(raw)
		return
	}
	a.enter(NewConn(raw, clientOf(raw)))
}

// enter lets a connection in whose client is known.
func (a *acceptor) enter(c *Conn) {
	c.srv = a.s
	if bound := a.admit(c); bound != "" {
		a.s.refused.WithLabelValues(a.Name, bound).Inc()
		a.refuse(c.Conn)
		return
	}
	a.s.work.Add(1)
	if a.Mode == Clear {
		go a.speak(a.Handler, c)
		return
	}
	go a.welcome(c)
}

// refuse says the protocol's words, where there are such, and closes.
func (a *acceptor) refuse(raw net.Conn) {
	if a.Mode != Clear || a.Refuse == nil {
		raw.Close()
		return
	}
	select {
	case a.s.refuser <- struct{}{}:
	default: // enough of them are being told
		raw.Close()
		return
	}
	a.s.work.Go(func() {
		defer func() {
			a.caught(recover())
			raw.Close()
			<-a.s.refuser
		}()
		raw.SetDeadline(time.Now().Add(time.Second))
		a.Refuse(raw)
	})
}

// welcome does the handshake and hands the connection over to a fresh
// goroutine, whose stack the handshake has not stretched.
func (a *acceptor) welcome(c *Conn) {
	if h := a.choose(c); h != nil {
		go a.speak(h, c)
		return
	}
	a.end(c)
}

// speak gives the connection to its protocol.
func (a *acceptor) speak(h Handler, c *Conn) {
	defer a.spoken(c)
	h.ServeConn(a.s.ctx, c)
}

// spoken ends a connection after its handler returned or panicked.
func (a *acceptor) spoken(c *Conn) {
	a.caught(recover())
	a.end(c)
}

// end closes a connection and forgets it.
func (a *acceptor) end(c *Conn) {
	c.discard()
	c.Stream().Close() // with TLS, a goodbye goes out
	c.Close()
	a.s.forget(c)
	a.s.work.Done()
}

// caught reports a recovered panic, if there was one.
func (a *acceptor) caught(fault any) {
	if fault == nil {
		return
	}
	a.s.panics.Inc()
	a.s.log.Error("panic in a connection", "listener", a.Name, "fault", fmt.Sprint(fault), "stack", string(debug.Stack()))
}
