package push

import "time"

const (
	// writeEvery is how long a change waits for others to be written with it;
	// what is done within that time is never written.
	writeEvery = 100 * time.Millisecond
	// flushEvery is how often what was written is flushed.
	flushEvery = 5 * time.Second
	// brokenPause is the time until a file that could not be written is made
	// anew.
	brokenPause = 30 * time.Second
	// chunk is how many items are put into lines at a time under the lock.
	chunk = 2048
)

// write keeps the file up to date, until the Sender ends.
func (s *Sender) write() {
	timer := time.NewTimer(flushEvery)
	defer timer.Stop()
	due, flushed := false, s.cfg.Now()
	for {
		select {
		case <-s.save:
			if !due {
				due = true
				timer.Reset(writeEvery)
			}
			continue
		case <-timer.C:
		case <-s.run.Done():
			return
		}
		due = false
		err := s.persist()
		if now := s.cfg.Now(); err == nil && now.Sub(flushed) >= flushEvery {
			err, flushed = s.file.flush(), now
		}
		if err != nil {
			s.isBroken(err)
		}
		next := time.Hour
		if !s.file.synced || s.broken {
			next = flushEvery
		}
		timer.Reset(next)
	}
}

// isBroken notes that the file was not written.
func (s *Sender) isBroken(err error) {
	s.broken, s.tried = true, s.cfg.Now()
	s.warn("what waits is kept in memory only", "error", err)
}

// persist writes what changed.
func (s *Sender) persist() error {
	if s.broken {
		if s.cfg.Now().Sub(s.tried) < brokenPause && s.run.Err() == nil {
			s.changes() // rewrite needs none of them, and they must not pile up
			return nil
		}
		return s.rewrite()
	}
	lines, live := s.changes()
	if s.file.octets+int64(len(lines)) > 2*live+spare {
		return s.rewrite()
	}
	return s.file.write(lines)
}

// changes gives the lines of what changed since the last call, and what all
// that waits would take.
func (s *Sender) changes() (lines []byte, live int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queue
	for _, k := range q.removed {
		lines = appendGone(lines, k)
	}
	for _, it := range q.dirty {
		if it.dirty = false; !it.gone {
			lines = appendWaiting(lines, it)
			it.saved = true
		}
	}
	q.removed, q.dirty = nil, nil
	return lines, q.octets
}

// rewrite makes the file anew with all that waits. The lock is held for some
// of it at a time: what changes in between gets its line afterwards.
func (s *Sender) rewrite() error {
	next, err := s.file.begin()
	if err != nil {
		return err
	}
	all := s.all()
	for len(all) > 0 {
		n := min(chunk, len(all))
		if err := next.write(s.lines(all[:n])); err != nil {
			next.close()
			return err
		}
		all = all[n:]
	}
	if err := s.file.commit(next); err != nil {
		return err
	}
	s.broken = false
	return nil
}

// all lists what waits, the oldest first, and takes it for written.
func (s *Sender) all() []*item {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queue
	for _, it := range q.dirty {
		it.dirty = false
	}
	q.removed, q.dirty = nil, nil
	all := make([]*item, 0, len(q.items))
	for it := q.oldest; it != nil; it = it.newer {
		it.saved = true // from here on its end wants a line
		all = append(all, it)
	}
	return all
}

func (s *Sender) lines(items []*item) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b []byte
	for _, it := range items {
		if !it.gone {
			b = appendWaiting(b, it)
		}
	}
	return b
}
