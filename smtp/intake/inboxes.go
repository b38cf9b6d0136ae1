package intake

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"barid/internal/metrics"
	"barid/smtp"
	"barid/smtp/header"
	"barid/smtp/notify"
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

// Deliver commits a draft for every recipient at once and gives those that do
// not get it. A fault of ours is an error even when some have it: twice is
// better than never.
func (in *Inboxes) Deliver(ctx context.Context, draft storage.Draft, author smtp.Address, recipients []smtp.Address) ([]notify.Failure, error) {
	var batch storage.Batch
	for _, to := range recipients {
		batch.Ops = append(batch.Ops, storage.Deliver{To: to, Content: draft})
	}
	result, err := in.cfg.Store.Commit(ctx, batch)
	if err != nil {
		return nil, StoreReply("commit", err)
	}
	var failures []notify.Failure
	var fault error
	for i, outcome := range result.Per {
		to := recipients[i]
		switch {
		case outcome.Err == nil:
			in.delivered.Inc()
			in.cfg.Wake.Notify(to, author)
		case errors.Is(outcome.Err, storage.ErrNoAccount):
			failures = append(failures, notify.Failure{Recipient: to, Reply: NoAccount(to)})
		case errors.Is(outcome.Err, storage.ErrQuota):
			in.quotaExceeded.Inc()
			failures = append(failures, notify.Failure{Recipient: to,
				Reply: smtp.NewReply(552, "5.2.2", "<%s> Quota exceeded (mailbox for user is full)", to.Wire())})
		default:
			fault = StoreReply("deliver", outcome.Err)
		}
	}
	return failures, fault
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
