package wire

import (
	"errors"
	"io"

	gosmtp "github.com/emersion/go-smtp"

	"barid/internal/netserve"
	"barid/smtp"
)

// Data takes content, from DATA or BDAT. What it returns is the reply, never
// nil.
func (d *dialogue) Data(r io.Reader) error {
	_, chunked := r.(*io.PipeReader)
	if chunked {
		d.enter()
		defer d.leave()
	}
	if d.ended() {
		return lib(replyEnded)
	}
	d.nc.SetPace(netserve.Pace{Silence: dataSilence, Floor: dataFloor, Stall: stall})
	defer d.nc.SetPace(d.commandPace())
	c := &content{
		r: r, left: d.srv.cfg.MaxMessageSize, longest: d.srv.cfg.MaxLine, octets: d.srv.cfg.BadOctets,
		cut:   func() bool { return chunked && d.ear.chunk > 0 },
		stray: func() bool { return !chunked && d.ear.stray },
	}
	reply := d.take(c)
	switch {
	case c.broken:
		d.kill()
	case !chunked:
		d.drop(r)
	}
	return lib(reply)
}

// take lets the Session have the content and gives the reply.
func (d *dialogue) take(c *content) *smtp.Reply {
	d.mu.Lock()
	rcpts := d.rcpts
	d.mu.Unlock()
	if rcpts == 0 {
		return NoRecipients
	}
	reply, err := d.ask(c)
	switch {
	case c.verdict != nil:
		return c.verdict
	case c.broken:
		return replyEnded
	case err != nil:
		if !isReply(err) {
			d.fault("data", err)
		}
		if reply = smtp.AsReply(err); reply.Code/100 < 4 {
			reply = smtp.AsReply(errors.New("not a refusal"))
		}
		return reply
	case c.err != io.EOF:
		d.fault("data", errors.New("content was accepted before it was read"))
		return smtp.AsReply(errors.New("unread"))
	case reply == nil:
		return replyOK
	}
	return reply
}

// ask is Session.Data, kept from taking the process down.
func (d *dialogue) ask(c *content) (reply *smtp.Reply, err error) {
	defer d.rescue("data", &err, replyPanic)
	return d.sess.Data(d.ctx, c)
}

// drop reads what is left of content that nobody wants, so that the peer
// hears the reply. It gives up on one that sends on and on.
func (d *dialogue) drop(r io.Reader) {
	bound := 4*d.srv.cfg.MaxMessageSize + 1<<20
	switch n, err := io.CopyN(io.Discard, r, bound); {
	case errors.Is(err, gosmtp.ErrTooLongLine):
		// The library reads no further and ends the connection, after the reply.
		d.hangUp()
	case err != io.EOF || n == bound:
		d.kill()
	}
}

// enter and leave count the readers of BDAT, for reset to wait for them.
func (d *dialogue) enter() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.chunked++
	d.entered = true
	d.idle.Broadcast()
}

func (d *dialogue) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.chunked--
	d.idle.Broadcast()
}

// awaitReader waits for the reader of the chunk that was just answered. The
// library starts one with the first chunk, in a goroutine, and after a chunk
// of no octets it could begin when its transaction is long over.
func (d *dialogue) awaitReader() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.entered {
		d.idle.Wait()
	}
}

var _ gosmtp.AuthSession = (*dialogue)(nil)
