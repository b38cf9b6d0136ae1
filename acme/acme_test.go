package acme

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"barid/internal/finding"
	"barid/internal/wholefile"
)

// connect does a handshake with a server of that configuration in memory.
func connect(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go tls.Server(a, server).Handshake()
	c := tls.Client(b, client)
	b.SetDeadline(time.Now().Add(10 * time.Second))
	err := c.Handshake()
	return c.ConnectionState(), err
}

// leaf is what a client that checks nothing is shown.
func leaf(t *testing.T, s *Source) *x509.Certificate {
	t.Helper()
	state, err := connect(t, s.TLSConfig(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	return state.PeerCertificates[0]
}

func open(t *testing.T, cfg Config) *Source {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ids(found []finding.Finding) (out []string) {
	for _, f := range found {
		out = append(out, f.ID)
	}
	return out
}

// issue is what an authority of the test makes: a chain and its key in PEM.
type issue struct {
	names    []string
	from, to time.Time
	rsa      bool
}

var year = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func (i issue) make(t *testing.T) (chain, key []byte) {
	t.Helper()
	rootKey := newKey(t, false)
	rootTmpl := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotBefore: year, NotAfter: year.AddDate(20, 0, 0)}
	rootTmpl.Subject.CommonName = "Authority of a test"
	root := sign(t, rootTmpl, rootTmpl, rootKey, rootKey)
	if i.from.IsZero() {
		i.from, i.to = year.AddDate(0, 0, -10), year.AddDate(0, 0, 80)
	}
	leafKey := newKey(t, i.rsa)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: i.names, NotBefore: i.from, NotAfter: i.to}
	der := sign(t, tmpl, rootTmpl, leafKey, rootKey)
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	chain = append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root})...)
	return chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func newKey(t *testing.T, wantRSA bool) any {
	t.Helper()
	var key any
	var err error
	if wantRSA {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, tmpl, parent *x509.Certificate, key, by any) []byte {
	t.Helper()
	var public any
	switch k := key.(type) {
	case *rsa.PrivateKey:
		public = &k.PublicKey
	case *ecdsa.PrivateKey:
		public = &k.PublicKey
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, public, by)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// put writes a pair the way a renewal tool does and gives a Config for it.
func put(t *testing.T, dir string, i issue) Config {
	t.Helper()
	chain, key := i.make(t)
	cfg := Config{Mode: Files, Names: []string{"relay.test"}, CertFile: filepath.Join(dir, "chain.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	replace(t, cfg.CertFile, chain)
	replace(t, cfg.KeyFile, key)
	return cfg
}

func replace(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := wholefile.Write(path, text); err != nil {
		t.Fatal(err)
	}
}

// A client like the phones' gets a certificate, whatever it says about names
// and protocols.
func TestEveryClientGetsTheCertificate(t *testing.T) {
	everything := []string{"relay.test", "www.relay.test", "mta-sts.relay.test"}
	sources := map[string]*Source{
		"self-signed": open(t, Config{Mode: SelfSigned, Names: []string{"relay.test"}, Dir: t.TempDir()}),
		"ECDSA files": open(t, put(t, t.TempDir(), issue{names: everything})),
		"RSA files":   open(t, put(t, t.TempDir(), issue{names: everything, rsa: true})),
	}
	clients := map[string]*tls.Config{
		"no SNI":       {},
		"SNI":          {ServerName: "relay.test"},
		"unknown SNI":  {ServerName: "elsewhere.test"},
		"unknown ALPN": {NextProtos: []string{"never-heard-of"}},
	}
	for mode, s := range sources {
		for what, client := range clients {
			client = client.Clone()
			client.InsecureSkipVerify = true
			client.CurvePreferences = []tls.CurveID{tls.X25519}
			state, err := connect(t, s.TLSConfig(), client)
			if err != nil {
				t.Errorf("%s, %s: %v", mode, what, err)
				continue
			}
			if err := state.PeerCertificates[0].VerifyHostname("relay.test"); err != nil || state.Version != tls.VersionTLS13 {
				t.Errorf("%s, %s: %v, version %x", mode, what, err, state.Version)
			}
		}
		if _, err := connect(t, s.TLSConfig(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err == nil {
			t.Errorf("%s: TLS 1.2 was taken", mode)
		}
	}
}

func wantIDs(t *testing.T, s *Source, want ...string) {
	t.Helper()
	if got := ids(s.Findings()); !slices.Equal(got, want) {
		t.Errorf("findings %q, want %q", got, want)
	}
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
