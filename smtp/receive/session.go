package receive

import (
	"context"
	"io"

	"barid/smtp"
	"barid/smtp/wire"
	"barid/storage"
)

// session is one peer on port 25.
type session struct{ transaction }

// Auth is not offered.
func (s *session) Auth(context.Context, string, storage.Password) error { return wire.NoAuth }

// Mail begins a transaction.
func (s *session) Mail(_ context.Context, from smtp.Path, p wire.MailParams) error {
	if r := s.begin(from); r != nil {
		return r
	}
	s.size = p.Size
	return nil
}

// Rcpt takes every recipient of our domain.
func (s *session) Rcpt(_ context.Context, to smtp.Address) error {
	if r := s.add(to); r != nil {
		return r
	}
	return nil
}

// Data takes the content for all who can get it.
func (s *session) Data(ctx context.Context, content io.Reader) (*smtp.Reply, error) {
	return nil, s.take(ctx, content)
}

// Reset ends the transaction.
func (s *session) Reset() {
	s.transaction = transaction{srv: s.srv, channel: s.channel, client: s.client}
}

// Close ends the session.
func (s *session) Close() {}
