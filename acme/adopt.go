package acme

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/caddyserver/certmagic"

	"barid/internal/wholefile"
)

// ErrOtherKey means that the relay has a key of its own already, which clients
// may remember.
var ErrOtherKey = errors.New("there is another key already")

// Adopt puts a key that clients know, and its certificate, into cfg.Dir before
// the first start: a chain, leaf first, and the private key, in PEM. In the acme
// mode the certificate serves from the first start on and is renewed with the
// same key, unless it is over or of other names; in the self-signed mode it is
// kept if it is of exactly cfg.Names. The key stays in any case. ErrOtherKey
// when another one is there; the same one again does no harm.
func Adopt(cfg Config, chain, key []byte) error {
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return fmt.Errorf("adopt a certificate: %w", err)
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return errors.New("adopt a certificate: its key cannot sign")
	}
	if err := adoptKey(cfg.Dir, signer, pair.Leaf); err != nil {
		return fmt.Errorf("adopt a certificate: %w", err)
	}
	s, err := New(cfg)
	if err != nil {
		return fmt.Errorf("adopt a certificate: %w", err)
	}
	defer s.Close()
	if s.issue == nil {
		return nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return fmt.Errorf("adopt a certificate: %w", err)
	}
	return s.issue.adopt(pair.Leaf, chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// adoptKey makes the files of the self-signed mode.
func adoptKey(dir string, key crypto.Signer, leaf *x509.Certificate) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, selfSignedKey)
	switch there, err := readKey(path); {
	case err == nil:
		public, ok := there.Public().(interface{ Equal(crypto.PublicKey) bool })
		if !ok || !public.Equal(key.Public()) {
			return fmt.Errorf("%w: %s", ErrOtherKey, path)
		}
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	// The certificate first: one without its key is made again.
	if err := wholefile.Write(filepath.Join(dir, selfSignedCert), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})); err != nil {
		return err
	}
	return wholefile.Write(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// adopt stores a certificate of others as the one that the first authority
// issued for the domain.
func (i *issuance) adopt(leaf *x509.Certificate, chain, key []byte) error {
	name := i.names[0]
	if leaf.VerifyHostname(name) != nil || i.s.cfg.Now().After(leaf.NotAfter) || i.served(name) {
		return nil
	}
	meta, err := json.MarshalIndent(certmagic.CertificateResource{SANs: []string{name}}, "", "\t")
	if err != nil {
		return fmt.Errorf("adopt a certificate: %w", err)
	}
	issuer := i.issuers[0].IssuerKey()
	for _, file := range []struct {
		name string
		text []byte
	}{
		{certmagic.StorageKeys.SitePrivateKey(issuer, name), key},
		{certmagic.StorageKeys.SiteCert(issuer, name), chain},
		{certmagic.StorageKeys.SiteMeta(issuer, name), meta},
	} {
		if err := i.magic.Storage.Store(context.Background(), file.name, file.text); err != nil {
			return fmt.Errorf("adopt a certificate: %w", err)
		}
	}
	if !i.load(name) {
		return errors.New("adopt a certificate: it does not load")
	}
	return nil
}
