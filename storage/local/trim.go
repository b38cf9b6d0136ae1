package local

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"barid/storage"
)

// What leaves a mailbox that gets full, in parts of its bounds: above
// trimAbove of them after a message has come, the oldest messages leave until
// trimTo of them are left.
const (
	trimAbove = 75 // percent
	trimTo    = 70 // percent
	// trimAge protects what is younger: a mailbox full of fresh mail stays full.
	trimAge = 24 * time.Hour
)

// capacity is what an account may have.
type capacity struct{ octets, messages int64 }

// capacity gives what accounts may have; not ok when that is unbounded.
func (s *Store) capacity() (r capacity, ok bool) {
	quota := s.cfg.Quota
	return capacity{quota, max(quota/messageCost, minMessages)}, quota > 0
}

// holds tells whether so many percent of r suffice for u.
func (r capacity) holds(u storage.Usage, percent int64) bool {
	return share(u.Octets, percent) <= r.octets && share(u.Messages, percent) <= r.messages
}

// share is n, blown up so that percent of a bound look like all of it. Neither
// quota nor use come near what overflows.
func share(n, percent int64) int64 { return n/percent*100 + n%percent*100/percent }

// trim lets the oldest messages of an account leave, in the same record, when
// one more of so many octets would fill it too much. Where it would not fit
// even so, nothing leaves: a message that is refused costs nobody mail.
func (c *commit) trim(b *builder, octets int64) {
	r, bounded := c.s.capacity()
	if !bounded {
		return
	}
	use := b.st.usage()
	use.Octets, use.Messages = use.Octets+octets, use.Messages+1
	if r.holds(use, trimAbove) {
		return
	}
	before := storage.TimeOf(c.s.clock.now().Add(-trimAge))
	var leave []leaving
	for _, old := range b.st.olderThan(before) {
		if r.holds(use, trimTo) {
			break
		}
		use.Octets, use.Messages = use.Octets-old.size, use.Messages-1
		leave = append(leave, old)
	}
	if len(leave) == 0 || !r.holds(use, 100) {
		return
	}
	for _, l := range leave {
		c.trimmed.octets += l.size
	}
	c.trimmed.messages += int64(len(leave))
	c.leave(b, leave)
}

// leaving is a message that leaves.
type leaving struct {
	saved storage.Time
	size  int64
	box   string
	uid   storage.UID
}

// olderThan lists the messages of all mailboxes that were saved before, the
// oldest first; of equal age the smallest, as the reference does.
func (st *accountState) olderThan(before storage.Time) []leaving {
	var list []leaving
	for _, bs := range st.boxes {
		if len(bs.view.Messages) == 0 || bs.oldest >= before {
			continue // almost always: so a delivery into a full mailbox stays quick
		}
		for i := range bs.view.Messages {
			if m := &bs.view.Messages[i]; m.Saved < before {
				list = append(list, leaving{m.Saved, m.Size, bs.view.Name, m.UID})
			}
		}
	}
	slices.SortStableFunc(list, func(x, y leaving) int {
		return cmp.Or(cmp.Compare(x.saved, y.saved), cmp.Compare(x.size, y.size))
	})
	return list
}

// leave expunges messages, one change for each mailbox.
func (c *commit) leave(b *builder, list []leaving) {
	slices.SortFunc(list, func(x, y leaving) int {
		return cmp.Or(compareNames(x.box, y.box), cmp.Compare(x.uid, y.uid))
	})
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].box == list[0].box {
			n++
		}
		gone := make([]changed, n)
		for i := range gone {
			gone[i].uid = list[i].uid
		}
		c.remove(b, b.st.find(list[0].box), gone)
		list = list[n:]
	}
}

// countQuota counts what the quota did to a commit, once it is durable.
func (c *commit) countQuota(per []storage.Outcome) {
	for i := range per {
		if errors.Is(per[i].Err, storage.ErrQuota) {
			addr, _ := c.target(c.batch.Ops[i])
			c.s.quotaRefused.Inc()
			c.s.log.Info("refused: quota exceeded", "part", "storage", "account", addr)
		}
	}
	if c.trimmed.messages == 0 {
		return
	}
	c.s.trimmedMessages.Add(float64(c.trimmed.messages))
	c.s.trimmedOctets.Add(float64(c.trimmed.octets))
	c.s.log.Info("expired", "part", "storage", "why", "quota", "messages", c.trimmed.messages, "octets", c.trimmed.octets)
}
