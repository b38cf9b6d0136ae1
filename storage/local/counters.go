package local

import (
	"io"

	"barid/storage"
)

const (
	countersName  = "barid-store"
	countersMagic = "barid-store 1\n"
)

// counters writes the counters of the store.
func (cp *checkpoint) counters() error {
	return cp.write(countersName, func(w io.Writer) error {
		var e encoder
		e.b = append(e.b, countersMagic...)
		e.number(uint64(cp.s.validity.Load()))
		_, err := w.Write(sealed(e.b))
		return err
	})
}

// readCounters reads the counters. Of several files the highest numbers
// count: too high does no harm.
func (s *Store) readCounters() error {
	names, _, err := s.list(".")
	if err != nil {
		return err
	}
	for _, name := range names {
		n, ok := checkpointOf(name, countersName)
		if !ok {
			continue
		}
		if n > 0 {
			s.oldCounters = append(s.oldCounters, name)
		}
		text, err := s.readFile(name, 1<<10)
		if err != nil {
			return err
		}
		body, ok := unsealed(text, countersMagic)
		if !ok {
			continue // torn by a crash: the checkpoint did not count
		}
		d := decoder{b: body}
		s.raiseValidity(storage.UIDValidity(d.below(1 << 32)))
	}
	return nil
}
