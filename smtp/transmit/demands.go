package transmit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"

	"barid/internal/resolver"
)

// demands are what a host must prove before it gets mail by SMTP.
type demands struct {
	trust trust
	// tlsa are records of DANE (RFC 7672), of which one must match; then the name
	// in the certificate need not be vouched for by anybody else.
	tlsa []resolver.TLSA
}

// errDANE: the host has records of DANE and none fits its certificate.
var errDANE = errors.New("the certificate does not match the TLSA records")

// demands looks up what is demanded of a host. An error is trouble of the DNS:
// without its answer the host must not be used (RFC 7672 section 2.2).
func (t *Transmitter) demands(ctx context.Context, r *route, h host) (demands, error) {
	d := demands{trust: r.trust}
	if !r.secure || h.addr.IsValid() {
		return d, nil
	}
	answer, err := t.cfg.Resolver.TLSA(ctx, "_"+strconv.Itoa(int(t.cfg.SMTPPort))+"._tcp."+h.name)
	switch {
	case errors.Is(err, resolver.ErrTemporary):
		return d, fmt.Errorf("look up the TLSA records of %s: %w", h.name, err)
	case err != nil || !answer.Authentic:
		return d, nil
	}
	for _, rec := range answer.Records {
		if rec.Usage >= 2 && rec.Usage <= 3 && rec.Selector <= 1 && rec.Matching <= 2 {
			d.tlsa = append(d.tlsa, rec)
		}
	}
	if len(d.tlsa) == 0 {
		return d, nil // unusable ones demand TLS only (section 2.2), which is demanded anyway
	}
	if d.trust == cleartext {
		d.trust = verified
	}
	return d, nil
}

// tls gives the configuration for a connection to h.
func (d demands) tls(roots *x509.CertPool, h host) *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: h.name}
	switch {
	case len(d.tlsa) > 0:
		cfg.InsecureSkipVerify = true // the records vouch
		cfg.VerifyConnection = func(cs tls.ConnectionState) error { return d.matchTLSA(cs.PeerCertificates, h) }
	case d.trust != verified:
		cfg.InsecureSkipVerify = true
	}
	return cfg
}

// matchTLSA wants one record that fits: the leaf itself (usage 3), or an
// authority that signed the leaf for the host's name (usage 2).
func (d demands) matchTLSA(chain []*x509.Certificate, h host) error {
	for _, rec := range d.tlsa {
		for i, cert := range chain {
			if rec.Usage == 3 && i > 0 || !matches(rec, cert) {
				continue
			}
			if rec.Usage == 3 || signs(cert, chain, h.name) {
				return nil
			}
		}
	}
	return errDANE
}

// matches compares a record with a certificate (RFC 6698 section 2.1).
func matches(rec resolver.TLSA, cert *x509.Certificate) bool {
	data := cert.Raw
	if rec.Selector == 1 {
		data = cert.RawSubjectPublicKeyInfo
	}
	switch rec.Matching {
	case 1:
		sum := sha256.Sum256(data)
		data = sum[:]
	case 2:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return bytes.Equal(data, rec.Data)
}

// signs tells whether the leaf of a chain, for that name, is vouched for by
// root.
func signs(root *x509.Certificate, chain []*x509.Certificate, name string) bool {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root)
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: name})
	return err == nil
}
