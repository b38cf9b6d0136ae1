package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"barid/acme"
	"barid/dkim"
	"barid/imap"
	"barid/imap/push"
	"barid/internal/admin"
	"barid/internal/appversions"
	"barid/internal/config"
	"barid/internal/metrics"
	"barid/internal/netserve"
	"barid/internal/resolver"
	"barid/smtp/outbox"
	"barid/smtp/queue"
	"barid/smtp/receive"
	"barid/smtp/submit"
	"barid/smtp/transmit"
	"barid/storage"
	"barid/storage/expiry"
	"barid/storage/local"
)

// DrainTime bounds how long Stop waits for clients before it cuts them; a
// whole Stop is over in less than 20 s.
const DrainTime = 10 * time.Second

// Options are what a process gives its relay beside the configuration.
type Options struct {
	// Logger of the relay; nil makes one after the configuration's log table,
	// on standard error.
	Logger *slog.Logger
	// Version and Commit are shown in status.
	Version, Commit string
	// Handover is what the process before this one, or systemd, left; may be nil.
	Handover *Handover
	// Restart is called when the operator asks for a restart in place; nil when
	// that cannot be. It returns at once.
	Restart func()
	// ReturnMemory gives memory back to the system after many clients came at
	// once. It collects the garbage of the whole process, so it is for a
	// process that is there for this relay.
	ReturnMemory bool
}

// App is one relay: made by New, serving from Start to Stop.
type App struct {
	cfg      *config.Config
	opt      Options
	log      *slog.Logger
	names    names
	metrics  *metrics.Registry
	store    storage.Store
	births   *births
	certs    *acme.Source
	imap     *imap.Server
	submit   *submit.Server
	resolver *resolver.Resolver
	signer   *dkim.Signer // nil for a relay at an address
	receive  *receive.Server
	outbox   *outbox.Outbox // nil where nothing leaves
	queue    *queue.Queue   // likewise
	transmit *transmit.Transmitter
	push     *push.Sender // nil while it is off
	versions *appversions.List
	net      *netserve.Server
	admin    *admin.Server
	expiry   *expiry.Daily
	web      *webServers
	calls    *calls // nil while TURN is off
	started  time.Time

	mu        sync.Mutex // guards the fields below
	drainTime time.Duration
	dkimKeys  []dkim.Key // that the signer has
	addrs     []listening
	taken     []string // addresses that others have, and that we can do without
	undo      []undo   // in the order of making
}

// listening is one address that is served.
type listening struct {
	name string
	addr net.Addr
}

// undo ends one part.
type undo struct {
	part string
	end  func(context.Context) error
}

// New makes every part of a relay, complete but without a socket. When it
// fails, whatever was made is undone. The error of a data directory that
// another process uses wraps journal.ErrLocked.
func New(cfg *config.Config, opt Options) (a *App, err error) {
	a = &App{cfg: cfg, opt: opt, log: opt.Logger, names: namesOf(cfg.Domain), metrics: metrics.New(), drainTime: DrainTime}
	if a.log == nil {
		a.log = newLogger(cfg.Log)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Stop(context.Background()))
			a = nil
		}
	}()
	for _, part := range []struct {
		name string
		make func() error
	}{
		{"storage", a.openStore},
		{"new accounts", a.makeBirths},
		{"certificates", a.openCertificates},
		{"resolver", a.makeResolver},
		{"push", a.makePush},
		{"imap", a.makeIMAP},
		{"DKIM keys", a.makeSigner},
		{"way out", a.makeOutgoing},
		{"submission", a.makeSubmit},
		{"reception", a.makeReceive},
		{"web", a.makeWeb},
		{"expiry", a.makeExpiry},
		{"calls", a.makeTURN},
		{"status socket", a.openAdmin},
	} {
		if err := part.make(); err != nil {
			return a, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return a, nil
}

// onStop registers the undo of a part the moment the part exists.
func (a *App) onStop(part string, end func(context.Context) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.undo = append(a.undo, undo{part, end})
}

func (a *App) openStore() error {
	cfg := storeConfig(a.cfg, a.names, a.log, a.metrics)
	a.askBirths(&cfg.Policy)
	if a.opt.Handover != nil {
		cfg.Remembered = a.opt.Handover.Remembered
	}
	st, err := local.Open(cfg)
	if err != nil {
		return err
	}
	a.store = st
	a.onStop("storage", func(context.Context) error { return st.Close() })
	return nil
}

// Start opens the listeners and begins to serve. On an error the caller
// still calls Stop.
func (a *App) Start(context.Context) error {
	a.started = time.Now()
	a.net = netserve.New(netserve.Config{Logger: a.log, Metrics: a.metrics, MaxConns: a.cfg.Limits.MaxConnections})
	a.web.serve()
	a.onStop("listeners", a.drain)
	if h := a.opt.Handover; h != nil {
		if err := h.inherit(a.net); err != nil {
			return err
		}
		a.certs.SetTicketKeys(h.TicketKeys, h.TicketsSince)
	}
	for _, l := range a.listeners() {
		addr, err := a.net.Listen(l)
		if err != nil && a.without(l, err) {
			continue
		}
		if err != nil {
			return err
		}
		a.mu.Lock()
		a.addrs = append(a.addrs, listening{l.Name, addr})
		a.mu.Unlock()
		a.log.Info("listening", "part", "app", "listener", l.Name, "addr", addr.String())
		if err := a.listenUDP(l, addr); err != nil {
			return err
		}
	}
	if n := a.net.CloseInherited(); n > 0 {
		a.log.Warn("inherited sockets that no listener wants were closed", "part", "app", "sockets", n)
	}
	a.certs.Start()
	if a.queue != nil {
		a.queue.Start()
	}
	a.expiry.Start()
	a.admin.Serve(a.Status)
	a.startReturningMemory()
	return nil
}

// drain lets clients finish for DrainTime. Web connections have their own
// end: an idle one would otherwise wait for its client. A client that takes
// longer is cut, which is no fault of the relay's: it was promised nothing.
func (a *App) drain(ctx context.Context) error {
	a.mu.Lock()
	within := a.drainTime
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var web sync.WaitGroup
	web.Go(func() { a.web.shutdown(ctx) })
	if err := a.net.Drain(ctx); err != nil {
		a.log.Warn("clients did not end in time", "part", "app", "error", err)
	}
	web.Wait()
	return nil
}

// Addr gives the first address of a listener by its name in the
// configuration ("imaps"), or "" when it is off.
func (a *App) Addr(listener string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.addrs {
		if l.name == listener {
			return l.addr.String()
		}
	}
	return ""
}

// Stop ends all parts in the reverse of their making: listeners drain, the
// store settles and closes, the data directory is released. It may be called
// at any time after New, and again.
func (a *App) Stop(ctx context.Context) error {
	a.mu.Lock()
	undo := a.undo
	a.undo = nil
	a.mu.Unlock()
	var errs []error
	for i := len(undo) - 1; i >= 0; i-- {
		if err := undo[i].end(ctx); err != nil {
			a.log.Warn("part did not end well", "part", undo[i].part, "error", err)
			errs = append(errs, fmt.Errorf("end %s: %w", undo[i].part, err))
		}
	}
	return errors.Join(errs...)
}
