package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"barid/internal/netserve"
	"barid/web"
)

// Deadlines of a web request; below them netserve has its own.
const (
	headerTimeout = 20 * time.Second
	webTimeout    = 60 * time.Second
	webIdle       = 2 * time.Minute
)

// webServers are the HTTP servers of a relay, each fed by a queue that stands
// behind a listener.
type webServers struct {
	https, clear, redirect, metrics *netserve.Queue
	servers                         []*http.Server
	queues                          []*netserve.Queue
	site                            *web.Site
	realtime                        *realtime
	log                             *slog.Logger
	done                            sync.WaitGroup
}

// webAddr names a queue to http.Server.
type webAddr string

func (webAddr) Network() string  { return "queue" }
func (a webAddr) String() string { return string(a) }

func (w *webServers) add(name string, h http.Handler) *netserve.Queue {
	q := netserve.NewQueue(webAddr(name))
	w.queues = append(w.queues, q)
	w.servers = append(w.servers, &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       webTimeout,
		WriteTimeout:      webTimeout,
		IdleTimeout:       webIdle,
		MaxHeaderBytes:    320 << 10,                                 // a thousand recipients of /mxdeliv
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, 0), // its lines carry client addresses
		ConnContext:       withClient,
	})
	return q
}

// serve begins to accept from the queues.
func (w *webServers) serve() {
	for i, s := range w.servers {
		w.done.Go(func() {
			if err := s.Serve(w.queues[i]); !errors.Is(err, http.ErrServerClosed) {
				w.log.Error("web server ended", "part", "web", "error", err)
			}
		})
	}
}

// shutdown lets requests under way finish until ctx ends.
func (w *webServers) shutdown(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() {
		if err := w.realtime.shutdown(ctx); err != nil {
			w.log.Warn("clients of the iroh relay or the DERP server did not end in time", "part", "web", "error", err)
		}
	})
	for _, s := range w.servers {
		all.Go(func() {
			if s.Shutdown(ctx) != nil {
				s.Close()
			}
		})
	}
	all.Wait()
	w.done.Wait()
}

// clientKey is where a request's context keeps the client's address.
type clientKey struct{}

func withClient(ctx context.Context, c net.Conn) context.Context {
	if n := netserve.From(c); n != nil {
		return context.WithValue(ctx, clientKey{}, n.Client())
	}
	return ctx
}

func clientOf(r *http.Request) netip.Addr {
	client, _ := r.Context().Value(clientKey{}).(netip.Addr)
	return client
}

func (a *App) makeWeb() error {
	cfg := a.webConfig()
	site, err := web.New(cfg)
	if err != nil {
		return err
	}
	w := &webServers{log: a.log, site: site}
	if w.realtime, err = a.makeRealtime(); err != nil {
		return err
	}
	pages := a.withDelivery(w.realtime.before(site))
	w.https = w.add("https", pages)
	w.redirect = w.add("redirect", a.certs.HTTPChallenge(web.Redirect(cfg)))
	w.clear = w.add("http_clear", pages)
	w.metrics = w.add("metrics", metricsOnly(a.metrics.Handler()))
	a.web = w
	return nil
}

// metricsOnly serves h at /metrics and nothing elsewhere.
func metricsOnly(h http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", h)
	return mux
}
