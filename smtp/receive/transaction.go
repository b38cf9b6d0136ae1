package receive

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"time"

	"barid/smtp"
	"barid/smtp/filter"
	"barid/smtp/header"
	"barid/smtp/intake"
	"barid/smtp/notify"
	"barid/storage"
)

// maxHops is how many Received fields a message may have before it counts as
// one that goes in circles (RFC 5321 section 6.3 wants at least 100 of a
// server that has no better way; this is the reference's 50).
const maxHops = 50

var replyHops = smtp.NewReply(554, "5.4.6", "Too many hops")

// transaction is one message on its way in, whatever the channel.
type transaction struct {
	srv     *Server
	channel string     // "smtp" or "https", for metrics
	client  netip.Addr // who speaks; zero when that is not known
	size    int64      // octets that were announced, or zero

	from       smtp.Path
	recipients []smtp.Address // folded, without tags, each once
	known      map[smtp.Address]bool
}

// begin begins with a reverse-path, and costs the peer one unit of its rate.
func (t *transaction) begin(from smtp.Path) *smtp.Reply {
	t.from = from
	if !t.client.IsValid() {
		return nil
	}
	if ok, after := t.srv.rate.Allow(peerKey(t.client)); !ok {
		t.srv.slowed.Inc()
		return smtp.NewReply(450, "4.7.1", "Too much mail from your host, try again in %s", after.Round(time.Millisecond))
	}
	return nil
}

// peerKey is who shares a rate: an IPv4 address, an IPv6 /64.
func peerKey(client netip.Addr) netip.Addr {
	client = client.Unmap().WithZone("")
	if client.Is6() {
		p, _ := client.Prefix(64) // 64 fits
		return p.Addr()
	}
	return client
}

// add takes a recipient of our domain: whoever it is, we say so later.
func (t *transaction) add(to smtp.Address) *smtp.Reply {
	if to.Domain != t.srv.cfg.Domain {
		return smtp.NewReply(554, "5.7.1", "<%s>: Relay access denied", to.Wire())
	}
	to = t.srv.forRole(to.Fold().WithoutTag())
	if !t.known[to] {
		if t.known == nil {
			t.known = map[smtp.Address]bool{}
		}
		t.known[to] = true
		t.recipients = append(t.recipients, to)
	}
	return nil
}

// take reads the content, judges it, and delivers. Its error is a *smtp.Reply
// for the peer, or a fault for the log.
func (t *transaction) take(ctx context.Context, content io.Reader) error {
	s := t.srv
	draft, err := s.cfg.Store.Draft(ctx, t.size)
	if err != nil {
		return intake.StoreReply("begin a draft", err)
	}
	defer draft.Discard()
	author, walk, check := new(intake.Author), filter.New(filter.Incoming, t.recipients...), s.cfg.Verifier.Check()
	// The editor writes when the header is whole, and the author has seen it
	// by then.
	front := &fronted{to: draft, front: func() string {
		author.Verdict()
		t.settleSender(author.Address())
		return "Return-Path: " + t.from.Wire() + "\r\n"
	}}
	editor := header.NewEditor(front, s.edit())
	judges := intake.Judges{author, unasked{walk}, unasked{check}}
	if err := judges.Copy(editor, content); err != nil {
		return err
	}
	if r := author.Verdict(); r != nil {
		return s.refuse("author", r)
	}
	if hops(author.Fields()) > maxHops {
		return s.refuse("hops", replyHops)
	}
	inClear, err := t.judgeClear(ctx, walk.Verdict())
	if err != nil {
		return err
	}
	proven, err := t.judgeOrigin(ctx, author.Address().Domain, check, draft)
	if err != nil {
		return err
	}
	if err := editor.Close(); err != nil {
		return intake.StoreReply("write a draft", err)
	}
	failures, err := t.deliver(ctx, draft, author.Address(), inClear)
	if err != nil {
		return err
	}
	s.received.WithLabelValues(t.channel).Inc()
	if len(failures) > 0 && proven {
		return t.report(ctx, failures, author.Head())
	}
	return nil
}

// refuse counts a refusal.
func (s *Server) refuse(reason string, r *smtp.Reply) error {
	s.refused.WithLabelValues(reason).Inc()
	s.log.Info("refused", "reason", reason, "reply", r.Error())
	return r
}

// edit says how the header of a received message reaches the mailbox: without
// the traces of its way, and with the fields that each must have.
func (s *Server) edit() header.Edit {
	return header.Edit{
		Remove:  []string{"DKIM-Signature", "Authentication-Results", "Received", "Return-Path"},
		Missing: s.inboxes.Missing(),
	}
}

// settleSender makes the null reverse-path of one that is not the author, as
// forwarders have it: nothing ever answers to a third party.
func (t *transaction) settleSender(author smtp.Address) {
	if t.from.Address.Fold() != author.Fold() {
		t.from = smtp.Path{}
	}
}

func hops(fields []header.Field) int {
	n := 0
	for _, f := range fields {
		if f.Is("Received") {
			n++
		}
	}
	return n
}

// unasked is a Judge that only sees the content: it is asked elsewhere, for
// more than a reply.
type unasked struct{ io.Writer }

func (unasked) Verdict() *smtp.Reply { return nil }

// fronted writes something in front of what is written first.
type fronted struct {
	to    io.Writer
	front func() string // nil once it was asked
}

func (f *fronted) Write(p []byte) (int, error) {
	if f.front != nil {
		text := f.front()
		f.front = nil
		if _, err := io.WriteString(f.to, text); err != nil {
			return 0, err
		}
	}
	return f.to.Write(p)
}

// deliver commits for all who can get it and gives those that cannot. When
// nobody can it is an error: the reply of the first.
func (t *transaction) deliver(ctx context.Context, draft storage.Draft, author smtp.Address, inClear map[smtp.Address]bool) ([]notify.Failure, error) {
	var failures []notify.Failure
	var to []smtp.Address
	for _, r := range t.recipients {
		switch reply := t.srv.noMailbox(r); {
		case reply != nil:
			failures = append(failures, notify.Failure{Recipient: r, Reply: reply})
		case inClear[r]:
			failures = append(failures, notify.Failure{Recipient: r, Reply: intake.NeedEncryption})
		default:
			to = append(to, r)
		}
	}
	if len(to) > 0 {
		failed, err := t.srv.inboxes.Deliver(ctx, draft, author, to)
		if err != nil {
			return nil, err
		}
		failures = append(failures, failed...)
	}
	if len(failures) == len(t.recipients) {
		return nil, t.srv.refuse("recipients", failures[0].Reply)
	}
	return failures, nil
}

// report tells the reverse-path who did not get the message. It is that of
// the author, and proven; the null reverse-path is told nothing.
func (t *transaction) report(ctx context.Context, failures []notify.Failure, head []byte) error {
	s := t.srv
	to := t.from.Address
	switch {
	case t.from.IsNull():
		return nil
	case to.Domain == s.cfg.Domain:
		return s.inboxes.Notify(ctx, to, failures, head)
	case s.cfg.Outbox == nil:
		s.unreported.Inc()
		s.log.Warn("notification not sent", "error", "nothing leaves this relay")
		return nil
	}
	report := notify.Report{Domain: s.cfg.Domain, To: to, Failures: failures, Header: head, Now: s.cfg.Now()}
	if err := s.cfg.Outbox.Send(ctx, to, report.Content()); err != nil {
		// Those who could get the message have it; to say so twice helps nobody.
		s.unreported.Inc()
		return fmt.Errorf("queue a notification: %w", err)
	}
	s.reported.Inc()
	return nil
}
