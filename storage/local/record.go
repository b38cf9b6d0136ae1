package local

import (
	"encoding/binary"
	"errors"
	"fmt"

	"barid/smtp"
	"barid/storage"
)

// record is one entry of the journal: what a Commit, a birth or an adoption
// came to. It has results, not wishes, so replaying it decides nothing.
//
// Encoded it is: version, accounts, contents (their octets last, after
// everything else), changes. Numbers are unsigned varints, strings have their
// length in front.
type record struct {
	accounts []smtp.Address
	contents []recordContent
	changes  []change
}

// recordContent is the content of one or more messages: its octets, or the
// name of the staging file that has them.
type recordContent struct {
	size   int64
	crc    uint32 // Castagnoli
	staged string
	octets []byte // when staged is ""
}

const (
	recordVersion = 3
	// Older versions are read, not written. recordV2 did not tell the IDs of
	// mailboxes; recordV1 moreover not when a message was saved, nor which
	// message a copy is of.
	recordV2 = 2
	recordV1 = 1
)

// errRecord is inside every error about a record that cannot be read.
var errRecord = errors.New("bad record")

type changeKind byte

// The kinds of changes. They are on disk: never renumber.
const (
	changeBorn      changeKind = 1 + iota // validity, id, text: hash
	changeDied                            // old: hash until then
	changePassword                        // text: hash, old: the one before
	changeEntry                           // box, text: name, value, remove (of a list: that value), at
	changeSubscribe                       // text: mailbox, remove
	changeMakeBox                         // box, validity, id
	changeDropBox                         // box
	changeAdd                             // box, uid, modseq, flags, at, content, saved, remove: not delivered but appended
	changeCopy                            // box, to, uid: first of the copies, modseq, list with uid of source and all else
	changeFlags                           // box, modseq, list with uid, flags
	changeExpunge                         // box, modseq, list with uid
	changeAdopt                           // box, uid, modseq, flags, at, size, text: base name, remove: lies in cur
	changeRebuilt                         // box, validity, id, uid: UIDNEXT, modseq
	changeEnqueue                         // queue: id, env; at, content
	changeDequeue                         // queue: id, gone
	changeMarks                           // queue: id, marks
	changeKinds
)

// change is one change of one account, or of the queue. Which fields a kind uses stands
// beside it.
type change struct {
	kind     changeKind
	account  int
	box, to  string
	text     string
	old      string
	value    []byte
	remove   bool
	validity storage.UIDValidity
	id       storage.MailboxID // zero: of an older version, or nobody knows
	uid      storage.UID
	modseq   storage.ModSeq
	flags    storage.Flags
	at       int64 // seconds of the Unix epoch
	saved    int64 // likewise
	size     int64
	content  int
	list     []changed
	queue    *queueChange // of changes of the queue, which have no account
}

// changed is one message of a change.
type changed struct {
	uid   storage.UID
	flags storage.Flags
	at    int64
	saved int64
	size  int64
	// id is Message.ID. When it comes from this record, which has no number
	// before it is in the journal, own is set, and id is the number of the
	// message within the record.
	id  uint64
	own bool
}

// messages tells how many messages the change puts into mailboxes.
func (c *change) messages() uint32 {
	switch c.kind {
	case changeAdd, changeAdopt:
		return 1
	case changeCopy:
		return uint32(len(c.list))
	}
	return 0
}

// encode gives the parts of the record, to be joined. The octets of contents
// are parts of their own, not copied.
func (r *record) encode() [][]byte {
	var e encoder
	e.b = append(e.b, recordVersion)
	e.number(uint64(len(r.accounts)))
	for _, a := range r.accounts {
		e.text(a.LocalPart)
		e.text(a.Domain)
	}
	e.number(uint64(len(r.contents)))
	for _, c := range r.contents {
		e.number(uint64(c.size))
		e.number(uint64(c.crc))
		e.text(c.staged)
	}
	e.number(uint64(len(r.changes)))
	for i := range r.changes {
		e.change(&r.changes[i])
	}
	parts := [][]byte{e.b}
	for _, c := range r.contents {
		if c.staged == "" {
			parts = append(parts, c.octets)
		}
	}
	return parts
}

type encoder struct{ b []byte }

func (e *encoder) number(n uint64) { e.b = binary.AppendUvarint(e.b, n) }
func (e *encoder) signed(n int64)  { e.b = binary.AppendVarint(e.b, n) }
func (e *encoder) text(s string) {
	e.number(uint64(len(s)))
	e.b = append(e.b, s...)
}
func (e *encoder) bit(v bool) {
	if v {
		e.b = append(e.b, 1)
	} else {
		e.b = append(e.b, 0)
	}
}

func (e *encoder) change(c *change) {
	e.b = append(e.b, byte(c.kind))
	e.number(uint64(c.account))
	e.text(c.box)
	switch c.kind {
	case changeBorn:
		e.number(uint64(c.validity))
		e.b = append(e.b, c.id[:]...)
		e.text(c.text)
	case changeDied:
		e.text(c.old)
	case changePassword:
		e.text(c.text)
		e.text(c.old)
	case changeEntry:
		e.text(c.text)
		e.text(string(c.value))
		e.bit(c.remove)
		e.signed(c.at)
	case changeSubscribe:
		e.text(c.text)
		e.bit(c.remove)
	case changeMakeBox:
		e.number(uint64(c.validity))
		e.b = append(e.b, c.id[:]...)
	case changeDropBox:
	case changeAdd:
		e.number(uint64(c.uid))
		e.number(uint64(c.modseq))
		e.number(uint64(c.flags))
		e.signed(c.at)
		e.signed(c.saved - c.at)
		e.number(uint64(c.content))
		e.bit(c.remove)
	case changeCopy:
		e.text(c.to)
		e.number(uint64(c.uid))
		e.number(uint64(c.modseq))
		e.list(c.list, func(m changed) {
			e.number(uint64(m.flags))
			e.signed(m.at)
			e.signed(m.saved - m.at)
			e.number(uint64(m.size))
			e.bit(m.own)
			e.number(m.id)
		})
	case changeFlags:
		e.number(uint64(c.modseq))
		e.list(c.list, func(m changed) { e.number(uint64(m.flags)) })
	case changeExpunge:
		e.number(uint64(c.modseq))
		e.list(c.list, func(changed) {})
	case changeAdopt:
		e.number(uint64(c.uid))
		e.number(uint64(c.modseq))
		e.number(uint64(c.flags))
		e.signed(c.at)
		e.number(uint64(c.size))
		e.text(c.text)
		e.bit(c.remove)
	case changeRebuilt:
		e.number(uint64(c.validity))
		e.b = append(e.b, c.id[:]...)
		e.number(uint64(c.uid))
		e.number(uint64(c.modseq))
	case changeEnqueue, changeDequeue, changeMarks:
		e.queueChange(c)
	default:
		panic("a change of no kind: no code makes one")
	}
}

// list writes messages; their UIDs, ascending, as distances.
func (e *encoder) list(list []changed, rest func(changed)) {
	e.number(uint64(len(list)))
	var last storage.UID
	for _, m := range list {
		e.number(uint64(m.uid - last))
		last = m.uid
		rest(m)
	}
}

// decodeRecord reads a record. Octets and values share b's memory. The error
// wraps errRecord.
func decodeRecord(b []byte) (*record, error) {
	d := decoder{b: b}
	if d.version = d.octet(); d.err == nil && (d.version < recordV1 || d.version > recordVersion) {
		return nil, fmt.Errorf("%w: version %d, this program knows up to %d", errRecord, d.version, recordVersion)
	}
	r := new(record)
	for n := d.count(2); n > 0 && d.err == nil; n-- {
		r.accounts = append(r.accounts, smtp.Address{LocalPart: d.text(), Domain: d.text()})
	}
	for n := d.count(3); n > 0 && d.err == nil; n-- {
		r.contents = append(r.contents, recordContent{size: int64(d.below(1 << 48)), crc: uint32(d.below(1 << 32)), staged: d.text()})
	}
	for n := d.count(3); n > 0 && d.err == nil; n-- {
		c := d.change()
		if c.account >= len(r.accounts) && !c.kind.ofQueue() || (c.kind == changeAdd || c.kind == changeEnqueue) && c.content >= len(r.contents) {
			d.fail("a change points outside the record")
		}
		r.changes = append(r.changes, c)
	}
	if d.version == recordV1 {
		r.complete()
	}
	for i := range r.contents {
		if c := &r.contents[i]; c.staged == "" {
			c.octets = d.octets(c.size)
		}
	}
	if d.err == nil && len(d.b) != 0 {
		d.fail("octets after its end")
	}
	if d.err != nil {
		return nil, d.err
	}
	return r, nil
}

// complete makes up for what a record of version 1 does not tell: a message
// was saved when it was received, and a copy is a message of its own.
func (r *record) complete() {
	n := uint32(0)
	for i := range r.changes {
		c := &r.changes[i]
		if c.kind == changeAdd {
			c.saved = c.at
		}
		if c.kind == changeCopy {
			for k := range c.list {
				m := &c.list[k]
				m.saved, m.own, m.id = m.at, true, uint64(n)+uint64(k)
			}
		}
		n += c.messages()
	}
}

type decoder struct {
	b       []byte
	version byte // of the record
	err     error
}

func (d *decoder) fail(why string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", errRecord, why)
	}
	d.b = nil
}

func (d *decoder) octet() byte {
	if len(d.b) == 0 {
		d.fail("cut short")
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) bit() bool {
	v := d.octet()
	if v > 1 {
		d.fail("a bit that is neither 0 nor 1")
	}
	return v == 1
}

func (d *decoder) number() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail("a number cut short or too large")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) signed() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail("a number cut short or too large")
		return 0
	}
	d.b = d.b[n:]
	return v
}

// below reads a number that must be under limit.
func (d *decoder) below(limit uint64) uint64 {
	v := d.number()
	if v >= limit {
		d.fail("a number out of its range")
		return 0
	}
	return v
}

// count reads how many things of at least size octets follow, so that a bad
// count cannot ask for more memory than the record is long.
func (d *decoder) count(size int) int {
	n := d.number()
	if n > uint64(len(d.b)/size) {
		d.fail("more counted than there is")
		return 0
	}
	return int(n)
}

func (d *decoder) octets(n int64) []byte {
	if n < 0 || n > int64(len(d.b)) {
		d.fail("octets cut short")
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) text() string { return string(d.octets(int64(d.below(1 << 31)))) }

func (d *decoder) uid() storage.UID       { return storage.UID(d.below(1 << 32)) }
func (d *decoder) modseq() storage.ModSeq { return storage.ModSeq(d.below(1 << 63)) }
func (d *decoder) flags() storage.Flags   { return storage.Flags(d.below(1 << 32)) }
func (d *decoder) size() int64            { return int64(d.below(1 << 48)) }

func (d *decoder) change() (c change) {
	c.kind = changeKind(d.octet())
	c.account = int(d.below(1 << 31))
	c.box = d.text()
	switch c.kind {
	case changeBorn:
		c.validity, c.id = d.life()
		c.text = d.text()
	case changeDied:
		c.old = d.text()
	case changePassword:
		c.text = d.text()
		c.old = d.text()
	case changeEntry:
		c.text = d.text()
		c.value = []byte(d.text())
		c.remove = d.bit()
		c.at = d.signed()
	case changeSubscribe:
		c.text = d.text()
		c.remove = d.bit()
	case changeMakeBox:
		c.validity, c.id = d.life()
	case changeDropBox:
	case changeAdd:
		c.uid, c.modseq, c.flags, c.at = d.uid(), d.modseq(), d.flags(), d.signed()
		if d.version > recordV1 {
			c.saved = c.at + d.signed()
		}
		c.content = int(d.below(1 << 31))
		c.remove = d.bit()
	case changeCopy:
		c.to = d.text()
		c.uid, c.modseq = d.uid(), d.modseq()
		if d.version == recordV1 {
			c.list = d.list(4, func(m *changed) { m.flags, m.at, m.size = d.flags(), d.signed(), d.size() })
			break
		}
		c.list = d.list(7, func(m *changed) {
			m.flags, m.at = d.flags(), d.signed()
			m.saved, m.size = m.at+d.signed(), d.size()
			m.own, m.id = d.bit(), d.number()
		})
	case changeFlags:
		c.modseq = d.modseq()
		c.list = d.list(2, func(m *changed) { m.flags = d.flags() })
	case changeExpunge:
		c.modseq = d.modseq()
		c.list = d.list(1, func(*changed) {})
	case changeAdopt:
		c.uid, c.modseq, c.flags, c.at, c.size = d.uid(), d.modseq(), d.flags(), d.signed(), d.size()
		c.text = d.text()
		c.remove = d.bit()
	case changeRebuilt:
		c.validity, c.id = d.life()
		c.uid, c.modseq = d.uid(), d.modseq()
	case changeEnqueue, changeDequeue, changeMarks:
		d.queueChange(&c)
	default:
		d.fail("an unknown kind of change")
	}
	return c
}

// life reads what names one life of a mailbox.
func (d *decoder) life() (v storage.UIDValidity, id storage.MailboxID) {
	v = storage.UIDValidity(d.below(1 << 32))
	if d.version > recordV2 {
		id = d.mailboxID()
	}
	return v, id
}

func (d *decoder) mailboxID() (id storage.MailboxID) {
	copy(id[:], d.octets(int64(len(id))))
	return id
}

func (d *decoder) list(size int, rest func(*changed)) []changed {
	n := d.count(size)
	if n == 0 {
		return nil
	}
	list := make([]changed, 0, n)
	last := uint64(0)
	for ; n > 0 && d.err == nil; n-- {
		step := d.below(1 << 32)
		if last += step; step == 0 || last >= 1<<32 {
			d.fail("UIDs that do not ascend")
			return nil
		}
		m := changed{uid: storage.UID(last)}
		rest(&m)
		list = append(list, m)
	}
	return list
}
