// Package web answers everything a browser or a client asks over HTTP that is
// not mail: the pages of the relay with its invitation, new accounts, and what
// mail programs ask before they log in.
//
//	/, /info.html, /privacy.html             the pages, in the reader's language; the first
//	                                         with link and QR code
//	/new, /new/, /cgi-bin/newemail.py        a new address and password (JSON)
//	/new.html                                the same as a page; self-signed relays only
//	/?t=TOKEN, /new?t=TOKEN, /new.html?t=TOKEN   the same for who has an invitation
//	/qr-chatmail-invite-DOMAIN.png           the invitation as an image
//	/.well-known/autoconfig/mail/config-v1.1.xml   where IMAP and SMTP are
//	/.well-known/mta-sts.txt                 the MTA-STS policy (RFC 8461)
//	/main.css, /robots.txt, /generate_204
//
// The operator's directory (Config.Dir) replaces pages and adds files.
//
// Nothing is stored here: an account is born at its first login. No request
// is logged; clients are counted in memory, by network, for the rate of /new.
package web

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

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
	// Limits are told on the pages, PushHost too: the host of the service that
	// wakes devices, empty when none is asked.
	Limits   Limits
	PushHost string
	// Policy is the text of the MTA-STS policy; empty serves none.
	Policy string
	// Dir is the operator's directory, whose files replace pages or stand beside
	// them; empty for none. They are served as they change.
	Dir string
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
	// Now is the clock by which Dir is looked at again. Default time.Now.
	Now func() time.Time
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
	if cfg.Now == nil {
		cfg.Now = time.Now
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

// Site is the handler of one relay.
type Site struct {
	cfg     Config
	offers  *ratelimit.Limiter[netip.Prefix]
	login   LoginOptions
	offered prometheus.Counter
	refused prometheus.Counter

	languages []*language
	own       map[string]*template.Template
	edition   atomic.Pointer[edition]
	overlay   *overlay             // nil without Config.Dir
	fixed     map[string]*document // by path; the operator's files do not replace them
	usual     map[string]*document // likewise; they do
}

// New makes the handler of all routes. It answers by path alone, whatever
// host was asked for, except that "www." is sent to the domain.
//
// Timeouts are for the http.Server around it to set. The error names the
// field of Config that is wrong.
func New(cfg Config) (*Site, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("web pages: %w", err)
	}
	s := &Site{
		cfg:       cfg,
		offers:    newLimiter(cfg.NewPerSecond, cfg.NewBurst, cfg.Metrics),
		login:     loginOptions(cfg),
		offered:   cfg.Metrics.Counter("web_new_offered", "Addresses and passwords made for new accounts."),
		refused:   cfg.Metrics.Counter("web_new_refused", "Requests for a new account over the rate of a network."),
		languages: loadLanguages(),
		own:       ownPages(),
		fixed: map[string]*document{
			"/.well-known/autoconfig/mail/config-v1.1.xml": {kind: "application/xml; charset=utf-8", body: autoconfig(cfg), age: 3600},
		},
		usual: map[string]*document{
			"/robots.txt":          {kind: "text/plain; charset=utf-8", body: []byte("User-agent: *\nDisallow: /\n"), age: 3600},
			invitePath(cfg.Domain): {kind: "image/png", body: invitePNG(AccountURI(cfg.Domain)), age: landingAge},
		},
	}
	if cfg.Policy != "" {
		s.fixed["/.well-known/mta-sts.txt"] = &document{kind: "text/plain; charset=utf-8", body: []byte(cfg.Policy), age: 300}
	}
	s.edition.Store(s.newEdition())
	if cfg.Dir != "" {
		s.overlay = &overlay{dir: cfg.Dir}
		if err := s.overlay.start(s); err != nil {
			return nil, fmt.Errorf("web pages: directory: %w", err)
		}
	}
	return s, nil
}

// invitePath is where the invitation is as an image.
func invitePath(domain string) string { return "/qr-chatmail-invite-" + domain + ".png" }

// ServeHTTP routes by the exact path. The target may come in absolute form
// (RFC 9112 section 3.2.2): then net/http has put the host aside already.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.secure(w.Header())
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
	path := r.URL.Path
	if d := s.fixed[path]; d != nil {
		d.serve(w, r)
		return
	}
	switch path {
	case "/new", "/new/", "/cgi-bin/newemail.py":
		s.serveNew(w, r)
	case newPage:
		s.serveNewPage(w, r)
	case "/generate_204":
		generate204(w, r)
	default:
		s.servePage(w, r, path)
	}
}

// servePage answers with a page or a file: the operator's, else ours.
func (s *Site) servePage(w http.ResponseWriter, r *http.Request, path string) {
	if path == "" || strings.HasSuffix(path, "/") {
		path = cmp.Or(path, "/") + "index.html"
	}
	if s.overlay != nil {
		s.overlay.refresh(s)
	}
	e := s.edition.Load()
	switch d := e.files[path]; {
	case path == homePage && e.files[path] == nil:
		s.serveLanding(w, r)
	case d != nil:
		d.serve(w, r)
	case e.has(path) && path != missingPage:
		l, chosen := s.languageOf(r)
		e.page(pageKey{path, l.tag, chosen, Closed}).serve(w, r)
	case s.usual[path] != nil && (path != invitePath(s.cfg.Domain) || s.cfg.Registration() == Open):
		s.usual[path].serve(w, r)
	case path == "/main.css":
		(&document{kind: "text/css; charset=utf-8", body: []byte(e.style), age: 3600}).serve(w, r)
	default:
		s.notFound(w, r)
	}
}

// wwwTarget gives where a request for www.DOMAIN belongs, else "".
func (s *Site) wwwTarget(r *http.Request) string {
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
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
}

// secure is that of above, and has browsers come back over TLS where they can
// trust it.
func (s *Site) secure(h http.Header) {
	secure(h)
	if !s.cfg.SelfSigned {
		h.Set("Strict-Transport-Security", "max-age=15552000")
	}
}

// document is an answer that was made before it was asked for.
type document struct {
	kind     string // the media type
	body     []byte
	gzip     []byte // the same, compressed; nil where that gains little
	tag      string // names the content; empty for one that nobody asks for again
	age      int    // how long a cache may keep it, in seconds; 0 forbids it
	policy   string // the Content-Security-Policy, where it is not the strictest
	language string // that it is written in; empty for none
	status   int    // 0 means 200
}

func (d *document) serve(w http.ResponseWriter, r *http.Request) {
	if !allowed(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	h := w.Header()
	h.Set("Content-Type", d.kind)
	h.Set("Cache-Control", "no-store")
	if d.age > 0 {
		h.Set("Cache-Control", "public, max-age="+strconv.Itoa(d.age))
	}
	if d.policy != "" {
		h.Set("Content-Security-Policy", d.policy)
	}
	if d.language != "" {
		h.Set("Content-Language", d.language)
		h.Set("Vary", "Accept-Language, Accept-Encoding")
	}
	body, tag := d.body, d.tag
	if d.gzip != nil && accepts(r, "gzip") {
		h.Set("Content-Encoding", "gzip")
		body, tag = d.gzip, d.tag+"-gzip"
	}
	if d.tag != "" {
		h.Set("ETag", `"`+tag+`"`)
		if d.status == 0 && r.Header.Get("If-None-Match") == `"`+tag+`"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(cmp.Or(d.status, http.StatusOK))
	w.Write(body) // a client that left is nobody's fault; net/http leaves it out for HEAD
}

// accepts tells whether a client names a media type or a coding among those
// that it takes, and does not say that it does not.
func accepts(r *http.Request, what string) bool {
	header := "Accept"
	if !strings.Contains(what, "/") {
		header = "Accept-Encoding"
	}
	for part := range strings.SplitSeq(r.Header.Get(header), ",") {
		name, weight, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(name), what) {
			return strings.Trim(strings.TrimPrefix(strings.TrimSpace(weight), "q="), "0.") != "" || weight == ""
		}
	}
	return false
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
