package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"barid/imap/push"
	"barid/internal/admin"
	"barid/internal/finding"
	"barid/internal/journal"
	"barid/smtp"
	"barid/smtp/submit"
)

// makePush opens what wakes sleeping devices, where that is wanted.
func (a *App) makePush() error {
	if !a.cfg.Push.Enabled {
		return nil
	}
	roots, err := a.roots()
	if err != nil {
		return err
	}
	dir, err := journal.OpenFS(a.dataPath("push"))
	if err != nil {
		return err
	}
	cfg := push.Config{Store: a.store, URL: a.cfg.Push.URL, Roots: roots, FS: dir, Logger: a.log, Metrics: a.metrics}
	if a.cfg.DNS.Resolver != "" { // else the system's, which knows /etc/hosts too
		cfg.LookUp = func(ctx context.Context, host string) ([]netip.Addr, error) {
			answer, err := a.resolver.Addrs(ctx, host)
			return answer.Records, err
		}
	}
	a.push = push.New(cfg)
	a.onStop("push", a.push.Close)
	return nil
}

// roots gives the certificates that are trusted when the relay connects to
// others: nil, which means the system's, or those and tls.roots.
func (a *App) roots() (*x509.CertPool, error) {
	path := a.cfg.TLS.Roots
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("tls.roots: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a system without any
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("tls.roots: no certificate in %s", path)
	}
	return pool, nil
}

// waker gives those who deliver what they tell of it; nil while push is off.
func (a *App) waker() submit.Waker {
	if a.push == nil {
		return nil
	}
	return a.push
}

// pushFindings tells of wake-ups that pile up.
func (a *App) pushFindings() []finding.Finding {
	if a.push == nil {
		return nil
	}
	return a.push.Findings()
}

// PushTest asks for a wake-up of an account's devices now.
type PushTest struct {
	Account string `json:"account"` // its address, or its name alone
}

var errPushOff = errors.New("push is off (push.enabled)")

// handlePush answers `barid push`.
func (a *App) handlePush() {
	a.admin.Handle("POST /push/status", admin.Answer(func(context.Context, struct{}) (push.Status, error) {
		if a.push == nil {
			return push.Status{Platforms: []push.PlatformStatus{}}, nil
		}
		return a.push.Status(), nil
	}))
	a.admin.Handle("POST /push/test", admin.Stream(func(ctx context.Context, q PushTest, send func(any) error) error {
		if a.push == nil {
			return errPushOff
		}
		addr, err := smtp.ParseAddress(q.Account)
		if err != nil {
			addr, err = smtp.ParseAddress(q.Account + "@" + a.names.mail)
		}
		if err != nil {
			return errors.New("that is no mail address")
		}
		account, err := a.store.Lookup(ctx, addr)
		if err != nil {
			return err
		}
		return a.push.Test(ctx, account.Address, func(r push.TestResult) error { return send(r) })
	}))
}
