package journal

import "fmt"

// Read calls f for each durable record after from, in order, from what lies on
// disk. The record is valid until f returns. An error of f ends Read with it.
// What is trimmed is not there any more: ErrCorrupt when from lies before the
// mark. No Trim may run meanwhile; everything else may.
func (j *Journal) Read(from Seq, f func(s Seq, record []byte) error) error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return fmt.Errorf("read journal: %w", ErrClosed)
	}
	upTo := j.durab
	var live []segment // as they are now
	for _, s := range j.live {
		live = append(live, *s)
	}
	j.mu.Unlock()
	r := replayer{checks: j.checks}
	next := from + 1
	for i := range live {
		s := &live[i]
		if s.last < next {
			continue
		}
		if s.first > next {
			break
		}
		if err := r.read(s, upTo, &next, f); err != nil {
			return fmt.Errorf("read journal: %w", err)
		}
	}
	if next <= upTo {
		return fmt.Errorf("read journal: %w: record %d is not there", ErrCorrupt, next)
	}
	return nil
}

// read gives the records of one segment from number next on.
func (r *replayer) read(s *segment, upTo Seq, next *Seq, f func(Seq, []byte) error) error {
	in := r.reader(s)
	defer func() { r.buf = in.buf }()
	for *next <= upTo {
		h, record, ok, err := in.next()
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if !ok || h.generation != s.generation {
			return nil // the next segment goes on
		}
		if h.seq != *next {
			continue
		}
		*next++
		if err := f(h.seq, record); err != nil {
			return err
		}
	}
	return nil
}
