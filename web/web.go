// Package web answers everything a browser or a client asks over HTTP that is
// not mail: the page of the relay with its invitation, new accounts, and what
// mail programs ask before they log in.
//
//	/                                        the page, with link and QR code
//	/new, /new/, /cgi-bin/newemail.py        a new address and password (JSON)
//	/new.html                                the same as a page; self-signed relays only
//	/?t=TOKEN, /new?t=TOKEN, /new.html?t=TOKEN   the same for who has an invitation
//	/qr-chatmail-invite-DOMAIN.png           the invitation as an image
//	/.well-known/autoconfig/mail/config-v1.1.xml   where IMAP and SMTP are
//	/robots.txt, /generate_204
//
// Nothing is stored here: an account is born at its first login. No request
// is logged; clients are counted in memory, by network, for the rate of /new.
package web

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"barid/internal/metrics"
	"barid/internal/ratelimit"
	"barid/smtp"
)

// Config of the pages of one relay.
type Config struct {
	// Domain is the mail domain as it stands in addresses: "relay.test",
	// "_relay.test", "[192.0.2.7]", "[IPv6:2001:db8::7]". Required.
	Domain string
	// Host is the name or the IP address (no brackets) that clients connect to.
	// Default: the domain without brackets.
	Host string
	// SelfSigned says that no public authority vouches for the relay. Clients
	// then get a dclogin: link, which tells them to accept that, instead of a
	// dcaccount: link.
	SelfSigned bool
	// Registration tells who is offered an account now. It is asked for each
	// request. Default: Open.
	Registration func() Registration
	// Invites has the invitations. Where it is nil, ByInvitation is Closed.
	Invites Invites
	// UsernameLength is how many characters a new name has. Default 9.
	UsernameLength int
	// PasswordMin is the shortest password that a new account may have; those
	// made here are 3 characters longer. Default 9.
	PasswordMin int
	// Services are the entries of the autoconfiguration, in the order in which
	// clients shall try them. Default: DefaultServices.
	Services []Service
	// Contact is the mail address of the operator, shown on the page; empty
	// shows none.
	Contact string
	// NewBurst is how many accounts one network (an IPv4 /24, an IPv6 /48) may
	// ask for at once, NewPerSecond how many per second over time. Many people
	// share one address, so both are generous. Default 100 and 1.
	NewBurst     int
	NewPerSecond float64
	// Client gives the address of the client of a request; the zero Addr when
	// it is not known. Default: what RemoteAddr says.
	Client func(*http.Request) netip.Addr
	// Rand is where names and passwords come from. Default crypto/rand.Reader.
	Rand io.Reader
	// Logger may be nil, Metrics too.
	Logger  *slog.Logger
	Metrics *metrics.Registry
}

// Registration says who may have a new account.
type Registration int

// The values of Registration.
const (
	Open         Registration = iota // anybody
	ByInvitation                     // who has a token
	Closed                           // nobody
)

// Invites are the invitations of a relay that takes new accounts by them only.
// The errors of both wrap one of invites.ErrUnknown, ErrExpired, ErrUsedUp,
// ErrBusy or ErrFull; others are faults of ours.
type Invites interface {
	// Valid tells whether a token would get an account now.
	Valid(token string) error
	// Reserve lets an address be born, durably, and takes a use for that.
	Reserve(token string, a smtp.Address) error
}

// withDefaults fills in what was left out.
func (cfg Config) withDefaults() Config {
	cfg.Host = cmp.Or(cfg.Host, bareHost(cfg.Domain))
	cfg.UsernameLength = cmp.Or(cfg.UsernameLength, 9)
	cfg.PasswordMin = cmp.Or(cfg.PasswordMin, 9)
	cfg.NewBurst = cmp.Or(cfg.NewBurst, 100)
	cfg.NewPerSecond = cmp.Or(cfg.NewPerSecond, 1)
	if cfg.Services == nil {
		cfg.Services = DefaultServices(cfg.Host)
	}
	if cfg.Client == nil {
		cfg.Client = remote
	}
	if cfg.Registration == nil {
		cfg.Registration = func() Registration { return Open }
	}
	if ask := cfg.Registration; cfg.Invites == nil {
		cfg.Registration = func() Registration {
			if ask() == Open {
				return Open
			}
			return Closed
		}
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// check finds what no page could be made of.
func (cfg Config) check() error {
	if _, err := smtp.ParseAddress("x@" + cfg.Domain); err != nil {
		return fmt.Errorf("domain %q: %w", cfg.Domain, err)
	}
	if len(cfg.Host) > smtp.MaxDomain {
		return fmt.Errorf("host is longer than %d octets", smtp.MaxDomain)
	}
	if n := cfg.UsernameLength; n < 1 || n > smtp.MaxLocalPart {
		return fmt.Errorf("UsernameLength is %d, not 1 to %d", n, smtp.MaxLocalPart)
	}
	if n := cfg.PasswordMin; n < 1 || n > 128 {
		return fmt.Errorf("PasswordMin is %d, not 1 to 128", n)
	}
	if cfg.NewBurst < 1 || !(cfg.NewPerSecond > 0) {
		return fmt.Errorf("NewBurst is %d and NewPerSecond %v: both must be more than 0", cfg.NewBurst, cfg.NewPerSecond)
	}
	for _, s := range cfg.Services {
		if err := s.check(); err != nil {
			return fmt.Errorf("services: %w", err)
		}
	}
	return nil
}

func remote(r *http.Request) netip.Addr {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr)
	return peer.Addr()
}

// maxBody is the largest request body that is waited for, in octets. No
// route reads one; net/http passes over it before the next request.
const maxBody = 64 << 10

// site is the handler of one relay.
type site struct {
	cfg     Config
	offers  *ratelimit.Limiter[netip.Prefix]
	login   LoginOptions
	offered prometheus.Counter
	refused prometheus.Counter

	pages   *pages
	robots  document
	config  document // the autoconfiguration
	qr      document
	qrPath  string
	landing map[Registration]document
}

// New makes the handler of all routes. It answers by path alone, whatever
// host was asked for, except that "www." is sent to the domain.
//
// Timeouts are for the http.Server around it to set. The error names the
// field of Config that is wrong.
func New(cfg Config) (http.Handler, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("web pages: %w", err)
	}
	s := &site{
		cfg:     cfg,
		offers:  newLimiter(cfg.NewPerSecond, cfg.NewBurst, cfg.Metrics),
		login:   loginOptions(cfg),
		offered: cfg.Metrics.Counter("web_new_offered", "Addresses and passwords made for new accounts."),
		refused: cfg.Metrics.Counter("web_new_refused", "Requests for a new account over the rate of a network."),
		pages:   newPages(cfg),
		robots:  document{kind: "text/plain; charset=utf-8", body: []byte("User-agent: *\nDisallow: /\n"), age: 3600},
		config:  document{kind: "application/xml; charset=utf-8", body: autoconfig(cfg), age: 3600},
	}
	s.qr = document{kind: "image/png", body: invitePNG(AccountURI(cfg.Domain)), age: landingAge}
	s.qrPath = "/qr-chatmail-invite-" + cfg.Domain + ".png"
	s.landing = map[Registration]document{}
	for _, r := range []Registration{Open, ByInvitation, Closed} {
		s.landing[r] = s.pages.landing(r)
	}
	return s, nil
}

// ServeHTTP routes by the exact path. The target may come in absolute form
// (RFC 9112 section 3.2.2): then net/http has put the host aside already.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	if r.ContentLength > maxBody {
		w.Header().Set("Connection", "close")
		refuse(w, http.StatusRequestEntityTooLarge, "no request here has content")
		return
	}
	target := r.URL.RequestURI()
	if !strings.HasPrefix(target, "/") { // "*", "mailto:x": no path at all
		notFound(w)
		return
	}
	if host := s.wwwTarget(r); host != "" {
		redirect(w, host+target)
		return
	}
	switch path := r.URL.Path; path {
	case "/new", "/new/", "/cgi-bin/newemail.py":
		s.serveNew(w, r)
	case "/new.html":
		s.serveNewPage(w, r)
	case "", "/", "/index.html":
		s.serveLanding(w, r)
	case s.qrPath:
		if s.cfg.Registration() != Open {
			notFound(w)
			return
		}
		s.qr.serve(w, r)
	case "/.well-known/autoconfig/mail/config-v1.1.xml":
		s.config.serve(w, r)
	case "/robots.txt":
		s.robots.serve(w, r)
	case "/generate_204":
		generate204(w, r)
	default:
		notFound(w)
	}
}

// wwwTarget gives where a request for www.DOMAIN belongs, else "".
func (s *site) wwwTarget(r *http.Request) string {
	if name := hostname(r.Host); s.cfg.Host == s.cfg.Domain && strings.EqualFold(name, "www."+s.cfg.Domain) {
		return "https://" + s.cfg.Domain
	}
	return ""
}

// secure sets what every answer says to browsers: run nothing, load nothing,
// tell nobody. Pages allow their own style and script on top.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
}

// document is an answer that was made at the start.
type document struct {
	kind   string // the media type
	body   []byte
	age    int    // how long a cache may keep it, in seconds; 0 forbids it
	policy string // the Content-Security-Policy, where it is not the strictest
	status int    // 0 means 200
}

func (d document) serve(w http.ResponseWriter, r *http.Request) {
	if !allowed(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	h := w.Header()
	h.Set("Content-Type", d.kind)
	h.Set("Content-Length", strconv.Itoa(len(d.body)))
	h.Set("Cache-Control", "no-store")
	if d.age > 0 {
		h.Set("Cache-Control", "public, max-age="+strconv.Itoa(d.age))
	}
	if d.policy != "" {
		h.Set("Content-Security-Policy", d.policy)
	}
	w.WriteHeader(cmp.Or(d.status, http.StatusOK))
	w.Write(d.body) // a client that left is nobody's fault; net/http leaves it out for HEAD
}

// allowed refuses every other method.
func allowed(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	for _, m := range methods {
		if r.Method == m {
			return true
		}
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	refuse(w, http.StatusMethodNotAllowed, "the method is not allowed here")
	return false
}

// refuse answers with the JSON that clients show to their user.
func refuse(w http.ResponseWriter, status int, reason string) {
	writeJSON(w, status, struct {
		Reason string `json:"reason"`
	}{reason})
}

func notFound(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	fmt.Fprintln(w, "There is nothing here.")
}
