// Package pseudonym turns what may not stand in a log, a metric or a status
// page (an address, an IP) into a short name that tells two of them apart
// while the process runs and tells nothing afterwards.
package pseudonym

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
)

// key lives and dies with the process, so names of two runs cannot be
// compared and a list of addresses cannot be tried against an old log.
var key = func() []byte {
	k := make([]byte, 32)
	rand.Read(k) // never fails, see crypto/rand
	return k
}()

var encoding = base32.NewEncoding("abcdefghijkmnpqrstuvwxyz23456789").WithPadding(base32.NoPadding)

// Of gives the name of s: 8 characters of a keyed hash. Equal strings have
// equal names within one process.
func Of(s string) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(s))
	return encoding.EncodeToString(m.Sum(nil)[:5])
}
