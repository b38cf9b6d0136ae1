package receive

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"barid/dkim"
	"barid/internal/metrics"
	"barid/internal/netserve"
	"barid/internal/ratelimit"
	"barid/smtp"
	"barid/smtp/intake"
	"barid/smtp/wire"
	"barid/storage"
)

// Literals says what becomes of mail whose author is at an address literal,
// which nobody can sign.
type Literals int

const (
	// CheckedLiterals are taken from the address they name. The default.
	CheckedLiterals Literals = iota
	// AnyLiterals are taken from anywhere: anybody can be anybody.
	AnyLiterals
	// NoLiterals are not taken.
	NoLiterals
)

// Outbox takes mail of ours for an address elsewhere, with the null
// reverse-path, signs it, and has it durably when Send returns.
type Outbox interface {
	Send(ctx context.Context, to smtp.Address, content []byte) error
}

// Config of a Server.
type Config struct {
	Store storage.Store
	// Verifier checks who signed.
	Verifier *dkim.Verifier
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
	// RatePerMinute is how many transactions one peer (an IPv4 address, an IPv6
	// /64) may begin in the long run, RateBurst how many at once. Defaults 6000
	// and 1000.
	RatePerMinute, RateBurst int
	// Literals, and NoUnderscores for domains with a label that begins with
	// "_", say what becomes of authors that no public authority vouches for.
	Literals      Literals
	NoUnderscores bool
	// Contact gets the mail for postmaster@ and abuse@ when it is an account of
	// ours; else senders are told to write there. Zero names nobody.
	Contact smtp.Address
	// Wake is told of each message that was delivered; nil for none.
	Wake intake.Waker
	// Outbox takes notifications for other servers; nil loses them.
	Outbox  Outbox
	Logger  *slog.Logger
	Metrics *metrics.Registry
	// Now is the clock of the rate limit. Default time.Now.
	Now func() time.Time
}

// Server takes mail from other servers. It is a netserve.Handler for SMTP and
// an http.Handler for /mxdeliv.
type Server struct {
	cfg     Config
	inboxes *intake.Inboxes
	rate    *ratelimit.Limiter[netip.Addr]
	wire    *wire.Server
	log     *slog.Logger

	received, refused                    *prometheus.CounterVec // by channel, by reason
	encrypted, unencrypted, mailerDaemon prometheus.Counter
	rejected                             *prometheus.CounterVec // by rule
	slowed                               prometheus.Counter
	reported, unreported                 prometheus.Counter
}

// New makes a Server.
func New(cfg Config) *Server {
	or(&cfg.Hostname, cfg.Domain)
	or(&cfg.MaxMessageSize, 31457280)
	or(&cfg.MaxRecipients, 1000)
	or(&cfg.RatePerMinute, 6000)
	or(&cfg.RateBurst, 1000)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	m := cfg.Metrics
	s := &Server{
		cfg: cfg, log: cfg.Logger.With("part", "receive"),
		rate: ratelimit.New[netip.Addr](ratelimit.Config{
			Every: time.Minute / time.Duration(cfg.RatePerMinute), Burst: cfg.RateBurst, Now: cfg.Now,
		}),
		received:     m.Counters("received_mail", "Messages from other servers that were taken, by channel.", "channel"),
		refused:      m.Counters("received_refused", "Messages from other servers that were refused, by reason.", "reason"),
		encrypted:    m.Counter("incoming_encrypted_mail_count", "Messages from other servers that are encrypted."),
		unencrypted:  m.Counter("incoming_unencrypted_mail_count", "Messages from other servers that are not."),
		mailerDaemon: m.Counter("incoming_mailer_daemon_mail_count", "Delivery reports of other servers."),
		rejected:     m.Counters("rejected_unencrypted_mail_count", "Messages refused because they are not encrypted, by the rule they broke.", "rule"),
		slowed:       m.Counter("received_slowed", "Transactions of other servers over the rate of one peer."),
		reported:     m.Counter("notifications_sent", "Delivery status notifications for other servers."),
		unreported:   m.Counter("notifications_unsent", "Delivery status notifications for other servers that could not be queued."),
	}
	m.Limit(metrics.Limit{
		Name: "received_peers", Help: "other servers whose rate is remembered", Max: 100000,
		Use: func() int64 { return int64(s.rate.Keys()) },
	})
	s.inboxes = intake.NewInboxes(intake.Config{Store: cfg.Store, Domain: cfg.Domain, Wake: cfg.Wake, Logger: s.log, Metrics: m, Now: cfg.Now})
	s.wire = wire.New(s.dialogue())
	return s
}

func (s *Server) dialogue() wire.Config {
	return wire.Config{
		Hostname: s.cfg.Hostname, Domain: s.cfg.Domain, BadOctets: replyData, TLS: s.cfg.TLS, MaxMessageSize: s.cfg.MaxMessageSize,
		MaxRecipients: s.cfg.MaxRecipients, Begin: s.begin, Logger: s.cfg.Logger,
	}
}

func or[T comparable](field *T, def T) {
	var zero T
	if *field == zero {
		*field = def
	}
}

// ServeConn serves one connection to port 25. Nothing is taken before
// STARTTLS.
func (s *Server) ServeConn(ctx context.Context, c *netserve.Conn) { s.wire.ServeConn(ctx, c) }

func (s *Server) begin(_ context.Context, p wire.Peer) (wire.Session, *smtp.Reply) {
	return &session{transaction{srv: s, channel: "smtp", client: p.Client}}, nil
}
