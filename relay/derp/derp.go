// Package derp offers the DERP server of Tailscale, unmodified, to an
// operator's own tailnet. It is the one package that imports tailscale.com, so
// that it can go.
//
//	/derp                 the protocol, behind an HTTP/1.1 upgrade
//	/derp/probe           200, for clients that measure how far the server is
//	/derp/latency-check   the same
//
// DERP is not the protocol of iroh, which grew out of it: keys, logins and
// frames differ, and no client of one speaks to the other. Nothing is shared.
//
// Somebody else decides who may come in: the server asks a URL about each
// client. Nothing is logged, as its log has addresses and keys. Its key is new
// at each start; clients ask for it when they connect.
package derp

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"tailscale.com/derp/derpserver"
	"tailscale.com/types/key"

	"barid/internal/metrics"
)

// Config of a Server.
type Config struct {
	// VerifyURL is asked whether a client may come in, by POST of JSON with its
	// key and address; the answer is {"Allow": true} or not. No answer means no.
	// Required: without it everybody could use the server.
	VerifyURL string
	// MaxClients bounds the connections; zero for no bound.
	MaxClients int
	// Logger may be nil, Metrics too.
	Logger  *slog.Logger
	Metrics *metrics.Registry
}

// ErrOpen is given for a Server that would ask nobody.
var ErrOpen = errors.New("a DERP server needs a URL to verify clients")

// Server is a DERP server. It is an http.Handler for the paths of the package
// comment.
type Server struct {
	inner   *derpserver.Server
	handler http.Handler
	max     int
	accepts prometheus.Counter

	mu      sync.Mutex // guards the fields below
	closed  bool
	clients int
	refused int64
	work    sync.WaitGroup
}

// New makes a server without clients. The error is ErrOpen.
func New(cfg Config) (*Server, error) {
	if cfg.VerifyURL == "" {
		return nil, ErrOpen
	}
	inner := derpserver.New(key.NewNode(), func(string, ...any) {})
	inner.SetVerifyClientURL(cfg.VerifyURL)
	inner.SetVerifyClientURLFailOpen(false)
	s := &Server{
		inner: inner, max: cfg.MaxClients,
		handler: derpserver.AddWebSocketSupport(inner, derpserver.Handler(inner)),
		accepts: cfg.Metrics.Counter("derp_accepts", "Connections of DERP clients, those that were not let in too."),
	}
	cfg.Metrics.Limit(metrics.Limit{
		Name: "derp_clients", Help: "connections to the DERP server", Max: int64(cfg.MaxClients),
		Use:     func() int64 { s.mu.Lock(); defer s.mu.Unlock(); return int64(s.clients) },
		Refused: func() int64 { s.mu.Lock(); defer s.mu.Unlock(); return s.refused },
	})
	if cfg.Logger != nil {
		cfg.Logger.Info("DERP server is on", "part", "derp")
	}
	return s, nil
}

// ServeHTTP answers at the paths of the package comment and gives 404
// elsewhere. For a client it returns when the connection ends.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/derp/probe", "/derp/latency-check":
		derpserver.ProbeHandler(w, r)
		return
	case "/derp":
	default:
		http.NotFound(w, r)
		return
	}
	// What is neither would be named in a log that is not ours.
	if !strings.EqualFold(r.Header.Get("Upgrade"), "derp") &&
		!(strings.EqualFold(r.Header.Get("Upgrade"), "websocket") && strings.Contains(r.Header.Get("Sec-Websocket-Protocol"), "derp")) {
		http.Error(w, "this is for clients of a DERP server", http.StatusUpgradeRequired)
		return
	}
	if r.ProtoMajor != 1 {
		http.Error(w, "this needs HTTP/1.1", http.StatusBadRequest)
		return
	}
	if !s.enter() {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many clients", http.StatusServiceUnavailable)
		return
	}
	defer s.leave()
	s.handler.ServeHTTP(w, r)
}

func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.max > 0 && s.clients >= s.max {
		s.refused++
		return false
	}
	s.clients++
	s.work.Add(1)
	s.accepts.Inc()
	return true
}

func (s *Server) leave() {
	s.mu.Lock()
	s.clients--
	s.mu.Unlock()
	s.work.Done()
}

// Shutdown ends every connection and takes no new ones. It waits for all of
// them until ctx ends, then gives its cause; the rest follows when the operator
// has answered about those who want to come in, within 5 s.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	quiet := make(chan error, 1)
	go func() {
		err := s.inner.Close()
		s.work.Wait()
		quiet <- err
	}()
	select {
	case err := <-quiet:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
