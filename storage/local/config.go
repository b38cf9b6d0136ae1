package local

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"barid/internal/journal"
	"barid/internal/metrics"
	"barid/smtp"
	"barid/storage"
)

// Config of a Store.
type Config struct {
	// Dir is the data directory, made when it is missing. It is locked: two
	// processes cannot have it.
	Dir string
	// FS stands in for Dir, for tests. The Store does not close it.
	FS journal.FS
	// Domain of all addresses here: a lower-case name, or "[192.0.2.7]".
	Domain string
	// Policy says which accounts may be born.
	Policy Policy
	// Quota is what one account may hold, in octets of content, and one message
	// per 4096 of them (at least 1000): inodes count like octets. Zero is
	// unbounded.
	Quota int64
	// MaxMessage is the largest message, in octets; the header fields that a
	// server adds may come on top. Default 31457280.
	MaxMessage int64
	// NoSync leaves all flushes out: what is acknowledged survives a crash of
	// the process, not of the machine.
	NoSync bool
	// FreshBytes is how much content may wait in memory for its file.
	// Default 32 MiB.
	FreshBytes int64
	// SettleAfter is how long content waits for its file, so that what is
	// expunged before never gets one. Default 10 s.
	SettleAfter time.Duration
	// CheckpointBytes is the size of the journal at which it is trimmed; it may
	// grow by half until the files are made. Default 64 MiB. At least so much
	// times three must stay free on disk. When it cannot be trimmed, no mail is
	// taken from four times that size on: a start brings the content in it into
	// memory.
	CheckpointBytes int64
	// CheckpointEvery is the longest time between two checkpoints while there
	// is something to write. Default 10 minutes.
	CheckpointEvery time.Duration
	// SegmentBytes is the size of one file of the journal. Content larger than
	// a thirty-second of it, or 256 KiB, goes around the journal. Default 16 MiB.
	SegmentBytes int64
	// Idle is how long an account stays in memory after its last use.
	// Default 60 s.
	Idle time.Duration
	// QueueMax is how many entries the queue for other servers may have. Default
	// 250000. One sender may have a tenth of them.
	QueueMax int
	// HashLimit bounds how many passwords are hashed at once. Default two per
	// processor.
	HashLimit int
	// Remembered is what Store.Remembered gave in the process before; may be nil.
	Remembered []byte
	Logger     *slog.Logger      // nil is silence
	Metrics    *metrics.Registry // nil is fine
	Now        func() time.Time  // nil is time.Now
	// Elapsed is a clock that nobody sets: the time since some moment. Nil is
	// the system's monotonic clock, or that of Now when that is given.
	Elapsed func() time.Duration

	rounds int // of hashes; tests, which make thousands, take fewer
	pieces int // changes that were found one record holds; tests take fewer
}

// Policy says which accounts may be born. Accounts that exist are served
// whatever it says.
type Policy struct {
	UsernameMin int         // octets of the local-part
	UsernameMax int         // octets of the local-part; zero is the most an address can have
	PasswordMin int         // characters (Unicode code points)
	Closed      func() bool // true stops births; nil never does. The file "nocreate" in the data directory does, too
	// NameReuseAfter is how long the name of an account that was removed is for
	// those only who have its password of then. Zero: it is free at once.
	NameReuseAfter time.Duration
	// Invited tells whether that address, folded, may be born at all. Nil: any.
	Invited func(smtp.Address) bool
	// Admit is asked last, when all else lets the account be born, once for a
	// birth: it may take what a birth costs. It refuses with a *storage.Refusal;
	// any other error is a fault of ours, and nothing is born either. Nil admits.
	Admit func(context.Context, smtp.Address, storage.Origin) error
}

func (c Config) withDefaults() Config {
	set := func(v *int64, to int64) {
		if *v <= 0 {
			*v = to
		}
	}
	set(&c.MaxMessage, 31457280)
	set(&c.FreshBytes, 32<<20)
	set(&c.CheckpointBytes, 64<<20)
	set(&c.SegmentBytes, 16<<20)
	setTime := func(v *time.Duration, to time.Duration) {
		if *v <= 0 {
			*v = to
		}
	}
	setTime(&c.SettleAfter, 10*time.Second)
	setTime(&c.CheckpointEvery, 10*time.Minute)
	setTime(&c.Idle, time.Minute)
	if c.QueueMax <= 0 {
		c.QueueMax = defaultQueueMax
	}
	if c.rounds == 0 {
		c.rounds = rounds
	}
	if c.pieces == 0 {
		c.pieces = foundAtOnce
	}
	if c.HashLimit <= 0 {
		c.HashLimit = 2 * runtime.GOMAXPROCS(0)
	}
	if c.Policy.UsernameMax <= 0 {
		c.Policy.UsernameMax = smtp.MaxLocalPart
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Elapsed == nil {
		now := c.Now
		if now == nil {
			now = time.Now
		}
		start := now()
		c.Elapsed = func() time.Duration { return now().Sub(start) }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}
