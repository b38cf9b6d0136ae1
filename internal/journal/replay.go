package journal

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
)

// replayer reads the log at Open.
type replayer struct {
	checks  checks
	trimmed Seq
	mayLack bool                           // the log was written without flushes
	give    func(Seq, []byte, int64) error // a record and what it takes in the log

	next    Seq        // the number expected
	skipped []*segment // given up, as there is a gap before them
	buf     []byte
}

// run replays the segments and tells which of them still hold records after
// the mark, in the order of the log; the others are free. Every one that is
// live has its generation, first, last and end.
func (r *replayer) run(segments []*segment) (live, free []*segment, err error) {
	used, blank, bad, err := r.sort(segments)
	if err != nil {
		return nil, nil, err
	}
	// The log goes on in the last segment that begins at or before the mark.
	start := 0
	for i, s := range used {
		if s.first <= r.trimmed+1 {
			start = i
		}
	}
	live = used[start:]
	r.next = r.trimmed + 1
	if len(live) > 0 {
		r.next = min(r.next, live[0].first)
	}
	for i, s := range live {
		if s.first != r.next {
			if r.mayLack {
				r.skipped = live[i:]
				r.next = max(r.next, r.trimmed+1)
				return live[:i:i], slices.Concat(blank, bad, used[:start]), nil
			}
			return nil, nil, fmt.Errorf("%w: %s begins with record %d, but record %d is missing", ErrCorrupt, s.name, s.first, r.next)
		}
		if err := r.segment(s, i == len(live)-1); err != nil {
			return nil, nil, err
		}
	}
	r.next = max(r.next, r.trimmed+1)
	for _, s := range bad {
		// What follows a bad first record shows whether that was acknowledged.
		if err := r.lost(s, 0); err != nil {
			return nil, nil, err
		}
	}
	return live, slices.Concat(blank, bad, used[:start]), nil
}

// sort tells segments in use, in the order of the log, from those that are
// blank and those whose first record is bad.
func (r *replayer) sort(segments []*segment) (used, blank, bad []*segment, err error) {
	for _, s := range segments {
		in := r.reader(s)
		h, _, ok, err := in.next()
		r.buf = in.buf
		switch {
		case err != nil:
			return nil, nil, nil, fmt.Errorf("read %s: %w", s.name, err)
		case ok:
			s.generation, s.first = h.generation, h.seq
			used = append(used, s)
		case in.zeros:
			blank = append(blank, s)
		default:
			bad = append(bad, s)
		}
	}
	slices.SortFunc(used, func(a, b *segment) int { return cmp.Compare(a.generation, b.generation) })
	return used, blank, bad, nil
}

func (r *replayer) reader(s *segment) *recordReader {
	size := int(min(max(s.size, 16), 64<<10))
	return &recordReader{
		checks: r.checks,
		in:     bufio.NewReaderSize(io.NewSectionReader(s.file, 0, s.size), size),
		left:   s.size,
		buf:    r.buf,
	}
}

// segment replays one segment up to its first bad record.
func (r *replayer) segment(s *segment, last bool) error {
	in := r.reader(s)
	defer func() { r.buf = in.buf }()
	for {
		h, record, ok, err := in.next()
		if err != nil {
			return fmt.Errorf("read %s: %w", s.name, err)
		}
		if !ok || h.generation != s.generation || h.seq != r.next {
			break
		}
		s.end, s.last = s.size-in.left, h.seq
		r.next++
		if h.seq <= r.trimmed {
			continue
		}
		if err := r.give(h.seq, record, paddedSize(int64(h.length))); err != nil {
			return err
		}
	}
	if last {
		return r.lost(s, s.end)
	}
	return nil // the next segment begins with the next record, or its replay fails
}

// lost fails when the segment, from an offset on, has a record that was
// written when one that we do not have was durable already.
func (r *replayer) lost(s *segment, from int64) error {
	if r.mayLack {
		return nil
	}
	need := max(r.next, r.trimmed+1)
	buf := make([]byte, min(64<<10, max(s.size-from, headerSize)))
	for {
		n, err := s.file.ReadAt(buf, from)
		if err != nil && err != io.EOF {
			return fmt.Errorf("read %s: %w", s.name, err)
		}
		if n < headerSize {
			return nil
		}
		at := 0
		for ; at+headerSize <= n; at += alignment {
			if h, ok := r.checks.header(buf[at:]); ok && h.durable >= need {
				return fmt.Errorf("%w: record %d was durable, but is bad or missing in or before %s; record %d at octet %d is good",
					ErrCorrupt, need, s.name, h.seq, from+int64(at))
			}
		}
		from += int64(at)
	}
}

// recordReader reads records one behind the other.
type recordReader struct {
	checks checks
	in     *bufio.Reader
	left   int64 // octets of the segment not read
	buf    []byte
	zeros  bool // the header that ended it was empty
}

// next gives the next record, valid until the next call; ok is false at the
// first that is bad. An error is one of the disk.
func (r *recordReader) next() (h header, record []byte, ok bool, err error) {
	var head [headerSize]byte
	if r.left < headerSize {
		return header{}, nil, false, nil
	}
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		return header{}, nil, false, endIsBad(err)
	}
	r.zeros = head == [headerSize]byte{}
	h, ok = r.checks.header(head[:])
	padded := paddedSize(int64(h.length))
	if !ok || padded > r.left {
		return header{}, nil, false, nil
	}
	body := int(padded - headerSize)
	if cap(r.buf) < body {
		r.buf = make([]byte, body)
	}
	if _, err := io.ReadFull(r.in, r.buf[:body]); err != nil {
		return header{}, nil, false, endIsBad(err)
	}
	record = r.buf[:h.length]
	if !r.checks.record(head[:], record) {
		return header{}, nil, false, nil
	}
	r.left -= padded
	return h, record, true, nil
}

// endIsBad turns the end of a file into a bad record.
func endIsBad(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}
