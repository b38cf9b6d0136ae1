package wire

import (
	"crypto/ed25519"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
)

// p3Magic begins the first frame of a P3 client.
const p3Magic = "RELAY\U0001f511"

// p3Version is the one version of P3, as the client signs it: a message that
// is nothing but that number.
const p3Version = 3

// Errors of logins, beside ErrSignature. They wrap nothing and name no key.
var (
	ErrLogin   = errors.New("no login")
	ErrVersion = errors.New("not protocol version 3")
)

// ParseClientInfo reads the first frame of a P3 client, its type and its
// payload, and checks its signature. There is no challenge in P3: whoever saw
// the frame can send it again, to any relay.
//
// Errors: ErrLogin for another frame, ErrSignature, ErrVersion.
func ParseClientInfo(frame []byte) (Key, error) {
	const head = 1 + len(p3Magic)
	if len(frame) < head+KeySize+ed25519.SignatureSize || frame[0] != p3ClientInfo || string(frame[1:head]) != p3Magic {
		return Key{}, ErrLogin
	}
	k := Key(frame[head:])
	signature := frame[head+KeySize:]
	message := signature[ed25519.SignatureSize:]
	if err := k.verify(message, signature[:ed25519.SignatureSize]); err != nil {
		return Key{}, err
	}
	if version, n := binary.Uvarint(message); n <= 0 {
		return Key{}, ErrLogin
	} else if version != p3Version {
		return Key{}, ErrVersion
	}
	return k, nil
}

// AppendClientInfo writes the first frame of a P3 client.
func AppendClientInfo(b []byte, private ed25519.PrivateKey) []byte {
	k := KeyOf(private)
	b = append(append(b, p3ClientInfo), p3Magic...)
	b = append(b, k[:]...)
	b = append(b, ed25519.Sign(private, []byte{p3Version})...)
	return append(b, p3Version)
}

// AppendClientInfoStream writes the same on a stream.
func AppendClientInfoStream(b []byte, private ed25519.PrivateKey) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	b = AppendClientInfo(b, private)
	length := len(b) - at - streamHead
	b[at] = p3ClientInfo
	binary.BigEndian.PutUint32(b[at+1:], uint32(length))
	return b
}

// Challenge is what a client of V1 or V2 must sign; it is random.
type Challenge [16]byte

// AppendChallenge writes the first frame of the relay.
func AppendChallenge(b []byte, c Challenge) []byte {
	return append(append(b, v1Challenge), c[:]...)
}

// ParseChallenge reads it.
func ParseChallenge(b []byte) (Challenge, error) {
	number, p, ok := message(b)
	if !ok || number != v1Challenge || len(p) != len(Challenge{}) {
		return Challenge{}, ErrLogin
	}
	return Challenge(p), nil
}

// signatureSize stands before a signature, as its serialization demands.
const signatureSize = ed25519.SignatureSize

// ParseClientAuth reads the answer to a challenge and checks its signature.
//
// Errors: ErrLogin for another frame, ErrSignature.
func ParseClientAuth(b []byte, c Challenge) (Key, error) {
	number, p, ok := message(b)
	if !ok || number != v1ClientAuth || len(p) != KeySize+1+signatureSize || p[KeySize] != signatureSize {
		return Key{}, ErrLogin
	}
	k := Key(p)
	digest := challengeDigest(c)
	return k, k.verify(digest[:], p[KeySize+1:])
}

// AppendClientAuth writes it.
func AppendClientAuth(b []byte, private ed25519.PrivateKey, c Challenge) []byte {
	k, digest := KeyOf(private), challengeDigest(c)
	b = append(append(b, v1ClientAuth), k[:]...)
	return append(append(b, signatureSize), ed25519.Sign(private, digest[:])...)
}

// AppendConfirms writes that a client of V1 or V2 is logged in.
func AppendConfirms(b []byte) []byte { return append(b, v1Confirms) }

// AppendDenies writes that it is not, and why.
func AppendDenies(b []byte, reason string) []byte {
	b = binary.AppendUvarint(append(b, v1Denies), uint64(len(reason)))
	return append(b, reason...)
}

// ParseVerdict reads either: an error that has the reason in it when the
// client was denied, ErrLogin for another frame.
func ParseVerdict(b []byte) error {
	number, p, ok := message(b)
	switch {
	case ok && number == v1Confirms && len(p) == 0:
		return nil
	case ok && number == v1Denies:
		if length, n := binary.Uvarint(p); n > 0 && length == uint64(len(p)-n) {
			return fmt.Errorf("denied: %q", p[n:])
		}
	}
	return ErrLogin
}

// The login that needs no challenge, because both sides of a TLS connection
// can derive one from it (RFC 5705, RFC 8446 section 7.5).
const (
	// AuthHeader carries it in the request.
	AuthHeader = "X-Iroh-Relay-Client-Auth-V1"
	// ExporterLabel is what the material is exported under, with the client's
	// key as context.
	ExporterLabel = "iroh-relay handshake v1"
	// MaterialSize is how much is exported, in octets: what is signed, and what
	// tells whether both sides have the same.
	MaterialSize = 32

	signedMaterial = 16
)

// ErrMaterial is given when both sides derived something else: somebody
// between them ends TLS. A challenge still works then.
var ErrMaterial = errors.New("key material of another TLS connection")

// KeyAuth is a login by key material, not yet checked.
type KeyAuth struct {
	Key       Key
	signature [signatureSize]byte
	suffix    [MaterialSize - signedMaterial]byte
}

// ParseKeyAuth reads the value of AuthHeader; ErrLogin when it is none.
func ParseKeyAuth(value string) (KeyAuth, error) {
	var a KeyAuth
	const length = KeySize + 1 + signatureSize + len(a.suffix)
	if len(value) != base64.RawURLEncoding.EncodedLen(length) {
		return a, ErrLogin
	}
	b, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil || len(b) != length || b[KeySize] != signatureSize {
		return a, ErrLogin
	}
	a.Key = Key(b)
	copy(a.signature[:], b[KeySize+1:])
	copy(a.suffix[:], b[KeySize+1+signatureSize:])
	return a, nil
}

// Verify checks a login against the material that we exported.
//
// Errors: ErrMaterial, ErrSignature.
func (a KeyAuth) Verify(material []byte) error {
	if len(material) != MaterialSize || subtle.ConstantTimeCompare(material[signedMaterial:], a.suffix[:]) != 1 {
		return ErrMaterial
	}
	return a.Key.verify(material[:signedMaterial], a.signature[:])
}

// KeyAuthValue gives the value of AuthHeader for the material of a connection.
func KeyAuthValue(private ed25519.PrivateKey, material []byte) string {
	k := KeyOf(private)
	b := append(append(k[:], signatureSize), ed25519.Sign(private, material[:signedMaterial])...)
	return base64.RawURLEncoding.EncodeToString(append(b, material[signedMaterial:]...))
}
