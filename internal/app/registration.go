package app

import (
	"context"

	"barid/internal/admin"
	"barid/internal/config"
	"barid/web"
)

// Registration is the answer to "POST /registration": who may have a new
// account now.
type Registration struct {
	Now        string `json:"now"`        // "open", "invites" or "closed"
	Configured string `json:"configured"` // the same of the configuration
	Stopped    bool   `json:"stopped"`    // the operator closed it while the relay ran
	Says       string `json:"says"`       // in words
}

// RegistrationSet is its question: "open" or "closed" sets, nothing asks.
type RegistrationSet struct {
	Set string `json:"set,omitempty"`
}

// registrationState asks the store and the configuration, which both can
// close.
func (a *App) registrationState(ctx context.Context) Registration {
	r := Registration{Now: a.cfg.Accounts.Registration, Configured: a.cfg.Accounts.Registration}
	open, err := a.store.Registration(ctx)
	r.Stopped = !open
	switch {
	case r.Configured == config.RegistrationClosed:
		r.Says = "closed by the configuration"
	case err != nil:
		r.Now, r.Says = config.RegistrationClosed, "closed, since the data directory cannot be read: "+err.Error()
	case r.Stopped:
		r.Now, r.Says = config.RegistrationClosed, `closed by "barid registration close"`
	case r.Configured == config.RegistrationInvites:
		r.Says = "by invitation"
	default:
		r.Says = "open"
	}
	return r
}

// registration tells the web pages.
func (a *App) registration() web.Registration {
	switch a.registrationState(context.Background()).Now {
	case config.RegistrationOpen:
		return web.Open
	case config.RegistrationInvites:
		return web.ByInvitation
	}
	return web.Closed
}

// handleRegistration answers what "barid registration" asks.
func (a *App) handleRegistration() {
	a.admin.Handle("POST /registration", admin.Answer(func(ctx context.Context, q RegistrationSet) (Registration, error) {
		if q.Set != "" {
			if err := a.store.SetRegistration(ctx, q.Set == config.RegistrationOpen); err != nil {
				return Registration{}, err
			}
			a.log.Info("registration was set", "part", "app", "to", q.Set)
		}
		return a.registrationState(ctx), nil
	}))
}
