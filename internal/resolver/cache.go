package resolver

import (
	"container/list"
	"errors"
	"time"

	"github.com/miekg/dns"
)

// entry is what came of one question. It never changes once it was made.
type entry struct {
	q         question
	name      string   // where the CNAMEs led
	records   []dns.RR // of the type asked for
	authentic bool
	err       error // nil when there are records
	asked     time.Time
	until     time.Time
	octets    int
}

// entryCost is what an entry takes beside its records, about, in octets.
const entryCost = 400

// result puts it in a word for metrics.
func (e *entry) result() string {
	switch {
	case e.err == nil:
		return "records"
	case errors.Is(e.err, ErrNoName):
		return "no-name"
	case errors.Is(e.err, ErrNoRecord):
		return "no-record"
	case errors.Is(e.err, ErrTooLarge):
		return "too-large"
	}
	return "trouble"
}

// cache remembers entries, as many as fit; those not used for longest go.
type cache struct {
	max, octets int
	byKey       map[question]*list.Element // of *entry
	recent      *list.List                 // used last in front
}

func newCache(max int) cache {
	return cache{max: max, byKey: map[question]*list.Element{}, recent: list.New()}
}

func (c *cache) get(q question, now time.Time) *entry {
	at := c.byKey[q]
	if at == nil {
		return nil
	}
	e := at.Value.(*entry)
	if !now.Before(e.until) {
		c.remove(at)
		return nil
	}
	c.recent.MoveToFront(at)
	return e
}

func (c *cache) put(e *entry) {
	if at := c.byKey[e.q]; at != nil {
		c.remove(at)
	}
	if e.octets > c.max {
		return
	}
	c.byKey[e.q] = c.recent.PushFront(e)
	c.octets += e.octets
	for c.octets > c.max {
		c.remove(c.recent.Back())
	}
}

func (c *cache) remove(at *list.Element) {
	e := c.recent.Remove(at).(*entry)
	delete(c.byKey, e.q)
	c.octets -= e.octets
}
