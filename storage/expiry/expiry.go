package expiry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"barid/internal/finding"
	"barid/internal/metrics"
	"barid/storage"
)

const (
	// at is when the day's run begins, after midnight UTC.
	at = 2 * time.Minute
	// soon is how long after the start a run that was missed begins: a relay that
	// just came up has better things to do.
	soon = 5 * time.Minute
	// look is how often the clock is looked at, and what failed is tried again.
	look = time.Hour
)

// Store is what an expiry needs of a store: see storage.Store.
type Store interface {
	Expire(ctx context.Context, p storage.ExpiryPolicy, report func(storage.Expired)) error
}

// Config of a Daily.
type Config struct {
	Store Store
	// Mail, Large and Accounts are the ages of storage.ExpiryPolicy.
	Mail, Large, Accounts time.Duration
	// State is the path of the file that keeps the last run; empty keeps none.
	State   string
	Logger  *slog.Logger      // nil is silence
	Metrics *metrics.Registry // nil is fine
	Now     func() time.Time  // nil is time.Now
}

// Daily is the expiry of a relay.
type Daily struct {
	cfg  Config
	log  *slog.Logger
	quit context.CancelFunc
	done sync.WaitGroup

	runs                               prometheus.Counter
	accounts, messages, octets, strays prometheus.Counter
	failed                             prometheus.Counter

	mu      sync.Mutex // guards the fields below
	last    *Summary   // nil before the first
	next    time.Time
	running *Summary // of the run under way; nil while there is none
	problem error    // why the last did not run, or did not end
}

// New makes a Daily that does nothing before Start. A state file that cannot
// be read is logged, and counts for none.
func New(cfg Config) *Daily {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	d := &Daily{
		cfg: cfg, log: cfg.Logger.With("part", "expiry"), quit: func() {},
		runs:     cfg.Metrics.Counter("expiry_runs", "Expiries that went to their end."),
		accounts: cfg.Metrics.Counter("expired_accounts", "Accounts that left for want of a login."),
		messages: cfg.Metrics.Counter("expired_messages", "Messages that left for their age."),
		octets:   cfg.Metrics.Counter("expired_bytes", "Octets of messages that left for their age."),
		strays:   cfg.Metrics.Counter("expired_strays", "Old files in mail directories that were no messages, removed."),
		failed:   cfg.Metrics.Counter("expiry_failed_accounts", "Accounts that an expiry could not judge."),
	}
	last, err := readState(cfg.State)
	if err != nil {
		d.log.Warn("the last expiry is not known", "error", err)
	}
	d.last = last
	cfg.Metrics.Gauge("expiry_last_run_seconds", "Begin of the last expiry that went to its end, Unix time; zero before the first.", func() float64 {
		if last := d.Last(); last != nil {
			return float64(last.Began.Unix())
		}
		return 0
	})
	return d
}

// Start begins to expire by the day. The caller stops it.
func (d *Daily) Start() {
	ctx, quit := context.WithCancel(context.Background())
	d.quit = quit
	started := d.cfg.Now()
	d.plan(started)
	d.done.Go(func() {
		timer := time.NewTimer(0)
		defer timer.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			timer.Reset(d.turn(ctx))
		}
	})
}

// Stop ends a run that is under way, and waits for it.
func (d *Daily) Stop(context.Context) error {
	d.quit()
	d.done.Wait()
	return nil
}

// turn does what is due, and tells how long there is nothing to do.
func (d *Daily) turn(ctx context.Context) time.Duration {
	now := d.cfg.Now()
	d.mu.Lock()
	due := !now.Before(d.next)
	d.mu.Unlock()
	if due {
		if _, err := d.Run(ctx, storage.ExpiryPolicy{}, nil); err != nil && ctx.Err() == nil {
			d.log.Error("expiry did not go to its end, it is tried again", "error", err)
			d.mu.Lock()
			d.next = d.cfg.Now().Add(look)
			d.mu.Unlock()
		}
	} else {
		d.checkClock(ctx)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	// A clock may be set while we wait, so never wait long.
	return min(max(d.next.Sub(d.cfg.Now()), time.Second), look)
}

// checkClock notes whether the clock could be believed.
func (d *Daily) checkClock(ctx context.Context) {
	err := d.cfg.Store.Expire(ctx, storage.ExpiryPolicy{DryRun: true}, nil)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case errors.Is(err, storage.ErrClock):
		if !errors.Is(d.problem, storage.ErrClock) {
			d.log.Error("nothing expires until the clock is confirmed", "error", err)
		}
		d.problem = err
	case err == nil && errors.Is(d.problem, storage.ErrClock):
		d.problem = nil
	}
}

// plan says when the next run is: at the day's time after the last one, or
// soon when that is over.
func (d *Daily) plan(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next = now.Add(soon)
	if d.last == nil || d.last.Began.After(now) {
		return
	}
	if next := after(d.last.Began); next.After(d.next) {
		d.next = next
	}
}

// after gives the first time of a daily run after t.
func after(t time.Time) time.Time {
	next := t.UTC().Truncate(24 * time.Hour).Add(at)
	if !next.After(t) {
		next = next.Add(24 * time.Hour)
	}
	return next
}

// Run lets what is old leave now, by the ages of the Config; of p only DryRun
// and ConfirmClock count. report, which may be nil, gets what
// storage.Store.Expire reports. A run that goes to its end counts as the
// day's, unless it is dry. One that is under way is waited for.
func (d *Daily) Run(ctx context.Context, p storage.ExpiryPolicy, report func(storage.Expired)) (Summary, error) {
	p.Mail, p.Large, p.Accounts = d.cfg.Mail, d.cfg.Large, d.cfg.Accounts
	s := Summary{Began: d.cfg.Now().UTC(), DryRun: p.DryRun}
	begun := false
	err := d.cfg.Store.Expire(ctx, p, func(x storage.Expired) {
		if x.Account.IsZero() {
			s.take(x)
			if !p.DryRun {
				d.progress(&s, !begun)
				begun = true
			}
		}
		if report != nil {
			report(x)
		}
	})
	s.Ended = d.cfg.Now().UTC()
	d.ended(&s, begun, err)
	if err != nil {
		return s, fmt.Errorf("expiry: %w", err)
	}
	return s, nil
}

// progress shows a run that is under way.
func (d *Daily) progress(s *Summary, first bool) {
	if first {
		d.log.Info("expiry begins", "accounts", s.Accounts)
	}
	now := *s
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running = &now
}

// ended counts and keeps what a run did.
func (d *Daily) ended(s *Summary, begun bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.DryRun {
		return
	}
	d.running = nil
	if begun {
		d.accounts.Add(float64(s.RemovedAccounts))
		d.messages.Add(float64(s.RemovedMessages))
		d.octets.Add(float64(s.RemovedOctets))
		d.strays.Add(float64(s.Strays))
		d.failed.Add(float64(s.Failed))
		d.log.Info("expired", "why", "age", "accounts", s.RemovedAccounts, "of_accounts", s.Accounts, "messages", s.RemovedMessages,
			"octets", s.RemovedOctets, "kept", s.Kept, "failed", s.Failed, "took", s.Ended.Sub(s.Began).Round(time.Millisecond))
	}
	if errors.Is(err, context.Canceled) {
		return // somebody ended it, so nothing is wrong
	}
	if d.problem = err; err != nil {
		return
	}
	d.runs.Inc()
	d.last, d.next = s, after(s.Ended)
	if err := writeState(d.cfg.State, s); err != nil {
		d.log.Warn("the last expiry cannot be kept", "error", err)
	}
}

// Last gives the last run that went to its end, nil when there was none.
func (d *Daily) Last() *Summary {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last
}

// Status tells how it goes.
func (d *Daily) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Status{Last: d.last, Next: d.next, Running: d.running}
	if d.problem != nil {
		s.Problem = d.problem.Error()
	}
	return s
}

// Findings tells what keeps mail from leaving.
func (d *Daily) Findings() []finding.Finding {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.problem == nil:
		return nil
	case errors.Is(d.problem, storage.ErrClock):
		return []finding.Finding{{
			ID: "expiry.clock", Severity: finding.Fault,
			Text:   "Nothing expires, because the clock cannot be believed, or the relay was off for more than a day: " + d.problem.Error() + ".",
			Remedy: `Look at "date"; when it is right, run "barid expire --confirm-clock".`,
		}}
	}
	return []finding.Finding{{
		ID: "expiry.failed", Severity: finding.Warning,
		Text:   "The last expiry did not go to its end: " + d.problem.Error() + ".",
		Remedy: `It is tried again within the hour; "barid expire" tries it now.`,
	}}
}
