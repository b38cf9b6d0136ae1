package app

import (
	"fmt"
	"os"

	"barid/acme"
	"barid/internal/config"
)

// Check tells what a good configuration still cannot start with: files that
// it names and that are not there, cannot be read, or do not go together. It
// makes nothing.
func Check(cfg *config.Config) error {
	if dir := cfg.Web.Dir; dir != "" {
		if info, err := os.Stat(dir); err != nil {
			return fmt.Errorf("web.dir: %w", err)
		} else if !info.IsDir() {
			return fmt.Errorf("web.dir: %s is no directory", dir)
		}
	}
	switch cfg.TLS.Mode {
	case config.TLSFiles:
		n := namesOf(cfg.Domain)
		certs, err := acme.New(acme.Config{
			Mode: cfg.TLS.Mode, Names: append([]string{n.mail}, cfg.TLS.Names...), CertFile: cfg.TLS.Cert, KeyFile: cfg.TLS.Key,
		})
		if err != nil {
			return fmt.Errorf("tls.cert, tls.key: %w", err)
		}
		certs.Close()
	case config.TLSACME:
		if _, err := issuanceOf(cfg); err != nil {
			return err
		}
	}
	return nil
}
