package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// Errors of a journal.
var (
	// ErrFailed: a write or flush failed, so what is on disk is not known, and
	// the journal takes nothing more until it is opened anew. It wraps the cause.
	ErrFailed = errors.New("journal failed")
	// ErrNoSpace: the disk has no room for one more segment. Nothing was
	// written, and the next Append may succeed.
	ErrNoSpace = errors.New("no space for the journal")
	// ErrCorrupt: records that were acknowledged are lost. It names the segment.
	ErrCorrupt = errors.New("journal is corrupt")
	// ErrTooLarge: a record is longer than it may be.
	ErrTooLarge = errors.New("record is too large for the journal")
	// ErrClosed: the journal is closed.
	ErrClosed = errors.New("journal is closed")
)

const (
	defaultSegmentSize = 16 << 20
	minSegmentSize     = 4096
	maxPending         = 16 << 20 // octets appended that nobody waits for
	maxFree            = 4        // segments kept for reuse
)

// Seq numbers the records of a journal from 1, ascending by one, for ever.
type Seq uint64

// Config of a journal.
type Config struct {
	FS  FS
	Dir string // directory of the segments; made when missing, below one that exists
	// SegmentSize in octets, rounded up to 4096. Default 16 MiB. Segments of
	// another size are read, but not reused.
	SegmentSize int64
	// NoSync leaves the flushes out: what is acknowledged survives a crash of
	// the process, not of the machine. After that a log may end early, which
	// is no error then, and lost numbers are given out again.
	NoSync bool
	Logger *slog.Logger // nil discards
}

// Journal is an open log. All methods are safe for many goroutines.
type Journal struct {
	cfg       Config
	checks    checks
	maxRecord int64

	background sync.WaitGroup // the goroutine that prepares a segment

	trimming sync.Mutex // guards mark; taken before mu
	mark     *mark

	mu     sync.Mutex // guards the fields below
	wake   sync.Cond  // something below changed
	last   Seq
	durab  Seq
	failed error
	closed bool

	leading bool     // somebody writes
	group   []*chunk // appended, not written
	pending int64    // octets of group
	buffers [][]byte // of chunks that are done

	live       []*segment // with records after the mark, in order
	active     *segment   // the last of live, once this run appended
	free       []*segment
	generation uint64 // of the newest segment
	nextIndex  int
	preparing  bool
	prepareErr error // of the last preparation

	ruler ruler
}

// chunk is what one write puts into a segment.
type chunk struct {
	segment *segment
	off     int64
	buf     []byte
	last    Seq
}

// Open opens or makes the log and calls replay for each record after the
// last Trim, in order. The record is valid until replay returns. An error of
// replay ends Open with it.
//
// Replay ends at the first record that is not whole: it was never
// acknowledged. Where something shows that it was, Open fails with ErrCorrupt.
// Only one process may have a log open; see Lock.
func Open(cfg Config, replay func(s Seq, record []byte) error) (*Journal, error) {
	if cfg.SegmentSize == 0 {
		cfg.SegmentSize = defaultSegmentSize
	}
	cfg.SegmentSize = (max(cfg.SegmentSize, minSegmentSize) + 4095) / 4096 * 4096
	if cfg.Dir == "" {
		cfg.Dir = "."
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := cfg.makeDir(); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	segments, err := openSegments(&cfg)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j := &Journal{cfg: cfg, maxRecord: min(MaxRecord, cfg.SegmentSize/2-headerSize)}
	j.wake.L = &j.mu
	if err := j.open(segments, replay); err != nil {
		if j.mark != nil {
			err = errors.Join(err, j.mark.file.Close())
		}
		return nil, fmt.Errorf("open journal: %w", errors.Join(err, closeAll(segments)))
	}
	return j, nil
}

func (j *Journal) open(segments []*segment, replay func(Seq, []byte) error) (err error) {
	if j.mark, err = openMark(&j.cfg, len(segments) == 0); err != nil {
		return err
	}
	j.checks = newChecks(j.mark.salt)
	r := &replayer{checks: j.checks, trimmed: j.mark.trimmed, mayLack: j.mark.noSync,
		give: func(s Seq, record []byte, size int64) error {
			j.ruler.add(s, size)
			return replay(s, record)
		}}
	live, free, err := r.run(segments)
	if err != nil {
		return err
	}
	if err := j.giveUp(r.skipped); err != nil {
		return err
	}
	j.last, j.durab = r.next-1, r.next-1
	for _, s := range segments {
		j.nextIndex = max(j.nextIndex, s.index+1)
	}
	if err := j.settle(live); err != nil {
		return err
	}
	j.live = live
	j.release(free)
	j.release(j.takeTrimmed(j.mark.trimmed))
	return nil
}

// giveUp removes segments behind a gap, for good: their numbers are given out
// again. The flush of names that makes it so follows in settle.
func (j *Journal) giveUp(segments []*segment) error {
	for _, s := range segments {
		j.cfg.Logger.Warn("journal written without sync lost records: what came after them goes too", "segment", s.name)
		if err := errors.Join(s.file.Close(), j.cfg.FS.Remove(s.name)); err != nil {
			return fmt.Errorf("remove %s: %w", s.name, err)
		}
	}
	return nil
}

// settle makes durable what was read, and begins this run: after a crash of
// the process alone, records and names may be in the kernel's memory only.
func (j *Journal) settle(live []*segment) error {
	for _, s := range live {
		if err := j.cfg.datasync(s.file); err != nil {
			return fmt.Errorf("flush %s: %w", s.name, err)
		}
	}
	if err := j.cfg.syncDir(j.cfg.Dir); err != nil {
		return fmt.Errorf("flush %s: %w", j.cfg.Dir, err)
	}
	j.mark.runs++
	j.mark.noSync = j.cfg.NoSync
	if err := j.mark.write(File.Datasync); err != nil {
		return fmt.Errorf("write %s: %w", markName, err)
	}
	// Never the generation of an earlier run, not even of a segment of which
	// only torn records are left.
	j.generation = j.mark.runs << 32
	return nil
}

// Append gives the record, which is its parts joined, its place in the log
// and its number. It copies and does no I/O of its own, but waits while the
// disk makes the next segment, or when 16 MiB are appended that nobody waited
// for. The record is not durable before Wait says so.
//
// A record may have at most MaxRecord octets: ErrTooLarge. ErrNoSpace when the
// disk is full. ErrFailed, ErrClosed.
func (j *Journal) Append(parts ...[]byte) (Seq, error) {
	var size int64
	for _, p := range parts {
		size += int64(len(p))
	}
	if size > j.maxRecord {
		return 0, fmt.Errorf("%w: %d octets, at most %d", ErrTooLarge, size, j.maxRecord)
	}
	padded := paddedSize(size)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.makeRoom(padded); err != nil {
		return 0, err
	}
	j.last++
	c := j.chunk()
	c.last = j.last
	c.buf = appendRecord(c.buf, header{length: uint32(size), generation: j.active.generation, seq: j.last}, parts)
	j.active.end += padded
	j.active.last = j.last
	j.pending += padded
	j.ruler.add(j.last, padded)
	return j.last, nil
}

// appendRecord appends a record whose header has no sums yet.
func appendRecord(b []byte, h header, parts [][]byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, 0)
	b = le.AppendUint64(b, uint64(h.length))
	b = le.AppendUint64(b, h.generation)
	b = le.AppendUint64(b, uint64(h.seq))
	b = le.AppendUint64(b, 0)
	for _, p := range parts {
		b = append(b, p...)
	}
	padding := paddedSize(int64(h.length)) - headerSize - int64(h.length)
	return append(b, make([]byte, padding)...)
}

// makeRoom waits until the active segment has room. The lock is held.
func (j *Journal) makeRoom(padded int64) error {
	for {
		switch {
		case j.failed != nil:
			return j.failed
		case j.closed:
			return ErrClosed
		case j.pending > 0 && j.pending+padded > maxPending:
			j.leadOrWait()
		case j.active != nil && j.active.end+padded <= j.active.size:
			return nil
		case len(j.free) > 0:
			j.roll()
		case j.preparing:
			j.wake.Wait()
		default:
			if err := j.prepareNow(); err != nil {
				return err
			}
		}
	}
}

// roll goes on in a free segment and has the next one prepared.
func (j *Journal) roll() {
	s := j.free[0]
	j.free = j.free[1:]
	j.generation++
	s.generation, s.first, s.last, s.end = j.generation, j.last+1, j.last, 0
	j.live = append(j.live, s)
	j.active = s
	if len(j.free) == 0 && !j.preparing {
		j.prepare()
	}
}

// prepareNow prepares a segment and waits for it.
func (j *Journal) prepareNow() error {
	j.prepare()
	for j.preparing {
		j.wake.Wait()
	}
	if len(j.free) == 0 && j.failed == nil {
		return j.prepareErr
	}
	return nil
}

// prepare has a segment made while others work: filling it takes long.
func (j *Journal) prepare() {
	j.preparing = true
	index := j.nextIndex
	j.background.Go(func() {
		s, err := makeSegment(&j.cfg, index)
		j.mu.Lock()
		defer j.mu.Unlock()
		j.preparing, j.prepareErr = false, err
		if err == nil {
			j.nextIndex++
			j.free = append(j.free, s)
		} else if _, ok := errors.AsType[errWriting](err); ok {
			j.fail(err)
		}
		j.wake.Broadcast()
	})
}

// chunk gives the chunk that takes the next record.
func (j *Journal) chunk() *chunk {
	if n := len(j.group); n > 0 && j.group[n-1].segment == j.active {
		return j.group[n-1]
	}
	c := &chunk{segment: j.active, off: j.active.end}
	if n := len(j.buffers); n > 0 {
		c.buf, j.buffers = j.buffers[n-1], j.buffers[:n-1]
	}
	j.group = append(j.group, c)
	return c
}

// Wait returns nil when record s, and with it every earlier one, is durable.
// The first waiter leads: it writes and flushes what is there for all.
// After a failed write or flush every Append, and every Wait for a record not
// durable yet, fails for good with an error that wraps ErrFailed.
func (j *Journal) Wait(s Seq) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.wait(s)
}

func (j *Journal) wait(s Seq) error {
	for {
		switch {
		case s <= j.durab:
			return nil
		case j.failed != nil:
			return j.failed
		case s > j.last:
			return fmt.Errorf("wait for record %d: the last is %d", s, j.last)
		}
		j.leadOrWait()
	}
}

// leadOrWait writes what was appended, or waits until somebody who does is
// done. The lock is held, but not while writing.
func (j *Journal) leadOrWait() {
	if j.leading {
		j.wake.Wait()
		return
	}
	j.leading = true
	group := j.group
	j.group, j.pending = nil, 0
	for _, c := range group {
		durable := j.durab
		if j.cfg.NoSync {
			durable = 0 // claims nothing
		}
		j.mu.Unlock()
		err := j.write(c, durable)
		j.mu.Lock()
		if err != nil {
			j.fail(err)
			break
		}
		j.durab = c.last
		if cap(c.buf) <= 1<<20 && len(j.buffers) < 4 {
			j.buffers = append(j.buffers, c.buf[:0])
		}
	}
	j.leading = false
	j.wake.Broadcast()
}

// write seals the records of a chunk, writes and flushes it. Each chunk is
// flushed before the next is written, so that a segment which has begun tells
// that the one before it is whole.
func (j *Journal) write(c *chunk, durable Seq) error {
	le := binary.LittleEndian
	for b := c.buf; len(b) > 0; {
		h := header{le.Uint32(b[8:]), le.Uint64(b[16:]), Seq(le.Uint64(b[24:])), durable}
		j.checks.seal(b, h)
		b = b[paddedSize(int64(h.length)):]
	}
	if _, err := c.segment.file.WriteAt(c.buf, c.off); err != nil {
		return fmt.Errorf("write %s: %w", c.segment.name, err)
	}
	if err := j.cfg.datasync(c.segment.file); err != nil {
		return fmt.Errorf("flush %s: %w", c.segment.name, err)
	}
	return nil
}

// fail ends all writing. The lock is held.
func (j *Journal) fail(cause error) {
	if j.failed != nil {
		return
	}
	j.failed = fmt.Errorf("%w: %w", ErrFailed, cause)
	j.cfg.Logger.Error("journal failed, nothing more is written", "err", cause)
	j.wake.Broadcast()
}

// Durable gives the highest durable number.
func (j *Journal) Durable() Seq {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.durab
}

// Last gives the highest number given out.
func (j *Journal) Last() Seq {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

// Trim says that records up to and including s are not needed any more: what
// they say is durable elsewhere. It waits for s first. The mark is flushed
// before segments are reused.
func (j *Journal) Trim(s Seq) error {
	j.trimming.Lock()
	defer j.trimming.Unlock()
	if err := j.mayTrim(s); err != nil {
		return fmt.Errorf("trim journal: %w", err)
	}
	if s <= j.mark.trimmed {
		return nil
	}
	j.mark.trimmed = s
	if err := j.mark.write(j.cfg.datasync); err != nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.fail(fmt.Errorf("write %s: %w", markName, err))
		return fmt.Errorf("trim journal: %w", j.failed)
	}
	j.mu.Lock()
	j.ruler.trim(s, j.last)
	done := j.takeTrimmed(s)
	j.mu.Unlock()
	j.release(done)
	return nil
}

func (j *Journal) mayTrim(s Seq) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return ErrClosed
	}
	if j.failed != nil {
		return j.failed
	}
	return j.wait(s)
}

// takeTrimmed takes the segments out of live that hold nothing after s.
func (j *Journal) takeTrimmed(s Seq) (done []*segment) {
	for len(j.live) > 0 && j.live[0] != j.active && j.live[0].last <= s {
		done = append(done, j.live[0])
		j.live = j.live[1:]
	}
	return done
}

// release keeps some segments for reuse and removes the others.
func (j *Journal) release(segments []*segment) {
	for _, s := range segments {
		j.mu.Lock()
		keep := s.size == j.cfg.SegmentSize && len(j.free) < maxFree
		if keep {
			j.free = append(j.free, s)
			j.wake.Broadcast()
		}
		j.mu.Unlock()
		if keep {
			continue
		}
		if err := errors.Join(s.file.Close(), j.cfg.FS.Remove(s.name)); err != nil {
			// It holds nothing of worth, and the next Open finds it.
			j.cfg.Logger.Warn("cannot remove a segment", "segment", s.name, "err", err)
		}
	}
}

// Size tells the octets between the last Trim and the end, headers included,
// to within 64 KiB.
func (j *Journal) Size() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ruler.size()
}

// Close flushes what was appended and closes the files. What comes later
// fails with ErrClosed; a second Close does nothing.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	j.wake.Broadcast()
	err := j.wait(j.last)
	for j.leading {
		j.wake.Wait()
	}
	j.mu.Unlock()
	j.background.Wait()

	j.trimming.Lock() // a Trim may still be under way
	defer j.trimming.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	err = errors.Join(err, closeAll(j.live), closeAll(j.free), j.mark.file.Close())
	if err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}
