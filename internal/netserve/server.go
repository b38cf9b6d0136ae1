package netserve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"barid/internal/metrics"

	"github.com/prometheus/client_golang/prometheus"
)

// Handler speaks a protocol. The connection is closed when ServeConn
// returns. ctx ends when the server drains: finish what is begun, say
// goodbye, return.
//
// A connection comes without a Pace: the handler sets one first. A panic ends
// that connection alone.
type Handler interface {
	ServeConn(ctx context.Context, c *Conn)
}

// HandlerFunc is a function as Handler.
type HandlerFunc func(ctx context.Context, c *Conn)

// ServeConn calls f.
func (f HandlerFunc) ServeConn(ctx context.Context, c *Conn) { f(ctx, c) }

// Mode says what stands between the socket and the protocol.
type Mode int

// The modes.
const (
	Clear Mode = iota // nothing; the protocol may start TLS itself
	TLS               // TLS from the first octet
	Mux               // port 443: TLS, then by ALPN; other first octets by what they are
)

// Listener describes one listening socket.
type Listener struct {
	Name    string // "imaps"; names metrics and logs
	Addr    string // "[::]:993", or "unix:" and the path of a socket
	Mode    Mode
	TLS     *tls.Config        // for TLS and Mux
	Handler Handler            // for Clear and TLS; for Mux what no ALPN or an unknown one asks for
	ALPN    map[string]Handler // for Mux: by protocol, beside Handler
	Plain   Handler            // for Mux: plain HTTP on the TLS port
	// Guess, for Mux, is asked what a client speaks that named no protocol, or
	// HTTP/1.1, by what it said first inside TLS: at least eight octets, or less when the first
	// is a printable character. Nil from it means Handler; without Guess that is
	// not looked at. It is also asked about what begins, outside of TLS, like
	// neither TLS nor text: nil then means the end.
	Guess func(first []byte) Handler
	// PerClient bounds the connections of one client IP (an IPv6 /64), Max
	// those of this listener. Zero means no bound. Loopback clients are exempt
	// from PerClient. Listeners of one Name count together.
	PerClient, Max int
	// Proxies are the networks of proxies: a connection from there must begin
	// with the PROXY protocol (version 1 or 2), which says whose it is. From
	// anywhere else such a header is refused. ProxyUnix wants it on a Unix socket.
	Proxies   []netip.Prefix
	ProxyUnix bool
	// Refuse, when set, writes the protocol's words to one who is over a
	// bound, on a Clear listener; it has a second for that. With TLS the
	// connection is closed without words.
	Refuse func(c net.Conn)
}

// Config of a Server.
type Config struct {
	Logger  *slog.Logger
	Metrics *metrics.Registry
	// MaxConns bounds all connections together. Zero means no bound.
	MaxConns int
	// HandshakeTimeout bounds a TLS handshake as a whole. Default 30s.
	HandshakeTimeout time.Duration
}

// ErrDraining is what Listen gives after Drain.
var ErrDraining = errors.New("the server is draining")

// Server owns the listening sockets and every connection they accepted.
type Server struct {
	cfg     Config
	log     *slog.Logger
	gate    gate
	refuser gate // how many refusals are being spoken
	refused *prometheus.CounterVec
	faults  prometheus.Counter
	panics  prometheus.Counter
	failed  prometheus.Counter

	ctx  context.Context // of every handler
	stop context.CancelFunc
	work sync.WaitGroup // accept loops and connections

	mu        sync.Mutex // guards the fields below, and what group and Conn say
	draining  bool
	listening []*acceptor
	inherited []inherited
	groups    map[string]*group
	open      int
	over      int64 // connections refused because of MaxConns
	first     *Conn
}

// New makes a server without sockets.
func New(cfg Config) *Server {
	if cfg.HandshakeTimeout <= 0 {
		cfg.HandshakeTimeout = handshakeTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m := cfg.Metrics
	s := &Server{
		cfg:     cfg,
		log:     cfg.Logger.With("part", "netserve"),
		gate:    make(gate, 64*runtime.GOMAXPROCS(0)),
		refuser: make(gate, 64),
		refused: m.Counters("connections_refused", "Connections refused, by listener and the bound they met.", "listener", "bound"),
		faults:  m.Counter("accept_faults", "Failed accepts of connections."),
		panics:  m.Counter("connection_panics", "Connections that ended in a fault of ours."),
		failed:  m.Counter("tls_handshake_failures", "TLS handshakes that did not come to an end."),
		groups:  map[string]*group{},
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	m.Limit(metrics.Limit{
		Name: "connections", Help: "open connections of all listeners", Max: int64(cfg.MaxConns),
		Use:     func() int64 { s.mu.Lock(); defer s.mu.Unlock(); return int64(s.open) },
		Refused: func() int64 { s.mu.Lock(); defer s.mu.Unlock(); return s.over },
	})
	return s
}

// Listen opens a socket, or takes one that was inherited, and serves it until
// Drain. The address it got is returned (port 0 becomes a real one).
func (s *Server) Listen(l Listener) (net.Addr, error) {
	ln := s.takeInherited(l)
	if ln == nil {
		var err error
		if ln, err = openSocket(l); err != nil {
			return nil, fmt.Errorf("listen for %s: %w", l.Name, err)
		}
	}
	if err := s.serve(ln, l); err != nil {
		ln.Close()
		return nil, fmt.Errorf("listen for %s: %w", l.Name, err)
	}
	return ln.Addr(), nil
}

// serve accepts from ln until Drain.
func (s *Server) serve(ln net.Listener, l Listener) error {
	if err := l.check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return ErrDraining
	}
	a := &acceptor{Listener: l, ln: ln, s: s, group: s.groupOf(l)}
	a.prepare()
	s.listening = append(s.listening, a)
	s.work.Go(a.run)
	return nil
}

// check finds what a Listener must not be.
func (l *Listener) check() error {
	switch {
	case l.Mode < Clear || l.Mode > Mux:
		return fmt.Errorf("no mode %d", l.Mode)
	case l.Mode != Clear && l.TLS == nil:
		return errors.New("TLS without a certificate")
	case l.Handler == nil && l.Mode != Mux:
		return errors.New("no handler")
	}
	return nil
}

// Drain stops accepting, ends the context of every handler, and waits for
// them until ctx ends; then it closes what is left and waits for its
// handlers to return. It gives the cause of ctx when that was needed.
func (s *Server) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	for _, a := range s.listening {
		a.ln.Close()
	}
	s.listening = nil
	s.mu.Unlock()
	s.stop()
	quiet := make(chan struct{})
	go func() {
		s.work.Wait()
		close(quiet)
	}()
	select {
	case <-quiet:
		return nil
	case <-ctx.Done():
	}
	n := s.closeAll()
	<-quiet
	if n == 0 {
		return nil
	}
	return fmt.Errorf("drain: %d connections cut: %w", n, context.Cause(ctx))
}

// closeAll closes every open connection and tells how many there were.
func (s *Server) closeAll() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := s.first; c != nil; c = c.next {
		c.Close()
		n++
	}
	return n
}
