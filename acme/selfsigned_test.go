package acme

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The name or address is in the certificate as itself, and nothing else is
// that does not belong to it.
func TestSelfSignedCarriesExactlyTheName(t *testing.T) {
	for domain, want := range map[string]struct {
		dns    []string
		ip     string
		verify string
	}{
		"relay.test":           {[]string{"relay.test", "www.relay.test", "mta-sts.relay.test"}, "", "relay.test"},
		"_Relay.Test.":         {[]string{"_relay.test", "www._relay.test", "mta-sts._relay.test"}, "", "_relay.test"},
		"192.0.2.7":            {nil, "192.0.2.7", "192.0.2.7"},
		"[192.0.2.7]":          {nil, "192.0.2.7", "192.0.2.7"},
		"2001:db8::7":          {nil, "2001:db8::7", "2001:db8::7"},
		"[IPv6:2001:DB8:0::7]": {nil, "2001:db8::7", "2001:db8::7"},
	} {
		s := open(t, Config{Mode: SelfSigned, Names: []string{domain}, Dir: t.TempDir()})
		l := leaf(t, s)
		if diff := cmp.Diff(want.dns, l.DNSNames); diff != "" {
			t.Errorf("%s: %s", domain, diff)
		}
		if want.ip == "" && len(l.IPAddresses) != 0 || want.ip != "" && (len(l.IPAddresses) != 1 || l.IPAddresses[0].String() != want.ip) {
			t.Errorf("%s: addresses %v", domain, l.IPAddresses)
		}
		if err := l.VerifyHostname(want.verify); err != nil {
			t.Errorf("%s: %v", domain, err)
		}
		if err := l.CheckSignature(l.SignatureAlgorithm, l.RawTBSCertificate, l.Signature); err != nil {
			t.Errorf("%s: %v", domain, err)
		}
		if left := time.Until(l.NotAfter); left < 99*365*24*time.Hour {
			t.Errorf("%s: valid for %v", domain, left)
		}
		if l.IsCA || !l.BasicConstraintsValid || len(l.ExtKeyUsage) != 2 || l.PublicKeyAlgorithm != x509.ECDSA {
			t.Errorf("%s: %+v", domain, l)
		}
	}
}

// Clients remember the key: it outlives restarts, other names, and the loss
// of the certificate.
func TestSelfSignedKeyStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "tls")
	begin := func(domain string) *x509.Certificate {
		return leaf(t, open(t, Config{Mode: SelfSigned, Names: []string{domain}, Dir: dir}))
	}
	first := begin("relay.test")
	if again := begin("relay.test"); !again.Equal(first) {
		t.Error("a restart made another certificate")
	}
	other := begin("other.test")
	if other.VerifyHostname("other.test") != nil || !bytes.Equal(other.RawSubjectPublicKeyInfo, first.RawSubjectPublicKeyInfo) {
		t.Error("another domain: wrong name or another key")
	}
	for _, damage := range []func(string) error{
		os.Remove,
		func(p string) error { return os.WriteFile(p, nil, 0o600) },
		func(p string) error {
			return os.WriteFile(p, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600)
		},
	} {
		if err := damage(filepath.Join(dir, selfSignedCert)); err != nil {
			t.Fatal(err)
		}
		if l := begin("other.test"); !bytes.Equal(l.RawSubjectPublicKeyInfo, first.RawSubjectPublicKeyInfo) {
			t.Error("another key after the certificate was lost")
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
	}
}

// A key that cannot be read is never replaced.
func TestSelfSignedRefusesABrokenKey(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, selfSignedKey)
	for _, text := range []string{"", "no PEM", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", strings.Repeat("x", maxFile+1)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Config{Mode: SelfSigned, Names: []string{"relay.test"}, Dir: dir}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%.20q: %v", text, err)
		}
		if mustRead(t, path) != text {
			t.Error("the key file was touched")
		}
	}
}

func TestSelfSignedCertificateIsMadeAgainWhenOver(t *testing.T) {
	cfg := Config{Mode: SelfSigned, Names: []string{"_relay.test"}, Dir: t.TempDir(), Now: func() time.Time { return year }}
	first := leaf(t, open(t, cfg))
	cfg.Now = func() time.Time { return year.AddDate(101, 0, 0) }
	if second := leaf(t, open(t, cfg)); second.Equal(first) || !second.NotAfter.After(cfg.Now()) {
		t.Fatal(second.NotAfter)
	}
}

func TestSelfSignedIsAFindingWhereChainsAreChecked(t *testing.T) {
	for domain, want := range map[string][]string{
		"relay.test":  {"tls.self-signed"},
		"_relay.test": nil,
		"192.0.2.7":   nil,
	} {
		wantIDs(t, open(t, Config{Mode: SelfSigned, Names: []string{domain}, Dir: t.TempDir()}), want...)
	}
}

func TestNewRefusesWhatIsNoNameOrMode(t *testing.T) {
	for _, names := range [][]string{nil, {""}, {"a b.test"}, {"a..test"}, {"[192.0.2.7"}, {"[relay.test]"}, {"fe80::1%eth0"}, {"käse.test"}, {strings.Repeat("a.", 130) + "test"}, {strings.Repeat("a", 64) + ".test"}} {
		if _, err := New(Config{Mode: SelfSigned, Names: names, Dir: t.TempDir()}); err == nil {
			t.Errorf("%q was taken", names)
		}
	}
	if _, err := New(Config{Mode: "dream", Names: []string{"relay.test"}}); err == nil {
		t.Error("a mode that is none was taken")
	}
}
