package storage

import (
	"time"

	"barid/smtp"
)

// LargeSize is what content must be larger than, in octets, to be large mail
// (ExpiryPolicy.Large).
const LargeSize = 200_000

// ExpiryPolicy says how old what the store keeps may get. Zero means that it
// never gets too old. With all three zero nothing is looked at but the clock.
type ExpiryPolicy struct {
	// Mail is the time after which a message leaves, counted from Message.Saved.
	Mail time.Duration
	// Large is the same for content larger than LargeSize that a client has
	// fetched, flagged or put there; other large mail waits for Mail.
	Large time.Duration
	// Accounts is the time without a login, of whatever protocol, after which an
	// account leaves with all it has. Logins count by the day, in UTC.
	Accounts time.Duration
	// DryRun changes nothing at all, and reports what would go.
	DryRun bool
	// ConfirmClock says that the clock is right, whatever it was before.
	ConfirmClock bool
}

// Expired tells of an expiry: what one account lost, or, with a zero Account,
// how far it is. A report is made of each account that loses something or
// cannot be judged, of the progress a few times a second, and of the end.
type Expired struct {
	Account smtp.Address

	// Of the account, or, when that is zero, of all until now:
	Accounts int   // gone as a whole: 1, or how many
	Messages int64 // that left accounts that stay
	Octets   int64 // of these
	Strays   int64 // files in its directories that were no messages and as old
	Kept     int   // directories without password that are not empty, and so stay
	Failed   int   // accounts that could not be judged now; the log says why

	// With a zero Account only:
	Looked int   // accounts that were judged: by what is noted of them, or by their files
	Of     int   // all accounts
	Stored int64 // messages at the begin in accounts that are not due, as they were last counted
}
