// Package journal keeps records that are durable before anyone is told.
//
// It is one log for a whole store. A record is some octets of its user; what
// belongs together is one record, with one checksum, and so happens as a
// whole or not at all. Records are numbered by Seq. Append orders a record,
// Wait returns when it is on disk; records that wait together share one flush,
// led by the first of them.
//
// The log lives in segments that are written full of zeros once and then
// overwritten in place and recycled, so that a flush touches no file-system
// metadata.
//
//	lock                 held by the process that uses the data directory
//	journal/mark         up to where records are not needed any more
//	journal/seg-00000000 records, each behind a header (see header)
//	journal/seg-00000001
//
// The order of segments is not that of their names, but of the generation in
// their records: each use of a segment has a higher one, and each run of the
// process begins a new segment. A segment is written to only when all before
// it are flushed. So replay knows where the log ends: at the first record
// that is not whole, has another generation than its segment began with, or
// another number than the next. What was acknowledged can be missing only
// when the disk lost it, which is told apart where anything shows it: each
// record says what was durable when it was written.
//
// The package also has the seam to the disk, FS, through which a store does
// all its file work. Package faultfs is a disk for tests.
package journal
