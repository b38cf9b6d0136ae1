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
package journal
