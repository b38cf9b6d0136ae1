package app

import (
	"context"
	"net"
	"net/netip"
	"time"

	"barid/internal/admin"
	"barid/internal/config"
	"barid/internal/finding"
	"barid/smtp/outbox"
	"barid/smtp/queue"
	"barid/smtp/transmit"
	"barid/storage"
)

// makeOutgoing makes the way out: what makes mail fit to leave, the queue, and
// what brings it to other servers.
func (a *App) makeOutgoing() error {
	f := a.cfg.Federation
	store, ok := a.store.(queue.Store)
	if !ok || f.Outgoing == config.OutgoingOff {
		return nil
	}
	roots, err := a.roots()
	if err != nil {
		return err
	}
	a.outbox = outbox.New(outbox.Config{
		Store: store, Domain: a.names.mail, Hostname: a.names.host, Signer: a.signer,
		Logger: a.log, Metrics: a.metrics, Now: time.Now,
	})
	t := transmit.New(transmit.Config{
		Resolver:   a.resolver,
		Hostname:   a.names.mail, // an address is a literal in EHLO
		Names:      []string{a.names.mail, a.names.host},
		Ours:       a.comesBack,
		Roots:      roots,
		SMTPPort:   uint16(f.SMTPPort),
		HTTPSPort:  uint16(f.HTTPSPort),
		Cleartext:  f.CleartextDomains,
		HTTPSOnly:  f.Outgoing == config.OutgoingHTTPS,
		NoLiterals: f.AddressLiterals == config.LiteralsOff,
		Sources:    sourceAddresses(f.SourceAddresses),
		Logger:     a.log,
		Metrics:    a.metrics,
	})
	a.onStop("transmission", func(context.Context) error { t.Close(); return nil })
	a.transmit = t
	warn := time.Duration(f.WarnAfter)
	if warn == 0 {
		warn = -1 // never
	}
	a.queue = queue.New(queue.Config{
		Store:      store,
		Deliver:    deliverBy(t),
		Tell:       a.outbox.Tell,
		Slots:      f.MaxAttempts,
		FirstRetry: time.Duration(f.FirstRetry),
		MaxRetry:   time.Duration(f.MaxRetry),
		Lifetime:   time.Duration(f.Lifetime),
		WarnAfter:  warn,
		Logger:     a.log,
		Metrics:    a.metrics,
	})
	a.onStop("queue", func(context.Context) error { a.queue.Stop(); return nil })
	return nil
}

// outgoingFindings tells of trouble on the way out.
func (a *App) outgoingFindings() []finding.Finding {
	if a.queue == nil {
		return nil
	}
	return append(a.transmit.Findings(), a.queue.Findings()...)
}

// queueState is the queue in a few figures, nil where there is none.
func (a *App) queueState() *admin.Queue {
	if a.queue == nil {
		return nil
	}
	s := a.queue.Summary()
	return &admin.Queue{Entries: s.Entries, Most: s.Most, Octets: s.Octets, InFlight: s.InFlight, Held: s.Held, Broken: s.Broken, Oldest: float64(s.Oldest)}
}

// comesBack tells whether a connection to an address would end at a listener
// of this relay.
func (a *App) comesBack(to netip.AddrPort) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.addrs {
		at, err := netip.ParseAddrPort(l.addr.String())
		if err != nil || at.Port() != to.Port() {
			continue
		}
		if at.Addr().Unmap() == to.Addr().Unmap() || at.Addr().IsUnspecified() && onThisMachine(to.Addr()) {
			return true
		}
	}
	return false
}

// onThisMachine tells whether an address is one of an interface here.
func onThisMachine(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			if have, ok := netip.AddrFromSlice(n.IP); ok && have.Unmap() == addr.Unmap() {
				return true
			}
		}
	}
	return false
}

// deliverBy lets a Transmitter deliver what a Queue hands out.
func deliverBy(t *transmit.Transmitter) func(context.Context, storage.QueueItem, storage.Content) queue.Attempt {
	return func(ctx context.Context, item storage.QueueItem, content storage.Content) queue.Attempt {
		out := t.Deliver(ctx, item.Dest, transmit.Message{
			From: item.From, To: item.To, Prefix: item.Prefix, Content: outbox.Leaving(content),
		})
		return queue.Attempt{Per: out.Per, Reached: out.Reached, Host: out.Host, Channel: out.Channel, Took: out.Took}
	}
}

func sourceAddresses(list []string) (addrs []netip.Addr) {
	for _, text := range list {
		if a, err := netip.ParseAddr(text); err == nil {
			addrs = append(addrs, a.Unmap())
		}
	}
	return addrs
}
