package app

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"barid/acme"
	"barid/dkim"
	"barid/internal/config"
	"barid/internal/zone"
)

// ErrNoZone is inside the error of ZoneFacts for a relay at an address, which
// needs nothing of the DNS.
var ErrNoZone = errors.New("the relay is at an address and has no zone")

// ErrNoKeys is inside the error of ZoneFacts where no DKIM keys are yet.
var ErrNoKeys = errors.New(`there are no DKIM keys yet; "barid init" makes them, and so does the first start`)

// ZoneFacts gives what the zone of a relay follows from: its configuration,
// and what lies in its data directory, whether it runs or not. Nobody is asked
// and nothing is made.
func ZoneFacts(cfg *config.Config) (f zone.Facts, err error) {
	if _, err := netip.ParseAddr(cfg.Domain); err == nil {
		return f, ErrNoZone
	}
	f = zone.Facts{
		Domain: cfg.Domain, Reports: cfg.Contact.Admin,
		IMAPS: firstPort(cfg.Listen.IMAPS), IMAP: firstPort(cfg.Listen.IMAP),
		Submissions: firstPort(cfg.Listen.Submissions), Submission: firstPort(cfg.Listen.Submission),
	}
	if f.Addrs, err = publicAddrs(cfg); err != nil {
		return f, err
	}
	keys, err := foundKeys(cfg)
	if err != nil {
		return f, err
	}
	waiting, err := dkim.FindNext(filepath.Join(cfg.DataDir, "dkim"))
	if err != nil {
		return f, err
	}
	for i, k := range slices.Concat(keys, waiting) {
		r := k.Record()
		f.DKIM = append(f.DKIM, zone.DKIM{Name: r.Name, Text: r.Text, Next: i >= len(keys)})
	}
	if HasPolicy(cfg) {
		if f.STS, err = zone.PolicyID(cfg.DataDir, zone.Policy(cfg.Domain)); err != nil {
			return f, err
		}
	}
	f.Issuers = issuersOf(cfg)
	f.Key, err = servedKey(cfg)
	return f, err
}

// HasPolicy tells whether a relay has an MTA-STS policy: it is for domains
// whose certificate others trust.
func HasPolicy(cfg *config.Config) bool {
	_, err := netip.ParseAddr(cfg.Domain)
	return err != nil && cfg.TLS.Mode != config.TLSSelfSigned && !strings.HasPrefix(cfg.Domain, "_")
}

// publicAddrs gives where the world reaches the relay, as far as it is known.
func publicAddrs(cfg *config.Config) (all []netip.Addr, err error) {
	for _, text := range cfg.DNS.Addresses {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("dns.addresses: %w", err)
		}
		all = append(all, a)
	}
	if all != nil {
		return all, nil
	}
	all, err = zone.LocalAddrs()
	if err != nil {
		return nil, fmt.Errorf("addresses of this machine: %w", err)
	}
	return all, nil
}

// foundKeys gives the keys that sign, without making any.
func foundKeys(cfg *config.Config) ([]dkim.Key, error) {
	keys, err := dkim.FindKeys(filepath.Join(cfg.DataDir, "dkim"))
	if err != nil {
		return nil, err
	}
	if cfg.DKIM.Selector != "" {
		k, err := dkim.ReadKey(cfg.DKIM.Key, cfg.DKIM.Selector)
		if err != nil {
			return nil, fmt.Errorf("dkim.key: %w", err)
		}
		keys = dkim.Adopt(keys, k)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s: %w", cfg.DataDir, ErrNoKeys)
	}
	return keys, nil
}

// issuersOf names the authorities of the certificates, or none when one of
// them is not known: to allow only the others would keep it from issuing.
func issuersOf(cfg *config.Config) (all []zone.Issuer) {
	if cfg.TLS.Mode != config.TLSACME {
		return nil
	}
	accounts := acme.AccountsIn(filepath.Join(cfg.DataDir, "tls"))
	for _, directory := range []string{cfg.ACME.Directory, cfg.ACME.SecondDirectory} {
		if directory == "" {
			continue
		}
		issuer, ok := zone.IssuerOf(directory, accounts)
		if !ok {
			return nil
		}
		all = append(all, issuer)
	}
	return all
}

// servedKey gives the hash of the key that other servers see, or "" where
// there is none yet.
func servedKey(cfg *config.Config) (string, error) {
	if cfg.TLS.Mode == config.TLSFiles {
		certs, err := acme.New(acme.Config{Mode: acme.Files, Names: []string{cfg.Domain}, CertFile: cfg.TLS.Cert, KeyFile: cfg.TLS.Key})
		if err != nil {
			return "", fmt.Errorf("tls.cert, tls.key: %w", err)
		}
		defer certs.Close()
		return certs.Status()[0].Key, nil
	}
	key, err := acme.KeyIn(filepath.Join(cfg.DataDir, "tls"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return key, err
}

// ZoneCheckConfig shapes the check of the zone: through the resolver of the
// configuration, and with the memory of what policy was published.
func ZoneCheckConfig(cfg *config.Config) zone.CheckConfig {
	c := zone.CheckConfig{Published: func(id string) bool {
		ok, err := zone.KeepPolicyID(cfg.DataDir, zone.Policy(cfg.Domain), id)
		return ok || err != nil // a directory that cannot be written is no fault of the zone
	}}
	if cfg.DNS.Resolver != "" {
		c.Resolvers = []string{cfg.DNS.Resolver}
	}
	return c
}

// firstPort is the port of the first address that has one, or 0.
func firstPort(addrs []string) uint16 {
	for _, a := range addrs {
		if _, port := hostPort(a); port != 0 {
			return port
		}
	}
	return 0
}
