package submit

import (
	"context"
	"errors"
	"fmt"
	"io"

	"barid/smtp"
	"barid/storage"
)

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
	judges := judges{newFromJudge(s.from)}
	if err := judges.copy(draft, content); err != nil {
		return nil, err
	}
	if r := judges.verdict(); r != nil {
		return nil, r
	}
	return s.deliver(ctx, draft)
}

// deliver commits a good draft.
func (s *session) deliver(ctx context.Context, draft storage.Draft) (*smtp.Reply, error) {
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
	return s.settle(result)
}

// settle counts what became of each recipient and gives the reply: good
// when any recipient is, else that of the first. A fault of ours is said to
// the client even when some have the message: twice is better than never.
func (s *session) settle(result storage.Result) (*smtp.Reply, error) {
	var bad, fault error
	good := 0
	for i, outcome := range result.Per {
		to := s.recipients[i].Wire()
		var r *smtp.Reply
		switch {
		case outcome.Err == nil:
			good++
			continue
		case errors.Is(outcome.Err, storage.ErrNoAccount):
			r = smtp.NewReply(550, "5.1.1", "<%s> User doesn't exist: %s", to, to)
		case errors.Is(outcome.Err, storage.ErrQuota):
			s.srv.quotaExceeded.Inc()
			r = smtp.NewReply(552, "5.2.2", "<%s> Quota exceeded (mailbox for user is full)", to)
		default:
			fault = storeReply("deliver", outcome.Err)
			continue
		}
		if bad == nil {
			bad = r
		}
	}
	s.srv.delivered.Add(float64(good))
	switch {
	case fault != nil:
		return nil, fault
	case good == 0:
		return nil, bad
	}
	return nil, nil
}

// storeReply gives what a client reads when the store fails.
func storeReply(what string, err error) error {
	if errors.Is(err, storage.ErrFull) {
		return replyFull
	}
	return fmt.Errorf("%s: %w", what, err)
}
