package app

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"barid/internal/admin"
	"barid/internal/config"
	"barid/internal/finding"
	"barid/internal/invites"
	"barid/internal/journal"
	"barid/internal/machine"
	"barid/internal/metrics"
	"barid/internal/ratelimit"
	"barid/smtp"
	"barid/storage"
	"barid/storage/local"
)

// maxNetworks is how many networks are remembered for the rate of sign-ups.
const maxNetworks = 100_000

// births decide who may be born beside what the store knows itself: the
// machine must have room, the client's network must keep its rate, and where
// accounts come by invitation the address must be reserved.
type births struct {
	machine *machine.Watch
	signups *ratelimit.Limiter[netip.Prefix] // nil for no bound
	over    atomic.Int64                     // refused by signups
	book    *invites.Book                    // nil where there are no invitations
}

// askBirths makes the store ask. Nobody logs in before all parts are made.
func (a *App) askBirths(p *local.Policy) {
	p.Admit = func(_ context.Context, addr smtp.Address, from storage.Origin) error {
		return a.births.admit(addr, from)
	}
	if a.cfg.Accounts.Registration == config.RegistrationInvites {
		p.Invited = func(addr smtp.Address) bool { return a.births.book.Invited(addr.Fold().Wire()) }
	}
}

func (a *App) makeBirths() error {
	disk, err := journal.OpenFS(a.cfg.DataDir)
	if err != nil {
		return err
	}
	a.onStop("new accounts", func(context.Context) error { return disk.Close() })
	limits := a.cfg.Limits
	b := &births{}
	b.machine = machine.New(machine.Config{
		Limits: machine.Limits{
			MaxLoad: limits.MaxLoad1m, MinMemory: int64(limits.MinAvailableMemory),
			MinDisk: int64(limits.MinFreeDiskSpace), MinInodes: int64(limits.MinFreeInodes),
		},
		Disk: disk.Free, Logger: a.log, Metrics: a.metrics,
	})
	b.limitSignups(limits, a.metrics)
	if a.cfg.Accounts.Registration == config.RegistrationInvites {
		b.book, err = invites.Open(invites.Config{FS: disk, NoSync: a.cfg.Storage.Sync == config.SyncNever, Logger: a.log, Metrics: a.metrics})
	}
	a.births = b
	return err
}

func (b *births) limitSignups(limits config.Limits, m *metrics.Registry) {
	if limits.SignupBurst == 0 {
		return
	}
	b.signups = ratelimit.New[netip.Prefix](ratelimit.Config{
		Every: time.Second / time.Duration(limits.SignupPerSecond), Burst: limits.SignupBurst, MaxKeys: maxNetworks,
	})
	m.Limit(metrics.Limit{
		Name: "signups_per_network", Help: "networks remembered for the rate of sign-ups", Max: maxNetworks,
		Use: func() int64 { return int64(b.signups.Keys()) }, Refused: b.over.Load,
	})
}

// admit implements Policy.Admit of the store. What costs something comes last.
func (b *births) admit(addr smtp.Address, from storage.Origin) error {
	if err := b.machine.Admit(); err != nil {
		if short, ok := errors.AsType[*machine.Shortage](err); ok {
			return &storage.Refusal{Reason: short.Name, Text: short.Error()}
		}
		return err
	}
	if b.signups != nil {
		if ok, _ := b.signups.Allow(ratelimit.Network(from.Client)); !ok {
			b.over.Add(1)
			return &storage.Refusal{Reason: "rate", Text: "too many sign-ups from one network"}
		}
	}
	if b.book == nil {
		return nil
	}
	switch err := b.book.Take(addr.Fold().Wire()); {
	case errors.Is(err, invites.ErrUnknown): // its time was over a moment ago
		return &storage.Refusal{Reason: "invite", Text: "no invitation reserved this address"}
	case err != nil:
		return fmt.Errorf("use an invitation: %w", err)
	}
	return nil
}

// readings gives what the machine has, for status.
func (a *App) readings() []admin.Reading {
	var list []admin.Reading
	for _, r := range a.births.machine.Readings() {
		list = append(list, admin.Reading{
			Name: r.Name, Value: r.Value, Limit: r.Limit, AtMost: r.AtMost, Octets: r.Octets, Refusing: r.Refusing, Unreadable: r.Err != nil,
		})
	}
	return list
}

// birthFindings tells what keeps accounts from being born, if the operator
// did not ask for it.
func (a *App) birthFindings() []finding.Finding {
	var list []finding.Finding
	if err := a.births.machine.Admit(); err != nil {
		list = append(list, finding.Finding{
			ID: "accounts.no-room", Severity: finding.Warning,
			Text:   "No account is born: " + err.Error() + ".",
			Remedy: "Give the machine more of it, or change the limit in the configuration: limits.max_load_1m, min_available_memory, min_free_disk_space, min_free_inodes.",
		})
	}
	for _, r := range a.births.machine.Readings() {
		if r.Err != nil && r.Limit != 0 {
			list = append(list, finding.Finding{
				ID: "accounts.unreadable-limit", Severity: finding.Warning,
				Text:   "The limit on new accounts for " + r.Name + " is not kept, since the value cannot be read: " + r.Err.Error() + ".",
				Remedy: "Let the relay read /proc and its data directory, or set that limit to 0.",
			})
		}
	}
	if b := a.births.book; b != nil && b.Damaged() {
		list = append(list, finding.Finding{
			ID: "invites.damaged", Severity: finding.Warning,
			Text:   "The file of invitations was damaged; all that it had are gone.",
			Remedy: "Make new invitations, then remove invites.damaged from the data directory.",
		})
	}
	return list
}
