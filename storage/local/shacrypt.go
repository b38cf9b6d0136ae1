package local

import (
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"strings"
)

// SHA512-CRYPT with its 5,000 rounds, as crypt(3) has it: what new accounts
// get and nearly all others have. The library computes the same and leaves
// 5,000 pieces of garbage for each; here it costs hardly more than what it is
// made of, some 8,000 blocks of SHA-512, and a login is mostly this.
//
// Source: Ulrich Drepper, "Unix crypt using SHA-256 and SHA-512", 2016.

const (
	// crypt512 stands in front of a hash of 5,000 rounds.
	crypt512 = "$6$"
	// saltSize is what the scheme uses of a salt, at most.
	saltSize = 16
	// cryptSize is a hash of 64 octets in 6 bits each.
	cryptSize = 86
	// cryptAlphabet has the digits of these 6 bits.
	cryptAlphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// newCrypt512 hashes a password with a new salt.
func newCrypt512(password string) string {
	var salt [saltSize]byte
	rand.Read(salt[:]) // never fails, see crypto/rand
	for i := range salt {
		salt[i] = cryptAlphabet[salt[i]&63]
	}
	return crypt512 + string(salt[:]) + "$" + string(cryptDigits(crypt512Sum(password, string(salt[:]))))
}

// verifyCrypt512 tells whether the password belongs to the hash. known is
// false when the hash is not of this scheme in this form.
func verifyCrypt512(hash, password string) (ok, known bool) {
	rest, found := strings.CutPrefix(hash, crypt512)
	if !found || strings.HasPrefix(rest, "rounds=") {
		return false, false
	}
	salt, digits, found := strings.Cut(rest, "$")
	if !found || len(salt) > saltSize || len(digits) != cryptSize {
		return false, false
	}
	return subtle.ConstantTimeCompare(cryptDigits(crypt512Sum(password, salt)), []byte(digits)) == 1, true
}

// crypt512Sum computes the 64 octets; the salt has at most saltSize.
func crypt512Sum(password, salt string) [sha512.Size]byte {
	p, s := []byte(password), []byte(salt)
	sum := cryptStart(p, s)
	d := sha512.New()
	for range p {
		d.Write(p)
	}
	p = stretch(d.Sum(nil), len(p))
	d.Reset()
	for range 16 + int(sum[0]) {
		d.Write(s)
	}
	s = stretch(d.Sum(nil), len(s))

	// The message of a round is one of eight, but for the sum before: they are
	// put together once, and that sum is put at its place.
	var messages [8][]byte
	var places [8][]byte
	for i := range messages {
		odd, third, seventh := i&1 != 0, i&2 != 0, i&4 != 0
		m := make([]byte, 0, sha512.Size+2*len(p)+len(s))
		if odd {
			m = append(m, p...)
		} else {
			m = append(m, sum[:]...)
		}
		if !third {
			m = append(m, s...)
		}
		if !seventh {
			m = append(m, p...)
		}
		if odd {
			places[i] = m[len(m) : len(m)+sha512.Size]
			m = m[:len(m)+sha512.Size]
		} else {
			m = append(m, p...)
			places[i] = m[:sha512.Size]
		}
		messages[i] = m
	}
	for i := range rounds {
		kind := i & 1
		if i%3 == 0 {
			kind |= 2
		}
		if i%7 == 0 {
			kind |= 4
		}
		copy(places[kind], sum[:])
		sum = sha512.Sum512(messages[kind])
	}
	return sum
}

// cryptStart is what goes into the first round.
func cryptStart(p, s []byte) (sum [sha512.Size]byte) {
	d := sha512.New()
	d.Write(p)
	d.Write(s)
	d.Write(p)
	other := d.Sum(nil)
	d.Reset()
	d.Write(p)
	d.Write(s)
	d.Write(stretch(other, len(p)))
	for n := len(p); n > 0; n >>= 1 {
		if n&1 != 0 {
			d.Write(other)
		} else {
			d.Write(p)
		}
	}
	d.Sum(sum[:0])
	return sum
}

// stretch repeats octets until there are n.
func stretch(octets []byte, n int) []byte {
	long := make([]byte, 0, n+len(octets))
	for len(long) < n {
		long = append(long, octets...)
	}
	return long[:n]
}

// cryptDigits writes a sum as the scheme does: three octets from the three
// thirds at a time, each turn beginning in another third.
func cryptDigits(sum [sha512.Size]byte) []byte {
	digits := make([]byte, 0, cryptSize)
	put := func(bits uint, n int) {
		for range n {
			digits = append(digits, cryptAlphabet[bits&63])
			bits >>= 6
		}
	}
	a, b, c := 0, 21, 42
	for range 21 {
		put(uint(sum[a])<<16|uint(sum[b])<<8|uint(sum[c]), 4)
		a, b, c = b+1, c+1, a+1
	}
	put(uint(sum[63]), 2)
	return digits
}
