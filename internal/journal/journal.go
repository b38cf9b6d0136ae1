package journal

import "log/slog"

// Seq numbers the records of a journal from 1, ascending by one, for ever.
type Seq uint64

// Config of a journal.
type Config struct {
	FS  FS
	Dir string // directory of the segments; made when missing
	// SegmentSize in octets. Default 16 MiB.
	SegmentSize int64
	// NoSync leaves the flushes out: what is acknowledged survives a crash of
	// the process, not of the machine.
	NoSync bool
	Logger *slog.Logger
}

// Journal is an open log. All methods are safe for many goroutines.
type Journal struct{}

// Open opens or makes the log and calls replay for each record after the
// last Trim, in order. The record is valid until replay returns. An error of
// replay ends Open with it.
func Open(cfg Config, replay func(s Seq, record []byte) error) (*Journal, error) {
	panic("being written")
}

// Append gives the record, which is its parts joined, its place in the log
// and its number. It copies and does no I/O. The record is not durable before
// Wait says so. A record may have at most MaxRecord octets.
func (j *Journal) Append(parts ...[]byte) (Seq, error) { panic("being written") }

// Wait returns nil when record s, and with it every earlier one, is durable.
// The first waiter leads: it writes and flushes what is there for all.
// After a failed write or flush every Wait and Append fails for good with an
// error that wraps ErrFailed.
func (j *Journal) Wait(s Seq) error { panic("being written") }

// Durable gives the highest durable number.
func (j *Journal) Durable() Seq { panic("being written") }

// Last gives the highest number given out.
func (j *Journal) Last() Seq { panic("being written") }

// Trim says that records up to and including s are not needed any more: what
// they say is durable elsewhere. The mark is flushed before segments are
// reused.
func (j *Journal) Trim(s Seq) error { panic("being written") }

// Size tells the octets between the last Trim and the end.
func (j *Journal) Size() int64 { panic("being written") }

// Close flushes what was appended and closes the files.
func (j *Journal) Close() error { panic("being written") }
