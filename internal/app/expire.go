package app

import (
	"context"
	"errors"
	"time"

	"barid/internal/admin"
	"barid/storage"
	"barid/storage/expiry"
)

// ExpireOrder is the question of "POST /expire".
type ExpireOrder struct {
	DryRun       bool `json:"dry_run,omitempty"`
	ConfirmClock bool `json:"confirm_clock,omitempty"`
}

// ExpireLine is a line of its answer: what became of one account, how far it
// is, or, as the last, the end.
type ExpireLine struct {
	Account  string `json:"account,omitempty"` // the address
	Removed  bool   `json:"removed,omitempty"` // as a whole; the rest is zero then
	Messages int64  `json:"messages,omitempty"`
	Octets   int64  `json:"octets,omitempty"`
	Strays   int64  `json:"strays,omitempty"` // files that were no messages
	Kept     bool   `json:"kept,omitempty"`   // a directory without password that is not empty
	Failed   bool   `json:"failed,omitempty"` // it could not be judged

	Progress *expiry.Summary `json:"progress,omitempty"`
	End      *expiry.Summary `json:"end,omitempty"`
}

// makeExpiry makes what lets old mail leave. It begins with Start.
func (a *App) makeExpiry() error {
	a.expiry = expiry.New(expiry.Config{
		Store:    a.store,
		Mail:     time.Duration(a.cfg.Expiry.DeleteMailsAfter),
		Large:    time.Duration(a.cfg.Expiry.DeleteLargeAfter),
		Accounts: time.Duration(a.cfg.Expiry.DeleteInactiveUsersAfter),
		State:    a.dataPath("expiry.json"),
		Logger:   a.log,
		Metrics:  a.metrics,
	})
	a.onStop("expiry", a.expiry.Stop)
	return nil
}

// handleExpire answers what "barid expire" asks.
func (a *App) handleExpire() {
	a.admin.Handle("POST /expire", admin.Stream(a.expire))
}

func (a *App) expire(ctx context.Context, q ExpireOrder, send func(any) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A reader that is gone ends the run, at the next step.
	var unread error
	tell := func(l ExpireLine) {
		if unread == nil {
			if unread = send(l); unread != nil {
				cancel()
			}
		}
	}
	p := storage.ExpiryPolicy{DryRun: q.DryRun, ConfirmClock: q.ConfirmClock}
	end, err := a.expiry.Run(ctx, p, func(x storage.Expired) {
		if x.Account.IsZero() {
			tell(ExpireLine{Progress: expiry.Progress(x)})
			return
		}
		tell(ExpireLine{
			Account: x.Account.Wire(), Removed: x.Accounts > 0, Messages: x.Messages, Octets: x.Octets, Strays: x.Strays,
			Kept: x.Kept > 0, Failed: x.Failed > 0,
		})
	})
	if err != nil {
		return errors.Join(err, unread)
	}
	tell(ExpireLine{End: &end})
	return unread
}

// expiryState is the expiry as status shows it.
func (a *App) expiryState() *admin.Expiry {
	s := a.expiry.Status()
	e := &admin.Expiry{Next: s.Next, Running: s.Running != nil}
	if s.Last != nil {
		e.Last, e.Says = s.Last.Began, s.Last.String()
	}
	return e
}
