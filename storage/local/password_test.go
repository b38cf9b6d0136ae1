package local

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"

	"barid/storage"
)

// Hashes of other schemes are read, with and without Dovecot's names for them.
func TestHashesOfOtherSchemes(t *testing.T) {
	const right, wrong = "a long password", "a wrong password"
	bc, err := bcrypt.New(bcrypt.WithIterations(10))
	if err != nil {
		t.Fatal(err)
	}
	a2, err := argon2.New(argon2.WithVariantID(), argon2.WithT(1), argon2.WithM(64), argon2.WithP(1))
	if err != nil {
		t.Fatal(err)
	}
	sha256, err := shacrypt.New(shacrypt.WithSHA256(), shacrypt.WithRounds(1000))
	if err != nil {
		t.Fatal(err)
	}
	for scheme, h := range map[string]algorithm.Hash{"{BLF-CRYPT}": bc, "{ARGON2ID}": a2, "{SHA256-CRYPT}": sha256, "{CRYPT}": sha256} {
		d, err := h.Hash(right)
		if err != nil {
			t.Fatal(err)
		}
		for _, hash := range []string{d.Encode(), scheme + d.Encode()} {
			if !verifyPassword(hash, right) {
				t.Errorf("%s refuses the right password", hash)
			}
			if verifyPassword(hash, wrong) {
				t.Errorf("%s takes a wrong password", hash)
			}
		}
	}
	// Made by crypt(3).
	const known = "{SHA512-CRYPT}$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
	if !verifyPassword(known, "Hello world!") || verifyPassword(known, "Hello world") {
		t.Error("a hash made by crypt(3) is read otherwise")
	}
}

func TestHashCostsWhatTheReferencesDoes(t *testing.T) {
	hash := hashOf(t, "a long password")
	if want := "{SHA512-CRYPT}$6$"; hash[:len(want)] != want || len(hash) > maxHash {
		t.Errorf("hash %q", hash)
	}
	if !verifyPassword(hash, "a long password") {
		t.Error("own hash does not fit")
	}
}

// The cache forgets, but never what is asked for again and again.
func TestPasswordCacheIsBounded(t *testing.T) {
	c := newPasswordCache(100)
	often := c.tag(at("alice"), "p", "hash")
	c.put(often)
	for i := range 1000 {
		c.put(c.tag(at("alice"), storage.Password(time.Duration(i).String()), "hash"))
		if !c.has(often) {
			t.Fatalf("forgotten after %d others", i)
		}
	}
	if n := len(c.young) + len(c.old); n > 100 {
		t.Errorf("%d entries", n)
	}
	for _, other := range [][16]byte{
		c.tag(at("alice"), "p", "other"), c.tag(at("bob"), "p", "hash"), c.tag(at("alice"), "q", "hash"),
		c.tag(at("alicep"), "", "hash"), newPasswordCache(1).tag(at("alice"), "p", "hash"),
	} {
		if other == often {
			t.Error("two things have one tag")
		}
	}
}

// Who waits for a hash too long goes.
func TestGateLetsGo(t *testing.T) {
	g := make(gate, 1)
	if err := g.enter(ctx); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := g.enter(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("enter: %v", err)
	}
	g.leave()
	if err := g.enter(ctx); err != nil {
		t.Error(err)
	}
}

// Hashes are checked side by side, from the first one on.
func TestVerifyPasswordByManyAtOnce(t *testing.T) {
	hash, err := hashPassword("a long password", rounds)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if !verifyPassword(hash, "a long password") {
				t.Error("refused")
			}
		})
	}
	all.Wait()
}

// hashed is the content of a password file.
func hashed(p storage.Password) string {
	h, err := hashPassword(p, rounds)
	if err != nil {
		panic("local: a hash for a test: " + err.Error())
	}
	return h
}
