package local

import (
	"slices"

	"barid/smtp"
	"barid/storage"
)

// maxQueueText bounds each name in an envelope, in octets.
const maxQueueText = 1024

// queueChange is a change of the queue. Which fields a kind uses stands beside
// it.
type queueChange struct {
	id    storage.QueueID
	env   *envelope
	gone  []uint32 // places of recipients, ascending; none is all of them
	marks storage.QueueMarks
}

// envelope is what is known of an entry beside its content. It never changes.
type envelope struct {
	dest   string
	sender smtp.Address
	from   smtp.Path
	to     []smtp.Address
	prefix []byte
}

// octets is what it takes in memory, about.
func (env *envelope) octets() int64 {
	n := 100 + len(env.prefix)
	for _, a := range env.to {
		n += 32 + len(a.LocalPart) + len(a.Domain)
	}
	return int64(n)
}

func (k changeKind) ofQueue() bool { return k >= changeEnqueue && k <= changeMarks }

func (r *record) changesQueue() bool {
	return slices.ContainsFunc(r.changes, func(c change) bool { return c.kind.ofQueue() })
}

func (e *encoder) queueChange(c *change) {
	qc := c.queue
	e.number(uint64(qc.id))
	switch c.kind {
	case changeEnqueue:
		e.signed(c.at)
		e.number(uint64(c.content))
		e.envelope(qc.env)
	case changeDequeue:
		e.places(qc.gone)
	case changeMarks:
		e.number(uint64(qc.marks))
	}
}

func (d *decoder) queueChange(c *change) {
	qc := &queueChange{id: d.queueID()}
	c.queue = qc
	switch c.kind {
	case changeEnqueue:
		c.at = d.signed()
		c.content = int(d.below(1 << 31))
		qc.env = d.envelope()
	case changeDequeue:
		qc.gone = d.places()
	case changeMarks:
		qc.marks = d.queueMarks()
	}
}

func (d *decoder) queueID() storage.QueueID       { return storage.QueueID(d.below(1 << 63)) }
func (d *decoder) queueMarks() storage.QueueMarks { return storage.QueueMarks(d.below(1 << 8)) }

func (e *encoder) address(a smtp.Address) {
	e.text(a.LocalPart)
	e.text(a.Domain)
}

func (d *decoder) address() smtp.Address { return smtp.Address{LocalPart: d.text(), Domain: d.text()} }

func (e *encoder) envelope(env *envelope) {
	e.text(env.dest)
	e.address(env.sender)
	e.address(env.from.Address)
	e.number(uint64(len(env.to)))
	for _, a := range env.to {
		e.address(a)
	}
	e.text(string(env.prefix))
}

func (d *decoder) envelope() *envelope {
	env := &envelope{dest: d.text(), sender: d.address(), from: smtp.Path{Address: d.address()}}
	n := d.count(2)
	if n == 0 && d.err == nil {
		d.fail("nobody to send to")
	}
	for ; n > 0 && d.err == nil; n-- {
		env.to = append(env.to, d.address())
	}
	env.prefix = []byte(d.text())
	return env
}

// places writes numbers that ascend, as distances.
func (e *encoder) places(list []uint32) {
	e.number(uint64(len(list)))
	next := uint32(0)
	for _, at := range list {
		e.number(uint64(at - next))
		next = at + 1
	}
}

func (d *decoder) places() (list []uint32) {
	next := uint64(0)
	for n := d.count(1); n > 0 && d.err == nil; n-- {
		at := next + d.below(1<<32)
		if at >= 1<<31 {
			d.fail("a place out of its range")
			return nil
		}
		list = append(list, uint32(at))
		next = at + 1
	}
	return list
}
