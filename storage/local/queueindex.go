package local

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"barid/internal/journal"
	"barid/smtp"
	"barid/storage"
	"barid/storage/maildir"
)

const (
	indexName  = "barid-queue"
	indexMagic = "barid-queue 1\n"
	// queueGap is how far the next ID lies above those that were found where
	// nobody knows which were given out.
	queueGap = 1 << 20
)

// queueIndex is what a checkpoint writes: the entries that have their files,
// so that a start need not read them, and what their envelopes do not tell.
// Entries that are not settled are in the journal, and replaying a record of
// an entry that the index has changes nothing.
type queueIndex struct {
	applied uint64 // the last record that is part of it
	next    storage.QueueID
	rows    []indexRow // ascending
}

type indexRow struct {
	e      *queued
	dest   string
	sender smtp.Address
}

// encodeIndex writes the index: magic line, last record, next ID, the
// destinations, the senders, the entries, and the CRC-32C. mu is held.
func (q *queue) encodeIndex(applied uint64) []byte {
	var e encoder
	e.b = append(make([]byte, 0, 64+40*q.count.Load()), indexMagic...)
	e.number(applied)
	e.number(uint64(q.next))
	dests, senders := map[*queueDest]int{}, map[*queueSender]int{}
	e.number(uint64(len(q.dests)))
	for _, d := range q.dests {
		dests[d] = len(dests)
		e.text(d.name)
	}
	e.number(uint64(len(q.senders)))
	for _, s := range q.senders {
		senders[s] = len(senders)
		e.address(s.addr)
	}
	n := 0
	for _, slot := range q.slots {
		if slot.e != nil && slot.e.is(queuedSettled) {
			n++
		}
	}
	e.number(uint64(n))
	last := storage.QueueID(0)
	for _, slot := range q.slots {
		x := slot.e
		if x == nil || !x.is(queuedSettled) {
			continue
		}
		e.number(uint64(x.id - last))
		last = x.id
		e.number(uint64(dests[x.dest]))
		e.number(uint64(senders[x.sender]))
		e.signed(int64(x.at))
		e.number(uint64(x.size))
		e.number(uint64(x.prefix))
		e.number(uint64(x.to))
		e.number(uint64(x.marks))
		var gone []uint32
		for at := range x.to {
			if x.goneFor(at) {
				gone = append(gone, at)
			}
		}
		e.places(gone)
	}
	return sealed(e.b)
}

// errIndex is inside every error about an index that is not whole.
var errIndex = errors.New("bad index of the queue")

func decodeIndex(b []byte) (*queueIndex, error) {
	line, body, ok := unsealed(b)
	if !ok {
		return nil, fmt.Errorf("%w: its checksum does not fit", errIndex)
	}
	if line != indexMagic {
		return nil, fmt.Errorf("the index of the queue is of another version of this program: %.40q", strings.TrimSpace(line))
	}
	d := decoder{b: body}
	x := &queueIndex{applied: d.number(), next: d.queueID()}
	var dests []string
	for n := d.count(1); n > 0 && d.err == nil; n-- {
		dests = append(dests, d.text())
	}
	var senders []smtp.Address
	for n := d.count(2); n > 0 && d.err == nil; n-- {
		senders = append(senders, d.address())
	}
	n := d.count(9)
	x.rows = make([]indexRow, 0, n)
	entries := make([]queued, n)
	last := storage.QueueID(0)
	for i := 0; i < n && d.err == nil; i++ {
		e := &entries[i]
		step := d.queueID()
		if last += step; step == 0 || last >= x.next {
			d.fail("IDs that do not ascend")
		}
		e.id = last
		dest, sender := d.below(uint64(len(dests))), d.below(uint64(len(senders)))
		e.at, e.size = storage.Time(d.signed()), d.size()
		e.prefix, e.to, e.marks = uint32(d.below(1<<32)), uint32(d.below(storage.MaxQueueRecipients+1)), d.queueMarks()
		gone := d.places()
		if len(gone) >= int(e.to) || len(gone) > 0 && gone[len(gone)-1] >= e.to {
			d.fail("recipients that there are not, or none that is left")
			break
		}
		e.takeGone(gone)
		e.set(queuedSettled)
		if d.err == nil {
			x.rows = append(x.rows, indexRow{e, dests[dest], senders[sender]})
		}
	}
	if d.err == nil && len(d.b) != 0 {
		d.fail("octets after its end")
	}
	if d.err != nil {
		return nil, fmt.Errorf("%w: %w", errIndex, d.err)
	}
	return x, nil
}

func (e *queued) takeGone(places []uint32) {
	if len(places) == 0 {
		return
	}
	gone := newRecipientSet(e.to)
	for _, at := range places {
		gone.add(at)
	}
	e.gone = &gone
}

// queue writes the index, where it has changed, and makes sure that all it
// says is durable.
func (cp *checkpoint) queue() error {
	q := cp.s.queue
	q.mu.Lock()
	version, seq := q.version, q.seq
	var text []byte
	if version != q.written.Load() {
		text = q.encodeIndex(max(seq, cp.seq))
	}
	q.mu.Unlock()
	if text == nil {
		return nil
	}
	if err := q.s.journal.Wait(journal.Seq(seq)); err != nil {
		return q.s.failed(err)
	}
	if err := q.makeDirs(); err != nil {
		return err
	}
	cp.queueVersion = version
	return cp.write(nil, queueDir+"/"+indexName, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// unwritten tells whether the index has changed since it was last written.
func (q *queue) unwritten() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.version != q.written.Load()
}

// load reads the index, before any record is replayed: s.trimmed is known.
func (q *queue) load() error {
	names, _, err := q.s.list(queueDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read queue: %w", err)
	}
	text, err := q.s.readNewest(queueDir, indexName, names)
	if err != nil {
		return fmt.Errorf("read queue: %w", err)
	}
	index := &queueIndex{}
	if text != nil {
		if index, err = decodeIndex(text); err != nil && !errors.Is(err, errIndex) {
			return fmt.Errorf("read queue: %w", err)
		}
	}
	if text == nil || err != nil {
		if err != nil {
			q.s.log.Error("the index of the queue is not readable, it is made anew from the files", "part", "storage", "error", err)
		}
		q.rebuilt, q.lost, q.replayed = true, err != nil, map[storage.QueueID]bool{}
		return q.adopt()
	}
	q.indexed = index.applied
	q.next = max(q.next, index.next)
	q.slots = make([]queueSlot, 0, len(index.rows)+len(index.rows)/8)
	for _, r := range index.rows {
		q.insert(r.e, r.dest, r.sender)
	}
	return nil
}

// adopt takes entries over of which only files tell: whole envelopes that no
// entry has. It is known neither for whom they ended nor what was marked.
func (q *queue) adopt() error {
	ids, err := q.listed(queueEnvelopes)
	if err != nil {
		return err
	}
	slices.SortFunc(ids, func(x, y queueFile) int { return cmp.Compare(x.id, y.id) })
	for _, file := range ids {
		q.next = max(q.next, file.id+1)
		if q.find(file.id) != nil {
			continue
		}
		f, err := q.readEnvelopeFile(file.name)
		if err == nil && f.id != file.id {
			err = errEnvelope
		}
		if errors.Is(err, errEnvelope) {
			q.torn = append(q.torn, file.id)
			continue
		}
		if err != nil {
			return fmt.Errorf("read queue: %w", err)
		}
		e := &queued{id: f.id, at: f.at, size: f.size, prefix: uint32(len(f.env.prefix)), to: uint32(len(f.env.to))}
		e.set(queuedSettled)
		q.insert(e, f.env.dest, f.env.sender)
		q.version++
	}
	return nil
}

// queueFile is a file in one of the directories of the queue.
type queueFile struct {
	id   storage.QueueID
	name string
}

// listed gives the files that have the name of an entry.
func (q *queue) listed(sub string) (list []queueFile, err error) {
	entries, err := q.s.fs.ReadDir(queueDir + "/" + sub)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list queue: %w", err)
	}
	for _, e := range entries {
		base, _, _ := strings.Cut(e.Name(), ",")
		if id, err := strconv.ParseUint(base, 10, 63); err == nil && !e.IsDir() {
			list = append(list, queueFile{storage.QueueID(id), e.Name()})
		}
	}
	return list, nil
}

// replayChange applies a change as the journal has it.
func (q *queue) replayChange(c *change, seq uint64, contents []*content) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if c.kind == changeEnqueue {
		if e := q.find(c.queue.id); e != nil {
			if !q.rebuilt {
				return // its files were flushed before the index counted
			}
			q.end(e) // its files may not have been
		}
		if q.rebuilt {
			q.replayed[c.queue.id] = true
		}
		// The index may be younger than the record, and the entry have ended in
		// between: so it does again, by a later record.
	}
	jobs := q.apply(c, seq, contents)
	for _, j := range jobs {
		j.q.set(queuedFound)
	}
	q.s.settler.take(nil, jobs)
}

// finishReplay explains what is left after all records.
func (q *queue) finishReplay() error {
	switch {
	case q.indexed > uint64(q.s.journal.Last()):
		if err := q.renumber(); err != nil {
			return err
		}
	case q.rebuilt:
		unknown := q.lost
		for _, slot := range q.slots {
			unknown = unknown || slot.e != nil && !q.replayed[slot.id]
		}
		if unknown {
			q.s.log.Warn("queued messages are known from their files alone", "part", "storage", "messages", q.count.Load())
			q.next += queueGap
		}
	}
	q.shown = q.next - 1
	err := q.setTornAside()
	if err == nil {
		err = q.dropOrphans()
	}
	q.replayed, q.torn = nil, nil
	return err
}

// setTornAside keeps what is left of entries that no index has, no record, and
// no whole envelope.
func (q *queue) setTornAside() error {
	for _, id := range q.torn {
		if q.find(id) != nil || q.replayed[id] {
			continue
		}
		q.s.queueBroken.Inc()
		q.s.log.Error("the envelope of a queued message is not readable: it is put aside", "part", "storage", "queue_id", uint64(id))
		if err := q.setAside(id); err != nil {
			return err
		}
	}
	return nil
}

// setAside takes the files of an entry out of the way, whatever there are.
func (q *queue) setAside(id storage.QueueID) error {
	if err := q.s.fs.Mkdir(queueDir + "/" + queueAside); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("put queued message aside: %w", err)
	}
	for _, sub := range []string{queueEnvelopes, queueContents} {
		files, err := q.listed(sub)
		if err != nil {
			return err
		}
		for _, f := range files {
			if f.id != id {
				continue
			}
			if err := q.dir.Move(sub, f.name, queueAside, f.name); err != nil {
				return fmt.Errorf("put queued message aside: %w", err)
			}
		}
	}
	return nil
}

// renumber repairs an index of a journal that was lost. What was settled after
// it may be there, and IDs that nobody knows of were given out.
func (q *queue) renumber() error {
	q.s.log.Warn("the queue knows of records that the journal has lost", "part", "storage")
	q.next += queueGap
	if err := q.adopt(); err != nil {
		return err
	}
	const fresh = queueDir + "/" + indexName + ".new"
	if err := q.s.createFile(fresh, func(w io.Writer) error {
		_, err := w.Write(q.encodeIndex(0))
		return err
	}); err != nil {
		return err
	}
	// The old one stays until the new one is whole, and no record comes before
	// the new one is there for good: or the same would be done again.
	if err := q.s.flushFiles(); err != nil {
		return err
	}
	if err := q.s.fs.Rename(fresh, queueDir+"/"+indexName); err != nil {
		return err
	}
	return q.s.flushFiles()
}

// dropOrphans removes files of entries that ended: their end was flushed, but
// their removal was not. What is in tmp was never finished.
func (q *queue) dropOrphans() error {
	for _, sub := range []string{queueEnvelopes, queueContents, maildir.Tmp} {
		files, err := q.listed(sub)
		if err != nil {
			return err
		}
		for _, f := range files {
			if q.find(f.id) != nil && sub != maildir.Tmp {
				continue
			}
			if err := q.dir.Remove(sub, f.name); err != nil {
				q.s.log.Warn("a file of the queue is left behind", "part", "storage", "error", err)
			}
		}
	}
	return nil
}
