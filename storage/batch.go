package storage

import (
	"time"

	"barid/smtp"
)

// Batch is a set of writes that happen together.
type Batch struct {
	Ops []Op
	// AllOrNone makes the first operation that fails fail all: Commit then
	// returns its error and nothing happened.
	AllOrNone bool
}

// Result has the Outcome of each operation, in the order of Batch.Ops.
type Result struct{ Per []Outcome }

// Outcome is what became of one operation.
type Outcome struct {
	Err         error       // nil, or why this operation did not happen
	UIDValidity UIDValidity // of the mailbox that took a message, or was made
	Mailbox     MailboxID   // that CreateMailbox made
	UID         UID         // that a Deliver or Append got
	ModSeq      ModSeq      // of the change, zero when nothing changed
	Copied      []Copied    // by Copy and Move, ascending by Source
	Changed     []UID       // by SetFlags and Expunge, ascending
	Skipped     []UID       // by SetFlags with UnchangedSince: changed meanwhile
	Queued      QueueID     // that an Enqueue got
}

// Copied pairs the UID of a message with the one its copy got.
type Copied struct{ Source, Dest UID }

// Op is one write. The types below are all there are.
type Op interface{ op() }

// Deliver puts content into the INBOX of the account that mail for To goes
// to. Fails with ErrNoAccount or ErrQuota.
type Deliver struct {
	To      smtp.Address
	Content Content
}

// Append puts content into a mailbox as its owner asks (RFC 9051 section
// 6.3.12). Zero Received means now. Fails with ErrNoMailbox or ErrQuota.
type Append struct {
	Account  Account
	Mailbox  string
	Flags    Flags
	Received time.Time
	Content  Content
}

// FlagMode says what SetFlags does with its flags.
type FlagMode int

// The modes.
const (
	ReplaceFlags FlagMode = iota
	AddFlags
	RemoveFlags
)

// SetFlags changes flags of those messages that still exist. With
// UnchangedSince not nil, messages whose ModSeq is higher are skipped
// (RFC 7162 section 3.1.3); ModSeq then only rises where flags changed. Fails
// with ErrNoMailbox.
type SetFlags struct {
	Account        Account
	Mailbox        string
	UIDValidity    UIDValidity // of that Mailbox; of another the UIDs mean nothing: ErrNoMailbox. Zero is any
	UIDs           []UID       // ascending
	Mode           FlagMode
	Flags          Flags
	UnchangedSince *ModSeq
}

// Expunge removes those of the messages that still exist. With OnlyDeleted
// only such as have FlagDeleted at that moment. Fails with ErrNoMailbox.
type Expunge struct {
	Account     Account
	Mailbox     string
	UIDValidity UIDValidity // as in SetFlags
	UIDs        []UID       // ascending
	OnlyDeleted bool
}

// Copy puts copies of messages, flags and dates included, into another
// mailbox of the same account. Fails with ErrNoMailbox (of either) or
// ErrQuota; then nothing is copied.
type Copy struct {
	Account       Account
	Mailbox, Dest string
	UIDValidity   UIDValidity // of Mailbox, as in SetFlags
	UIDs          []UID       // ascending
}

// Move is Copy and Expunge in one (RFC 6851).
type Move struct {
	Account       Account
	Mailbox, Dest string
	UIDValidity   UIDValidity // of Mailbox, as in SetFlags
	UIDs          []UID       // ascending
}

// SetEntry sets a metadata entry. For "/private/devicetoken" a value adds to
// the list or refreshes its time, and nil does nothing, as the reference
// does; that list is the account's, whichever mailbox is named. For others it
// replaces, and nil removes. Names are kept in lower case. Fails with
// ErrNoMailbox or ErrEntry.
type SetEntry struct {
	Account Account
	Mailbox string // "" is the account
	Name    string
	Value   []byte
}

// CreateMailbox makes a mailbox. Missing levels above it are made too. Fails
// with ErrMailboxExists or ErrMailboxName.
type CreateMailbox struct {
	Account Account
	Name    string
}

// DeleteMailbox removes a mailbox and its messages. INBOX stays: ErrMailboxName.
type DeleteMailbox struct {
	Account Account
	Name    string
}

// RenameMailbox renames a mailbox and those below it; its UIDValidity changes,
// its MailboxID does not. Renaming INBOX moves its messages into a mailbox of
// another MailboxID and leaves it empty (RFC 9051 section 6.3.6). Fails with
// ErrNoMailbox, ErrMailboxExists or ErrMailboxName.
type RenameMailbox struct {
	Account  Account
	From, To string
}

// Subscribe sets or removes the subscription to a mailbox name, which need
// not exist.
type Subscribe struct {
	Account Account
	Name    string
	Remove  bool
}

// SetPassword replaces an account's password.
type SetPassword struct {
	Account  Account
	Password Password
}

// DeleteAccount removes an account with all it holds.
type DeleteAccount struct{ Account Account }

func (Deliver) op()       {}
func (Append) op()        {}
func (SetFlags) op()      {}
func (Expunge) op()       {}
func (Copy) op()          {}
func (Move) op()          {}
func (SetEntry) op()      {}
func (CreateMailbox) op() {}
func (DeleteMailbox) op() {}
func (RenameMailbox) op() {}
func (Subscribe) op()     {}
func (SetPassword) op()   {}
func (DeleteAccount) op() {}
