package wire

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"log/slog"

	"barid/internal/pseudonym"
)

// KeySize is the length of a Key.
const KeySize = 32

// Key is the ed25519 public key that names an endpoint ("node" in older
// versions). It prints as a pseudonym; Hex gives its text form.
type Key [KeySize]byte

// String gives a name that is good for logs: it says nothing once the process
// is gone.
func (k Key) String() string { return pseudonym.Of(string(k[:])) }

// LogValue gives the same to every log, those that marshal values too.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Hex gives the text form that clients use, 64 lower-case digits.
func (k Key) Hex() string { return hex.EncodeToString(k[:]) }

// KeyOf gives the public half of a private key.
func KeyOf(private ed25519.PrivateKey) Key {
	return Key(private.Public().(ed25519.PublicKey))
}

// ErrSignature is given for a signature that does not fit, by a key that is
// none, or by a key that anybody can sign for.
var ErrSignature = errors.New("signature invalid")

// verify checks a signature strictly. ed25519.Verify takes forged signatures
// by the few points of small order, which no honest key is.
func (k Key) verify(message, signature []byte) error {
	if k.smallOrder() || len(signature) != ed25519.SignatureSize || !ed25519.Verify(k[:], message, signature) {
		return ErrSignature
	}
	return nil
}

// smallOrder tells whether k encodes a point of small order. There are eight
// of them; without the sign they are these seven encodings, of which the last
// two are not canonical.
func (k Key) smallOrder() bool {
	k[31] &= 0x7f
	switch hex.EncodeToString(k[:]) {
	case "0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f":
		return true
	}
	return false
}
