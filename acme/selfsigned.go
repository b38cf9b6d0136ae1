package acme

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"barid/internal/wholefile"
)

const (
	selfSignedKey  = "self-signed.key"
	selfSignedCert = "self-signed.crt"
	// validity is that of the reference: in effect for ever.
	validity = 36500 * 24 * time.Hour
	// backdating lets clients in whose clock is slow.
	backdating = 24 * time.Hour
	maxFile    = 1 << 20 // octets of a PEM file
)

// loadSelfSigned loads the key, or makes it if there is none, and a
// certificate that fits key and names.
func (s *Source) loadSelfSigned() error {
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("directory of the self-signed certificate: %w", err)
	}
	key, err := s.selfSignedKey()
	if err != nil {
		return err
	}
	path := filepath.Join(s.cfg.Dir, selfSignedCert)
	leaf, err := readCertificate(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("self-signed certificate is made again", "error", err)
	}
	if err != nil || !s.fits(leaf, key) {
		if leaf, err = s.sign(key); err != nil {
			return err
		}
		block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})
		if err := wholefile.Write(path, block); err != nil {
			return err
		}
		s.log.Info("self-signed certificate made", "domain", s.names[0].String())
	}
	s.current.Store(&tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf})
	return nil
}

// selfSignedKey loads or makes the key. A key that is there and cannot be
// read is an error, never a reason for another one.
func (s *Source) selfSignedKey() (crypto.Signer, error) {
	path := filepath.Join(s.cfg.Dir, selfSignedKey)
	key, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(path)
	}
	return key, err
}

// readKey reads a key file that makeKey wrote.
func readKey(path string) (crypto.Signer, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("private key in %s: %w", path, errEmpty)
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("private key in %s: %w", path, err)
	}
	key, ok := any.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("private key in %s cannot sign", path)
	}
	return key, nil
}

// makeKey makes a key that is on disk before anybody sees it.
func makeKey(path string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a private key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make a private key: %w", err)
	}
	if err := wholefile.Write(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return nil, err
	}
	return key, nil
}

// fits tells whether a certificate is for this key and exactly these names,
// and is not over.
func (s *Source) fits(leaf *x509.Certificate, key crypto.Signer) bool {
	if !fitsKey(&tls.Certificate{Leaf: leaf}, key) || s.cfg.Now().After(leaf.NotAfter) {
		return false
	}
	if len(leaf.DNSNames)+len(leaf.IPAddresses) != len(s.names) {
		return false
	}
	for _, n := range s.names {
		if n.ip.IsValid() && !covers(leaf, n) || !n.ip.IsValid() && !slices.Contains(leaf.DNSNames, n.dns) {
			return false
		}
	}
	return true
}

// sign makes the certificate.
func (s *Source) sign(key crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	begin := s.cfg.Now().Add(-backdating)
	tmpl := &x509.Certificate{
		SerialNumber:          serial,
		NotBefore:             begin,
		NotAfter:              begin.Add(validity),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if cn := s.names[0].String(); len(cn) <= 64 { // X.520's bound
		tmpl.Subject = pkix.Name{CommonName: cn}
	}
	for _, n := range s.names {
		if n.ip.IsValid() {
			tmpl.IPAddresses = append(tmpl.IPAddresses, net.IP(n.ip.AsSlice()))
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, n.dns)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// readCertificate reads the first certificate of a PEM file.
func readCertificate(path string) (*x509.Certificate, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(bytes.TrimSpace(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("certificate in %s: %w", path, errEmpty)
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("certificate in %s: %w", path, err)
	}
	return leaf, nil
}
