package acme

import (
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"testing"
	"time"
)

// A certificate of another relay serves from the first start on, with its
// key; one that is over leaves the key.
func TestAdoptsTheCertificateThatClientsKnow(t *testing.T) {
	for _, over := range []bool{false, true} {
		from := time.Now().Add(-time.Hour)
		to := time.Now().Add(80 * 24 * time.Hour)
		if over {
			from, to = from.AddDate(-1, 0, 0), from
		}
		chain, key := issue{names: []string{"relay.test", "mta-sts.relay.test", "www.relay.test"}, from: from, to: to}.make(t)
		cfg := Config{Mode: ACME, Names: []string{"relay.test"}, Dir: t.TempDir(), Issuance: &Issuance{
			Authorities: []Authority{{Directory: "https://authority.test/directory"}}, HTTPPort: 80, TLSPort: 443,
		}}
		for range 2 {
			if err := Adopt(cfg, chain, key); err != nil {
				t.Fatal(err)
			}
		}
		s := open(t, cfg)
		if issued := leaf(t, s).Issuer.CommonName == "Authority of a test"; issued == over {
			t.Errorf("over %v: served %v of %v", over, leaf(t, s).DNSNames, leaf(t, s).Issuer)
		}
		pair, err := tls.X509KeyPair(chain, key)
		if err != nil || !pair.Leaf.PublicKey.(*ecdsa.PublicKey).Equal(leaf(t, s).PublicKey) {
			t.Errorf("over %v: another key, %v", over, err)
		}
		if _, _, some := s.issue.nextMissing(); some != over {
			t.Errorf("over %v: a name is missing: %v", over, some)
		}
		other, otherKey := issue{names: []string{"relay.test"}, from: from, to: to}.make(t)
		if err := Adopt(cfg, other, otherKey); !errors.Is(err, ErrOtherKey) {
			t.Errorf("another key: %v", err)
		}
		if err := Adopt(cfg, chain, otherKey); err == nil || errors.Is(err, ErrOtherKey) {
			t.Errorf("a key that does not belong: %v", err)
		}
	}
}

// The self-signed certificate of another relay is kept as it is, where it is of
// the names that ours would have.
func TestAdoptsASelfSignedCertificate(t *testing.T) {
	chain, key := issue{names: []string{"_relay.test", "www._relay.test", "mta-sts._relay.test"}, from: time.Now().Add(-time.Hour), to: time.Now().AddDate(100, 0, 0)}.make(t)
	cfg := Config{Mode: SelfSigned, Names: []string{"_relay.test"}, Dir: t.TempDir()}
	if err := Adopt(cfg, chain, key); err != nil {
		t.Fatal(err)
	}
	if s := open(t, cfg); leaf(t, s).Issuer.CommonName != "Authority of a test" {
		t.Errorf("served one of %v", leaf(t, s).Issuer)
	}
}
