package submit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"barid/smtp"
	"barid/smtp/wire"
	"barid/storage"
)

var (
	replyLogin  = smtp.NewReply(535, "5.7.8", "Error: authentication failed: (reason unavailable)")
	replyDenied = smtp.NewReply(554, "5.7.1", "<unknown>: Client host rejected: Access denied")
)

// session is one client.
type session struct {
	srv     *Server
	peer    wire.Peer
	account storage.Account // zero before login

	// The transaction.
	from       smtp.Path
	size       int64
	judged     bool        // the reverse-path was, at the first RCPT
	verdict    *smtp.Reply // what became of it; nil is good
	recipients []smtp.Address
	known      map[smtp.Address]bool // folded, without tag where it is ours
}

// Auth checks a login. A refusal takes its time, whatever it is for.
func (s *session) Auth(ctx context.Context, login string, password storage.Password) error {
	err := s.login(ctx, login, password)
	if errors.Is(err, storage.ErrRefused) {
		wait := time.NewTimer(s.srv.cfg.LoginDelay)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
		}
		return replyLogin
	}
	return err
}

func (s *session) login(ctx context.Context, login string, password storage.Password) error {
	a, err := smtp.ParseAddress(login)
	if err != nil {
		return fmt.Errorf("%w: %w", storage.ErrRefused, err)
	}
	from := storage.Origin{Protocol: "smtp", Client: s.peer.Client}
	account, err := s.srv.cfg.Store.Login(ctx, a.Fold(), password, from)
	if err != nil {
		return fmt.Errorf("log in %s: %w", a, err)
	}
	s.account = account
	return nil
}

// Mail begins a transaction; what is to be said about it is said at RCPT.
func (s *session) Mail(_ context.Context, from smtp.Path, p wire.MailParams) error {
	s.from, s.size = from, p.Size
	return nil
}

// Rcpt takes every recipient of a good reverse-path. The same one twice gets
// one copy.
func (s *session) Rcpt(_ context.Context, to smtp.Address) error {
	if !s.judged {
		s.judged, s.verdict = true, s.judgeSender()
	}
	if s.verdict != nil {
		return s.verdict
	}
	same := to.Fold()
	if s.srv.ours(to) {
		same = same.WithoutTag()
	}
	if !s.known[same] {
		if s.known == nil {
			s.known = map[smtp.Address]bool{}
		}
		s.known[same] = true
		s.recipients = append(s.recipients, to)
	}
	return nil
}

// judgeSender is asked once per transaction, so a transaction costs one unit
// of the rate. The null reverse-path passes here and fails on its From.
func (s *session) judgeSender() *smtp.Reply {
	own := s.account.Address
	switch {
	case own.IsZero():
		return replyDenied
	case s.from.IsNull():
		return nil
	case s.from.Address.Fold() != own:
		return smtp.NewReply(553, "5.7.1", "%s: Sender address rejected: not owned by user %s", s.from.Wire(), own.Wire())
	}
	if ok, after := s.srv.rate.Allow(own); !ok {
		// The colon behind the code is what clients of the reference know.
		return smtp.NewReply(450, "", "4.7.1: Too much mail from %s, rate-limited for %s", own.Wire(), after.Round(time.Millisecond))
	}
	return nil
}

// ours tells whether a has the form of an account of this relay.
func (s *Server) ours(a smtp.Address) bool { return a.Domain == s.cfg.Domain }

// Reset ends the transaction.
func (s *session) Reset() {
	*s = session{srv: s.srv, peer: s.peer, account: s.account}
}

// Close ends the session.
func (s *session) Close() {}
