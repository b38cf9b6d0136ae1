package local

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"strconv"

	"barid/storage"
	"barid/storage/maildir"
)

const (
	queueDir = "queue"
	// The directories in it. Files go by way of tmp, as in a Maildir.
	queueEnvelopes = "envelope" // <id>
	queueContents  = "content"  // <id>,S=<octets>, often one more link of a file in a mailbox
	queueAside     = "aside"    // what a check found broken and took out of the queue

	envelopeMagic = "barid-envelope 1\n"
	// maxEnvelope is the largest file of an envelope, with as many recipients as
	// there may be, and each as long as it may be.
	maxEnvelope = 24 << 20
)

// errEnvelope is inside every error about an envelope that is not whole.
var errEnvelope = errors.New("bad envelope file")

func (e *queued) envelopeName() string { return strconv.FormatUint(uint64(e.id), 10) }

func (e *queued) contentName() string {
	return maildir.Name{Base: e.envelopeName(), Size: e.size}.Stem()
}

// envelopeFile is an envelope as it lies in its file: magic line, id, time,
// envelope, size and CRC-32C of the content, and the CRC-32C of all before it.
type envelopeFile struct {
	id   storage.QueueID
	at   storage.Time
	env  *envelope
	size int64
	crc  uint32
}

func (f *envelopeFile) encode() []byte {
	var e encoder
	e.b = append(e.b, envelopeMagic...)
	e.number(uint64(f.id))
	e.signed(int64(f.at))
	e.envelope(f.env)
	e.number(uint64(f.size))
	e.number(uint64(f.crc))
	return sealed(e.b)
}

// decodeEnvelope reads it. The error wraps errEnvelope.
func decodeEnvelope(b []byte) (*envelopeFile, error) {
	line, body, ok := unsealed(b)
	if !ok {
		return nil, fmt.Errorf("%w: its checksum does not fit", errEnvelope)
	}
	if line != envelopeMagic {
		return nil, fmt.Errorf("%w: of another version of this program: %.40q", errEnvelope, line)
	}
	d := decoder{b: body}
	f := &envelopeFile{id: d.queueID(), at: storage.Time(d.signed()), env: d.envelope(), size: d.size(), crc: uint32(d.below(1 << 32))}
	if d.err == nil && len(d.b) != 0 {
		d.fail("octets after its end")
	}
	if d.err != nil {
		return nil, fmt.Errorf("%w: %w", errEnvelope, d.err)
	}
	return f, nil
}

// makeDirs makes the directories of the queue, once.
func (q *queue) makeDirs() error {
	if q.made {
		return nil
	}
	for _, dir := range []string{queueDir, queueDir + "/" + queueEnvelopes, queueDir + "/" + queueContents, queueDir + "/" + maildir.Tmp} {
		if err := q.s.fs.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make queue directory: %w", err)
		}
	}
	q.made = true
	return nil
}

// settle gives an entry its files, if it lives: the envelope last, so that it
// never stands alone. Store.disk is held.
func (q *queue) settle(e *queued) error {
	q.mu.Lock()
	fresh := e.fresh
	q.mu.Unlock()
	if fresh == nil {
		return nil // it ended, or has its files
	}
	err := q.makeDirs()
	if err == nil {
		err = q.writeContent(e, fresh.content)
	}
	if errors.Is(err, fs.ErrNotExist) {
		// Somebody took the directory away, or the content itself is gone.
		q.made = false
		if err = q.makeDirs(); err == nil {
			err = q.writeContent(e, fresh.content)
		}
	}
	if e.is(queuedEnded) {
		return q.remove(e) // the journal has it all, so nothing is waited for
	}
	gone := errors.Is(err, fs.ErrNotExist)
	if gone {
		q.setBroken(e, err)
		err = nil
	}
	if err == nil {
		f := &envelopeFile{e.id, e.at, fresh.env, e.size, fresh.content.crc}
		err = q.dir.Write(queueEnvelopes, e.envelopeName(), octets(f.encode()), false)
	}
	if err != nil {
		return fmt.Errorf("settle queued message: %w", err)
	}
	if !q.setSettled(e, !gone) {
		return q.remove(e)
	}
	return nil
}

// setSettled says that an entry has its files, unless it ended meanwhile.
func (q *queue) setSettled(e *queued, whole bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.is(queuedEnded) {
		return false
	}
	q.s.bodies.Lock()
	if whole {
		e.fresh.content.inQueue = e
	}
	q.s.letGoQueued(e.fresh)
	q.s.bodies.Unlock()
	e.set(queuedSettled)
	e.fresh = nil
	q.version++
	return true
}

// writeContent makes the file of the content: as one more name of another file
// that has it where there is one.
func (q *queue) writeContent(e *queued, c *content) error {
	s := q.s
	s.bodies.Lock()
	mem, staged, from, twin := c.mem, c.staged, c.home, c.inQueue
	s.bodies.Unlock()
	name := e.contentName()
	if from != nil {
		if loc := from.it.loc.Load(); loc&locSettled != 0 && loc&locDead == 0 {
			sub, source := from.it.fileName(&from.msg, loc)
			if q.dir.Link(s.dir(from.a, from.box), sub, source, queueContents, name) == nil {
				return nil
			}
		}
	}
	if twin != nil && !twin.is(queuedEnded) && q.dir.Link(q.dir, queueContents, twin.contentName(), queueContents, name) == nil {
		return nil
	}
	switch {
	case mem != nil:
		return q.dir.Write(queueContents, name, octets(mem), true)
	case staged != "":
		o, err := s.openStaged(c)
		if err != nil {
			return err
		}
		return errors.Join(q.dir.Write(queueContents, name, o, true), o.close())
	}
	return fmt.Errorf("its content: %w", fs.ErrNotExist)
}

// remove removes the files of an entry whose end is durable, or that has its
// content in the journal. Store.disk is held.
func (q *queue) remove(e *queued) error {
	if err := q.dir.Remove(queueEnvelopes, e.envelopeName()); err != nil {
		return err
	}
	return q.dir.Remove(queueContents, e.contentName())
}

// holdQueued gives a new entry its content, once its record has its number.
func (s *Store) holdQueued(f *freshEntry, seq uint64) {
	s.bodies.Lock()
	defer s.bodies.Unlock()
	s.use(f.content, seq)
	s.fresh.Add(f.env.octets())
}

// letGoQueued says that an entry needs its content and envelope no longer.
// Store.bodies is held.
func (s *Store) letGoQueued(f *freshEntry) {
	s.fresh.Add(-f.env.octets())
	s.unuse(f.content)
}

// setBroken puts an entry aside whose files cannot be read. It stays in the
// queue, and nobody is told of it any more, until an operator lets it go; the
// next start looks again.
func (q *queue) setBroken(e *queued, cause error) {
	q.mu.Lock()
	news := e.state.Or(queuedBroken)&(queuedBroken|queuedEnded) == 0
	if news {
		q.broken.Add(1)
	}
	q.mu.Unlock()
	if news {
		q.s.queueBroken.Inc()
		q.s.log.Error("a queued message cannot be read and is put aside", "part", "storage", "queue_id", uint64(e.id), "error", cause)
	}
}

// broken tells errors that will not be over the next time.
func broken(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errEnvelope) || errors.Is(err, errQueueContent) ||
		errors.Is(err, maildir.ErrBroken) || errors.Is(err, maildir.ErrTooLarge)
}

// errQueueContent is about content that is not what it was.
var errQueueContent = errors.New("content has another checksum")

// lookup gives an entry with a copy of what changes, and what it has in memory.
func (q *queue) lookup(id storage.QueueID) (e *queued, row storage.QueueItem, gone recipientSet, fresh *freshEntry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e = q.find(id); e == nil || id > q.shown || e.is(queuedBroken) {
		return nil, row, nil, nil
	}
	row.QueueEntry = e.row()
	if e.gone != nil {
		gone = *e.gone // never written to
	}
	return e, row, gone, e.fresh
}

// look gives the envelope of an entry wherever it lies now, and the entry, of
// which To is left out. ErrNotQueued.
func (q *queue) look(id storage.QueueID) (item storage.QueueItem, env *envelope, err error) {
	for range 3 { // it may get its file, or end, under our hands
		e, row, gone, fresh := q.lookup(id)
		if e == nil {
			return item, nil, storage.ErrNotQueued
		}
		item = row
		if fresh != nil {
			env = fresh.env
		} else {
			var f *envelopeFile
			if f, err = q.readEnvelope(e); err != nil {
				if q.still(e) && broken(err) {
					q.setBroken(e, err)
				}
				continue
			}
			env = f.env
		}
		item.From, item.Prefix = env.from, env.prefix
		for at, a := range env.to {
			if !gone.has(uint32(at)) {
				item.To = append(item.To, a)
			}
		}
		return item, env, nil
	}
	return item, nil, err
}

// still tells whether an entry that has its files has not ended.
func (q *queue) still(e *queued) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.find(e.id) == e
}

func (q *queue) readEnvelope(e *queued) (*envelopeFile, error) {
	f, err := q.readEnvelopeFile(e.envelopeName())
	if err == nil && (f.id != e.id || f.size != e.size || len(f.env.to) != int(e.to)) {
		err = fmt.Errorf("%w: it is that of another message", errEnvelope)
	}
	return f, err
}

func (q *queue) readEnvelopeFile(name string) (*envelopeFile, error) {
	text, err := q.s.readFile(queueDir+"/"+queueEnvelopes+"/"+name, maxEnvelope)
	if err != nil {
		return nil, err
	}
	return decodeEnvelope(text)
}

// readable tells why nothing can be read.
func (s *Store) readable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return storage.ErrClosed
	}
	return nil
}

// Queued implements storage.Queue.
func (s *Store) Queued(ctx context.Context, id storage.QueueID) (storage.QueueItem, error) {
	err := s.readable(ctx)
	var item storage.QueueItem
	if err == nil {
		item, _, err = s.queue.look(id)
	}
	if err != nil {
		return storage.QueueItem{}, fmt.Errorf("look at queued message %d: %w", id, err)
	}
	return item, nil
}

// ReadQueued implements storage.Queue.
func (s *Store) ReadQueued(ctx context.Context, id storage.QueueID, f func(storage.Content) error) error {
	err := s.readable(ctx)
	var o opened
	if err == nil {
		o, err = s.queue.open(id)
	}
	if err != nil {
		return fmt.Errorf("read queued message %d: %w", id, err)
	}
	err = f(o.Content)
	if closing := o.close(); closing != nil {
		s.log.Warn("close queued message", "part", "storage", "error", closing)
	}
	return err
}

// open opens the content of an entry wherever it lies now.
func (q *queue) open(id storage.QueueID) (o opened, err error) {
	for range 3 { // as in look
		e, _, _, fresh := q.lookup(id)
		if e == nil {
			return opened{}, storage.ErrNotQueued
		}
		if fresh != nil {
			o, err = q.openFresh(fresh.content)
		} else if o, err = q.openSettled(e); err != nil && q.still(e) && broken(err) {
			q.setBroken(e, err)
		}
		if err == nil {
			return o, nil
		}
	}
	return opened{}, err
}

func (q *queue) openFresh(c *content) (opened, error) {
	q.s.bodies.Lock()
	mem, staged := c.mem, c.staged
	q.s.bodies.Unlock()
	switch {
	case mem != nil:
		return openedOctets(mem), nil
	case staged != "":
		return q.s.openStaged(c)
	}
	return opened{}, fs.ErrNotExist // it got its file meanwhile
}

// openSettled opens the file of an entry and reads it once: what another server
// takes over must be what was accepted.
func (q *queue) openSettled(e *queued) (opened, error) {
	f, err := q.readEnvelope(e)
	if err != nil {
		return opened{}, err
	}
	c, err := q.dir.Open(queueContents, e.contentName(), maxOpen)
	if err != nil {
		return opened{}, err
	}
	if err = verify(c, f.size, f.crc); err != nil {
		return opened{}, errors.Join(err, c.Close())
	}
	return opened{c, c.Close}, nil
}

// verify compares content with its size and checksum.
func verify(c storage.Content, size int64, crc uint32) error {
	if c.Size() != size {
		return fmt.Errorf("%w: %d octets instead of %d", errQueueContent, c.Size(), size)
	}
	sum := crc32.New(castagnoli)
	n, err := io.Copy(sum, io.NewSectionReader(c, 0, size))
	switch {
	case err != nil:
		return err
	case n != size || sum.Sum32() != crc:
		return errQueueContent
	}
	return nil
}
