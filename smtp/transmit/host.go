package transmit

import (
	"context"
	"errors"
	"time"

	"barid/smtp"
)

// atHost tries to bring m to one host, by the channel that is best, then by
// the other. An error says that the host was not reached, so another one may
// be.
func (t *Transmitter) atHost(ctx context.Context, r *route, h host, m Message) (Outcome, error) {
	want, err := t.demands(ctx, r, h)
	if err != nil {
		return Outcome{}, err
	}
	key := h.name
	if r.trust != verified {
		key += " " + r.dest // another trust, another peer
	}
	a := attempt{t: t, want: want, host: h, key: key, m: m}
	if t.cfg.HTTPSOnly {
		return a.httpsOnly(ctx)
	}
	out, err := a.eitherWay(ctx)
	if errors.Is(err, errAsAWhole) && ctx.Err() == nil {
		return a.oneByOne(ctx)
	}
	return out, err
}

// eitherWay tries the channels, the better one first.
func (a *attempt) eitherWay(ctx context.Context) (Outcome, error) {
	order, race := a.t.known.best(a.key)
	if race {
		return a.race(ctx)
	}
	var errs []error
	for _, channel := range order {
		out, err := a.by(ctx, channel)
		if err == nil {
			return out, nil
		}
		errs = append(errs, &byChannel{channel, err})
		if ctx.Err() != nil {
			break
		}
	}
	return Outcome{}, errors.Join(errs...)
}

// attempt is one message at one host.
type attempt struct {
	t    *Transmitter
	want demands
	host host
	key  string // of what is known and kept about the host
	m    Message
}

// by delivers by one channel. An error says that it is of no use there.
func (a *attempt) by(ctx context.Context, channel string) (Outcome, error) {
	if channel == HTTPS {
		return a.https(ctx)
	}
	if w := a.t.pool.take(ctx, a.key); w != nil {
		out, err := a.smtp(ctx, w)
		if err == nil || ctx.Err() != nil {
			return out, err
		}
		// It was one of before, and the peer had enough of it.
	}
	w, err := a.open(ctx)
	if err != nil {
		a.t.known.note(a.key, SMTP, false, 0)
		return Outcome{}, err
	}
	return a.smtp(ctx, w)
}

// race makes both ways ready and takes the one that is first.
func (a *attempt) race(ctx context.Context) (Outcome, error) {
	racing, stop := context.WithCancel(ctx)
	defer stop()
	type ready struct {
		channel string
		conn    *waiting
		err     error
	}
	finish := make(chan ready, 2)
	go func() {
		conn, err := a.open(racing)
		finish <- ready{SMTP, conn, err}
	}()
	go func() {
		err := a.t.knock(racing, a)
		finish <- ready{HTTPS, nil, err}
	}()
	var errs []error
	for n := range 2 {
		r := <-finish
		if r.err != nil {
			errs = append(errs, &byChannel{r.channel, r.err})
			if ctx.Err() == nil {
				a.t.known.note(a.key, r.channel, false, 0)
			}
			continue
		}
		if n == 0 {
			stop()
			go func() { // the loser, when it was nearly there
				if late := <-finish; late.conn != nil {
					late.conn.Close()
				}
			}()
		}
		if r.channel == SMTP {
			return a.smtp(ctx, r.conn)
		}
		out, err := a.https(ctx)
		if err == nil {
			return out, nil
		}
		out, bySMTP := a.by(ctx, SMTP)
		if bySMTP != nil {
			return out, errors.Join(&byChannel{HTTPS, err}, &byChannel{SMTP, bySMTP})
		}
		return out, nil
	}
	return Outcome{}, errors.Join(errs...)
}

// httpsOnly is for a machine that cannot reach port 25 of others: what is no
// relay is out of reach for good, and its users should hear of it soon.
func (a *attempt) httpsOnly(ctx context.Context) (Outcome, error) {
	out, err := a.https(ctx)
	if errors.Is(err, errAsAWhole) {
		return a.oneByOne(ctx)
	}
	if errors.Is(err, errNoRelay) {
		return all(a.m, smtp.NewReply(550, "5.4.4", "%s takes no mail by HTTPS, and this relay cannot reach its port 25", a.host.name)), nil
	}
	return out, err
}

// since is how long something took, never zero.
func (t *Transmitter) since(began time.Time) time.Duration {
	return max(t.cfg.Now().Sub(began), time.Microsecond)
}
