package local

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"barid/storage"
	"barid/storage/maildir"
)

type jobKind int

const (
	jobSettle  jobKind = iota // give an item its file
	jobUnlink                 // an item was expunged
	jobDropBox                // a mailbox is gone
	jobWipe                   // the account is gone
	jobAccount                // the account's directory and password file
	jobRemove                 // a file that is nobody's
	jobFetched                // an item was fetched; the job holds its account
)

// job is something to be done on disk after its record is durable.
type job struct {
	kind jobKind
	a    *account
	box  string // of jobWipe the hash that the account had
	msg  storage.Message
	it   *item
	file maildir.File // of jobRemove
	q    *queued      // of jobSettle and jobUnlink of the queue, which has no account
	due  time.Time    // of jobSettle
	n    uint64       // jobs are counted
}

// dead tells whether what is to be settled has died.
func (j *job) dead() bool {
	if j.q != nil {
		return j.q.is(queuedEnded)
	}
	return j.it.loc.Load()&locDead != 0
}

// settler brings the files of mailboxes after the journal. Jobs of an account
// are done in the order of its records; only jobSettle waits for its time,
// which is well, as an item that died meanwhile is passed over.
type settler struct {
	s       *Store
	wake    chan struct{} // capacity one
	quit    chan struct{}
	quitted sync.Once
	running sync.WaitGroup

	mu       sync.Mutex // guards the fields below
	urgent   []job
	fresh    []job         // jobSettle, the oldest first, what failed last
	progress chan struct{} // closed and made anew when there may be room
	taken    uint64        // the last job's n
	tooLong  bool          // the journal wants a checkpoint
	begun    bool          // one has begun, and waits for its lull

	cp         *checkpoint // that has begun; the settler's own, like what follows
	last       time.Time   // when the last checkpoint began
	swept      time.Time
	complained time.Time // when a failed round was last logged
}

func newSettler(s *Store) *settler {
	return &settler{s: s, wake: make(chan struct{}, 1), quit: make(chan struct{}), progress: make(chan struct{})}
}

// take takes jobs of one account, or with nil of the queue.
func (r *settler) take(a *account, jobs []job) {
	if len(jobs) == 0 {
		return
	}
	due := r.s.cfg.Now().Add(r.s.cfg.SettleAfter)
	r.mu.Lock()
	hurry := false
	for _, j := range jobs {
		r.taken++
		j.a, j.due, j.n = a, due, r.taken
		if j.kind == jobSettle {
			if j.q != nil || j.it.loc.Load()&locSettled == 0 {
				hurry = hurry || len(r.fresh) == 0
				r.fresh = append(r.fresh, j)
			}
		} else {
			hurry = true
			r.urgent = append(r.urgent, j)
		}
	}
	r.mu.Unlock()
	if hurry || r.s.fresh.Load() > r.s.cfg.FreshBytes {
		r.ring()
	}
}

// forget drops all jobs of an account.
func (r *settler) forget(a *account) {
	is := func(j job) bool { return j.a == a }
	r.mu.Lock()
	defer r.mu.Unlock()
	r.urgent, r.fresh = slices.DeleteFunc(r.urgent, is), slices.DeleteFunc(r.fresh, is)
}

func (r *settler) ring() {
	select {
	case r.wake <- struct{}{}:
	default: // already awake
	}
}

// look tells the settler how long the journal is. It may grow by half while a
// checkpoint waits for its lull.
func (r *settler) look(size int64) {
	limit := r.s.cfg.CheckpointBytes
	if size < limit {
		return
	}
	r.mu.Lock()
	want := !r.tooLong && (!r.begun || size >= limit+limit/2)
	r.tooLong = r.tooLong || want
	r.mu.Unlock()
	if want {
		r.ring()
	}
}

// lastTaken gives the n of the last job that was taken.
func (r *settler) lastTaken() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken
}

func (r *settler) start() {
	r.last, r.swept = r.s.cfg.Now(), r.s.cfg.Now()
	r.running.Go(r.run)
}

func (r *settler) stop() {
	r.quitted.Do(func() { close(r.quit) })
	r.running.Wait()
}

// run works until stop.
func (r *settler) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-r.quit:
			return
		case <-r.wake:
		case <-timer.C:
		}
		r.s.disk.Lock()
		err := r.round()
		r.s.disk.Unlock()
		if now := r.s.cfg.Now(); err != nil && !r.s.readOnly.Load() && now.Sub(r.complained).Abs() >= complainEvery {
			r.complained = now
			r.s.log.Error("mail cannot be settled, it stays in the journal", "part", "storage", "error", err)
		}
		r.upkeep()
		r.announce()
		r.mu.Lock()
		wait := r.pause(err != nil)
		r.mu.Unlock()
		timer.Reset(wait)
	}
}

// announce wakes those that wait for room.
func (r *settler) announce() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.progress)
	r.progress = make(chan struct{})
}

// pause tells how long there is nothing to do. The lock is held.
func (r *settler) pause(failed bool) time.Duration {
	if failed {
		return retry
	}
	wait := r.s.cfg.Idle / 2
	if len(r.fresh) > 0 {
		wait = min(wait, r.fresh[0].due.Sub(r.s.cfg.Now()))
	}
	if r.cp != nil {
		wait = min(wait, r.lullEnds().Sub(r.s.cfg.Now()))
	}
	if len(r.urgent) > 0 {
		wait = 0
	}
	return max(wait, 0)
}

const (
	// maxFailures is how many accounts may fail in one round before it ends: one
	// broken directory must not hold up all others, a broken disk should.
	maxFailures = 16
	// retry is how long what failed waits for its next time.
	retry = 5 * time.Second
	// complainEvery is how often failed rounds are logged.
	complainEvery = time.Minute
	// lull is how long a checkpoint waits between what it takes and its files, at
	// most: mail of somebody who is online lives for less, and gets no file.
	lull = 2 * time.Second
)

// round does what is due. Store.disk is held.
func (r *settler) round() error {
	failed := r.doUrgent()
	r.doFresh(failed)
	if r.s.readOnly.Load() {
		return storage.ErrReadOnly
	}
	r.s.judgeRound(failed)
	return joined(failed)
}

// relieve settles what is due, or must go for want of memory, in the midst of
// a checkpoint that takes long: mail would wait for it else. Nothing is removed
// from disk. Store.disk is held.
func (r *settler) relieve() {
	if r.s.fresh.Load() <= r.s.cfg.FreshBytes {
		return
	}
	r.doFresh(map[*account]error{})
	r.announce()
}

// doFresh settles what is due, or must go for want of memory, and notes what
// failed.
func (r *settler) doFresh(failed map[*account]error) {
	var again []job
	for len(failed) < maxFailures && !r.s.readOnly.Load() {
		j, ok := r.nextFresh()
		if !ok {
			break
		}
		letOthers()
		if failed[j.a] != nil {
			again = append(again, j)
			continue
		}
		if err := r.s.settle(&j); err != nil {
			failed[j.a] = err
			again = append(again, j)
		}
	}
	r.putBack(again)
}

// letOthers gives up the processor between two pieces of work on files. System
// calls that end soon keep it, and a commit passes from one goroutine to another
// several times: with one processor each turn would wait for the ten
// milliseconds after which the scheduler takes it away.
func letOthers() { runtime.Gosched() }

// joined makes one error of what failed, of some of it at least.
func joined(failed map[*account]error) error {
	var errs []error
	for _, err := range failed {
		if errs = append(errs, err); len(errs) == maxFailures {
			break
		}
	}
	return errors.Join(errs...)
}

// putBack puts items that failed behind all others: at the front, as many as
// may fail in a round would hold up everybody.
func (r *settler) putBack(jobs []job) {
	if len(jobs) == 0 {
		return
	}
	due := r.s.cfg.Now().Add(retry)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range jobs {
		j.due = due
		r.fresh = append(r.fresh, j)
	}
}

// nextFresh takes the oldest item that is due, or must go for want of memory.
func (r *settler) nextFresh() (job, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.fresh) == 0 {
		return job{}, false
	}
	j := r.fresh[0]
	if r.s.cfg.Now().Before(j.due) && r.s.fresh.Load() <= r.s.cfg.FreshBytes && !j.dead() {
		return job{}, false
	}
	r.fresh[0] = job{}
	if r.fresh = r.fresh[1:]; len(r.fresh) == 0 {
		r.fresh = nil
	}
	return j, true
}

// doUrgent does the urgent jobs, those of an account in order: what fails is
// kept, with all that comes after it for the account.
func (r *settler) doUrgent() (failed map[*account]error) {
	r.mu.Lock()
	jobs := r.urgent
	r.urgent = nil
	r.mu.Unlock()
	failed = map[*account]error{}
	var again []job
	for _, j := range jobs {
		if r.s.readOnly.Load() { // the files may not be what they seem
			failed[j.a] = storage.ErrReadOnly
		}
		letOthers()
		if failed[j.a] == nil {
			err := r.s.do(&j)
			if err == nil {
				continue
			}
			failed[j.a] = err
		}
		again = append(again, j)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.urgent = append(again, r.urgent...)
	return failed
}

// settleAll settles whatever waits, due or not. Store.disk is held.
func (r *settler) settleAll() error { return joined(r.settleEach(math.MaxUint64)) }

// settleEach settles what was taken up to the job of that number, and tells
// what failed for which accounts.
func (r *settler) settleEach(upTo uint64) map[*account]error {
	failed := r.doUrgent()
	var jobs, later, again []job
	r.mu.Lock()
	for _, j := range r.fresh {
		if j.n <= upTo {
			jobs = append(jobs, j)
		} else {
			later = append(later, j)
		}
	}
	r.fresh = later
	r.mu.Unlock()
	for i := range jobs {
		j := &jobs[i]
		letOthers()
		if failed[j.a] == nil && !r.s.readOnly.Load() {
			err := r.s.settle(j)
			if err == nil {
				continue
			}
			failed[j.a] = err
		}
		again = append(again, *j)
	}
	r.mu.Lock()
	r.fresh = append(again, r.fresh...)
	r.mu.Unlock()
	return failed
}

// upkeep makes checkpoints and forgets idle accounts.
func (r *settler) upkeep() {
	now := r.s.cfg.Now()
	r.mu.Lock()
	want := r.tooLong
	r.tooLong = false
	r.mu.Unlock()
	hurry := want
	if r.cp == nil && (want || now.Sub(r.last) >= r.s.cfg.CheckpointEvery && r.s.anyDirty()) && !r.s.readOnly.Load() {
		r.last, hurry = now, false
		r.logFailed(r.begin())
	}
	// Who writes waits when the journal is full: then there is no lull.
	if r.cp != nil && (hurry || r.s.journal.Size() > r.s.maxWindow() || !now.Before(r.lullEnds())) {
		r.logFailed(r.complete())
	}
	r.s.noteClock()
	if now.Sub(r.swept) >= r.s.cfg.Idle/2 {
		r.swept = now
		r.s.sweep(r.s.cfg.Idle)
	}
}

func (r *settler) logFailed(err error) {
	if err != nil {
		r.s.log.Error("checkpoint failed, the journal is kept", "part", "storage", "error", err)
	}
}

// begin begins a checkpoint, which completes after its lull.
func (r *settler) begin() (err error) {
	r.s.disk.Lock()
	r.cp, err = r.s.beginCheckpoint()
	r.s.disk.Unlock()
	r.mu.Lock()
	r.begun, r.tooLong = r.cp != nil, false // the journal was too long for this one
	r.mu.Unlock()
	return err
}

// complete puts the checkpoint that has begun on disk, or a newer one.
func (r *settler) complete() error {
	cp := r.cp
	r.cp = nil
	r.s.disk.Lock()
	err := cp.complete()
	r.s.disk.Unlock()
	if errors.Is(err, errAgain) {
		err = r.s.checkpoint()
	}
	still := r.s.journal.Size() >= r.s.cfg.CheckpointBytes
	r.mu.Lock()
	r.begun, r.tooLong = false, r.tooLong && still // what was said meanwhile may be of the journal before
	r.mu.Unlock()
	return err
}

// lullEnds tells when the checkpoint that has begun is to complete.
func (r *settler) lullEnds() time.Time { return r.cp.began.Add(min(lull, r.s.cfg.SettleAfter)) }

func (s *Store) anyDirty() bool {
	if s.queue.unwritten() {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.dirty) > 0
}

// waitBelow waits, for some seconds at most, until less than limit waits for
// the disk: storage.ErrFull when it does not get there.
func (r *settler) waitBelow(ctx context.Context, waits func() int64, limit int64) error {
	timer := time.NewTimer(5 * time.Second)
	defer timer.Stop()
	for {
		r.mu.Lock()
		progress := r.progress
		r.mu.Unlock()
		if waits() <= limit {
			return nil
		}
		r.ring()
		select {
		case <-progress:
		case <-timer.C:
			return fmt.Errorf("too much mail waits for the disk: %w", storage.ErrFull)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
