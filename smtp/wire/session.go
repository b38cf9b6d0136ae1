package wire

import (
	"context"
	"io"
	"net/netip"

	"barid/smtp"
	"barid/storage"
)

// Peer is who speaks to us.
type Peer struct {
	Client netip.Addr // for limits, never for a log
	Hello  string     // argument of EHLO or HELO as sent; nothing vouches for it
	TLS    bool
}

// Session is one peer's dialogue as policy sees it. Its methods are called
// one at a time. An error that is a *smtp.Reply goes to the peer; any other
// one is logged and becomes 451 4.3.0.
//
// A context ends with the connection, not with the order to drain: what is
// begun may be finished.
type Session interface {
	// Auth checks a login. Nil logs the peer in, once per connection.
	Auth(ctx context.Context, login string, password storage.Password) error
	// Mail begins a transaction.
	Mail(ctx context.Context, from smtp.Path, p MailParams) error
	// Rcpt adds a recipient. The address keeps the spelling of the peer.
	Rcpt(ctx context.Context, to smtp.Address) error
	// Data takes the content of the transaction, whose recipients are at least
	// one. It is read as received, dots undone. It may be taken for whole only
	// when content has returned io.EOF; after any other error it must be
	// discarded. A nil Reply means 250.
	Data(ctx context.Context, content io.Reader) (*smtp.Reply, error)
	// Reset ends the transaction, taken or not.
	Reset()
	// Close ends the session. Nothing is called after it.
	Close()
}

// MailParams are the parameters of MAIL that matter (RFC 1870, RFC 6152).
type MailParams struct {
	Size     int64 // octets that the peer announced, zero when it did not
	EightBit bool  // BODY=8BITMIME
}
