package storage

import (
	"encoding/hex"
	"io"
	"time"
)

// InboxName is the mailbox that every account has. Other spellings of it
// ("inbox") name it too; engines and callers see this one.
const InboxName = "INBOX"

// UID numbers a message within a mailbox, from 1, strictly ascending in the
// order of arrival, never reused (RFC 9051 section 2.3.1.1).
type UID uint32

// UIDValidity names one life of a mailbox: UIDs mean the same as long as it
// is the same. It never goes down for a name, and a mailbox or account born
// again gets a higher one.
type UIDValidity uint32

// MailboxID is the same for a mailbox as long as it lives, whatever it is
// called, and no other mailbox of its account ever has it (RFC 8474). It tells
// nothing of the store.
type MailboxID [16]byte

// String gives it as 32 hexadecimal digits, lower case.
func (id MailboxID) String() string { return hex.EncodeToString(id[:]) }

// ModSeq numbers the changes of a mailbox, from 1, strictly ascending
// (RFC 7162). Zero is "before everything".
type ModSeq uint64

// Flags is a set of message flags (RFC 9051 section 2.3.2).
type Flags uint32

// The system flags. Higher bits are kept for keywords.
const (
	FlagSeen Flags = 1 << iota
	FlagAnswered
	FlagFlagged
	FlagDeleted
	FlagDraft

	SystemFlags = FlagSeen | FlagAnswered | FlagFlagged | FlagDeleted | FlagDraft
)

// Message is what a mailbox knows about one message without its content.
type Message struct {
	UID      UID
	Flags    Flags
	ModSeq   ModSeq // of its last change
	Size     int64  // octets of its content
	Received Time   // INTERNALDATE; a copy has that of its source
	Saved    Time   // when it was put into this mailbox (RFC 8514); a mailbox that is renamed keeps it
	// ID is the same for a message and all its copies, and no other content of
	// the store gets it (RFC 8474, EMAILID). It says nothing about the order or
	// number of messages.
	ID uint64
}

// Time is a moment in whole seconds of the Unix epoch. There are two for each
// message in memory, and a time.Time takes three times as much.
type Time int64

// TimeOf gives the second that t lies in.
func TimeOf(t time.Time) Time { return Time(t.Unix()) }

// Time gives it in UTC.
func (t Time) Time() time.Time { return time.Unix(int64(t), 0).UTC() }

// View is a mailbox at one moment. It is shared and never changes: nobody
// writes to its slice.
type View struct {
	Name          string
	ID            MailboxID
	UIDValidity   UIDValidity
	UIDNext       UID
	HighestModSeq ModSeq
	Messages      []Message // ascending UID; position i is message sequence number i+1
}

// Delta is what became of a mailbox since a ModSeq.
type Delta struct {
	View     *View // as it is now
	Changed  []UID // new, or flags changed; ascending
	Vanished []UID // expunged; ascending. UIDs that never were seen may be among them
}

// Part says how much of a message Read gives.
type Part int

// The parts.
const (
	Whole  Part = iota // all of the content
	Header             // up to and including the empty line after the header
)

// Content is the octets of one message: in memory, in a file, in rows.
//
// Given by Read, it is valid until the callback returns. Given to Commit, it
// must stay as it is until Commit returns. Several operations of one Batch
// that hold the same Content share one stored copy, so a Content must be
// comparable (a pointer).
type Content interface {
	io.ReaderAt
	Size() int64
}

// Draft takes up content whose size is not known yet. Small content stays in
// memory, large content goes where the engine keeps it, so that Commit need
// not copy it. A Draft is used by one goroutine.
type Draft interface {
	io.Writer // ErrFull when the store cannot take more
	Content
	// Discard frees what the Draft holds. Always call it when done, after
	// Commit too: what was committed stays.
	Discard()
}
