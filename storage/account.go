package storage

import (
	"errors"
	"log/slog"
	"net/netip"

	"barid/smtp"
)

// Errors of the store. An engine wraps them with what it tried.
var (
	// ErrNoAccount: no account of that address.
	ErrNoAccount = errors.New("no such account")
	// ErrRefused: the login is refused, be it for a wrong password, a name or
	// password outside the rules, or closed registration. Peers learn no more.
	ErrRefused = errors.New("login refused")
	// ErrNoMailbox: the account has no mailbox of that name.
	ErrNoMailbox = errors.New("no such mailbox")
	// ErrMailboxExists: the account has a mailbox of that name already.
	ErrMailboxExists = errors.New("mailbox exists")
	// ErrMailboxName: no mailbox can have that name.
	ErrMailboxName = errors.New("bad mailbox name")
	// ErrEntry: no account can have such a metadata entry, for its name or
	// value, or because it has as many as it may.
	ErrEntry = errors.New("bad metadata entry")
	// ErrQuota: the account's quota does not take the message.
	ErrQuota = errors.New("quota exceeded")
	// ErrClock: the clock moved so far that nothing may be judged by age, until
	// somebody confirms that it is right.
	ErrClock = errors.New("the clock moved by more than a day")
	// ErrTooOld: the store no longer knows what changed since then; take a View.
	ErrTooOld = errors.New("too old to tell the changes")
	// ErrNotQueued: there is no such entry in the queue, or no more.
	ErrNotQueued = errors.New("not in the queue")
	// ErrQueueFull: the queue, or the sender's share of it, takes no more for now.
	ErrQueueFull = errors.New("queue is full")
	// ErrFull: the disk, or a bound of the store, takes no more for now.
	ErrFull = errors.New("store is full")
	// ErrReadOnly: a flush failed earlier, so the store takes no write until
	// it is opened anew.
	ErrReadOnly = errors.New("store is read-only after a failed write")
	// ErrClosed: the store is closed.
	ErrClosed = errors.New("store is closed")
)

// Account names one account of ours. It is a value: holding it keeps nothing
// alive, and the account may be gone when it is next used (ErrNoAccount).
type Account struct {
	// Address is folded and without tag.
	Address smtp.Address
	// Born is true in the answer to the login that created the account.
	Born bool
}

// Password is what a client sent to prove itself. Printed, it shows nothing.
type Password string

// Wire gives the password itself.
func (p Password) Wire() string { return string(p) }

func (p Password) String() string       { return "(password)" }
func (p Password) GoString() string     { return "(password)" }
func (p Password) LogValue() slog.Value { return slog.StringValue("(password)") }

// Origin says where a login comes from, for limits on sign-ups. It is never
// stored and never logged.
type Origin struct {
	Protocol string     // "imap" or "smtp"
	Client   netip.Addr // zero when unknown
}

// Usage is what an account holds and may hold.
type Usage struct {
	Octets, MaxOctets int64 // MaxOctets zero means unbounded
	Messages          int64
}
