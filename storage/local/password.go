package local

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/go-crypt/crypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"

	"barid/smtp"
	"barid/storage"
)

// scheme stands in front of the hashes we write, as the reference has it.
const scheme = "{SHA512-CRYPT}"

// rounds of SHA512-CRYPT: what crypt(3) and the reference take, 2 ms.
const rounds = 5000

// maxPassword bounds the octets of a password: the cost of SHA-crypt grows
// with its length.
const maxPassword = 1024

// maxHash bounds what is read of a password file.
const maxHash = 1024

// hashPassword makes the content of a password file.
func hashPassword(p storage.Password, rounds int) (string, error) {
	h, err := shacrypt.New(shacrypt.WithSHA512(), shacrypt.WithRounds(rounds))
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	d, err := h.Hash(p.Wire())
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	return scheme + d.Encode(), nil
}

// schemes reads hashes. It is ours because the one that the library makes at
// first use is made without a lock.
var schemes = func() *crypt.Decoder {
	d, err := crypt.NewDefaultDecoder()
	if err != nil {
		panic("local: a decoder of hashes: " + err.Error()) // cannot happen: registers constants
	}
	return d
}()

// verifyPassword tells whether p belongs to the hash: SHA-crypt, bcrypt,
// argon2, scrypt or PBKDF2, with or without a Dovecot scheme in front. What
// is no hash belongs to no password: that is how an operator blocks an
// account.
func verifyPassword(hash string, p storage.Password) bool {
	if strings.HasPrefix(hash, "{") {
		end := strings.IndexByte(hash, '}')
		if end < 0 {
			return false
		}
		hash = hash[end+1:]
	}
	if !strings.HasPrefix(hash, "$") {
		return false
	}
	digest, err := schemes.Decode(hash)
	if err != nil {
		return false
	}
	ok, err := digest.MatchAdvanced(p.Wire())
	return err == nil && ok
}

// gate bounds how many hashes are computed at once. Those that wait go in
// the order they came.
type gate chan struct{}

func (g gate) enter(ctx context.Context) error {
	select {
	case g <- struct{}{}: // waiting senders of a channel are served in order
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g gate) leave() { <-g }

// passwordCache remembers which passwords were found right, under a key
// that dies with the process, so that a repeated login costs no hash.
type passwordCache struct {
	key [32]byte

	mu       sync.Mutex // guards the fields below
	young    map[[16]byte]struct{}
	old      map[[16]byte]struct{}
	capacity int
}

func newPasswordCache(capacity int) *passwordCache {
	c := &passwordCache{young: map[[16]byte]struct{}{}, capacity: capacity}
	rand.Read(c.key[:]) // never fails, see crypto/rand
	return c
}

// tag names the three. The hash is part of it, so a changed password file
// ends what was remembered.
func (c *passwordCache) tag(a smtp.Address, p storage.Password, hash string) (tag [16]byte) {
	m := hmac.New(sha256.New, c.key[:])
	fmt.Fprintf(m, "%d %d %d ", len(a.LocalPart), len(p), len(hash))
	m.Write([]byte(a.LocalPart + string(p) + hash))
	copy(tag[:], m.Sum(nil))
	return tag
}

func (c *passwordCache) has(tag [16]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.young[tag]; ok {
		return true
	}
	_, ok := c.old[tag]
	if ok {
		c.keep(tag)
	}
	return ok
}

func (c *passwordCache) put(tag [16]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(tag)
}

// keep is put under the lock. When the young half is full it becomes the old
// one: what was not asked for during a whole generation goes.
func (c *passwordCache) keep(tag [16]byte) {
	if len(c.young) >= c.capacity/2 {
		c.old, c.young = c.young, make(map[[16]byte]struct{})
	}
	c.young[tag] = struct{}{}
}

// check tells whether p belongs to hash, from memory when it can.
func (s *Store) check(ctx context.Context, a smtp.Address, p storage.Password, hash string) (bool, error) {
	tag := s.passwords.tag(a, p, hash)
	if s.passwords.has(tag) {
		return true, nil
	}
	if err := s.hashing.enter(ctx); err != nil {
		return false, err
	}
	defer s.hashing.leave()
	if s.passwords.has(tag) { // another login was faster
		return true, nil
	}
	if !verifyPassword(hash, p) {
		return false, nil
	}
	s.passwords.put(tag)
	return true, nil
}

// hash computes the content of a password file and remembers that it fits.
func (s *Store) hash(ctx context.Context, a smtp.Address, p storage.Password) (string, error) {
	if err := s.hashing.enter(ctx); err != nil {
		return "", err
	}
	defer s.hashing.leave()
	hash, err := hashPassword(p, s.cfg.rounds)
	if err == nil {
		s.passwords.put(s.passwords.tag(a, p, hash))
	}
	return hash, err
}

// errBadPassword refuses passwords that no account can have.
var errBadPassword = errors.New("password too short or too long")
