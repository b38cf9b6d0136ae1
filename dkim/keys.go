package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"barid/internal/wholefile"
)

// rsaBits is what a key of ours has: every verifier takes 2048, and their
// record still fits where longer ones do not.
const rsaBits = 2048

// maxKeyFile bounds a key file, in octets.
const maxKeyFile = 64 << 10

// Key is a private key and the selector under which its public half is
// published. Printed, it shows the selector only.
type Key struct {
	Selector string
	private  crypto.Signer // *rsa.PrivateKey or ed25519.PrivateKey
}

func (k Key) String() string   { return k.Selector }
func (k Key) GoString() string { return k.Selector }

// Algorithm is "rsa" or "ed25519", as k= says it.
func (k Key) Algorithm() string {
	if _, ok := k.private.(ed25519.PrivateKey); ok {
		return "ed25519"
	}
	return "rsa"
}

// Record is a TXT record to publish: its owner name is relative to the
// domain.
type Record struct{ Name, Text string }

// Record gives what must be published for the key: for mail only, for the
// domain itself only (RFC 6376 section 3.6.1).
func (k Key) Record() Record {
	var octets []byte
	switch public := k.private.Public().(type) {
	case ed25519.PublicKey:
		octets = public
	case *rsa.PublicKey:
		octets, _ = x509.MarshalPKIXPublicKey(public) // an RSA key always can
	}
	return Record{
		Name: k.Selector + "._domainkey",
		Text: "v=DKIM1;k=" + k.Algorithm() + ";p=" + base64.StdEncoding.EncodeToString(octets) + ";s=email;t=s",
	}
}

// Line gives the record as a line of a zone file, its text in strings of at
// most 255 octets (RFC 1035 section 3.3.14).
func (r Record) Line(domain string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.%s. 3600 IN TXT", r.Name, domain)
	for text := range slices.Chunk([]byte(r.Text), 255) {
		fmt.Fprintf(&b, " %q", text)
	}
	return b.String()
}

// keyFile is the name of a file of OpenKeys: the selector, which has the day
// on which the key was made.
var keyFile = regexp.MustCompile(`^(rsa|ed)[0-9]{8}[a-z0-9-]{0,20}\.pem$`)

// OpenKeys gives the keys of a directory that sign: of each algorithm the one
// whose selector is last. Where there is none it makes one, dated now; it is
// on the disk before anybody sees it. A file that cannot be read is an error
// and never a reason for another key.
//
//	dir/rsa20261125.pem   PKCS#8, for selector rsa20261125
//	dir/ed20261125.pem
func OpenKeys(dir string, now time.Time) ([]Key, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("directory of DKIM keys: %w", err)
	}
	last, err := newest(dir)
	if err != nil {
		return nil, err
	}
	var keys []Key
	for _, kind := range []string{"rsa", "ed"} {
		selector := strings.TrimSuffix(last[kind], ".pem")
		if selector == "" {
			selector = kind + now.UTC().Format("20060102")
			if err := makeKey(kind, filepath.Join(dir, selector+".pem")); err != nil {
				return nil, fmt.Errorf("make DKIM key %s: %w", selector, err)
			}
		}
		k, err := ReadKey(filepath.Join(dir, selector+".pem"), selector)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// FindKeys gives the keys that OpenKeys would, and makes none: an algorithm
// without a key is left out, and a directory that is not there has none.
func FindKeys(dir string) (keys []Key, err error) {
	last, err := newest(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, kind := range []string{"rsa", "ed"} {
		if last[kind] == "" {
			continue
		}
		k, err := ReadKey(filepath.Join(dir, last[kind]), strings.TrimSuffix(last[kind], ".pem"))
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// newest gives the file of each kind of key whose selector is last.
func newest(dir string) (map[string]string, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("directory of DKIM keys: %w", err)
	}
	last := map[string]string{}
	for _, n := range names {
		if m := keyFile.FindStringSubmatch(n.Name()); m != nil {
			last[m[1]] = max(last[m[1]], n.Name())
		}
	}
	return last, nil
}

// ReadKey reads a PEM file: PKCS#8, or the PKCS#1 of older signers.
func ReadKey(path, selector string) (Key, error) {
	bad := func(err error) (Key, error) { return Key{}, fmt.Errorf("DKIM key %s: %w", path, err) }
	f, err := os.Open(path)
	if err != nil {
		return bad(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return bad(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return bad(errors.New("no PEM block"))
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if private, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			return bad(errors.New("neither PKCS#8 nor PKCS#1"))
		}
	}
	switch p := private.(type) {
	case ed25519.PrivateKey:
		return Key{selector, p}, nil
	case *rsa.PrivateKey:
		if p.N.BitLen() < minRSA || p.N.BitLen() > maxRSA {
			return bad(fmt.Errorf("RSA of %d bits, not %d to %d", p.N.BitLen(), minRSA, maxRSA))
		}
		return Key{selector, p}, nil
	}
	return bad(errors.New("neither RSA nor Ed25519"))
}

// Adopt puts a key that is published already in the place of the one of the
// same algorithm.
func Adopt(keys []Key, adopted Key) []Key {
	keys = slices.DeleteFunc(slices.Clone(keys), func(k Key) bool { return k.Algorithm() == adopted.Algorithm() })
	return append([]Key{adopted}, keys...)
}

// makeKey makes a key file.
func makeKey(kind, path string) error {
	var private crypto.Signer
	var err error
	if kind == "rsa" {
		private, err = rsa.GenerateKey(rand.Reader, rsaBits)
	} else {
		_, private, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	return wholefile.Write(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
