package wire

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"barid/internal/netserve"
	"barid/smtp"
)

// Config of a Server: one kind of dialogue.
type Config struct {
	// Hostname is said in the greeting.
	Hostname string
	// Domain is that of <Postmaster> without a domain, lower case. "" refuses
	// it.
	Domain string
	// BadOctets refuses content with a NUL or a bare CR or LF. Default 554
	// 5.6.0.
	BadOctets *smtp.Reply
	// TLS is for STARTTLS, offered where a connection comes in the clear. Nil
	// offers none.
	TLS *tls.Config
	// InTheClear allows everything without TLS, for loopback laboratories.
	// Otherwise MAIL and AUTH are refused before TLS.
	InTheClear bool
	// Auth offers AUTH, under TLS only unless InTheClear.
	Auth bool
	// MaxMessageSize in octets, announced as SIZE (RFC 1870). Default 31457280.
	MaxMessageSize int64
	// MaxRecipients of a transaction; more get 452 4.5.3. Default 1000.
	MaxRecipients int
	// MaxLine is how long a line of content may be, in octets without its
	// CRLF. RFC 5321 section 4.5.3.1.6 says 998; more is tolerated. Default LineLength.
	MaxLine int
	// MaxBadLogins, MaxErrors (refused commands) and MaxCommands end a
	// connection with 421. Defaults 5, 1000 and 1000000.
	MaxBadLogins, MaxErrors, MaxCommands int
	// Idle is how long a peer may be silent between commands. Default 5m.
	Idle time.Duration
	// Begin makes the Session of a peer that said EHLO or HELO. A Reply that is
	// not nil refuses it.
	Begin  func(ctx context.Context, p Peer) (Session, *smtp.Reply)
	Logger *slog.Logger
}

// LineLength is how long a line of content may be, in octets without its CRLF,
// unless Config says otherwise.
const LineLength = 2000

// The bounds of a dialogue that are no operator's business.
const (
	// maxCommandLine holds every line that is no content, in octets. AUTH needs
	// 12288 (RFC 4954 section 4). It is larger than the library's read buffer,
	// so that a chunk sent ahead of its turn cannot be taken for a long line.
	maxCommandLine = 16384
	// dataSilence is RFC 5321 section 4.5.3.2.5 (data block).
	dataSilence = 3 * time.Minute
	// dataFloor in octets per second is what the worst mobile network gives.
	dataFloor = 256
	// stall bounds a write without progress.
	stall = time.Minute
	// shakeTime bounds a handshake.
	shakeTime = 30 * time.Second
)

// Server serves one kind of dialogue. It is a netserve.Handler and keeps
// nothing between connections.
type Server struct{ cfg Config }

// New makes a Server.
func New(cfg Config) *Server {
	or(&cfg.MaxMessageSize, 31457280)
	or(&cfg.MaxRecipients, 1000)
	or(&cfg.MaxLine, LineLength)
	or(&cfg.MaxBadLogins, 5)
	or(&cfg.MaxErrors, 1000)
	or(&cfg.MaxCommands, 1000000)
	or(&cfg.Idle, 5*time.Minute)
	or(&cfg.BadOctets, replyOctets)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{cfg}
}

func or[T comparable](field *T, def T) {
	var zero T
	if *field == zero {
		*field = def
	}
}

// ServeConn speaks with one peer until it leaves, fails, or ctx ends: then the
// transaction that is open is finished, the peer reads 421, and the
// connection is closed.
func (s *Server) ServeConn(ctx context.Context, c *netserve.Conn) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	d := newDialogue(work, s, c)
	c.SetPace(d.commandPace())
	stop := context.AfterFunc(ctx, d.drain)
	defer func() {
		if !stop() {
			<-d.drained
		}
	}()
	// One library server per connection: its hooks and limits are ours alone.
	// Serve returns when Accept has nothing more, Shutdown when the dialogue
	// is over.
	d.lib.Serve(&single{conn: c.Stream()})
	d.lib.Shutdown(context.Background())
}

// library makes the library's half of a dialogue.
func (s *Server) library(d *dialogue) *gosmtp.Server {
	l := gosmtp.NewServer(d)
	l.Domain = s.cfg.Hostname
	l.TLSConfig = s.cfg.TLS
	l.MaxLineLength = maxCommandLine
	l.MaxMessageBytes = s.cfg.MaxMessageSize
	l.AllowInsecureAuth = true // we decide, see AuthMechanisms and Auth
	l.Debug = &d.ear
	l.ErrorLog = errorLog{d}
	return l
}

// single is a listener with one connection. It gives out the connection as it
// is: the library asks for *tls.Conn.
type single struct{ conn net.Conn }

func (l *single) Accept() (net.Conn, error) {
	if l.conn == nil {
		return nil, io.EOF
	}
	c := l.conn
	l.conn = nil
	return c, nil
}

func (l *single) Close() error { return nil }

func (l *single) Addr() net.Addr { return nowhere{} }

// nowhere is the address of a listener without a socket.
type nowhere struct{}

func (nowhere) Network() string { return "none" }
func (nowhere) String() string  { return "none" }

// errorLog takes what the library complains about. It prints the peer's
// address, which must not reach a log. Connections that failed are no news,
// and neither is that it panics over commands behind QUIT, for want of a
// Session; what is left would be a panic of its own.
type errorLog struct{ d *dialogue }

func (l errorLog) Printf(_ string, v ...any) {
	if len(v) == 3 && !l.d.ended() {
		l.d.log().Error("smtp: panic in the library", "cause", v[1], "stack", v[2])
	}
}

func (l errorLog) Println(...any) {}
