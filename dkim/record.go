package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"slices"
	"strings"
)

// The bounds of a key, in bits, and of its record, in octets.
const (
	minRSA    = 1024 // RFC 8301 section 3.2
	maxRSA    = 8192
	maxRecord = 8 << 10
)

// key is a public key as its record tells (RFC 6376 section 3.6.1).
type key struct {
	algorithm string // "rsa" or "ed25519"
	octets    []byte // of the key itself
	public    crypto.PublicKey
	bits      int  // of an RSA key
	testing   bool // t=y
	strict    bool // t=s: i= has the domain itself
}

// readKey reads the text of a TXT record. What is wrong with it is a Reason:
// NoKey for text that is no key at all, so that others at the same name may
// be looked at.
//
// Zone editors leave quotes, tabs and blanks in it; they mean nothing in any
// tag that matters.
func readKey(text string) (*key, error) {
	if len(text) > maxRecord {
		return nil, BadKey
	}
	list, err := parseTags(squeeze(text, blanks+`"`), 0)
	if err != nil || len(list) == 0 || list.has("v") && (list[0].name != "v" || list[0].value != "DKIM1") {
		return nil, NoKey
	}
	p, ok := list.find("p")
	switch {
	case !ok:
		return nil, NoKey
	case p.value == "":
		return nil, Revoked
	case list.has("h") && !slices.Contains(list.list("h"), "sha256"):
		return nil, KeyUse
	case list.has("s") && !slices.Contains(list.list("s"), "*") && !slices.Contains(list.list("s"), "email"):
		return nil, KeyUse
	}
	k := &key{algorithm: strings.ToLower(list.get("k"))}
	for _, flag := range list.list("t") {
		k.testing = k.testing || flag == "y"
		k.strict = k.strict || flag == "s"
	}
	// Some publish it without the padding.
	octets, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(p.value, "="))
	if err != nil {
		return nil, BadKey
	}
	k.octets = octets
	return k, k.measure()
}

// measure tells whether the key is one, and of a size that is safe and is
// checked quickly. RSA keys come as SubjectPublicKeyInfo or as
// RSAPublicKey (RFC 6376 erratum 3017).
func (k *key) measure() error {
	switch k.algorithm {
	case "ed25519":
		if len(k.octets) != ed25519.PublicKeySize {
			return BadKey
		}
		k.public = ed25519.PublicKey(k.octets)
		return nil
	case "", "rsa":
		k.algorithm = "rsa"
	default:
		return KeyUse
	}
	public, err := x509.ParsePKIXPublicKey(k.octets)
	if err != nil {
		if public, err = x509.ParsePKCS1PublicKey(k.octets); err != nil {
			return BadKey
		}
	}
	r, ok := public.(*rsa.PublicKey)
	if !ok {
		return BadKey
	}
	if k.bits = r.N.BitLen(); k.bits < minRSA || k.bits > maxRSA || r.E < 3 {
		return BadKey
	}
	k.public = public
	return nil
}

// admits tells whether a signature may be checked with the key.
func (k *key) admits(s *signature) error {
	switch {
	case k.algorithm != s.algorithm:
		return KeyUse
	case k.testing:
		return Testing
	case k.strict && s.identity != s.domain:
		return Identity
	}
	return nil
}

// text is the record as the library is to read it: what else was in it has
// been judged.
func (k *key) text() string {
	return "v=DKIM1; k=" + k.algorithm + "; p=" + base64.StdEncoding.EncodeToString(k.octets)
}
