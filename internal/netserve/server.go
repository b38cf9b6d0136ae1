package netserve

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"barid/internal/metrics"
)

// Handler speaks a protocol. The connection is closed when ServeConn
// returns. ctx ends when the server drains: finish what is begun, say
// goodbye, return.
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
	Addr    string // "[::]:993"
	Mode    Mode
	TLS     *tls.Config        // for TLS and Mux
	Handler Handler            // for Clear and TLS; for Mux what no ALPN or an unknown one asks for
	ALPN    map[string]Handler // for Mux: by protocol, beside Handler
	Plain   Handler            // for Mux: plain HTTP on the TLS port
	// PerClient bounds the connections of one client IP (an IPv6 /64), Max
	// those of this listener. Zero means no bound. Refuse, when set, writes the
	// protocol's words to one who is over a bound.
	PerClient, Max int
	Refuse         func(c net.Conn)
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

// Server owns the listening sockets and every connection they accepted.
type Server struct{}

// New makes a server without sockets.
func New(cfg Config) *Server { return &Server{} }

// Listen opens a socket and serves it until Drain. The address it got is
// returned (port 0 becomes a real one).
func (s *Server) Listen(l Listener) (net.Addr, error) { panic("being written") }

// Drain stops accepting, ends the context of every handler, and waits for
// them until ctx ends; then it closes what is left and waits for its
// handlers to return.
func (s *Server) Drain(ctx context.Context) error { panic("being written") }
