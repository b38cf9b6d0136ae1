package app

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"barid/acme"
	"barid/dkim"
	"barid/internal/config"
	"barid/internal/zone"
	"barid/web"
)

// Prepare makes what a relay has before its first start: the data directory
// and its keys. What is there stays as it is.
func Prepare(cfg *config.Config) error {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	n := namesOf(cfg.Domain)
	if n.mail == n.host { // who is at an address has no name for a DKIM key
		if _, err := dkim.OpenKeys(filepath.Join(cfg.DataDir, "dkim"), time.Now()); err != nil {
			return err
		}
	}
	if cfg.TLS.Mode != config.TLSFiles {
		// The key of the first certificate, which all later ones keep.
		certs, err := acme.New(acme.Config{Mode: acme.SelfSigned, Names: append([]string{n.mail}, cfg.TLS.Names...), Dir: filepath.Join(cfg.DataDir, "tls")})
		if err != nil {
			return err
		}
		certs.Close()
	}
	if !HasPolicy(cfg) {
		return nil
	}
	policy := zone.Policy(cfg.Domain)
	id, err := zone.PolicyID(cfg.DataDir, policy)
	if err == nil {
		_, err = zone.KeepPolicyID(cfg.DataDir, policy, id)
	}
	return err
}

// Invitation gives the link with which a first person comes to a relay, by its
// configuration alone: for an account of its own choice, or, where clients have
// to be told to take its certificate, for a new one each time.
func Invitation(cfg *config.Config) (string, error) {
	n := namesOf(cfg.Domain)
	if cfg.TLS.Mode != config.TLSSelfSigned {
		return web.AccountURI(n.mail), nil
	}
	return web.NewLoginURI(web.Config{
		Domain: n.mail, Host: n.host, SelfSigned: true, Services: services(cfg.Listen, n.host),
		UsernameLength: cfg.Accounts.UsernameMaxLength, PasswordMin: cfg.Accounts.PasswordMinLength,
	})
}
