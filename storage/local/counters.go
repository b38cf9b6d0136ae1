package local

import (
	"fmt"
	"io"
	"strings"

	"barid/storage"
)

const (
	countersName  = "barid-store"
	countersMagic = "barid-store 2\n"
	countersV1    = "barid-store 1\n" // had no key
)

// counters writes what the store must remember as a whole.
func (cp *checkpoint) counters() error {
	return cp.write(nil, countersName, func(w io.Writer) error {
		_, err := w.Write(cp.s.encodeCounters())
		return err
	})
}

// encodeCounters gives the magic line, the last UIDVALIDITY as an unsigned
// varint, the key of message IDs, and the CRC-32C of all before it.
func (s *Store) encodeCounters() []byte {
	var e encoder
	e.b = append(e.b, countersMagic...)
	e.number(uint64(s.validity.Load()))
	e.b = append(e.b, s.ids[:]...)
	return sealed(e.b)
}

// readCounters reads the counters. Of several files the highest numbers
// count: too high does no harm. The key is the same in all that have one.
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
		line, body, ok := unsealed(text)
		if !ok {
			continue // torn by a crash: the checkpoint did not count
		}
		if line != countersMagic && line != countersV1 {
			return fmt.Errorf("%s is of another version of this program: %q", name, strings.TrimSpace(line))
		}
		d := decoder{b: body}
		s.raiseValidity(storage.UIDValidity(d.below(1 << 32)))
		if line == countersMagic {
			copy(s.ids[:], d.octets(int64(len(s.ids))))
		}
	}
	return nil
}
