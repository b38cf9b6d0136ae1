package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"barid/internal/journal"
	"barid/internal/ratelimit"
	"barid/smtp"
	"barid/storage"
)

const (
	journalDir = "journal"
	// rememberedPasswords bounds the cache; an entry is some 40 octets.
	rememberedPasswords = 100_000
	// minInodes must stay free for a write that makes files.
	minInodes = 1000
)

// corruptRemedy is said to who finds a relay that does not start: it must be
// his decision to lose what can no longer be read.
const corruptRemedy = "The disk lost mail of the last minutes that was acknowledged. Look at the disk, keep a copy of the data directory; " +
	"then restore a backup, or move the directory journal away: the relay starts without it, and what was not in the files of mailboxes yet is lost"

// Store is the engine. It implements storage.Store.
type Store struct {
	cfg     Config
	fs      journal.FS
	log     *slog.Logger
	journal *journal.Journal
	unlock  func() // gives the data directory back; nil with Config.FS

	passwords *passwordCache
	hashing   gate
	settler   *settler
	clock     *clock
	queue     *queue
	names     *nameList // of accounts that are gone
	expiring  gate      // lets one expiry run at a time

	created, queueBroken                         prometheus.Counter
	trimmedMessages, trimmedOctets, quotaRefused prometheus.Counter
	refused                                      *prometheus.CounterVec     // by reason
	refusals                                     *ratelimit.Limiter[string] // how often each reason is logged

	inline   int64         // the largest content in a record
	validity atomic.Uint32 // the last UIDVALIDITY given out
	ids      idKey         // never changes once the store is open
	trimmed  atomic.Uint64 // what the last checkpoint has
	readOnly atomic.Bool
	fresh    atomic.Int64 // octets of content in memory that have no file

	mu       sync.Mutex // guards the fields below
	closed   bool
	accounts map[smtp.Address]*account
	dirty    map[*account]bool     // each holds a reference
	troubled map[*account]*trouble // likewise

	bodies   sync.Mutex        // guards what content.go says, and the fields below
	unneeded []*content        // staged, with no user left; the journal may name them yet
	wasted   int64             // octets of unneeded
	held     map[*content]bool // with users

	disk        sync.Mutex     // held by who changes files of mailboxes: the settler, a checkpoint; guards the fields below
	table       lineFile       // of accounts, see table.go
	clockNoted  time.Time      // when the time was last noted in it
	sources     map[*item]bool // linked from since the last flush, with no other source of their content
	settled     int            // items since start
	abandoned   []ownedFile    // of checkpoints that failed
	oldCounters []string       // of checkpoints that a crash cut off

	// placing is held for reading from the moment that a record has its place in
	// the journal until its accounts know of it. It comes after account.mu, and
	// nothing else is waited for under it but the journal.
	placing sync.RWMutex

	naming sync.RWMutex // held while a message's file gets another name and its item learns of it

	free freeSpace
}

var _ storage.Store = (*Store)(nil)

// Open opens the store in cfg.Dir, and replays what its journal has.
// journal.ErrLocked when another process has the directory.
func Open(cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	if cfg.Domain == "" {
		return nil, errors.New("open store: no domain given")
	}
	s := &Store{
		cfg: cfg, fs: cfg.FS, log: cfg.Logger,
		passwords:       newPasswordCache(rememberedPasswords),
		inline:          min(inlineMax, cfg.SegmentBytes/32),
		hashing:         make(gate, cfg.HashLimit),
		accounts:        map[smtp.Address]*account{},
		troubled:        map[*account]*trouble{},
		dirty:           map[*account]bool{},
		sources:         map[*item]bool{},
		held:            map[*content]bool{},
		created:         cfg.Metrics.Counter("created_accounts", "Accounts created."),
		queueBroken:     cfg.Metrics.Counter("storage_queue_broken", "Queued messages that could not be read and were put aside."),
		trimmedMessages: cfg.Metrics.Counter("storage_trimmed_messages", "Messages that left because their mailbox got full."),
		quotaRefused:    cfg.Metrics.Counter("storage_quota_refusals", "Messages that a full mailbox did not take, by whatever way they came."),
		trimmedOctets:   cfg.Metrics.Counter("storage_trimmed_bytes", "Octets of messages that left because their mailbox got full."),
		refused:         cfg.Metrics.Counters("rejected_registrations", "Accounts not created because policy forbids.", "reason"),
		refusals:        ratelimit.New[string](ratelimit.Config{Every: refusalsEvery, Burst: 1, MaxKeys: 1000, Now: cfg.Now}),
	}
	s.passwords.take(cfg.Remembered)
	s.settler = newSettler(s)
	s.clock = newClock(&s.cfg)
	s.table = lineFile{s: s, name: tableName, title: tableTitle}
	s.names = newNameList(s)
	s.expiring = make(gate, 1)
	if err := s.openDir(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s.queue = newQueue(s)
	if err := s.start(); err != nil {
		if errors.Is(err, journal.ErrCorrupt) {
			err = fmt.Errorf("%w. %s", err, corruptRemedy)
		}
		return nil, fmt.Errorf("open store: %w", errors.Join(err, s.closeDir()))
	}
	return s, nil
}

// openDir takes the data directory.
func (s *Store) openDir() (err error) {
	if s.fs != nil {
		return nil
	}
	if s.unlock, err = journal.Lock(s.cfg.Dir); err != nil {
		return err
	}
	if s.fs, err = journal.OpenFS(s.cfg.Dir); err != nil {
		s.unlock()
	}
	return err
}

// closeDir gives the data directory back.
func (s *Store) closeDir() error {
	if s.unlock == nil {
		return nil
	}
	err := s.fs.Close()
	s.unlock()
	return err
}

// start reads the journal and begins to settle.
func (s *Store) start() error {
	for _, dir := range []string{stagingDir, "mail", mailDir(s.cfg.Domain)} {
		if err := s.fs.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := s.readCounters(); err != nil {
		return err
	}
	if err := s.makeIDs(); err != nil {
		return err
	}
	if err := s.readClock(); err != nil {
		return err
	}
	if err := s.openJournal(); err != nil {
		return err
	}
	s.cfg.Metrics.Gauge("storage_fresh_bytes", "Content in memory that has no file yet.", func() float64 { return float64(s.fresh.Load()) })
	s.cfg.Metrics.Gauge("storage_journal_bytes", "Journal since the last checkpoint.", func() float64 { return float64(s.journal.Size()) })
	s.settler.start()
	s.queue.flusher.start()
	return nil
}

// Close implements storage.Store. It settles everything and writes a
// checkpoint, so that other programs find a complete Maildir.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.settler.stop()
	s.queue.flusher.stop()
	var err error
	if !s.readOnly.Load() {
		err = s.checkpoint()
	}
	if err = errors.Join(err, s.journal.Close(), s.closeDir()); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// freeSpace is what the disk had free when it was last asked.
type freeSpace struct {
	mu     sync.Mutex // guards the fields below
	asked  time.Time
	octets uint64
	inodes uint64
	size   uint64 // of the disk, in octets; zero is not known
	told   bool   // the log has it that there is no room
}

// space tells whether the disk takes so much more: ErrFull below the reserve,
// a hundredth of the disk and enough to let the journal and a checkpoint work
// on.
func (s *Store) space(octets int64) error {
	f := &s.free
	f.mu.Lock()
	defer f.mu.Unlock()
	now := s.cfg.Now()
	if age := now.Sub(f.asked); age > time.Second || age < 0 {
		var err error
		if f.octets, f.inodes, err = s.fs.Free(); err != nil {
			return fmt.Errorf("ask for free space: %w", err)
		}
		if disk, ok := s.fs.(journal.Sizer); ok {
			if f.size, err = disk.Size(); err != nil {
				return fmt.Errorf("ask for the size of the disk: %w", err)
			}
		}
		f.asked = now
		s.tellSpace(f)
	}
	if s.short(f, octets) {
		return fmt.Errorf("disk: %w", storage.ErrFull)
	}
	return nil
}

// short tells whether the disk, as it was, does not take so much more.
func (s *Store) short(f *freeSpace, octets int64) bool {
	return f.octets < uint64(octets)+max(uint64(3*s.cfg.CheckpointBytes), f.size/100) || f.inodes < minInodes
}

// tellSpace logs that there is no room, once a minute at most while mail is
// refused for it, and when there is some again.
func (s *Store) tellSpace(f *freeSpace) {
	switch short := s.short(f, 0); {
	case short:
		if ok, _ := s.refusals.Allow(noRoom); ok {
			f.told = true
			s.log.Error("the disk is full: no mail is taken", "part", "storage", "free_bytes", f.octets, "free_inodes", f.inodes)
		}
	case f.told:
		f.told = false
		s.log.Info("the disk has room again", "part", "storage", "free_bytes", f.octets, "free_inodes", f.inodes)
	}
}

// noRoom is the reason under which a full disk is logged.
const noRoom = "no room"

// room waits while too much content waits in memory for its file, or the
// journal is too long, and then looks at the disk.
func (s *Store) room(ctx context.Context) error {
	if s.fresh.Load() > 2*s.cfg.FreshBytes {
		if err := s.settler.waitBelow(ctx, s.fresh.Load, 2*s.cfg.FreshBytes); err != nil {
			return err
		}
	}
	if size := s.journal.Size(); size > s.maxWindow() {
		s.settler.look(size)
		if err := s.settler.waitBelow(ctx, s.journal.Size, s.maxWindow()); err != nil {
			return fmt.Errorf("the journal is not trimmed: %w", err)
		}
	}
	return s.space(0)
}
