package imap

import (
	"errors"
	"math"

	"barid/imap/wire"
	"barid/storage"
)

// vanishedSince gives which of the UIDs of a resolved set went after n on the
// wire, as a resolved set. Where the store no longer knows, all that are not
// there count: too many are allowed, too few are not. What the client still
// has a message number for is left out; it is told of it otherwise.
func (s *session) vanishedSince(n uint64, asked wire.Set) (wire.Set, error) {
	v, err := s.look()
	if err != nil {
		return nil, err
	}
	asked = asked.Within(1, uint32(max(v.UIDNext, 1)-1))
	since, ok := storeModSeq(n)
	var delta storage.Delta
	if ok {
		delta, err = s.box.Since(s.ctx, since)
	}
	if !ok || errors.Is(err, storage.ErrTooOld) {
		return asked.Without(numbers(v.Messages)).Without(numbers(s.box.told)), nil
	}
	if err != nil {
		return nil, fault(err)
	}
	var gone wire.Set
	for _, uid := range delta.Vanished {
		if _, told := find(s.box.told, uid); told || !asked.Has(uint32(uid)) {
			continue
		}
		if k := len(gone); k > 0 && gone[k-1].Last+1 == uint32(uid) {
			gone[k-1].Last++
			continue
		}
		gone = append(gone, wire.Range{First: uint32(uid), Last: uint32(uid)})
	}
	return gone, nil
}

func numbers(messages []storage.Message) []uint32 {
	uids := make([]uint32, len(messages))
	for i, m := range messages {
		uids[i] = uint32(m.UID)
	}
	return uids
}

// vanishedLine tells of expunged messages (RFC 7162 section 3.2.10). Earlier
// ones never had a message number in this session.
func vanishedLine(out *wire.Writer, gone wire.Set, earlier bool) {
	if len(gone) == 0 {
		return
	}
	out.Raw("* VANISHED ")
	if earlier {
		out.Raw("(EARLIER) ")
	}
	out.Raw(gone.String())
	out.EOL()
}

// resync tells a client what became of a mailbox since it knew it (RFC 7162
// section 3.2.5.1). The mailbox was selected just now.
func (s *session) resync(q *wire.QResync) error {
	if q == nil || storage.UIDValidity(q.Validity) != s.box.validity {
		return nil // what it knows is of another mailbox
	}
	known := wire.Set{{First: 1, Last: math.MaxUint32}}
	if q.Known != nil {
		known = q.Known.Resolve(0)
	}
	told := s.box.told
	// Where a message still has the number that the client knows, none before
	// it has gone.
	_, same := q.LastMatch(len(told), func(number, uid uint32) bool {
		return int(number) <= len(told) && uint32(told[number-1].UID) == uid
	})
	gone, err := s.vanishedSince(q.ModSeq, known.Within(same+1, math.MaxUint32))
	if err != nil {
		return err
	}
	out := s.writer()
	vanishedLine(out, gone, true)
	for i, m := range told {
		if newerThan(m.ModSeq, q.ModSeq) && known.Has(uint32(m.UID)) {
			s.flagsLine(i, m)
		}
	}
	return nil
}
