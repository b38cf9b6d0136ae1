package app

import (
	"context"
	"errors"
	"slices"
	"time"

	"barid/internal/admin"
	"barid/internal/finding"
	"barid/storage"
)

// shown are the counters that status has; /metrics has all.
var shown = []string{
	"created_accounts", "rejected_registrations", "delivered_mail", "quota_exceeded", "storage_trimmed_messages",
	"expired_messages", "expired_accounts", "imap_sessions", "imap_idle", "received_mail", "received_refused",
	"queue_sent_recipients", "queue_failed_recipients", "queue_expired_recipients",
	"turn_relayed_bytes",
	"push_sent", "push_gone", "push_failed", "push_discarded",
}

// Status tells how the relay is now.
func (a *App) Status() admin.Status {
	s := admin.Status{
		Version: a.opt.Version, Commit: a.opt.Commit, Domain: a.cfg.Domain,
		Started: a.started, Now: time.Now(),
		Limits:   admin.LimitsOf(a.metrics),
		Findings: slices.Concat(a.storeFindings(), a.certs.Findings(), a.versions.Findings(), a.pushFindings(), a.birthFindings(), a.fileFindings(), a.takenFindings(), a.expiry.Findings(), a.irohFindings(), a.web.site.Findings(), a.turnFindings(), a.outgoingFindings()),
	}
	a.mu.Lock()
	for _, l := range a.addrs {
		s.Listeners = append(s.Listeners, admin.Listener{Name: l.name, Addr: l.addr.String()})
	}
	a.mu.Unlock()
	s.Registration, s.Machine = a.registrationState(context.Background()).Says, a.readings()
	s.Expiry = a.expiryState()
	s.Queue = a.queueState()
	s.Store = storeState(a.store.Health(context.Background()))
	counters, err := admin.CountersOf(a.metrics, shown...)
	if err != nil {
		s.Findings = append(s.Findings, finding.Finding{
			ID: "metrics.unreadable", Severity: finding.Warning,
			Text: "The counters cannot be read: " + err.Error() + ".", Remedy: "Report it; nothing else is affected.",
		})
	}
	s.Counters = counters
	return s
}

// storeFindings is what the store says of itself, where it does.
func (a *App) storeFindings() []finding.Finding {
	if s, ok := a.store.(interface{ Findings() []finding.Finding }); ok {
		return s.Findings()
	}
	return nil
}

// storeState puts the health of the store in a word.
func storeState(err error) admin.Store {
	switch {
	case err == nil:
		return admin.Store{State: "ok"}
	case errors.Is(err, storage.ErrFull):
		return admin.Store{State: "full", Text: err.Error()}
	}
	return admin.Store{State: "read-only", Text: err.Error()}
}

// dataPath gives a path in the data directory.
func (a *App) dataPath(name string) string { return a.cfg.DataDir + "/" + name }
