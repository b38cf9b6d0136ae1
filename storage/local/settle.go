package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
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
)

// job is something to be done on disk after its record is durable.
type job struct {
	kind jobKind
	a    *account
	box  string
	msg  storage.Message
	it   *item
	file maildir.File // of jobRemove
	due  time.Time    // of jobSettle
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
	fresh    []job         // jobSettle, the oldest first
	progress chan struct{} // closed and made anew when there may be room
	tooLong  bool          // the journal wants a checkpoint

	last  time.Time // of the last checkpoint; the settler's own
	swept time.Time
}

func newSettler(s *Store) *settler {
	return &settler{s: s, wake: make(chan struct{}, 1), quit: make(chan struct{}), progress: make(chan struct{})}
}

// take takes jobs of one account.
func (r *settler) take(a *account, jobs []job) {
	if len(jobs) == 0 {
		return
	}
	due := r.s.cfg.Now().Add(r.s.cfg.SettleAfter)
	r.mu.Lock()
	hurry := false
	for _, j := range jobs {
		j.a, j.due = a, due
		if j.kind == jobSettle {
			if j.it.loc.Load()&locSettled == 0 {
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

func (r *settler) ring() {
	select {
	case r.wake <- struct{}{}:
	default: // already awake
	}
}

// look tells the settler how long the journal is.
func (r *settler) look(size int64) {
	if size < r.s.cfg.CheckpointBytes {
		return
	}
	r.mu.Lock()
	r.tooLong = true
	r.mu.Unlock()
	r.ring()
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
		if err != nil && !r.s.readOnly.Load() {
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
		return 5 * time.Second
	}
	wait := r.s.cfg.Idle / 2
	if len(r.fresh) > 0 {
		wait = min(wait, r.fresh[0].due.Sub(r.s.cfg.Now()))
	}
	if len(r.urgent) > 0 {
		wait = 0
	}
	return max(wait, 0)
}

// maxFailures is how many items may fail in one round before it ends: one
// broken directory must not hold up all others, a broken disk should.
const maxFailures = 16

// round does what is due. Store.disk is held.
func (r *settler) round() error {
	failed := r.doUrgent()
	var again []job
	for len(again) < maxFailures && !r.s.readOnly.Load() {
		j, ok := r.nextFresh()
		if !ok {
			break
		}
		if err := r.s.settle(&j); err != nil {
			failed = errors.Join(failed, err)
			again = append(again, j)
		}
	}
	r.putBack(again)
	if r.s.readOnly.Load() {
		return storage.ErrReadOnly
	}
	return failed
}

// nextFresh takes the oldest item that is due, or must go for want of memory.
func (r *settler) nextFresh() (job, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.fresh) == 0 {
		return job{}, false
	}
	j := r.fresh[0]
	if r.s.cfg.Now().Before(j.due) && r.s.fresh.Load() <= r.s.cfg.FreshBytes && j.it.loc.Load()&locDead == 0 {
		return job{}, false
	}
	r.fresh[0] = job{}
	if r.fresh = r.fresh[1:]; len(r.fresh) == 0 {
		r.fresh = nil
	}
	return j, true
}

func (r *settler) putBack(jobs []job) {
	if len(jobs) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fresh = append(jobs, r.fresh...)
}

// doUrgent does the urgent jobs, those of an account in order: what fails is
// kept, with all that comes after it for the account.
func (r *settler) doUrgent() error {
	r.mu.Lock()
	jobs := r.urgent
	r.urgent = nil
	r.mu.Unlock()
	var failed error
	var again []job
	waits := map[*account]bool{}
	for _, j := range jobs {
		if r.s.readOnly.Load() { // the files may not be what they seem
			failed = storage.ErrReadOnly
			waits[j.a] = true
		}
		if !waits[j.a] {
			if err := r.s.do(&j); err == nil {
				continue
			} else if len(waits) < maxFailures {
				failed = errors.Join(failed, err)
			}
			waits[j.a] = true
		}
		again = append(again, j)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.urgent = append(again, r.urgent...)
	return failed
}

// settleAll settles whatever waits, due or not. Store.disk is held.
func (r *settler) settleAll() error {
	if err := r.doUrgent(); err != nil {
		return err
	}
	r.mu.Lock()
	jobs := r.fresh
	r.fresh = nil
	r.mu.Unlock()
	for i := range jobs {
		if err := r.s.settle(&jobs[i]); err != nil {
			r.mu.Lock()
			r.fresh = append(jobs[i:], r.fresh...)
			r.mu.Unlock()
			return err
		}
	}
	return nil
}

// upkeep makes checkpoints and forgets idle accounts.
func (r *settler) upkeep() {
	now := r.s.cfg.Now()
	r.mu.Lock()
	want := r.tooLong
	r.tooLong = false
	r.mu.Unlock()
	if now.Sub(r.last) >= r.s.cfg.CheckpointEvery && r.s.anyDirty() {
		want = true
	}
	if want && !r.s.readOnly.Load() {
		r.last = now
		if err := r.s.checkpoint(); err != nil {
			r.s.log.Error("checkpoint failed, the journal is kept", "part", "storage", "error", err)
		}
	}
	if now.Sub(r.swept) >= r.s.cfg.Idle/2 {
		r.swept = now
		r.s.sweep(r.s.cfg.Idle)
	}
}

func (s *Store) anyDirty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.dirty) > 0
}

// waitBelow waits, for some seconds at most, until less content than limit
// waits for its file: storage.ErrFull when it does not get there.
func (r *settler) waitBelow(ctx context.Context, limit int64) error {
	timer := time.NewTimer(5 * time.Second)
	defer timer.Stop()
	for {
		r.mu.Lock()
		progress := r.progress
		r.mu.Unlock()
		if r.s.fresh.Load() <= limit {
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

// do does an urgent job.
func (s *Store) do(j *job) error {
	switch j.kind {
	case jobUnlink:
		return s.unlink(j)
	case jobDropBox:
		return s.dropBoxFiles(j.a, j.box)
	case jobWipe:
		j.a.made, j.a.written = map[string]bool{}, writtenFiles{}
		return s.fs.RemoveAll(j.a.dir)
	case jobAccount:
		return s.writeAccount(j.a)
	case jobRemove:
		return s.dir(j.a, j.box).Remove(j.file.Sub, j.file.Name)
	}
	return nil
}

// dropBoxFiles removes what is left of a mailbox. Of INBOX the directories
// are the account's.
func (s *Store) dropBoxFiles(a *account, box string) error {
	delete(a.made, box)
	if box == storage.InboxName {
		return nil // jobWipe follows
	}
	return s.fs.RemoveAll(s.dir(a, box).Path())
}

// dir gives the directory of a mailbox.
func (s *Store) dir(a *account, box string) maildir.Dir {
	below, err := maildir.FolderPath(box)
	if err != nil {
		panic("local: a mailbox exists whose name no mailbox can have: " + err.Error())
	}
	return maildir.At(s.fs, path.Join(a.dir, below))
}

// makeDir makes the directories of a mailbox, once.
func (s *Store) makeDir(a *account, box string) error {
	if a.made[box] {
		return nil
	}
	if err := s.makeAccountDir(a); err != nil {
		return err
	}
	if err := s.dir(a, box).Make(); err != nil {
		return err
	}
	a.made[box] = true
	return nil
}

func (s *Store) makeAccountDir(a *account) error {
	if err := s.fs.Mkdir(a.dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make account directory: %w", err)
	}
	return nil
}

// settle gives an item its file, if it lives.
func (s *Store) settle(j *job) error {
	loc := j.it.loc.Load()
	if loc&(locSettled|locDead) != 0 {
		return nil
	}
	bs := j.a.now.Load().find(j.box)
	if bs == nil {
		return nil // the mailbox is gone, and jobUnlink comes
	}
	at, ok := bs.index(j.msg.UID)
	if !ok || bs.items[at] != j.it {
		return nil // expunged, and jobUnlink comes
	}
	if err := s.makeDir(j.a, j.box); err != nil {
		return err
	}
	flags := bs.view.Messages[at].Flags
	want := locOf(loc&locCur != 0, flags) | locSettled
	err := s.writeItem(j, want)
	if errors.Is(err, fs.ErrNotExist) {
		// Somebody took the directory away, or the content itself is gone.
		delete(j.a.made, j.box)
		if err = s.makeDir(j.a, j.box); err == nil {
			err = s.writeItem(j, want)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		s.log.Error("the content of a message is gone", "part", "storage", "account", j.a.addr, "uid", uint32(j.msg.UID))
		want = loc | locDead
	} else if err != nil {
		return err
	}
	j.it.loc.Store(want)
	if s.settled++; s.settled%64 == 0 {
		s.settler.announce()
	}
	s.bodies.Lock()
	if c := j.it.content.Load(); c != nil {
		if c.home == nil && want&locDead == 0 {
			c.home = &home{j.a, j.box, j.msg, j.it}
		}
		s.letGo(j.it)
	}
	s.bodies.Unlock()
	return nil
}

// writeItem makes the file of an item under the name that it has at loc.
func (s *Store) writeItem(j *job, loc uint32) error {
	dir := s.dir(j.a, j.box)
	sub, name := j.it.fileName(&j.msg, loc)
	found, replayed := j.a.found[j.it]
	c := j.it.content.Load()
	if c == nil {
		if !replayed {
			return fmt.Errorf("settle message: its content: %w", fs.ErrNotExist)
		}
		return s.useFound(j, dir, found, sub, name)
	}
	if err := s.linkOrWrite(j, c, dir, sub, name); err != nil {
		if replayed && errors.Is(err, fs.ErrNotExist) {
			return s.useFound(j, dir, found, sub, name)
		}
		return err
	}
	if replayed && (found.Sub != sub || found.Name != name) {
		if err := dir.Remove(found.Sub, found.Name); err != nil {
			return err
		}
	}
	delete(j.a.found, j.it)
	return nil
}

// useFound takes the file that an earlier run made: it is the only one there
// is, and was flushed before its source went.
func (s *Store) useFound(j *job, dir maildir.Dir, found maildir.File, sub, name string) error {
	delete(j.a.found, j.it)
	return dir.Move(found.Sub, found.Name, sub, name)
}

// linkOrWrite makes the file: as one more name of another item's file where
// there is one, else from the content.
func (s *Store) linkOrWrite(j *job, c *content, dir maildir.Dir, sub, name string) error {
	s.bodies.Lock()
	mem, staged, from := c.mem, c.staged, c.home
	s.bodies.Unlock()
	if from != nil && from.it != j.it {
		if loc := from.it.loc.Load(); loc&locSettled != 0 && loc&locDead == 0 {
			fromSub, fromName := from.it.fileName(&from.msg, loc)
			err := dir.Link(s.dir(from.a, from.box), fromSub, fromName, sub, name)
			if err == nil && mem == nil && staged == "" {
				s.sources[from.it] = true
			}
			if err == nil || mem == nil && staged == "" {
				return err
			}
		}
	}
	switch {
	case mem != nil:
		return dir.Write(sub, name, octets(mem), true)
	case staged != "":
		o, err := s.openStaged(c)
		if err != nil {
			return err
		}
		return errors.Join(dir.Write(sub, name, o, true), o.close())
	}
	return fmt.Errorf("settle message: its source: %w", fs.ErrNotExist)
}

// unlink removes the file of an expunged item, if it has one.
func (s *Store) unlink(j *job) error {
	loc := j.it.loc.Load()
	if loc&locDead != 0 {
		return nil
	}
	if err := s.freeDependents(j); err != nil {
		return err
	}
	dir := s.dir(j.a, j.box)
	if found, ok := j.a.found[j.it]; ok {
		delete(j.a.found, j.it)
		if err := dir.Remove(found.Sub, found.Name); err != nil {
			return err
		}
	}
	if loc&locSettled != 0 {
		sub, name := j.it.fileName(&j.msg, loc)
		if err := dir.Remove(sub, name); err != nil {
			return err
		}
	}
	j.it.loc.Store(loc | locDead)
	if loc&locSettled == 0 {
		s.bodies.Lock()
		s.letGo(j.it)
		s.bodies.Unlock()
	}
	return nil
}

// freeDependents makes sure that copies which have their content from this
// file only have files of their own, durably, before it goes.
func (s *Store) freeDependents(j *job) error {
	s.bodies.Lock()
	var waiting []job
	if c := j.it.content.Load(); c != nil && c.home != nil && c.home.it == j.it {
		waiting = c.waiting // which is emptied when the last has its file
	}
	s.bodies.Unlock()
	for i := range waiting {
		if err := s.settle(&waiting[i]); err != nil {
			return err
		}
	}
	if !s.sources[j.it] {
		return nil
	}
	return s.syncFiles()
}

// syncFiles flushes the files of all mailboxes. Store.disk is held.
func (s *Store) syncFiles() error {
	if !s.cfg.NoSync {
		if err := s.fs.SyncFS(); err != nil {
			return s.lost(err)
		}
	}
	clear(s.sources)
	return nil
}

// lost makes the store read-only: files that were taken for written are not.
func (s *Store) lost(err error) error {
	if !s.readOnly.Swap(true) {
		s.log.Error("the store is read-only: a flush of the file system failed", "part", "storage", "error", err)
	}
	return errors.Join(storage.ErrReadOnly, err)
}
