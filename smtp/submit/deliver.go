package submit

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"barid/smtp"
	"barid/smtp/filter"
	"barid/smtp/header"
	"barid/smtp/notify"
	"barid/storage"
)

// replyDisabled is what a disabled account reads. The reference answers 250
// and drops; here nothing is acknowledged that is not kept.
var replyDisabled = smtp.NewReply(550, "5.7.1", "This account is disabled")

var replyFull = smtp.NewReply(452, "4.3.1", "Insufficient system storage")

// Data takes the content and has it for all recipients, or for none.
func (s *session) Data(ctx context.Context, content io.Reader) (*smtp.Reply, error) {
	draft, err := s.srv.cfg.Store.Draft(ctx, s.size)
	if err != nil {
		return nil, storeReply("begin a draft", err)
	}
	defer draft.Discard()
	if _, err := fmt.Fprintf(draft, "Return-Path: %s\r\n", s.from.Wire()); err != nil {
		return nil, storeReply("write a draft", err)
	}
	author := newFromJudge(s.from)
	judges := judges{author, cipherJudge{filter.New(filter.Outgoing, s.recipients...), s.srv}}
	editor := header.NewEditor(draft, s.srv.edit())
	if err := judges.copy(editor, content); err != nil {
		return nil, err
	}
	if r := judges.verdict(); r != nil {
		return nil, r
	}
	if err := editor.Close(); err != nil {
		return nil, storeReply("write a draft", err)
	}
	switch may, err := s.srv.cfg.Store.MayMail(ctx, s.account); {
	case err != nil:
		return nil, storeReply("ask for the author's account", err)
	case !may:
		return nil, replyDisabled
	}
	return s.deliver(ctx, draft, author.head.Raw())
}

// edit says how the header of a submitted message leaves us: without what
// tells of the client or could pass for the word of a server, with the
// Subject that every message has, and with the fields that each must have
// (RFC 6409 section 8).
func (s *Server) edit() header.Edit {
	return header.Edit{
		Remove: []string{
			"Received", "X-Originating-IP", "X-Mailer", "User-Agent",
			"Return-Path", "DKIM-Signature", "Authentication-Results",
		},
		Replace: []string{"Subject: [...]"},
		Missing: []header.Field{
			{Name: "Date", Value: s.cfg.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700")},
			{Name: "Message-ID", Value: "<" + strings.ToLower(rand.Text()) + "@" + strings.Trim(s.cfg.Domain, "[]") + ">"},
		},
	}
}

// deliver commits a good draft for every recipient at once. Those that fail
// alone are told to the author: by the reply when nobody got the message, by
// a notification, durable before the reply, when somebody did.
func (s *session) deliver(ctx context.Context, draft storage.Draft, head []byte) (*smtp.Reply, error) {
	var batch storage.Batch
	for _, to := range s.recipients {
		if !s.srv.ours(to) {
			return nil, smtp.NewReply(550, "5.4.4", "<%s>: no route yet", to.Wire())
		}
		batch.Ops = append(batch.Ops, storage.Deliver{To: to, Content: draft})
	}
	result, err := s.srv.cfg.Store.Commit(ctx, batch)
	if err != nil {
		return nil, storeReply("commit", err)
	}
	failures, err := s.failures(result)
	switch {
	case err != nil:
		return nil, err
	case len(failures) == len(s.recipients):
		return nil, failures[0].Reply
	case len(failures) > 0:
		return nil, s.notify(ctx, failures, head)
	}
	return nil, nil
}

// failures counts what became of each recipient and gives those that do not
// get the message. A fault of ours is an error even when some have it: twice
// is better than never.
func (s *session) failures(result storage.Result) ([]notify.Failure, error) {
	var failures []notify.Failure
	var fault error
	for i, outcome := range result.Per {
		to := s.recipients[i]
		switch {
		case outcome.Err == nil:
			s.srv.delivered.Inc()
			s.srv.cfg.Wake.Notify(to, s.from.Address)
		case errors.Is(outcome.Err, storage.ErrNoAccount):
			failures = append(failures, notify.Failure{Recipient: to,
				Reply: smtp.NewReply(550, "5.1.1", "<%s> User doesn't exist: %s", to.Wire(), to.Wire())})
		case errors.Is(outcome.Err, storage.ErrQuota):
			s.srv.quotaExceeded.Inc()
			failures = append(failures, notify.Failure{Recipient: to,
				Reply: smtp.NewReply(552, "5.2.2", "<%s> Quota exceeded (mailbox for user is full)", to.Wire())})
		default:
			fault = storeReply("deliver", outcome.Err)
		}
	}
	return failures, fault
}

// notify puts a notification into the author's own mailbox: the reverse-path
// of a submission is always an account of ours.
func (s *session) notify(ctx context.Context, failures []notify.Failure, head []byte) error {
	report := notify.Report{Domain: s.srv.cfg.Domain, To: s.account.Address, Failures: failures, Header: head, Now: s.srv.cfg.Now()}
	content := append([]byte("Return-Path: <>\r\n"), report.Content()...)
	result, err := s.srv.cfg.Store.Commit(ctx, storage.Batch{
		Ops: []storage.Op{storage.Deliver{To: s.account.Address, Content: bytes.NewReader(content)}},
	})
	if err != nil {
		return storeReply("commit a notification", err)
	}
	if err := result.Per[0].Err; err != nil {
		// The author's own mailbox is full, or gone: nobody is left to be told.
		s.srv.unnotified.Inc()
		s.srv.log.Warn("notification not delivered", "account", s.account.Address, "error", err)
		return nil
	}
	s.srv.notified.Inc()
	s.srv.cfg.Wake.Notify(s.account.Address, smtp.Address{})
	return nil
}

// storeReply gives what a client reads when the store fails.
func storeReply(what string, err error) error {
	if errors.Is(err, storage.ErrFull) {
		return replyFull
	}
	return fmt.Errorf("%s: %w", what, err)
}
