package app

import (
	"context"

	"barid/acme"
	"barid/internal/admin"
)

// Renewal is the question of "POST /tls/renew".
type Renewal struct {
	// NewKey makes another private key first.
	NewKey bool `json:"new_key"`
}

// handleTLS answers what "barid tls" asks.
func (a *App) handleTLS() {
	a.admin.Handle("POST /tls", admin.Answer(func(context.Context, struct{}) ([]acme.Served, error) {
		return a.certs.Status(), nil
	}))
	a.admin.Handle("POST /tls/renew", admin.Stream(func(ctx context.Context, q Renewal, send func(any) error) error {
		renew := a.certs.Renew
		if q.NewKey {
			renew = a.certs.NewKey
		}
		if err := renew(ctx); err != nil {
			return err
		}
		return send(a.certs.Status())
	}))
}

// RenewCertificates asks the authority for new certificates now; see
// acme.Source.Renew.
func (a *App) RenewCertificates(ctx context.Context) error { return a.certs.Renew(ctx) }
