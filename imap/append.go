package imap

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/emersion/go-imap/v2"

	"barid/imap/wire"
	"barid/internal/netserve"
	"barid/storage"
)

// append answers APPEND. The mailbox is looked for before the message is
// taken; the message goes to a Draft while it comes in.
func (s *session) append(c *wire.Command) (string, error) {
	c.SP()
	name := c.Mailbox()
	c.SP()
	var flags []imap.Flag
	if c.Next('(') {
		flags = c.FlagList()
		c.SP()
	}
	var received time.Time
	if c.Next('"') {
		received = c.DateTime()
		c.SP()
	}
	if err := c.Err(); err != nil {
		return noReply, err
	}
	if err := s.appendable(name); err != nil {
		return noReply, err
	}
	draft, err := s.takeMessage(c)
	if err != nil {
		return noReply, err
	}
	defer draft.Discard()
	if err := c.End(); err != nil {
		return noReply, err
	}
	if draft.nul {
		return noReply, refusal("[CANNOT] The message has a NUL octet")
	}
	if draft.fault != nil {
		return noReply, draft.fault
	}
	if draft.Draft.Size() == 0 {
		return noReply, refusal("[CANNOT] The message is empty")
	}
	o, err := s.commit(storage.Append{
		Account: s.account, Mailbox: name, Flags: flagsOf(flags), Received: received, Content: draft.Draft,
	})
	if err != nil {
		return noReply, tryCreate(err)
	}
	s.sv.appended.Inc()
	return fmt.Sprintf("OK [APPENDUID %d %d] Append completed", o.UIDValidity, o.UID), nil
}

// appendable tells whether a mailbox is there.
func (s *session) appendable(name string) error {
	box, err := s.sv.cfg.Store.Open(s.ctx, s.account, name)
	if err != nil {
		return tryCreate(fault(err))
	}
	box.Close()
	return nil
}

// draft is a message that came in. When the store did not take all of it,
// fault says why.
type draft struct {
	storage.Draft
	nul   bool
	fault error
}

// takeMessage takes the literal of an APPEND to its end, whatever becomes of
// it: the octets must not be read as commands.
func (s *session) takeMessage(c *wire.Command) (*draft, error) {
	size, body := c.Literal(s.sv.cfg.MaxMessageSize)
	if err := c.Err(); err != nil {
		return nil, err
	}
	s.conn.SetPace(netserve.Pace{Silence: silentUpload, Floor: uploadFloor, Stall: stall})
	defer s.conn.SetPace(netserve.Pace{Silence: silentAfter, Stall: stall})
	d := new(draft)
	var err error
	if d.Draft, err = s.sv.cfg.Store.Draft(s.ctx, size); err != nil {
		d.Draft, d.fault = noDraft{}, fault(err)
	}
	chunk := make([]byte, min(size, 16<<10))
	for left := size; left > 0; {
		n, err := io.ReadFull(body, chunk[:min(left, int64(len(chunk)))])
		left -= int64(n)
		if err != nil {
			d.Discard()
			return nil, err
		}
		d.take(chunk[:n])
	}
	c.EndLiteral()
	return d, nil
}

func (d *draft) take(p []byte) {
	d.nul = d.nul || bytes.IndexByte(p, 0) >= 0
	if d.nul || d.fault != nil {
		return
	}
	if _, err := d.Write(p); err != nil {
		d.fault = fault(err)
	}
}

// noDraft stands where the store gave no Draft.
type noDraft struct{ storage.Draft }

func (noDraft) Discard()    {}
func (noDraft) Size() int64 { return 0 }
