package intake

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"barid/internal/metrics"
	"barid/smtp"
	"barid/smtp/header"
	"barid/smtp/notify"
	"barid/smtp/outbox"
	"barid/storage"
)

// Waker wakes the devices of an account that got a message. From is its
// author. It returns at once.
type Waker interface {
	Notify(account, from smtp.Address)
}

// nobody is woken.
type nobody struct{}

func (nobody) Notify(_, _ smtp.Address) {}

// Config of Inboxes.
type Config struct {
	Store storage.Store
	// Domain of the accounts, lower case: a name, or a literal in brackets.
	Domain string
	// Outbox takes mail for other servers; nil where none leaves.
	Outbox *outbox.Outbox
	// Wake is told of each message that was delivered; nil for none.
	Wake    Waker
	Logger  *slog.Logger // not nil
	Metrics *metrics.Registry
	Now     func() time.Time // not nil
}

// Inboxes delivers to accounts of ours and counts.
type Inboxes struct {
	cfg                                            Config
	delivered, quotaExceeded, notified, unnotified prometheus.Counter
}

// NewInboxes makes Inboxes.
func NewInboxes(cfg Config) *Inboxes {
	if cfg.Wake == nil {
		cfg.Wake = nobody{}
	}
	return &Inboxes{
		cfg:           cfg,
		delivered:     cfg.Metrics.Counter("delivered_mail", "Messages saved to an INBOX."),
		quotaExceeded: cfg.Metrics.Counter("quota_exceeded", "Messages that a full mailbox did not take."),
		notified:      cfg.Metrics.Counter("notifications", "Delivery status notifications saved."),
		unnotified:    cfg.Metrics.Counter("notifications_lost", "Delivery status notifications that their own recipient could not take."),
	}
}

// Deliver commits a draft for every recipient at once, those at other servers
// by the queue, and gives those that do not get it. The author is its
// reverse-path. A fault of ours is an error even when some have it: twice is
// better than never.
func (in *Inboxes) Deliver(ctx context.Context, draft storage.Draft, author smtp.Address, recipients []smtp.Address) ([]notify.Failure, error) {
	b, err := in.batch(draft, author, recipients)
	if err != nil {
		return nil, err
	}
	if len(b.Ops) == 0 {
		return b.failures, nil
	}
	result, err := in.cfg.Store.Commit(ctx, b.Batch)
	if err != nil {
		return nil, StoreReply("commit", err)
	}
	var fault error
	for i, outcome := range result.Per {
		if err := in.outcome(b, i, outcome.Err, author); err != nil {
			fault = err
		}
	}
	return b.failures, fault
}

// batch is a message for many recipients on its way into the store.
type batch struct {
	storage.Batch
	to       [][]smtp.Address // of each operation
	failures []notify.Failure
}

// batch makes the operations: one for each recipient here, one for each
// domain elsewhere.
func (in *Inboxes) batch(draft storage.Draft, author smtp.Address, recipients []smtp.Address) (*batch, error) {
	b := &batch{}
	var elsewhere []smtp.Address
	for _, to := range recipients {
		if to.Domain != in.cfg.Domain {
			elsewhere = append(elsewhere, to)
			continue
		}
		b.Ops = append(b.Ops, storage.Deliver{To: to, Content: draft})
		b.to = append(b.to, []smtp.Address{to})
	}
	if len(elsewhere) == 0 {
		return b, nil
	}
	if in.cfg.Outbox == nil {
		for _, to := range elsewhere {
			b.fail(to, smtp.NewReply(550, "5.4.4", "<%s>: this relay sends no mail to other servers", to.Wire()))
		}
		return b, nil
	}
	if r := in.cfg.Outbox.Full(); r != nil {
		return nil, r
	}
	ops, err := in.cfg.Outbox.Ops(smtp.Path{Address: author}, author, elsewhere, draft)
	if err != nil {
		return nil, fmt.Errorf("make mail fit to leave: %w", err)
	}
	for _, op := range ops {
		b.Ops = append(b.Ops, op)
		b.to = append(b.to, op.To)
	}
	return b, nil
}

func (b *batch) fail(to smtp.Address, reply *smtp.Reply) {
	b.failures = append(b.failures, notify.Failure{Recipient: to, Reply: reply})
}

// outcome counts what became of an operation, and wakes who got something. An
// error is a fault of ours.
func (in *Inboxes) outcome(b *batch, i int, err error, author smtp.Address) error {
	to := b.to[i]
	if _, ok := b.Ops[i].(storage.Enqueue); ok {
		switch {
		case err == nil:
			in.cfg.Outbox.Queued(len(to))
		case in.cfg.Outbox.Refused(err) != nil:
			for _, a := range to {
				b.fail(a, in.cfg.Outbox.Refused(err))
			}
		default:
			return StoreReply("queue", err)
		}
		return nil
	}
	switch {
	case err == nil:
		in.delivered.Inc()
		in.cfg.Wake.Notify(to[0], author)
	case errors.Is(err, storage.ErrNoAccount):
		b.fail(to[0], NoAccount(to[0]))
	case errors.Is(err, storage.ErrQuota):
		in.quotaExceeded.Inc()
		b.fail(to[0], smtp.NewReply(552, "5.2.2", "<%s> Quota exceeded (mailbox for user is full)", to[0].Wire()))
	default:
		return StoreReply("deliver", err)
	}
	return nil
}

// Notify puts a notification about a message with that header into the
// mailbox of one of our accounts. One that cannot take it is not told: nobody
// is left to be.
func (in *Inboxes) Notify(ctx context.Context, to smtp.Address, failures []notify.Failure, head []byte) error {
	report := notify.Report{Domain: in.cfg.Domain, To: to, Failures: failures, Header: head, Now: in.cfg.Now()}
	content := append([]byte("Return-Path: <>\r\n"), report.Content()...)
	result, err := in.cfg.Store.Commit(ctx, storage.Batch{
		Ops: []storage.Op{storage.Deliver{To: to, Content: bytes.NewReader(content)}},
	})
	if err != nil {
		return StoreReply("commit a notification", err)
	}
	if err := result.Per[0].Err; err != nil {
		in.unnotified.Inc()
		in.cfg.Logger.Warn("notification not delivered", "account", to, "error", err)
		return nil
	}
	in.notified.Inc()
	in.cfg.Wake.Notify(to, smtp.Address{})
	return nil
}

// Missing gives the fields that every message must have (RFC 6409 section 8).
func (in *Inboxes) Missing() []header.Field {
	return []header.Field{
		{Name: "Date", Value: in.cfg.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700")},
		{Name: "Message-ID", Value: "<" + strings.ToLower(rand.Text()) + "@" + strings.Trim(in.cfg.Domain, "[]") + ">"},
	}
}
