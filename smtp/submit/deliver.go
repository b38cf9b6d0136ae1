package submit

import (
	"context"
	"errors"
	"fmt"
	"io"

	"barid/smtp"
	"barid/smtp/filter"
	"barid/smtp/header"
	"barid/smtp/intake"
	"barid/storage"
)

// replyDisabled is what a disabled account reads. The reference answers 250
// and drops; here nothing is acknowledged that is not kept.
var replyDisabled = smtp.NewReply(550, "5.7.1", "This account is disabled")

// replyGone is what a session reads whose account is no more.
var replyGone = smtp.NewReply(550, "5.7.1", "This account is gone")

// Data takes the content and has it for all recipients, or for none.
func (s *session) Data(ctx context.Context, content io.Reader) (*smtp.Reply, error) {
	draft, err := s.srv.cfg.Store.Draft(ctx, s.size)
	if err != nil {
		return nil, intake.StoreReply("begin a draft", err)
	}
	defer draft.Discard()
	if _, err := fmt.Fprintf(draft, "Return-Path: %s\r\n", s.from.Wire()); err != nil {
		return nil, intake.StoreReply("write a draft", err)
	}
	author := newFromJudge(s.from)
	judges := intake.Judges{author, cipherJudge{filter.New(filter.Outgoing, s.recipients...), s.srv}}
	editor := header.NewEditor(draft, s.srv.edit())
	if err := judges.Copy(editor, content); err != nil {
		return nil, err
	}
	if r := judges.Verdict(); r != nil {
		return nil, r
	}
	if err := editor.Close(); err != nil {
		return nil, intake.StoreReply("write a draft", err)
	}
	switch may, err := s.srv.cfg.Store.MayMail(ctx, s.account); {
	case errors.Is(err, storage.ErrNoAccount): // deleted while this session was
		return nil, replyGone
	case err != nil:
		return nil, intake.StoreReply("ask for the author's account", err)
	case !may:
		return nil, replyDisabled
	}
	return s.deliver(ctx, draft, author.Head())
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
		Missing: s.inboxes.Missing(),
	}
}

// deliver commits a good draft for every recipient at once. Those that fail
// alone are told to the author: by the reply when nobody got the message, by
// a notification, durable before the reply, when somebody did. The
// reverse-path of a submission is always an account of ours.
func (s *session) deliver(ctx context.Context, draft storage.Draft, head []byte) (*smtp.Reply, error) {
	failures, err := s.srv.inboxes.Deliver(ctx, draft, s.from.Address, s.recipients)
	switch {
	case err != nil:
		return nil, err
	case len(failures) == len(s.recipients):
		return nil, failures[0].Reply
	case len(failures) > 0:
		return nil, s.srv.inboxes.Notify(ctx, s.account.Address, failures, head)
	}
	return nil, nil
}
