package local

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"barid/internal/journal"
	"barid/smtp"
)

// recordCarried begins a record that is another one, carried on past a
// checkpoint for accounts in trouble. It is followed by the number of that
// record, the local-parts of the accounts that it is for, files that a
// checkpoint could neither finish nor remove, and that record.
const recordCarried = 255

// carried is such a record.
type carried struct {
	seq       uint64 // of the record that is in it: file names are made of it
	accounts  []string
	leftovers []string // below the root of the FS
	record    []byte
}

func (c *carried) encode() [][]byte {
	var e encoder
	e.b = append(e.b, recordCarried)
	e.number(c.seq)
	for _, list := range [][]string{c.accounts, c.leftovers} {
		e.number(uint64(len(list)))
		for _, text := range list {
			e.text(text)
		}
	}
	return [][]byte{e.b, c.record}
}

// decodeCarried reads a record that begins with recordCarried. What is in it
// may be no record.
func decodeCarried(b []byte) (*carried, error) {
	d := decoder{b: b[1:]}
	c := &carried{seq: d.number()}
	for _, list := range []*[]string{&c.accounts, &c.leftovers} {
		for n := d.count(1); n > 0 && d.err == nil; n-- {
			*list = append(*list, d.text())
		}
	}
	if d.err == nil && (c.seq == 0 || len(d.b) > 0 && d.b[0] == recordCarried) {
		d.fail("a carried record in a carried record")
	}
	if d.err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, d.err)
	}
	c.record = d.b
	return c, nil
}

func (c *carried) has(a smtp.Address) bool { return slices.Contains(c.accounts, a.LocalPart) }

// carry puts what the journal knows of accounts in trouble at its end, durably,
// so that it can be trimmed. None of them has a record after cp.seq: they were
// in trouble before cp.seq was taken.
func (cp *checkpoint) carry() error {
	s := cp.s
	if len(cp.troubled) == 0 {
		return nil
	}
	done := map[uint64]bool{}
	staged := map[string]bool{} // the names of staging files in what is carried
	var last journal.Seq
	err := s.journal.Read(journal.Seq(s.trimmed.Load()), func(seq journal.Seq, octets []byte) error {
		c := &carried{seq: uint64(seq), record: octets}
		var of []smtp.Address
		if len(octets) > 0 && octets[0] == recordCarried {
			old, err := decodeCarried(octets)
			if err != nil {
				return err
			}
			for _, local := range old.accounts {
				of = append(of, smtp.Address{LocalPart: local, Domain: s.cfg.Domain})
			}
			c = &carried{seq: old.seq, record: old.record, leftovers: old.leftovers}
		}
		r, err := decodeRecord(c.record)
		if err != nil {
			return err
		}
		if c.seq == uint64(seq) {
			of = r.accounts
		}
		for a := range cp.troubled {
			if slices.Contains(of, a.addr) {
				c.accounts = append(c.accounts, a.addr.LocalPart)
				c.leftovers = append(c.leftovers, a.leftovers...)
			}
		}
		if len(c.accounts) == 0 || done[c.seq] {
			return nil
		}
		done[c.seq] = true
		slices.Sort(c.leftovers)
		c.leftovers = slices.Compact(c.leftovers)
		for _, rc := range r.contents {
			staged[rc.staged] = true
		}
		last, err = s.journal.Append(c.encode()...)
		return err
	})
	if err == nil && last > 0 {
		err = s.journal.Wait(last)
	}
	if err != nil {
		return fmt.Errorf("carry records of accounts in trouble: %w", s.failed(err))
	}
	s.bodies.Lock()
	for _, c := range s.unneeded {
		if staged[c.staged] {
			c.last = max(c.last, uint64(last)) // a start reads it until then
		}
	}
	s.bodies.Unlock()
	for a := range cp.troubled {
		a.carried = true
		if a.died.Load() > 0 {
			a.died.Store(uint64(last)) // no second life before these records are gone
		}
	}
	return nil
}

// removeLeftovers removes what a checkpoint left of an account: torn perhaps, and
// with a number that looks good by now.
func (s *Store) removeLeftovers(a *account) error {
	for len(a.leftovers) > 0 {
		if err := s.fs.Remove(a.leftovers[0]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove what a failed checkpoint left: %w", err)
		}
		a.leftovers = a.leftovers[1:]
	}
	return nil
}
