package acme

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// Authority is a certification authority that speaks ACME (RFC 8555).
type Authority struct {
	// Directory is the URL of its directory object (section 7.1.1).
	Directory string
	// EABKeyID and EABKey bind our account to one that exists there
	// (section 7.3.4); the key is base64url as the authority gives it. Empty
	// without.
	EABKeyID, EABKey string
}

// Issuance is what the acme mode needs.
type Issuance struct {
	// Authorities are asked in this order until one issues. At least one.
	Authorities []Authority
	// Roots are trusted for the connections to them; nil are the system's.
	Roots *x509.CertPool
	// Resolver is the "address:port" of the resolver that finds them; empty is
	// the system's.
	Resolver string
	// Email is told to the authorities; may be empty.
	Email string
	// Profile names the kind of certificate to ask for; empty leaves it to the
	// authority, except that addresses are asked for as "shortlived": no
	// authority gives them longer.
	Profile string
	// Host is the address our ports are bound to, empty for all; HTTPPort and
	// TLSPort are those on which we answer http-01 (RFC 8555 section 8.3) and
	// tls-alpn-01 (RFC 8737). Zero: this challenge cannot be met.
	Host              string
	HTTPPort, TLSPort int
	// DNS, when not nil, meets dns-01 (section 8.4) instead of the two.
	DNS *DNSUpdate

	renewCheck time.Duration // between looks at what is to be renewed; zero is certmagic's ten minutes
}

// lookForMissing is how often it is looked for names without certificate.
const lookForMissing = time.Hour

// shortlived is the profile that addresses must have.
const shortlived = "shortlived"

// issuance gets and renews certificates. certmagic decides when to renew and
// speaks ACME; when a first certificate is tried again is decided here, since
// it must not be forgotten at a restart.
type issuance struct {
	s       *Source
	log     *slog.Logger
	cache   *certmagic.Cache
	magic   *certmagic.Config
	issuers []*certmagic.ACMEIssuer
	names   []string // subjects; each has a certificate of its own
	key     sameKey

	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
	fresh  chan string   // names whose certificate changed on disk
	turn   chan struct{} // has the one attempt of ours that is under way

	mu      sync.Mutex // guards the field below and its file
	history history
}

// openIssuance prepares issuing and loads what was issued before. Nothing is
// asked of anybody before start.
func (s *Source) openIssuance() error {
	want := s.cfg.Issuance
	if want == nil || len(want.Authorities) == 0 {
		return errors.New("the acme mode needs an authority")
	}
	if want.HTTPPort == 0 && want.TLSPort == 0 && want.DNS == nil {
		return errors.New("the acme mode needs port 80, port 443 or a DNS server that takes updates")
	}
	key, err := s.selfSignedKey()
	if err != nil {
		return err
	}
	i := &issuance{s: s, log: s.log, fresh: make(chan string, 16), turn: make(chan struct{}, 1)}
	i.key.set(key)
	i.ctx, i.cancel = context.WithCancel(context.Background())
	for _, n := range s.names {
		if !strings.HasPrefix(n.dns, "_") {
			i.names = append(i.names, n.String())
		}
	}
	if len(i.names) == 0 {
		return fmt.Errorf("no authority gives a certificate for %s", s.names[0])
	}
	if i.history = readHistory(s.historyPath(), s.log); i.history.Names == nil {
		i.history.Names = map[string]attempts{}
	}
	logger := zapLogger(s.log)
	i.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return i.magic, nil },
		Logger:           logger,

		RenewCheckInterval: want.renewCheck,
	})
	i.magic = certmagic.New(i.cache, certmagic.Config{
		OnEvent:   i.event,
		KeySource: &i.key,
		Storage:   &certmagic.FileStorage{Path: filepath.Join(s.cfg.Dir, "acme")},
		// Authorities stopped answering OCSP; asking would only tell on us.
		OCSP:   certmagic.OCSPConfig{DisableStapling: true},
		Logger: logger,
	})
	i.magic.Issuers = nil
	for _, a := range want.Authorities {
		issuer := certmagic.NewACMEIssuer(i.magic, i.template(want, a, logger))
		i.issuers = append(i.issuers, issuer)
		i.magic.Issuers = append(i.magic.Issuers, issuer)
	}
	if i.profile(want) == shortlived {
		i.magic.RenewalWindowRatio = 0.5
	}
	s.issue = i
	for _, n := range i.names {
		i.load(n)
	}
	return nil
}

func (i *issuance) profile(want *Issuance) string {
	if want.Profile == "" && i.s.names[0].ip.IsValid() {
		return shortlived
	}
	return want.Profile
}

// template is one authority in certmagic's words.
func (i *issuance) template(want *Issuance, a Authority, logger zapLog) certmagic.ACMEIssuer {
	smallest := true
	t := certmagic.ACMEIssuer{
		CA: a.Directory,
		// The same URL, or certmagic would take a staging authority for the one it
		// knows by default.
		TestCA:                    a.Directory,
		Email:                     want.Email,
		Agreed:                    true,
		Profile:                   i.profile(want),
		ListenHost:                want.Host,
		AltHTTPPort:               want.HTTPPort,
		AltTLSALPNPort:            want.TLSPort,
		DisableHTTPChallenge:      want.HTTPPort == 0,
		DisableTLSALPNChallenge:   want.TLSPort == 0,
		DisableDistributedSolvers: true,
		TrustedRoots:              want.Roots,
		Resolver:                  want.Resolver,
		PreferredChains:           certmagic.ChainPreference{Smallest: &smallest},
		HTTPProxy:                 http.ProxyFromEnvironment,
		Logger:                    logger,
		// An account without a contact is found again under the name "default",
		// which certmagic then takes for the contact.
		NewAccountFunc: func(_ context.Context, _ *certmagic.ACMEIssuer, account acme.Account) (acme.Account, error) {
			account.Contact = nil
			if want.Email != "" {
				account.Contact = []string{"mailto:" + want.Email}
			}
			return account, nil
		},
	}
	if a.EABKeyID != "" {
		t.ExternalAccount = &acme.EAB{KeyID: a.EABKeyID, MACKey: a.EABKey}
	}
	if want.DNS != nil {
		t.DisableHTTPChallenge, t.DisableTLSALPNChallenge = true, true
		t.DNS01Solver = want.DNS.solver(logger)
	}
	return t
}

// sameKey gives certmagic our one key for every certificate: clients remember
// it, so it changes only when the operator says so.
type sameKey struct{ key atomic.Pointer[crypto.Signer] }

func (k *sameKey) set(key crypto.Signer) { k.key.Store(&key) }

// GenerateKey implements certmagic.KeyGenerator.
func (k *sameKey) GenerateKey() (crypto.PrivateKey, error) { return *k.key.Load(), nil }

// load puts the certificate that is on disk for a name into service; false
// when there is none.
func (i *issuance) load(name string) bool {
	cert, err := i.magic.CacheManagedCertificate(i.ctx, name)
	if err != nil {
		return false
	}
	var old []string
	for _, other := range i.cache.AllMatchingCertificates(name) {
		if other.Hash() != cert.Hash() && other.Leaf != nil && !other.Leaf.NotBefore.After(cert.Leaf.NotBefore) {
			old = append(old, other.Hash())
		}
	}
	i.cache.Remove(old)
	i.s.serve(name, newest(i.cache.AllMatchingCertificates(name)))
	return true
}

// newest gives the certificate that was issued last, nil of none.
func newest(all []certmagic.Certificate) *tls.Certificate {
	if len(all) == 0 {
		return nil
	}
	cert := slices.MaxFunc(all, func(a, b certmagic.Certificate) int { return a.Leaf.NotBefore.Compare(b.Leaf.NotBefore) }).Certificate
	return &cert
}

// start begins to ask the authorities for what is missing.
func (i *issuance) start() {
	i.done.Go(i.follow)
	i.done.Go(i.keep)
}

// close ends all work. What was under way is left to the next start.
func (i *issuance) close() {
	i.cancel()
	i.done.Wait()
	i.cache.Stop()
}

// follow takes new certificates into service.
func (i *issuance) follow() {
	for {
		select {
		case <-i.ctx.Done():
			return
		case name := <-i.fresh:
			if i.load(name) {
				i.s.reloads.Inc()
			}
		}
	}
}

// keep asks for the certificates that are missing, one after the other: they
// share an account, which the first one makes. Renewals are certmagic's. Later
// a name can be missing again: an adopted certificate of all names is renewed
// for its first one.
func (i *issuance) keep() {
	for {
		name, wait, some := i.nextMissing()
		if !some {
			wait = lookForMissing
		}
		if !sleep(i.ctx, wait) {
			return
		}
		if !some {
			continue
		}
		if i.attempt(i.ctx, func(ctx context.Context) error { return i.magic.ObtainCertAsync(ctx, name) }) == nil {
			i.load(name)
		}
	}
}

// nextMissing gives the name without certificate that may be asked for first.
func (i *issuance) nextMissing() (name string, wait time.Duration, some bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, n := range i.names {
		if i.served(n) {
			continue
		}
		if w := i.history.wait(n, i.s.cfg.Now()); !some || w < wait {
			name, wait, some = n, w, true
		}
	}
	return name, wait, some
}

// attempt asks every authority once, when no other attempt is under way; outer
// and the end of the relay end it. certmagic would go on asking by itself,
// forgetting at a restart that it did, so it is stopped when it failed.
func (i *issuance) attempt(outer context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithCancel(i.ctx)
	defer cancel()
	defer context.AfterFunc(outer, cancel)()
	select {
	case i.turn <- struct{}{}:
		defer func() { <-i.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return ask(context.WithValue(ctx, attemptKey{}, cancel))
}

// attemptKey finds, in the context of an attempt of ours, what ends it.
type attemptKey struct{}

func (i *issuance) served(name string) bool { return len(i.cache.AllMatchingCertificates(name)) > 0 }

// sleep is false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// errPaused keeps certmagic from renewing while a pause lasts.
var errPaused = errors.New("a failure is too short a time ago")

// event hears what certmagic does. It is called within its work, so it only
// notes. What certmagic begins by itself, a renewal, waits for the end of the
// pause that its last failure brought, over restarts too.
func (i *issuance) event(ctx context.Context, what string, data map[string]any) error {
	name, _ := data["identifier"].(string)
	end, ours := ctx.Value(attemptKey{}).(context.CancelFunc)
	switch what {
	case "cert_obtaining":
		i.mu.Lock()
		defer i.mu.Unlock()
		if !ours && i.history.wait(name, i.s.cfg.Now()) > 0 {
			return errPaused
		}
	case "cert_failed":
		err, _ := data["error"].(error)
		if errors.Is(err, context.Canceled) {
			return nil
		}
		i.note(name, err)
		if ours {
			end()
		}
	case "cert_obtained":
		i.note(name, nil)
		select {
		case i.fresh <- name:
		default: // never so many names
		}
	}
	return nil
}

// note remembers how an attempt ended.
func (i *issuance) note(name string, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.history.note(name, err, i.s.cfg.Now())
	if err != nil {
		i.s.failures.Inc()
		i.log.Error("no certificate", "name", name, "error", err, "next", i.history.Names[name].Next)
	} else {
		i.log.Info("certificate issued", "name", name)
	}
	if err := i.history.write(i.s.historyPath()); err != nil {
		i.log.Error("the history of issuance is not kept", "error", err)
	}
}

// challenge gives the certificate that proves a name to an authority
// (RFC 8737 section 3).
func (i *issuance) challenge(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return i.magic.GetCertificate(hello)
}

// isChallenge tells the handshake of an authority from others.
func isChallenge(hello *tls.ClientHelloInfo) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acmez.ACMETLS1Protocol
}

// ChallengeProtocol is the application protocol of tls-alpn-01; a listener
// that is to meet it must agree to it, and has nothing more to do.
const ChallengeProtocol = acmez.ACMETLS1Protocol

// HTTPChallenge answers http-01 (RFC 8555 section 8.3) and leaves all else to
// next. In other modes it is next.
func (s *Source) HTTPChallenge(next http.Handler) http.Handler {
	if s.issue == nil {
		return next
	}
	for _, issuer := range slices.Backward(s.issue.issuers) {
		next = issuer.HTTPChallengeHandler(next)
	}
	return next
}
