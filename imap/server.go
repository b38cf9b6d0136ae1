package imap

import (
	"context"
	"crypto/tls"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"barid/imap/wire"
	"barid/internal/metrics"
	"barid/internal/netserve"
	"barid/internal/ratelimit"
	"barid/smtp"
	"barid/storage"
)

// Defaults of a Config.
const (
	DefaultKeepAlive      = 4 * time.Minute
	DefaultMaxMessageSize = 31457280
)

// DefaultLoginCapabilities is the list in the answer to LOGIN: each word
// more costs the clients of this world a round trip or more per connection.
const DefaultLoginCapabilities = "IMAP4rev1 IDLE METADATA XCHATMAIL XDELTAPUSH LITERAL+ QUOTA"

// Config of a Server.
type Config struct {
	Store storage.Store
	// Domain is the mail domain, as addresses have it.
	Domain string
	// TLS is for STARTTLS. Nil means that it is not offered.
	TLS *tls.Config
	// Annotations gives the shared metadata entries of mailbox "" ("/shared/
	// comment" and the like), as the account is to see them. Nil, and false for
	// ok, mean that there is none.
	Annotations func(ctx context.Context, a storage.Account, entry string) (value []byte, ok bool)
	// MaxMessageSize bounds an APPEND, in octets. Default 31457280.
	MaxMessageSize int64
	// KeepAlive is how often an idle client gets a line, which keeps NAT
	// entries alive and costs radio. Zero means the default of 4 minutes, less
	// than zero none.
	KeepAlive time.Duration
	// LoginCapabilities is the list in the answer to LOGIN, default
	// DefaultLoginCapabilities. Words that the server does not know are left
	// out, IMAP4rev1 is always there.
	LoginCapabilities []string
	// Compress offers COMPRESS=DEFLATE (RFC 4978), which costs a session up to
	// 32 KiB of memory, and each line that is written about 50 us.
	Compress bool
	// MaxSessions bounds the sessions of one account from one client address.
	// Zero means no bound.
	MaxSessions int
	Logger      *slog.Logger
	Metrics     *metrics.Registry
}

// Server speaks IMAP. It has no socket and no goroutine of its own: those
// belong to the sessions.
type Server struct {
	cfg      Config
	began    time.Time
	log      *slog.Logger
	commands map[string]*command
	judge    func(storage.Account) judge // of what APPEND saves
	afterLog string                      // capabilities in the answer to LOGIN
	// saysObjectID: OBJECTID is one of them.
	saysObjectID bool

	readers     sync.Pool    // of *wire.Reader
	writers     sync.Pool    // of *wire.Writer
	compressors sync.Pool    // of *compressor
	compressed  atomic.Int64 // sessions that compress
	keepAlives  queue
	logins      queue
	groups      groups
	perClient   perClient
	penalties   failures
	names       *ratelimit.Limiter[smtp.Address] // mailboxes that accounts make

	sessions, idle atomic.Int64
	logged         *prometheus.CounterVec
	refused        atomic.Int64
	failures       prometheus.Counter
	appended       prometheus.Counter
	// What compressing sessions say, before and after.
	plainOctets, deflatedOctets prometheus.Counter
	compressRefused             atomic.Int64
}

// New makes a server.
func New(cfg Config) *Server {
	if cfg.MaxMessageSize == 0 {
		cfg.MaxMessageSize = DefaultMaxMessageSize
	}
	if cfg.KeepAlive == 0 {
		cfg.KeepAlive = DefaultKeepAlive
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.LoginCapabilities == nil {
		cfg.LoginCapabilities = strings.Fields(DefaultLoginCapabilities)
	}
	sv := &Server{cfg: cfg, log: cfg.Logger.With("part", "imap"), commands: commandTable(), judge: byRule}
	sv.afterLog = sv.loginCapabilities(cfg.LoginCapabilities)
	sv.saysObjectID = slices.Contains(strings.Fields(sv.afterLog), "OBJECTID")
	sv.readers.New = func() any { return new(wire.Reader) }
	sv.compressors.New = newCompressor
	sv.writers.New = func() any { return new(wire.Writer) }
	sv.began = time.Now()
	sv.keepAlives.init(cfg.KeepAlive, func(s *session) { s.stillHere() })
	sv.logins.init(loginTime, func(s *session) { s.tooLate() })
	sv.perClient.init(cfg.MaxSessions)
	sv.penalties.init()
	sv.names = ratelimit.New[smtp.Address](ratelimit.Config{Every: nameEvery, Burst: nameBurst})
	sv.logged = cfg.Metrics.Counters("imap_logins", "IMAP logins by result.", "result")
	sv.failures = cfg.Metrics.Counter("imap_failures", "IMAP commands that failed for a fault of ours.")
	sv.appended = cfg.Metrics.Counter("imap_appended", "Messages saved by APPEND.")
	cfg.Metrics.Gauge("imap_sessions", "Open IMAP connections.", func() float64 { return float64(sv.sessions.Load()) })
	cfg.Metrics.Gauge("imap_idle", "IMAP connections that idle.", func() float64 { return float64(sv.idle.Load()) })
	cfg.Metrics.Limit(metrics.Limit{
		Name: "imap_account_sessions", Help: "sessions of one account from one client, the fullest",
		Max: int64(cfg.MaxSessions), Use: sv.perClient.fullest, Refused: sv.refused.Load,
	})
	octets := cfg.Metrics.Counters("imap_compress_octets", "Octets that compressing IMAP sessions said, before and after.", "where")
	sv.plainOctets, sv.deflatedOctets = octets.WithLabelValues("before"), octets.WithLabelValues("after")
	if cfg.Compress {
		cfg.Metrics.Limit(metrics.Limit{
			Name: "imap_compressed_sessions", Help: "IMAP sessions that compress",
			Max: maxCompressed, Use: sv.compressed.Load, Refused: sv.compressRefused.Load,
		})
	}
	return sv
}

// loginCapabilities keeps the words that are true.
func (sv *Server) loginCapabilities(words []string) string {
	out := []string{"IMAP4rev1"}
	known := sv.capabilityWords(afterLogin)
	for _, w := range words {
		if w == appendLimit {
			w = sv.appendLimitWord()
		}
		if slices.Contains(known, w) && !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return strings.Join(out, " ")
}

// ServeConn speaks IMAP on c until the client leaves or ctx ends; then the
// command that is under way is answered and the client is told BYE. Without
// TLS only STARTTLS leads to a login.
func (sv *Server) ServeConn(ctx context.Context, c *netserve.Conn) { sv.serve(ctx, c, false) }

// Clear is the same server for listeners on which a login needs no TLS. It
// is for loopback laboratories.
func (sv *Server) Clear() netserve.Handler {
	return netserve.HandlerFunc(func(ctx context.Context, c *netserve.Conn) { sv.serve(ctx, c, true) })
}

func (sv *Server) serve(ctx context.Context, c *netserve.Conn, clear bool) {
	s := &session{sv: sv, conn: c, ctx: ctx, clear: clear}
	s.run()
}
