package acme

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
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
)

// Config of a Source.
type Config struct {
	// Mode is SelfSigned or Files.
	Mode string
	// Names are what clients call the relay: host names, also such that begin
	// with "_", and IP addresses, plain or as address literals
	// ("[192.0.2.7]", "[IPv6:2001:db8::7]"). The first is the domain; a domain
	// that is a name brings its "www." and "mta-sts." names with it.
	Names []string
	// Dir is the directory of the self-signed mode; made when missing.
	Dir string
	// CertFile and KeyFile are the PEM files of the files mode: the chain,
	// leaf first, and its key.
	CertFile, KeyFile string

	Logger  *slog.Logger      // nil logs nothing
	Metrics *metrics.Registry // nil counts for nobody
	Now     func() time.Time  // nil means time.Now
}

// Source gives the certificate for every handshake. All methods may be called
// by many goroutines. It has no goroutine of its own and needs no Close: a
// changed file is noticed by the handshakes, and by Findings.
type Source struct {
	cfg     Config
	names   []name // the domain first
	log     *slog.Logger
	reloads prometheus.Counter

	current atomic.Pointer[tls.Certificate] // never nil after New; Leaf is set
	checked atomic.Int64                    // when the files were last looked at, Unix ns

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
	switch cfg.Mode {
	case SelfSigned:
		err = s.loadSelfSigned()
	case Files:
		err = s.loadFiles()
	default:
		err = fmt.Errorf("no mode %q", cfg.Mode)
	}
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	s.reloads = cfg.Metrics.Counter("tls_certificate_reloads", "Certificates taken over from changed files.")
	cfg.Metrics.Gauge("tls_certificate_expiry_seconds", "End of the certificate in service, Unix time.", func() float64 {
		return float64(s.current.Load().Leaf.NotAfter.Unix())
	})
	return s, nil
}

// TLSConfig gives a configuration for servers. It answers every server name
// and none with the certificate in service, wants TLS 1.3, issues tickets,
// and names no application protocols. The caller may change its copy; one who
// serves others than our own clients may want a lower MinVersion.
func (s *Source) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// The first answers of a connection in one record each, not in
		// record sizes made for browsers that render while they load.
		DynamicRecordSizingDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			s.look()
			return s.current.Load(), nil
		},
	}
}

// errEmpty is what a PEM file without the expected block gives.
var errEmpty = errors.New("nothing of the kind in it")
