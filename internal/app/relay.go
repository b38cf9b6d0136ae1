package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"barid/internal/finding"
	"barid/relay"
	"barid/relay/derp"
)

// realtime is what the web listeners serve beside pages: the iroh relay and the
// DERP server, which are nil when they are off.
type realtime struct {
	iroh *relay.Server
	derp *derp.Server
	seen seen
}

func (a *App) makeRealtime() (*realtime, error) {
	r := &realtime{}
	if c := a.cfg.Iroh; c.Enabled {
		r.iroh = relay.New(relay.Config{
			MaxClients: c.MaxClients, PerClient: c.PerClient,
			BytesPerSecond: int64(c.BytesPerSecond), Burst: int64(c.Burst), Memory: int64(c.Memory),
			Client: clientOf, Logger: a.log, Metrics: a.metrics,
		})
	}
	if c := a.cfg.DERP; c.Enabled {
		var err error
		r.derp, err = derp.New(derp.Config{VerifyURL: c.VerifyURL, MaxClients: c.MaxClients, Logger: a.log, Metrics: a.metrics})
		if err != nil {
			return nil, fmt.Errorf("derp: %w", err)
		}
	}
	return r, nil
}

// before answers what is not for the pages.
func (r *realtime) before(pages http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		path := req.URL.Path
		switch {
		case r.iroh != nil && (path == "/relay" || path == "/ping" || relay.IsOldPath(req)):
			r.iroh.ServeHTTP(w, req)
		case r.derp != nil && (path == "/derp" || strings.HasPrefix(path, "/derp/")):
			r.derp.ServeHTTP(w, req)
		default:
			pages.ServeHTTP(w, req)
		}
	})
}

// shutdown ends all clients of both.
func (r *realtime) shutdown(ctx context.Context) error {
	var errs []error
	if r.iroh != nil {
		errs = append(errs, r.iroh.Shutdown(ctx))
	}
	if r.derp != nil {
		errs = append(errs, r.derp.Shutdown(ctx))
	}
	return errors.Join(errs...)
}

// irohURL is what clients are told to use: what the configuration says, else
// this relay at its domain, when it is there.
func (a *App) irohURL() string {
	c := a.cfg.Iroh
	if c.URL != "" || !c.Enabled || len(a.cfg.Listen.HTTPS) == 0 {
		return c.URL
	}
	return "https://" + a.names.host
}

// Bounds of a look at the relay that clients are told to use.
const (
	probeTime  = 5 * time.Second
	awayTime   = 2 * time.Second  // the same for somebody else's: status waits
	probeEvery = 30 * time.Second // whoever asks sooner gets what was seen
)

// seen is what was found at the last look.
type seen struct {
	mu       sync.Mutex // guards the fields below; held while looking
	when     time.Time
	findings []finding.Finding
}

// irohFindings looks whether a client gets what it is told to use, with the
// handshake that it does itself.
func (a *App) irohFindings() []finding.Finding {
	s := &a.web.realtime.seen
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.when.IsZero() || time.Since(s.when) > probeEvery {
		limit := probeTime
		if a.cfg.Iroh.URL != "" {
			limit = awayTime
		}
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		s.findings = a.lookAtIroh(ctx)
		s.when = time.Now()
	}
	return s.findings
}

func (a *App) lookAtIroh(ctx context.Context) []finding.Finding {
	target := a.irohURL()
	if target == "" {
		return nil
	}
	err := a.probeIroh(ctx, target)
	if certificate := (*tls.CertificateVerificationError)(nil); errors.As(err, &certificate) {
		return []finding.Finding{{
			ID: "iroh.certificate", Severity: finding.Warning,
			Text:   "In-chat apps cannot use the iroh relay at " + target + ": clients take only certificates of public authorities there.",
			Remedy: `Get a trusted certificate (tls.mode = "acme"), or name another relay in iroh.url.`,
		}}
	}
	if err != nil {
		return []finding.Finding{{
			ID: "iroh.unusable", Severity: finding.Fault,
			Text:   fmt.Sprintf("The iroh relay at %s, which clients are told to use, does not work: %s.", target, quiet(err)),
			Remedy: "Look at iroh.url and at what stands before it; without iroh.url, at listen.https.",
		}}
	}
	return nil
}

// probeIroh tries the relay at a URL that config has checked. This relay is
// asked at its own listener: from here its name may lead elsewhere, or nowhere.
func (a *App) probeIroh(ctx context.Context, target string) error {
	u, err := url.Parse(target)
	if err != nil {
		return fmt.Errorf("read the URL: %w", err)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	dial := func() (net.Conn, error) {
		return a.dialer().DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	}
	if a.cfg.Iroh.URL == "" {
		dial = func() (net.Conn, error) { return a.dialOwn(ctx, "https") }
	}
	conn, err := dial()
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if u.Scheme == "https" {
		c := tls.Client(conn, &tls.Config{ServerName: u.Hostname()})
		if err := c.HandshakeContext(ctx); err != nil {
			conn.Close()
			return fmt.Errorf("TLS: %w", err)
		}
		conn = c
	}
	return relay.Probe(ctx, conn, u.Host)
}

// dialer connects to others, whose names dns.resolver knows where it is set.
func (a *App) dialer() *net.Dialer {
	d := &net.Dialer{}
	if server := a.cfg.DNS.Resolver; server != "" {
		d.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server)
		}}
	}
	return d
}

// dialOwn connects to the first address of a listener of ours. Where that
// takes us for a proxy, it says that there is nobody behind it.
func (a *App) dialOwn(ctx context.Context, listener string) (net.Conn, error) {
	network, addr := "tcp", reachable(a.Addr(listener))
	if strings.HasPrefix(addr, "/") {
		network = "unix"
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	proxies, unix := a.cfg.Listen.ProxyNetworks()
	if local, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		from := local.AddrPort().Addr().Unmap().WithZone("")
		unix = slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(from) })
	}
	if !unix {
		return conn, nil
	}
	if _, err := conn.Write([]byte("PROXY UNKNOWN\r\n")); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// reachable gives an address at which a listener is reached from here.
func reachable(listening string) string {
	addr, err := netip.ParseAddrPort(listening)
	if err != nil || !addr.Addr().IsUnspecified() {
		return listening
	}
	loopback := netip.IPv6Loopback()
	if addr.Addr().Is4() {
		loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.AddrPortFrom(loopback, addr.Port()).String()
}

// quiet gives an error without the addresses that package net puts into it,
// those of name servers too.
func quiet(err error) error {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		switch {
		case dns.IsNotFound:
			return errors.New("its name is not in the DNS")
		case dns.IsTimeout:
			return errors.New("no name server answered in time")
		}
		return errors.New("its name cannot be looked up")
	}
	if late := (net.Error)(nil); errors.As(err, &late) && late.Timeout() {
		return errors.New("it did not answer in time")
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	return err
}
