package transmit

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"barid/internal/metrics"
	"barid/internal/resolver"
	"barid/smtp"
	"barid/storage"

	"github.com/prometheus/client_golang/prometheus"
)

// Resolver is what is asked of the DNS; *resolver.Resolver is one.
type Resolver interface {
	MX(ctx context.Context, domain string) (resolver.Answer[resolver.MX], error)
	Addrs(ctx context.Context, host string) (resolver.Answer[netip.Addr], error)
	TXT(ctx context.Context, name string) (resolver.Answer[string], error)
	TLSA(ctx context.Context, name string) (resolver.Answer[resolver.TLSA], error)
}

// Config of a Transmitter.
type Config struct {
	Resolver Resolver
	// Hostname is what we say in EHLO: the domain, or an address literal.
	Hostname string
	// Names are those of this host, lower case. As mail exchangers of others, or
	// as what a peer calls itself, they say that mail would come back to us.
	Names []string
	// Ours tells whether a connection to an address would end at this process;
	// nil is never.
	Ours func(netip.AddrPort) bool
	// Roots are the certificates trusted; nil are the system's.
	Roots *x509.CertPool
	// SMTPPort and HTTPSPort are the ports of peers. Defaults 25 and 443.
	SMTPPort, HTTPSPort uint16
	// Cleartext are destination domains that may be spoken to without TLS.
	Cleartext []string
	// HTTPSOnly says that port 25 of others cannot be reached from here.
	HTTPSOnly bool
	// NoLiterals refuses destinations that are address literals, or domains
	// that begin with "_": their certificates vouch for nothing.
	NoLiterals bool
	// Sources are the local addresses that connections are made from, at most
	// one for each family; empty leaves it to the system.
	Sources []netip.Addr
	// Connect bounds the making of one connection, Session a whole attempt at
	// one host. Defaults 10s and 30m.
	Connect, Session time.Duration

	Logger  *slog.Logger
	Metrics *metrics.Registry
	Now     func() time.Time
}

// Message is what is to be brought to recipients of one domain.
type Message struct {
	From    smtp.Path
	To      []smtp.Address
	Prefix  []byte // header fields in front of the content, CRLF lines
	Content storage.Content
}

// size of all of it, in octets.
func (m Message) size() int64 { return int64(len(m.Prefix)) + m.Content.Size() }

// reader gives all of it from the beginning.
func (m Message) reader() io.Reader {
	return io.MultiReader(bytes.NewReader(m.Prefix), io.NewSectionReader(m.Content, 0, m.Content.Size()))
}

// Channels by which a host takes mail.
const (
	SMTP  = "smtp"
	HTTPS = "https"
)

// Outcome is what became of a message.
type Outcome struct {
	// Per has a reply for each recipient: 250 is delivered, class 4 may be tried
	// again, class 5 is final.
	Per []*smtp.Reply
	// Reached says that a host of the destination spoke with us; without it the
	// replies are ours, and the trouble is the destination's as a whole.
	Reached bool
	Host    string // that was spoken to last
	Channel string // SMTP or HTTPS, "" when none was reached
	Took    time.Duration
}

// Transmitter brings messages out. It is safe for many goroutines; it bounds
// neither how many there are nor how often a destination is tried.
type Transmitter struct {
	cfg    Config
	log    *slog.Logger
	dialer dialer
	pool   pool
	known  knowledge
	sts    policies
	ports  ports
	web    [2]*http.Client // by trust: verified, any
	// quietly is the constant of that name, less in tests.
	quietly time.Duration

	delivered, refused *prometheus.CounterVec
}

// New makes a Transmitter. The caller closes it.
func New(cfg Config) *Transmitter {
	set := func(d *time.Duration, to time.Duration) {
		if *d <= 0 {
			*d = to
		}
	}
	set(&cfg.Connect, 10*time.Second)
	set(&cfg.Session, 30*time.Minute)
	if cfg.SMTPPort == 0 {
		cfg.SMTPPort = 25
	}
	if cfg.HTTPSPort == 0 {
		cfg.HTTPSPort = 443
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	t := &Transmitter{cfg: cfg, log: cfg.Logger.With("part", "transmit"), quietly: quietly}
	t.dialer = dialer{resolver: cfg.Resolver, sources: cfg.Sources, within: cfg.Connect, ours: cfg.Ours}
	t.pool.now, t.known.now, t.sts.now = cfg.Now, cfg.Now, cfg.Now
	t.web[verified], t.web[anyCertificate] = t.webClient(verified), t.webClient(anyCertificate)
	t.delivered = cfg.Metrics.Counters("transmitted_recipients", "Recipients whose host took the mail, by channel.", "channel")
	t.refused = cfg.Metrics.Counters("transmit_refusals", "Recipients that got no mail in an attempt, by the class of the reply.", "class")
	return t
}

// Close closes the connections that wait for more mail. Deliveries under way
// go on.
func (t *Transmitter) Close() {
	t.pool.close()
	for _, c := range t.web {
		c.CloseIdleConnections()
	}
}

// Deliver tries once to bring m to its recipients, all of the domain dest: a
// name in lower case or an address literal. It takes as long as the peers do,
// within Config.Session for each host, or until ctx ends.
func (t *Transmitter) Deliver(ctx context.Context, dest string, m Message) Outcome {
	began := t.cfg.Now()
	out := t.deliver(ctx, dest, m)
	out.Took = t.cfg.Now().Sub(began)
	for _, r := range out.Per {
		if r.Code/100 == 2 {
			t.delivered.WithLabelValues(out.Channel).Inc()
		} else {
			t.refused.WithLabelValues(strconv.Itoa(r.Code/100) + "xx").Inc()
		}
	}
	return out
}

func (t *Transmitter) deliver(ctx context.Context, dest string, m Message) Outcome {
	r, no := t.route(ctx, dest)
	if no != nil {
		return all(m, no)
	}
	var last error
	for _, h := range r.hosts {
		hostCtx, cancel := context.WithTimeout(ctx, t.cfg.Session)
		out, err := t.atHost(hostCtx, r, h, m)
		cancel()
		if err == nil {
			out.Host = h.name
			return out
		}
		if ctx.Err() != nil {
			return all(m, smtp.NewReply(451, "4.3.2", "Delivery was interrupted"))
		}
		last = err
		t.log.Debug("host not reached", "host", h.name, "error", hide(err))
	}
	host := r.hosts[len(r.hosts)-1].name
	if no, ok := errors.AsType[*refusal](last); ok {
		out := all(m, no.reply)
		out.Reached, out.Host = no.reply.Code/100 == 5, host
		return out
	}
	return all(m, smtp.NewReply(421, "4.4.1", "Failed to connect to any mail server; last attempt to %s: %v", host, hide(last)))
}

// all gives every recipient the same reply.
func all(m Message, reply *smtp.Reply) Outcome {
	out := Outcome{Per: make([]*smtp.Reply, len(m.To))}
	for i := range out.Per {
		out.Per[i] = reply
	}
	return out
}
