package relay

import (
	"crypto/rand"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"barid/internal/netserve"
	"barid/relay/wire"
)

// client is one connection. Its reader is one goroutine; what it says to
// others it puts into their outboxes.
type client struct {
	s        *Server
	key      wire.Key
	dialect  wire.Dialect
	carriage wire.Carriage
	place    netip.Addr
	stream   net.Conn
	below    *netserve.Conn // nil without

	out outbox

	// The reader's own.
	source   source
	messages wire.Messages
	bucket   bucket
	peers    peers
	last     wire.Key // of them, the one that had the last packet

	heard atomic.Int64 // when something came, as Server.now tells
	asked atomic.Int64 // when we asked whether somebody is there; 0 for not
	pulse *time.Timer
	ended atomic.Bool
}

// run takes frames until the connection ends.
func (c *client) run() {
	err := c.loop()
	c.ended.Store(true)
	c.pulse.Stop()
	c.s.part(c)
	c.forget()
	if errors.Is(err, wire.ErrFrame) || errors.Is(err, wire.ErrWebSocket) {
		c.s.count.refusals.WithLabelValues("broken frame").Inc()
		c.s.count.requestsFailed.Inc()
		c.s.log.Debug("client broke the protocol", "peer", c.key, "error", err)
	}
	c.goodbye(err)
	c.source.release()
	c.s.count.requestsOver.Inc()
	c.s.leave(c)
}

func (c *client) loop() error {
	for c.s.ctx.Err() == nil {
		b, err := c.frame()
		if err != nil {
			return err
		}
		if err := c.handle(b); err != nil {
			return err
		}
	}
	return c.s.ctx.Err()
}

// frame reads the next frame of the protocol. It is valid until the next call.
func (c *client) frame() ([]byte, error) {
	for {
		var b []byte
		var n, need int
		var op wire.WSOp
		var err error
		if c.carriage == wire.WebSocket {
			op, b, n, need, err = c.messages.Cut(c.source.waiting())
		} else {
			b, n, need, err = wire.CutStream(c.source.waiting())
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			if err := c.read(need); err != nil {
				return nil, err
			}
			continue
		}
		c.source.used(n)
		switch {
		case c.carriage == wire.Stream, op == wire.WSBinary:
			c.source.moved = true
			c.due()
			return b, nil
		case op == wire.WSPing:
			c.due()
			c.say(wire.AppendWSMessage(nil, wire.WSPong, b))
		case op == wire.WSClose:
			return nil, io.EOF
		}
	}
}

// due notes a frame that is to be paid for.
func (c *client) due() {
	c.bucket.frames++
	if c.bucket.waited {
		c.s.count.limitedFrames.Inc()
	}
}

// handle does what a frame asks for.
func (c *client) handle(b []byte) error {
	f, err := c.dialect.Parse(b, wire.FromClient)
	if err != nil {
		return err
	}
	count := &c.s.count
	if f.Kind != wire.Datagrams {
		count.othersRecv.Inc()
	}
	switch f.Kind {
	case wire.Datagrams:
		c.forward(f)
	case wire.Ping:
		count.gotPing.Inc()
		count.sentPong.Inc()
		c.tell(wire.Frame{Kind: wire.Pong, Echo: f.Echo})
	case wire.Unknown:
		count.unknown.Inc()
	}
	return nil
}

// forward passes a packet on to whom it is for. Nobody is told when it cannot
// be: the protocol has no words for that, and what it carries copes.
func (c *client) forward(f wire.Frame) {
	count := &c.s.count
	count.packetsRecv.Inc()
	count.bytesRecv.Add(float64(len(f.Data)))
	disco := c.dialect.Disco(f)
	if disco {
		count.discoRecv.Inc()
	}
	to := c.s.hub.find(f.Key)
	if to == nil {
		count.drop(count.noPeer, disco)
		return
	}
	if f.Key != c.last {
		c.last = f.Key
		c.peers.add(f.Key, &c.s.memory)
	}
	var scratch []byte
	if to.dialect == wire.P3 && c.dialect != wire.P3 {
		b := large.Get().(*[]byte)
		defer large.Put(b)
		scratch = *b
	}
	sent := false
	wire.Translate(f, c.dialect, to.dialect, scratch, func(f wire.Frame) bool {
		sent = true
		f.Key = c.key
		o, start := to.push(f)
		if start {
			go to.write()
		}
		switch o {
		case taken:
			count.bytesSent.Add(float64(len(f.Data)))
		case full:
			count.drop(count.queueFull, to.dialect.Disco(f))
		case gone:
			count.drop(count.left, to.dialect.Disco(f))
		case noSpace:
			count.drop(count.noSpace, to.dialect.Disco(f))
			c.s.memory.full.Add(1)
		}
		return o == taken
	})
	if !sent {
		count.drop(count.untranslatable, disco)
	}
}

// tell queues a frame of the relay itself.
func (c *client) tell(f wire.Frame) { c.say(c.carriage.Append(nil, c.dialect, f)) }

// beat looks whether the client is still there: who is silent for long is
// asked, and who does not answer is cut.
func (c *client) beat() {
	defer func() {
		if c.ended.Load() {
			c.pulse.Stop()
		}
	}()
	now, heard, asked := c.s.now(), time.Duration(c.heard.Load()), time.Duration(c.asked.Load())
	quiet := silence + time.Second + time.Duration(mathrand.Int64N(int64(4*time.Second)))
	switch {
	case c.ended.Load():
	case asked != 0 && heard < asked:
		c.s.log.Debug("client does not answer", "peer", c.key)
		c.cut()
	case now-heard < silence:
		c.asked.Store(0)
		c.pulse.Reset(quiet - (now - heard))
	default:
		c.asked.Store(int64(now))
		var echo [8]byte
		rand.Read(echo[:]) // never fails, see crypto/rand
		c.tell(wire.Frame{Kind: wire.Ping, Echo: echo})
		c.pulse.Reset(answerTime)
	}
}

// pay waits as long as the client has to for what it has sent.
func (c *client) pay(n int) error {
	cost := n + frameCost*c.bucket.frames
	c.bucket.frames = 0
	wait := c.bucket.take(int64(cost), c.s.cfg.BytesPerSecond, c.s.cfg.Burst, c.s.now())
	if c.bucket.waited = wait > 0; !c.bucket.waited {
		return nil
	}
	c.s.count.limitedBytes.Add(float64(n))
	if !c.bucket.limited {
		c.bucket.limited = true
		c.s.count.limited.Inc()
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		c.heard.Store(int64(c.s.now()))
		return nil
	case <-c.s.ctx.Done():
		return c.s.ctx.Err()
	}
}

// wake makes the reader look up: it is in a read, or comes to one. Called
// under the server's lock.
func (c *client) wake() {
	if c.stream != nil {
		c.stream.SetReadDeadline(time.Unix(1, 0))
	}
}

// cut ends the connection at once.
func (c *client) cut() {
	if c.below != nil {
		c.below.Close()
		return
	}
	c.stream.Close()
}

// goodbye ends the connection in a decent way, where the client can hear it.
func (c *client) goodbye(err error) {
	if c.carriage == wire.WebSocket {
		code := uint16(wire.WSNormal)
		switch {
		case c.s.ctx.Err() != nil:
			code = wire.WSGoingAway
		case errors.Is(err, wire.ErrWSTooBig):
			code = wire.WSTooBig
		case errors.Is(err, wire.ErrFrame), errors.Is(err, wire.ErrWebSocket):
			code = wire.WSProtocolError
		}
		c.stream.SetWriteDeadline(time.Now().Add(c.s.cfg.Stall))
		c.stream.Write(wire.AppendWSClose(nil, code)) // who has left needs no word
	}
	c.stream.Close()
	c.cut()
}

// writeAll writes, within the time that a client may take.
func (c *client) writeAll(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	c.stream.SetWriteDeadline(time.Now().Add(writeTime))
	_, err := c.stream.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.s.count.refusals.WithLabelValues("reads too slowly").Inc()
	}
	return err
}

// bucket counts what a connection has sent. It may go into debt by one read.
type bucket struct {
	level   int64 // octets that may be sent now
	last    time.Duration
	frames  int  // that are still to be paid for
	waited  bool // for what was read last
	limited bool // counted already
}

// take takes n octets and tells how long to wait for them.
func (b *bucket) take(n, perSecond, burst int64, now time.Duration) time.Duration {
	if perSecond <= 0 {
		return 0
	}
	if b.last == 0 {
		b.level = burst
	}
	earned := int64((now - b.last).Seconds() * float64(perSecond))
	b.level = min(b.level+earned, burst) - n
	b.last = max(now, 1)
	if b.level >= 0 {
		return 0
	}
	return time.Duration(float64(-b.level) / float64(perSecond) * float64(time.Second))
}
