package local

import (
	"slices"

	"barid/internal/journal"
	"barid/storage/maildir"
)

// A copy of a settled item has its content from the file of that item until
// it has one of its own (content.home). Here is what keeps the two from being
// lost together.

// freeDependents makes sure that copies which have their content from this
// file only have files of their own, durably, before it goes. Store.disk is
// held.
func (s *Store) freeDependents(j *job) error {
	for {
		waiting := s.dependents(j.it)
		if len(waiting) == 0 {
			break
		}
		// A copy, or a copy of a copy whose own source is gone already, may wait
		// for its flush: nobody sees it yet, and it gets no file before.
		if err := s.publishAll(j.a); err != nil {
			return err
		}
		for i := range waiting {
			if err := s.settle(&waiting[i]); err != nil {
				return err
			}
		}
		if s.freed(j) {
			break
		}
	}
	if !s.sources[j.it] {
		return nil
	}
	return s.syncFiles()
}

// dependents gives the items that have their content from the file of it, and
// neither have a file nor are dead.
func (s *Store) dependents(it *item) []job {
	s.bodies.Lock()
	defer s.bodies.Unlock()
	c := it.content.Load()
	if c == nil || c.home == nil || c.home.it != it {
		return nil
	}
	// waiting is emptied when the last has its file.
	return slices.DeleteFunc(slices.Clone(c.waiting), func(w job) bool { return w.it.loc.Load()&(locSettled|locDead) != 0 })
}

// publishAll waits until all that the account comes to now is durable, and
// shows it.
func (s *Store) publishAll(a *account) error {
	a.mu.Lock()
	seq := min(journal.Seq(a.next.seq), s.journal.Last())
	a.mu.Unlock()
	if err := s.journal.Wait(seq); err != nil {
		return s.failed(err)
	}
	s.publish(a)
	return nil
}

// freed tells whether no item that lives needs the file of j's. Then it stays
// so: what is dead is never copied, and a copy of what has its own file has
// its content from there.
func (s *Store) freed(j *job) bool {
	j.a.mu.Lock()
	defer j.a.mu.Unlock()
	j.a.pub.Lock()
	defer j.a.pub.Unlock()
	for _, w := range s.dependents(j.it) {
		if j.a.now.Load().lives(&w) {
			return false
		}
		for i := range j.a.pending {
			if j.a.pending[i].st.lives(&w) {
				return false
			}
		}
	}
	return true
}

// lives tells whether the state has the item of a job.
func (st *accountState) lives(j *job) bool {
	bs := st.find(j.box)
	if bs == nil {
		return false
	}
	at, ok := bs.index(j.msg.UID)
	return ok && bs.items[at] == j.it
}

// rehome gives copies whose source an earlier run removed another source: the
// file of a copy that this run gave one before. missing are the items of
// snapshots that have no file.
func (s *Store) rehome(a *account, missing map[*item]bool) {
	for _, bs := range a.next.boxes {
		for _, it := range bs.items {
			c := it.content.Load()
			if c == nil || c.mem != nil || c.staged != "" || c.home == nil {
				continue
			}
			if h := c.home.it; h.loc.Load()&locSettled != 0 && !missing[h] {
				continue
			}
			from := job{a: c.home.a, box: c.home.box, msg: c.home.msg, it: c.home.it}
			// The first that has a file: it was flushed before the source went,
			// and later ones may be unflushed copies of it.
			for _, w := range append([]job{from}, c.waiting...) {
				if s.makeHome(c, &w) {
					break
				}
			}
		}
	}
}

// makeHome settles an item by the file that was found of it, and makes that
// the source of the content.
func (s *Store) makeHome(c *content, j *job) bool {
	f, ok := j.a.found[j.it]
	if !ok {
		return false
	}
	n, _ := maildir.ParseName(f.Name)
	loc := locSettled | locOf(f.Sub == maildir.Cur, n.Flags)
	if sub, name := j.it.fileName(&j.msg, loc); sub != f.Sub || name != f.Name {
		if err := s.dir(j.a, j.box).Move(f.Sub, f.Name, sub, name); err != nil {
			s.log.Error("the file of a message cannot be named", "part", "storage", "account", j.a.addr, "error", err)
			return false
		}
	}
	delete(j.a.found, j.it)
	j.it.loc.Store(loc)
	s.bodies.Lock()
	defer s.bodies.Unlock()
	c.home = &home{j.a, j.box, j.msg, j.it}
	if j.it.content.Load() == c && slices.ContainsFunc(c.waiting, func(w job) bool { return w.it == j.it }) {
		s.letGo(j.it) // it needs the content no longer, but others do
	}
	if c.users > 0 {
		j.it.content.Store(c)
	}
	return true
}
