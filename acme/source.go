package acme

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"barid/internal/metrics"

	"github.com/prometheus/client_golang/prometheus"
)

// Values of Config.Mode.
const (
	SelfSigned = "self-signed"
	Files      = "files"
	ACME       = "acme"
)

// Config of a Source.
type Config struct {
	// Mode is SelfSigned, Files or ACME.
	Mode string
	// Names are what clients call the relay: host names, also such that begin
	// with "_", and IP addresses, plain or as address literals
	// ("[192.0.2.7]", "[IPv6:2001:db8::7]"). The first is the domain; a domain
	// that is a name brings its "www." and "mta-sts." names with it.
	Names []string
	// Dir is the directory of the self-signed and acme modes; made when missing.
	Dir string
	// CertFile and KeyFile are the PEM files of the files mode: the chain,
	// leaf first, and its key.
	CertFile, KeyFile string
	// Issuance is for the acme mode.
	Issuance *Issuance

	Logger  *slog.Logger      // nil logs nothing
	Metrics *metrics.Registry // nil counts for nobody
	Now     func() time.Time  // nil means time.Now
}

// Source gives the certificate for every handshake. All methods may be called
// by many goroutines. Changed files are noticed by the handshakes, and by
// Findings; new certificates by a goroutine of the acme mode, which runs from
// Start to Close.
type Source struct {
	cfg               Config
	names             []name // the domain first
	log               *slog.Logger
	reloads, failures prometheus.Counter
	tickets           tickets
	issue             *issuance  // of the acme mode
	keyMu             sync.Mutex // held while the key is changed

	current atomic.Pointer[tls.Certificate]             // never nil after New; Leaf is set
	others  atomic.Pointer[map[string]*tls.Certificate] // by name, those that are not current
	checked atomic.Int64                                // when the files were last looked at, Unix ns

	mu     sync.Mutex // guards the fields below
	seen   pairStamp  // the files as they were when last read
	fresh  bool       // they were so young that they may still change unseen
	broken error      // why what the files hold now is not in service
}

// New makes or loads the certificate. An error names the file, or the field
// of Config, that is wrong.
func New(cfg Config) (*Source, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Source{cfg: cfg, log: cfg.Logger.With("part", "acme")}
	var err error
	if s.names, err = parseNames(cfg.Names); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	s.reloads = cfg.Metrics.Counter("tls_certificate_reloads", "Certificates taken into service while running.")
	s.failures = cfg.Metrics.Counter("tls_certificate_failures", "Attempts to get a certificate that failed.")
	s.others.Store(&map[string]*tls.Certificate{})
	s.tickets.now = cfg.Now
	switch cfg.Mode {
	case SelfSigned:
		err = s.loadSelfSigned()
	case Files:
		err = s.loadFiles()
	case ACME:
		if err = s.loadSelfSigned(); err == nil {
			err = s.openIssuance()
		}
	default:
		err = fmt.Errorf("no mode %q", cfg.Mode)
	}
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	cfg.Metrics.Gauge("tls_certificate_expiry_seconds", "End of the certificate in service, Unix time.", func() float64 {
		return float64(s.current.Load().Leaf.NotAfter.Unix())
	})
	return s, nil
}

// Start begins what runs by itself. To be called once the ports of
// Config.Issuance are listened on; the caller closes the Source in any case.
func (s *Source) Start() {
	if s.issue != nil {
		s.issue.start()
	}
}

// Close ends what Start began. Handshakes are answered as before.
func (s *Source) Close() {
	if s.issue != nil {
		s.issue.close()
	}
}

// TLSConfig gives a configuration for servers. It answers every server name
// with its certificate or else, and when there is none, with the domain's; it
// wants TLS 1.3, issues tickets, and names no application protocols. The
// caller may change its copy; one who serves others than our own clients may
// want a lower MinVersion.
func (s *Source) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// The first answers of a connection in one record each, not in
		// record sizes made for browsers that render while they load.
		DynamicRecordSizingDisabled: true,
		GetCertificate:              s.choose,
		WrapSession:                 s.tickets.wrap,
		UnwrapSession:               s.tickets.unwrap,
	}
}

// choose gives the certificate for a handshake.
func (s *Source) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.issue != nil && isChallenge(hello) {
		return s.issue.challenge(hello)
	}
	s.look()
	if cert := (*s.others.Load())[strings.ToLower(hello.ServerName)]; cert != nil {
		return cert, nil
	}
	return s.current.Load(), nil
}

// serve takes a certificate into service for one name.
func (s *Source) serve(name string, cert *tls.Certificate) {
	if name == s.names[0].String() {
		s.current.Store(cert)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	others := maps.Clone(*s.others.Load())
	others[name] = cert
	s.others.Store(&others)
}

// errEmpty is what a PEM file without the expected block gives.
var errEmpty = errors.New("nothing of the kind in it")
