package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"barid/acme"
	"barid/internal/config"
	"barid/internal/netserve"
)

func (a *App) openCertificates() error {
	cfg := acme.Config{
		Mode:     a.cfg.TLS.Mode,
		Names:    append([]string{a.names.mail}, a.cfg.TLS.Names...),
		Dir:      a.dataPath("tls"),
		CertFile: a.cfg.TLS.Cert,
		KeyFile:  a.cfg.TLS.Key,
		Logger:   a.log,
		Metrics:  a.metrics,
	}
	if cfg.Mode == config.TLSACME {
		var err error
		if cfg.Issuance, err = issuanceOf(a.cfg); err != nil {
			return err
		}
	}
	certs, err := acme.New(cfg)
	if err != nil {
		return err
	}
	a.certs = certs
	a.onStop("certificates", func(context.Context) error { certs.Close(); return nil })
	return nil
}

// issuanceOf translates the acme table. Secrets and roots are read from their
// files; the error names the key of a file that cannot be.
func issuanceOf(cfg *config.Config) (*acme.Issuance, error) {
	c := cfg.ACME
	i := &acme.Issuance{Email: c.Email, Profile: c.Profile, Resolver: cfg.DNS.Resolver}
	for _, a := range []struct{ key, directory, id, file string }{
		{"acme.eab_key_file", c.Directory, c.EABKeyID, c.EABKeyFile},
		{"acme.second_eab_key_file", c.SecondDirectory, c.SecondEABKeyID, c.SecondEABKeyFile},
	} {
		if a.directory == "" {
			continue
		}
		secret, err := secretFile(a.key, a.file)
		if err != nil {
			return nil, err
		}
		i.Authorities = append(i.Authorities, acme.Authority{Directory: a.directory, EABKeyID: a.id, EABKey: secret})
	}
	if c.Roots != "" {
		text, err := os.ReadFile(c.Roots)
		if err != nil {
			return nil, fmt.Errorf("acme.roots: %w", err)
		}
		if i.Roots, err = x509.SystemCertPool(); err != nil {
			i.Roots = x509.NewCertPool()
		}
		if !i.Roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("acme.roots: no certificate in %s", c.Roots)
		}
	}
	if c.DNSServer != "" {
		secret, err := secretFile("acme.dns_key_file", c.DNSKeyFile)
		if err != nil {
			return nil, err
		}
		i.DNS = &acme.DNSUpdate{Server: c.DNSServer, KeyName: c.DNSKeyName, Algorithm: c.DNSKeyAlgorithm, Secret: secret}
	}
	i.Host, i.TLSPort = where(cfg.Listen.HTTPS)
	host, port := where(cfg.Listen.HTTP)
	if i.HTTPPort = port; i.TLSPort == 0 {
		i.Host = host
	}
	return i, nil
}

// secretFile reads a secret; without a file it is empty.
func secretFile(key, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	if secret := strings.TrimSpace(string(text)); secret != "" && len(secret) <= 4096 {
		return secret, nil
	}
	return "", fmt.Errorf("%s: no secret in %s", key, path)
}

// where gives the address and port of the first of a listener's addresses
// that has any: no host when it is all of the machine, and port zero when
// there is none.
func where(addrs []string) (host string, port int) {
	for _, text := range addrs {
		h, p, err := net.SplitHostPort(text)
		n, err2 := strconv.Atoi(p)
		if err != nil || err2 != nil {
			continue // a Unix socket
		}
		if a, err := netip.ParseAddr(h); h == "" || err == nil && a.IsUnspecified() {
			h = ""
		}
		return h, n
	}
	return "", 0
}

// proof is what the listener of tls-alpn-01 does after the handshake, which
// was the whole proof.
type proof struct{}

// ServeConn implements netserve.Handler.
func (proof) ServeConn(_ context.Context, c *netserve.Conn) { c.Close() }

// webTLS is the configuration for listeners that others than our own clients
// use, who may not have TLS 1.3 yet.
func (a *App) webTLS() *tls.Config {
	c := a.certs.TLSConfig()
	c.MinVersion = tls.VersionTLS12
	return c
}
