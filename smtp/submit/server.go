package submit

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"barid/internal/metrics"
	"barid/internal/netserve"
	"barid/internal/ratelimit"
	"barid/smtp"
	"barid/smtp/intake"
	"barid/smtp/outbox"
	"barid/smtp/wire"
	"barid/storage"
)

// Config of a Server.
type Config struct {
	Store storage.Store
	// Domain of the accounts, lower case: a name, or a literal in brackets.
	Domain string
	// Hostname is said in the greeting. Default Domain.
	Hostname string
	// TLS is for STARTTLS.
	TLS *tls.Config
	// MaxMessageSize is the largest content taken, in octets; announced as SIZE
	// (RFC 1870). Default 31457280.
	MaxMessageSize int64
	// MaxRecipients of a transaction. Default 1000.
	MaxRecipients int
	// RatePerMinute is how many transactions an account may begin in the long
	// run, RateBurst how many at once. Defaults 60 and 10.
	RatePerMinute, RateBurst int
	// Outbox takes mail for other servers; nil where none leaves.
	Outbox *outbox.Outbox
	// Wake is told of each message that was delivered; nil for none.
	Wake Waker
	// LoginDelay is how long a refused login waits for its answer. Default 2s.
	LoginDelay time.Duration
	Logger     *slog.Logger
	Metrics    *metrics.Registry
	// Now is the clock of the rate limit. Default time.Now.
	Now func() time.Time
}

// Waker wakes the devices of an account that got a message.
type Waker = intake.Waker

// Server serves submission.
type Server struct {
	cfg   Config
	rate  *ratelimit.Limiter[smtp.Address]
	wire  *wire.Server
	clear *wire.Server

	log *slog.Logger

	inboxes                *intake.Inboxes
	encrypted, unencrypted prometheus.Counter
	rejected               *prometheus.CounterVec // by rule
}

// New makes a Server.
func New(cfg Config) *Server {
	or(&cfg.Hostname, cfg.Domain)
	or(&cfg.RatePerMinute, 60)
	or(&cfg.RateBurst, 10)
	or(&cfg.LoginDelay, 2*time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{
		cfg: cfg,
		rate: ratelimit.New[smtp.Address](ratelimit.Config{
			Every: time.Minute / time.Duration(cfg.RatePerMinute), Burst: cfg.RateBurst, Now: cfg.Now,
		}),
		encrypted:   cfg.Metrics.Counter("outgoing_encrypted_mail_count", "Submitted messages that are encrypted."),
		unencrypted: cfg.Metrics.Counter("outgoing_unencrypted_mail_count", "Submitted messages that are not."),
		rejected:    cfg.Metrics.Counters("rejected_unencrypted_mail_count", "Messages refused because they are not encrypted, by the rule they broke.", "rule"),
		log:         cfg.Logger.With("part", "submit"),
	}
	s.inboxes = intake.NewInboxes(intake.Config{Store: cfg.Store, Domain: cfg.Domain, Outbox: cfg.Outbox, Wake: cfg.Wake, Logger: s.log, Metrics: cfg.Metrics, Now: cfg.Now})
	w := wire.Config{
		Hostname: cfg.Hostname, Domain: cfg.Domain, TLS: cfg.TLS, Auth: true, MaxMessageSize: cfg.MaxMessageSize,
		MaxRecipients: cfg.MaxRecipients, Begin: s.begin, Logger: cfg.Logger,
	}
	s.wire = wire.New(w)
	w.InTheClear, w.TLS = true, nil
	s.clear = wire.New(w)
	return s
}

func or[T comparable](field *T, def T) {
	var zero T
	if *field == zero {
		*field = def
	}
}

// ServeConn serves one connection; where it has no TLS yet, STARTTLS comes
// before everything.
func (s *Server) ServeConn(ctx context.Context, c *netserve.Conn) { s.wire.ServeConn(ctx, c) }

// Clear is the same without TLS, for loopback laboratories.
func (s *Server) Clear() netserve.Handler { return s.clear }

func (s *Server) begin(_ context.Context, p wire.Peer) (wire.Session, *smtp.Reply) {
	return &session{srv: s, peer: p}, nil
}
