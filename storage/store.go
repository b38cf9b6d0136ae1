package storage

import (
	"context"
	"time"

	"barid/smtp"
)

// Store is the home of accounts and mail. All methods are safe for use by
// many goroutines.
type Store interface {
	// Login checks the password and gives the account; where the account does
	// not exist and policy allows, it is born first, durably. Simultaneous
	// first logins with one password all succeed. Refusals are ErrRefused;
	// any other error is a fault of ours.
	Login(ctx context.Context, a smtp.Address, p Password, from Origin) (Account, error)

	// Lookup finds the account that mail for a goes to: letter case and a
	// "+tag" do not matter. ErrNoAccount when there is none.
	Lookup(ctx context.Context, a smtp.Address) (Account, error)

	// MayMail tells whether the account may send. An operator may have disabled
	// it; a Deliver to it then fails with ErrNoAccount.
	MayMail(ctx context.Context, a Account) (bool, error)

	// EncryptedOnly tells whether the account takes only encrypted mail from
	// outside. Accounts are born so; an operator may allow mail in the clear.
	// With an error it is true. ErrNoAccount when there is no such account.
	EncryptedOnly(ctx context.Context, a Account) (bool, error)

	// Draft begins to take up content; size is what is known of it, or zero.
	Draft(ctx context.Context, size int64) (Draft, error)

	// Commit does all operations of b as one and returns when they are durable
	// and visible, or does none and returns an error. An operation may fail by
	// itself (quota, a mailbox gone); its Outcome says so and the others
	// happen, unless b.AllOrNone is set. Bells ring before Commit returns.
	Commit(ctx context.Context, b Batch) (Result, error)

	// Mailboxes lists the account's mailboxes, and the names it subscribed to
	// that no mailbox has: INBOX first, the rest by name.
	Mailboxes(ctx context.Context, a Account) ([]MailboxInfo, error)

	// Open gives a mailbox for reading. The caller closes it.
	Open(ctx context.Context, a Account, mailbox string) (Mailbox, error)

	// Entries gives the account's own metadata entries (RFC 5464) on a mailbox
	// ("" is the account), by name, in the order they were first set. Only
	// names beginning "/private/" exist here.
	Entries(ctx context.Context, a Account, mailbox string) ([]Entry, error)

	// Usage gives what the account holds and its quota.
	Usage(ctx context.Context, a Account) (Usage, error)

	// Expire lets go what is older than p says, in small steps that leave room
	// for all other work, and tells of it as it goes. What a run that was cut
	// off did not do, the next one does. A second Expire waits for the first.
	//
	// ErrClock, and nothing else happens, when the clock cannot be believed. An
	// error of one account is logged and counted in Expired.Failed, and the
	// rest goes on.
	Expire(ctx context.Context, p ExpiryPolicy, report func(Expired)) error

	// Health gives nil while the store takes writes, or why it does not:
	// ErrReadOnly, ErrFull, ErrClosed.
	Health(ctx context.Context) error

	// Close makes everything durable that is not yet, and ends the store.
	Close() error

	Administration
	Queue
}

// MailboxInfo is one row of Mailboxes.
type MailboxInfo struct {
	Name       string    // levels separated by "."
	ID         MailboxID // zero: there is no mailbox of that name, only a subscription
	Subscribed bool
}

// Entry is one value of a metadata entry. An entry that holds a list
// ("/private/devicetoken") has one Entry per value.
type Entry struct {
	Name  string
	Value []byte
	Set   time.Time // when it was last set; zero when that is not kept
}

// Mailbox reads one mailbox. It holds no lock and no copy.
type Mailbox interface {
	// View gives the mailbox as it is now. ErrNoMailbox when it is gone.
	View(ctx context.Context) (*View, error)

	// Since tells what changed after m. ErrTooOld when that is not known.
	Since(ctx context.Context, m ModSeq) (Delta, error)

	// Read calls f for each of the messages that still exist, in the order
	// given, and stops at the first error of f, which it returns. The Content
	// is valid until f returns. Messages whose content is lost, or broken so that
	// no second try would give it, are passed over.
	Read(ctx context.Context, uids []UID, part Part, f func(UID, Content) error) error

	// Subscribe lets b be rung after each change, until cancel is called. A
	// ring says only "ask Since". After cancel returned, b is not rung.
	Subscribe(b Bell) (cancel func())

	// Close frees what the Mailbox holds. Subscriptions end with it.
	Close()
}

// Bell is rung by a mailbox. Ring must return at once: it takes no lock that
// is held across a call into the store, does no I/O, and starts a goroutine
// for anything longer.
type Bell interface{ Ring() }
