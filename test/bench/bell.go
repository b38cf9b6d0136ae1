package main

import (
	"context"
	"fmt"
	"time"

	"barid/test/letter"
)

// listeners is how many clients of one account idle in the bell scenario.
const listeners = 100

// bell measures the way from a mailbox's bell to the octets at its listeners.
// The bell itself cannot be heard outside: it rings when the message is
// durable, just before the sender's 250. One listener shows how long after
// that 250 the EXISTS comes; many show what each of them costs.
func bell(ctx context.Context, o options) ([]Row, error) {
	s, err := startFresh(ctx, o)
	if err != nil {
		return nil, err
	}
	defer s.kill()
	messages := 200
	if o.quick {
		messages = 20
	}
	one, err := listen(ctx, s, 0, 1, messages)
	if err != nil {
		return nil, err
	}
	many, err := listen(ctx, s, 1, listeners, messages)
	if err != nil {
		return nil, err
	}
	var after, spread []time.Duration
	for _, h := range one {
		after = append(after, h.first.Sub(h.acknowledged))
	}
	for _, h := range many {
		spread = append(spread, h.last.Sub(h.first))
	}
	return []Row{
		{"EXISTS after the sender's 250, 1 idle client, p50", "ms", ms(quantile(after, 0.50)), lower, 0},
		{"EXISTS after the sender's 250, 1 idle client, p99", "ms", ms(quantile(after, 0.99)), lower, 0},
		{fmt.Sprintf("first to last EXISTS of %d idle clients of one account, p50", listeners), "ms", ms(quantile(spread, 0.50)), lower, 0},
		{"the same for each of them", "ms", ms(quantile(spread, 0.50)) / (listeners - 1), lower, 0},
	}, s.stop()
}

// heard is one message at its listeners.
type heard struct{ acknowledged, first, last time.Time }

// listen sends messages one by one to an account with that many clients in
// IDLE.
func listen(ctx context.Context, s *server, who, clients, messages int) ([]heard, error) {
	to := person('r', who)
	var all []*imapClient
	defer func() {
		for _, c := range all {
			c.Close()
		}
	}()
	for range clients {
		c, err := dialIMAP(ctx, s.imap, to, coreHello())
		if err != nil {
			return nil, err
		}
		all = append(all, c)
		if _, err = c.do(`SELECT "INBOX"`); err == nil {
			err = c.idle()
		}
		if err != nil {
			return nil, err
		}
	}
	sender, err := dialSMTP(ctx, s.smtp, person('s', who))
	if err != nil {
		return nil, err
	}
	defer sender.Close()
	content := letter.New(fmt.Sprintf("bell-%d", who), sender.from, letter.Size)
	var out []heard
	for range messages {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		_, message := content.Next()
		h, err := ringOnce(sender, all, to.address, message)
		if err != nil {
			return nil, err
		}
		out = append(out, h)
	}
	return out, nil
}

// ringOnce sends one message and waits until all have heard of it.
func ringOnce(sender *smtpClient, all []*imapClient, to string, message []byte) (heard, error) {
	at := make([]time.Time, len(all))
	done := make(chan error, 1)
	go func() {
		done <- crowd(len(all), func(i int) error {
			_, err := all[i].exists()
			at[i] = time.Now()
			return err
		})
	}()
	err := sender.send([]string{to}, message, nil)
	h := heard{acknowledged: time.Now()}
	if err != nil {
		for _, c := range all {
			c.Close() // ends those who wait
		}
		<-done
		return h, err
	}
	if err := <-done; err != nil {
		return h, err
	}
	h.first, h.last = at[0], at[0]
	for _, t := range at {
		if t.Before(h.first) {
			h.first = t
		}
		if t.After(h.last) {
			h.last = t
		}
	}
	return h, nil
}
