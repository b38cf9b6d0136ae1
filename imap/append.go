package imap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/emersion/go-imap/v2"

	"barid/imap/wire"
	"barid/internal/netserve"
	"barid/smtp/filter"
	"barid/storage"
)

// maxAppended bounds the messages of one APPEND. Together they may have twice
// the octets that one may have.
const maxAppended = 100

// needEncryption are the words that submission refuses content in the clear
// with, which clients look for.
const needEncryption = refusal("[CANNOT] Encryption Needed: Invalid Unencrypted Mail")

// append answers APPEND with one message or several (RFC 3502), all of which
// are saved, or none. The mailbox is looked for before a message is taken;
// messages go to Drafts while they come in.
func (s *session) append(c *wire.Command) (string, error) {
	c.SP()
	name := c.Mailbox()
	if c.Err() == nil {
		if err := s.appendable(name); err != nil {
			return noReply, err
		}
	}
	a := appending{s: s, mailbox: name, left: 2 * s.sv.cfg.MaxMessageSize}
	defer a.discard()
	for more := true; more; more = c.More() {
		if err := a.message(c); err != nil {
			return noReply, err
		}
	}
	if err := c.End(); err != nil {
		return noReply, err
	}
	if a.refused != nil {
		return noReply, a.refused
	}
	return a.commit()
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

// appending is an APPEND under way.
type appending struct {
	s       *session
	mailbox string
	ops     []storage.Op
	drafts  []*draft
	left    int64 // octets that may still come
	refused error // why nothing will be saved; what comes is taken all the same
}

func (a *appending) discard() {
	for _, d := range a.drafts {
		d.Discard()
	}
}

// message takes one message with its flags and date.
func (a *appending) message(c *wire.Command) error {
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
	if len(a.drafts) == maxAppended {
		c.Fail("Too many messages")
	}
	d, err := a.take(c)
	if err != nil {
		return err
	}
	a.drafts = append(a.drafts, d)
	if a.refused == nil {
		a.refused = d.refusal()
	}
	a.ops = append(a.ops, storage.Append{
		Account: a.s.account, Mailbox: a.mailbox, Flags: flagsOf(flags), Received: received, Content: d.Draft,
	})
	return c.Err()
}

// take takes a literal to its end, whatever becomes of it: the octets must
// not be read as commands.
func (a *appending) take(c *wire.Command) (*draft, error) {
	s := a.s
	size, body, binary := c.Literal8(min(s.sv.cfg.MaxMessageSize, a.left))
	if _, ok := errors.AsType[wire.TooBigError](c.Err()); ok {
		return nil, refusal("[TOOBIG] The message is too big")
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	a.left -= size
	s.conn.SetPace(netserve.Pace{Silence: silentUpload, Floor: uploadFloor, Stall: stall})
	defer s.conn.SetPace(netserve.Pace{Silence: silentAfter, Stall: stall})
	d := &draft{binary: binary, judge: s.sv.judge(s.account)}
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

// commit saves the messages.
func (a *appending) commit() (string, error) {
	res, err := a.s.sv.cfg.Store.Commit(a.s.ctx, storage.Batch{Ops: a.ops, AllOrNone: true})
	if err != nil {
		return noReply, tryCreate(fault(err))
	}
	uids := make([]uint32, len(res.Per))
	for i, o := range res.Per {
		if o.Err != nil {
			return noReply, tryCreate(fault(o.Err))
		}
		uids[i] = uint32(o.UID)
	}
	a.s.sv.appended.Add(float64(len(uids)))
	return fmt.Sprintf("OK [APPENDUID %d %s] Append completed", res.Per[0].UIDValidity, wire.FormatSet(uids)), nil
}

// judge sees content as it arrives and says at the end what it is.
type judge interface {
	io.Writer
	Verdict() filter.Verdict
}

// byRule judges as submission does: what is saved could be sent.
func byRule(a storage.Account) judge { return filter.New(filter.Outgoing, a.Address) }

// draft is a message that came in. When the store did not take all of it,
// fault says why.
type draft struct {
	storage.Draft
	judge  judge
	binary bool // came as literal8
	nul    bool
	fault  error
}

func (d *draft) take(p []byte) {
	d.nul = d.nul || bytes.IndexByte(p, 0) >= 0
	if d.nul || d.fault != nil {
		return
	}
	d.judge.Write(p)
	if _, err := d.Write(p); err != nil {
		d.fault = fault(err)
	}
}

// refusal tells why the message is not saved, nil when it is.
func (d *draft) refusal() error {
	switch {
	case d.nul && d.binary:
		return refusal("[UNKNOWN-CTE] The message has a NUL octet")
	case d.nul:
		return refusal("[CANNOT] The message has a NUL octet")
	case d.fault != nil:
		return d.fault
	case d.Draft.Size() == 0:
		return refusal("[CANNOT] The message is empty")
	case !d.judge.Verdict().Pass():
		return needEncryption
	}
	return nil
}

// noDraft stands where the store gave no Draft.
type noDraft struct{ storage.Draft }

func (noDraft) Discard()    {}
func (noDraft) Size() int64 { return 0 }
