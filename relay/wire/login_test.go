package wire

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
)

// A signature that does not fit lets nobody in, nor does a frame that is cut
// off or stretched.
func TestLoginsAreStrict(t *testing.T) {
	info := AppendClientInfo(nil, private(1))
	var c Challenge
	auth := AppendClientAuth(nil, private(1), c)
	for i := range info {
		if _, err := ParseClientInfo(info[:i]); err == nil {
			t.Errorf("client info of %d octets", i)
		}
		if _, err := ParseClientInfo(flipped(info, i)); err == nil {
			t.Errorf("client info with octet %d changed", i)
		}
	}
	for i := range auth {
		if _, err := ParseClientAuth(auth[:i], c); err == nil {
			t.Errorf("answer of %d octets", i)
		}
		if _, err := ParseClientAuth(flipped(auth, i), c); err == nil {
			t.Errorf("answer with octet %d changed", i)
		}
	}
	if _, err := ParseClientAuth(append(auth, 0), c); err == nil {
		t.Error("an answer with something behind it")
	}
}

func flipped(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

// An answer is good for its challenge alone: nobody can use one that he saw.
func TestAnAnswerFitsOneChallenge(t *testing.T) {
	a, b := Challenge{1}, Challenge{2}
	if _, err := ParseClientAuth(AppendClientAuth(nil, private(1), a), b); !errors.Is(err, ErrSignature) {
		t.Error(err)
	}
}

// Material of another connection is told from a forged signature: with the
// first a challenge may follow.
func TestKeyMaterialFitsOneConnection(t *testing.T) {
	material := bytes.Repeat([]byte{7}, MaterialSize)
	a, err := ParseKeyAuth(KeyAuthValue(private(1), material))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Verify(bytes.Repeat([]byte{8}, MaterialSize)); !errors.Is(err, ErrMaterial) {
		t.Error(err)
	}
	if err := a.Verify(nil); !errors.Is(err, ErrMaterial) {
		t.Error(err)
	}
	a.Key = KeyOf(private(2))
	if err := a.Verify(material); !errors.Is(err, ErrSignature) {
		t.Error(err)
	}
	for _, s := range []string{"", "AAAA", KeyAuthValue(private(1), material)[1:], KeyAuthValue(private(1), material) + "=="} {
		if _, err := ParseKeyAuth(s); !errors.Is(err, ErrLogin) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// Another version of the protocol is told apart from nonsense.
func TestOtherVersionsAreRefused(t *testing.T) {
	for message, want := range map[string]error{"\x02": ErrVersion, "\x83\x01": ErrVersion, "": ErrLogin, "\x80": ErrLogin} {
		p := private(1)
		k := KeyOf(p)
		frame := append(append([]byte{p3ClientInfo}, p3Magic...), k[:]...)
		frame = append(append(frame, ed25519.Sign(p, []byte(message))...), message...)
		if _, err := ParseClientInfo(frame); !errors.Is(err, want) {
			t.Errorf("%x: %v", message, err)
		}
	}
}

// Some points are keys for which anybody can sign; ed25519.Verify takes them,
// we do not.
func TestKeysThatAnybodyCanSignForAreRefused(t *testing.T) {
	identity := Key{1}
	forged := append(bytes.Clone(identity[:]), make([]byte, 32)...) // R the identity, S zero
	if !ed25519.Verify(identity[:], []byte("anything"), forged) {
		t.Fatal("the forgery does not work, so the test shows nothing")
	}
	if err := identity.verify([]byte("anything"), forged); !errors.Is(err, ErrSignature) {
		t.Error(err)
	}
	signed := identity
	signed[31] |= 0x80
	if !signed.smallOrder() || KeyOf(private(1)).smallOrder() {
		t.Error("the sign is no part of the question")
	}
}
