package storage

import (
	"context"
	"time"

	"barid/smtp"
)

// Administration is what an operator does to a store.
type Administration interface {
	// Accounts calls f for each account whose local-part begins with prefix, in
	// the order of their names, and ends with the first error of f, which it
	// returns. What is born or deleted meanwhile may be among them or not. It
	// brings no account into memory.
	Accounts(ctx context.Context, prefix string, f func(AccountInfo) error) error

	// About gives what Accounts tells of one account. ErrNoAccount when there
	// is none.
	About(ctx context.Context, a Account) (AccountInfo, error)

	// Freeze freezes an account, or thaws it, durably and at once: MayMail is
	// false of a frozen one, a Deliver to it fails with ErrNoAccount. It can
	// still log in, and keeps what it has. Doing it twice is doing it once.
	// ErrNoAccount when there is no such account.
	Freeze(ctx context.Context, a Account, frozen bool) error

	// Registration tells whether the operator lets accounts be born.
	Registration(ctx context.Context) (open bool, err error)

	// SetRegistration stops all births, or ends that, durably and at once.
	// What else the policy of the store forbids stays forbidden.
	SetRegistration(ctx context.Context, open bool) error
}

// AccountInfo is one row of Accounts.
type AccountInfo struct {
	Address   smtp.Address
	LastLogin time.Time // the day of it, in UTC; zero when it is not known
	Frozen    bool
}

// Refusal is why an account is not born. It is an ErrRefused.
type Refusal struct {
	// Reason is one lower-case word, for counting: there are few of them.
	Reason string
	// Text says it in words, for the log: it names no address and no client.
	Text string
}

func (r *Refusal) Error() string { return r.Text }

// Unwrap gives ErrRefused.
func (r *Refusal) Unwrap() error { return ErrRefused }
