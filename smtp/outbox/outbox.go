// Package outbox makes mail fit to leave the relay, and puts it into the
// queue: a trace field and signatures in front, one entry for each destination
// domain. It also writes what senders are told of their queued mail.
package outbox

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"barid/dkim"
	"barid/internal/metrics"
	"barid/smtp"
	"barid/smtp/notify"
	"barid/smtp/queue"
	"barid/storage"

	"github.com/prometheus/client_golang/prometheus"
)

// Store is what an Outbox needs of the store.
type Store interface {
	Commit(ctx context.Context, b storage.Batch) (storage.Result, error)
	QueueLen() (n, most int)
}

// Config of an Outbox.
type Config struct {
	Store Store
	// Domain of our accounts, lower case: a name, or a literal in brackets.
	Domain string
	// Hostname is what the trace field calls us.
	Hostname string
	// Signer signs what leaves; nil where there is no name to sign with.
	Signer  *dkim.Signer
	Logger  *slog.Logger // not nil
	Metrics *metrics.Registry
	Now     func() time.Time // not nil
}

// Outbox is safe for many goroutines.
type Outbox struct {
	cfg             Config
	queued, bounces prometheus.Counter
	full            prometheus.Counter
}

// New makes an Outbox.
func New(cfg Config) *Outbox {
	return &Outbox{
		cfg:     cfg,
		queued:  cfg.Metrics.Counter("queued_recipients", "Recipients at other servers whose mail was taken into the queue."),
		bounces: cfg.Metrics.Counter("queue_notifications", "Notifications to senders of queued mail."),
		full:    cfg.Metrics.Counter("queue_full", "Messages that the queue did not take."),
	}
}

// errFull is the reply to mail that the queue does not take for now.
var errFull = smtp.NewReply(452, "4.3.1", "Too much mail is waiting to leave, try again later")

// What a sender reads whose mail cannot be signed, now or later.
var (
	replyEmptyLines = smtp.NewReply(554, "5.6.0", "Message has too many empty lines in a row")
	replyHeader     = smtp.NewReply(554, "5.6.0", "Message has a header that cannot be signed")
)

// Full gives the reply to mail that leaves while the queue is full, nil while
// it is not.
func (o *Outbox) Full() *smtp.Reply {
	if n, most := o.cfg.Store.QueueLen(); n >= most {
		o.full.Inc()
		return errFull
	}
	return nil
}

// Refused gives the reply for an outcome of an Enqueue that is the queue's to
// refuse; nil for faults.
func (o *Outbox) Refused(err error) *smtp.Reply {
	if errors.Is(err, storage.ErrQueueFull) {
		o.full.Inc()
		return errFull
	}
	return nil
}

// Ops gives the operations that queue content for recipients at other
// servers, one for each of their domains, and with each its recipients. Sender
// is the account that is charged, zero for the relay itself.
func (o *Outbox) Ops(from smtp.Path, sender smtp.Address, to []smtp.Address, content storage.Content) (ops []storage.Enqueue, err error) {
	prefix, err := o.prefix(content)
	if err != nil {
		return nil, err
	}
	at := map[string]int{}
	for _, a := range to {
		i, ok := at[a.Domain]
		if !ok {
			i = len(ops)
			at[a.Domain] = i
			ops = append(ops, storage.Enqueue{Dest: a.Domain, From: from, Sender: sender, Prefix: prefix, Content: content})
		}
		ops[i].To = append(ops[i].To, a)
	}
	return ops, nil
}

// Queued counts recipients whose mail was taken.
func (o *Outbox) Queued(recipients int) { o.queued.Add(float64(recipients)) }

// prefix gives the fields in front of content as it leaves: the trace, which
// tells nothing of the client, and the signatures.
func (o *Outbox) prefix(content storage.Content) ([]byte, error) {
	out := fmt.Appendf(nil, "Received: by %s with ESMTPSA id %s;\r\n\t%s\r\n",
		o.cfg.Hostname, strings.ToLower(rand.Text()[:12]), o.cfg.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	if o.cfg.Signer == nil {
		return out, nil
	}
	signing := o.cfg.Signer.Sign()
	defer signing.Close()
	if _, err := io.Copy(signing, leavingReader(content)); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	fields, err := signing.Fields()
	switch {
	case errors.Is(err, dkim.EmptyLines):
		return nil, replyEmptyLines
	case errors.Is(err, dkim.ErrTooBig), errors.Is(err, dkim.ErrMalformed):
		return nil, replyHeader
	case err != nil:
		return nil, err
	}
	return append(out, fields...), nil
}

// Leaving gives content as it leaves: without the Return-Path that mailboxes
// have in front (RFC 5321 section 4.4).
func Leaving(content storage.Content) storage.Content {
	line := make([]byte, min(content.Size(), 512))
	n, err := content.ReadAt(line, 0)
	line = line[:n]
	if err != nil && !errors.Is(err, io.EOF) || !bytes.HasPrefix(line, []byte("Return-Path:")) {
		return content
	}
	end := bytes.Index(line, []byte("\r\n"))
	if end < 0 {
		return content
	}
	return io.NewSectionReader(content, int64(end+2), content.Size()-int64(end+2))
}

func leavingReader(content storage.Content) io.Reader {
	c := Leaving(content)
	return io.NewSectionReader(c, 0, c.Size())
}

// Send queues a message of the relay's own, with the null reverse-path.
func (o *Outbox) Send(ctx context.Context, to smtp.Address, content []byte) error {
	ops, err := o.Ops(smtp.Path{}, smtp.Address{}, []smtp.Address{to}, bytes.NewReader(content))
	if err != nil {
		return err
	}
	result, err := o.cfg.Store.Commit(ctx, storage.Batch{Ops: []storage.Op{ops[0]}})
	if err != nil {
		return fmt.Errorf("queue a message: %w", err)
	}
	if err := result.Per[0].Err; err != nil {
		return fmt.Errorf("queue a message: %w", err)
	}
	return nil
}

// Tell gives the operations that tell the sender of queued mail what became
// of it: none when there is nobody to tell, which is so for the null
// reverse-path. It is a queue.Config.Tell.
func (o *Outbox) Tell(_ context.Context, n queue.Notice) []storage.Op {
	to := n.Item.From.Address
	if n.Item.From.IsNull() {
		return nil
	}
	report := notify.Report{Domain: o.cfg.Domain, To: to, Header: header(n.Content), Now: o.cfg.Now(), Delayed: n.Delayed, Until: n.Until}
	for _, f := range n.Failures {
		report.Failures = append(report.Failures, notify.Failure{Recipient: f.Recipient, Reply: f.Reply})
	}
	content := report.Content()
	o.bounces.Inc()
	if to.Domain == o.cfg.Domain {
		return []storage.Op{storage.Deliver{To: to, Content: bytes.NewReader(append([]byte("Return-Path: <>\r\n"), content...))}}
	}
	ops, err := o.Ops(smtp.Path{}, smtp.Address{}, []smtp.Address{to}, bytes.NewReader(content))
	if err != nil {
		o.cfg.Logger.Error("notification not made", "error", err)
		return nil
	}
	return []storage.Op{ops[0]}
}

// header gives the header block of content, bounded.
func header(content storage.Content) []byte {
	if content == nil {
		return nil
	}
	c := Leaving(content)
	b := make([]byte, min(c.Size(), 2*notify.MaxHeader))
	n, err := c.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	b = b[:n]
	if end := bytes.Index(b, []byte("\r\n\r\n")); end >= 0 {
		return b[:end+2]
	}
	return b[:max(bytes.LastIndex(b, []byte("\r\n"))+2, 0)] // cut at a line
}
