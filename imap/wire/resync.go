package wire

import "strings"

// maxMatch bounds the ranges of a sequence match of QRESYNC.
const maxMatch = 1000

// Select is the parameters of SELECT and EXAMINE.
type Select struct {
	CondStore bool
	QResync   *QResync // nil where it is not given
}

// QResync is what a client knows of a mailbox from an earlier session (RFC
// 7162 section 3.2.5).
type QResync struct {
	Validity uint32
	ModSeq   uint64
	// Known is the UIDs that the client knows; nil where it is not given.
	Known Set
	// Numbers and UIDs belong together, one by one: what some message sequence
	// numbers meant. Nil where they are not given.
	Numbers, UIDs Set
}

// Select takes the parameters behind the mailbox name, to the end of the
// command.
func (c *Command) Select() Select {
	var s Select
	if !c.More() {
		return s
	}
	c.SP()
	c.List(func() {
		switch strings.ToUpper(c.Atom()) {
		case "CONDSTORE":
			s.CondStore = true
		case "QRESYNC":
			if s.QResync != nil {
				c.fail("QRESYNC twice")
			}
			c.SP()
			s.QResync = c.qresync()
		default:
			c.fail("Unknown SELECT parameter")
		}
	})
	return s
}

func (c *Command) qresync() *QResync {
	q := new(QResync)
	if !c.take('(') {
		c.fail("List expected")
	}
	q.Validity = c.Number()
	c.SP()
	q.ModSeq = c.Number64()
	if c.take(' ') && !c.Next('(') {
		q.Known = c.plainSet()
		c.take(' ')
	}
	if c.take('(') {
		q.Numbers = c.plainSet()
		c.SP()
		q.UIDs = c.plainSet()
		if !c.take(')') {
			c.fail("Unfinished list")
		}
	}
	if !c.take(')') {
		c.fail("Unfinished list")
	}
	switch {
	case c.err == nil && (q.Validity == 0 || q.ModSeq == 0):
		c.fail("Zero in QRESYNC")
	case len(q.Numbers) > maxMatch || len(q.UIDs) > maxMatch:
		c.fail("Too many ranges in QRESYNC")
	}
	return q
}

// plainSet is a set without "*".
func (c *Command) plainSet() Set {
	set := c.Set()
	for _, r := range set {
		if r.First == Star || r.Last == Star {
			c.fail("Star in a set of known numbers")
		}
	}
	return set
}

// LastMatch gives the last pair of Numbers and UIDs that holds for, in the
// order given, or zeroes. It looks at so many pairs at most.
func (q *QResync) LastMatch(most int, holds func(number, uid uint32) bool) (number, uid uint32) {
	a, b := walker{set: q.Numbers}, walker{set: q.UIDs}
	for range most {
		n, more := a.next()
		u, both := b.next()
		if !more || !both {
			break
		}
		if holds(n, u) {
			number, uid = n, u
		}
	}
	return number, uid
}

// walker goes through the numbers of a set in the order given.
type walker struct {
	set  Set
	done uint32 // numbers of the first range that were given
}

func (w *walker) next() (n uint32, ok bool) {
	if len(w.set) == 0 {
		return 0, false
	}
	r := w.set[0]
	low, high := min(r.First, r.Last), max(r.First, r.Last)
	n = low + w.done
	if w.done++; n == high {
		w.set, w.done = w.set[1:], 0
	}
	return n, true
}
