package dkim

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// reread is content that counts how often its end was read.
type reread struct {
	*strings.Reader
	n int
}

func (r *reread) ReadAt(p []byte, at int64) (int, error) {
	n, err := r.Reader.ReadAt(p, at)
	if at < r.Size() && at+int64(n) == r.Size() {
		r.n++
	}
	return n, err
}

// wrongRecords are n records of keys that nobody signs with.
func wrongRecords(n int) (texts []string) {
	for range n {
		_, k, _ := ed25519.GenerateKey(rand.Reader)
		texts = append(texts, Key{"ed1", k}.Record().Text)
	}
	return texts
}

// Many signatures, each with many keys, remembered and new: the body is read
// for some of them only, and nobody is asked any more after that. A signature
// alone may have all its keys.
func TestTheBodyIsReadAFewTimesOnly(t *testing.T) {
	const name = "ed1._domainkey.author.test"
	one := strings.TrimSuffix(forge(plainMail, nil), plainMail)
	right := edKey().Record().Text
	for what, c := range map[string]struct {
		signatures      int
		fresh           []string
		asked, readings int
		want            error
	}{
		"five that do not hold":     {5, wrongRecords(3), 1, 6, ErrInvalid},
		"one, and its last new key": {1, append(wrongRecords(2), right), 1, 6, nil},
		"two with one new key each": {2, wrongRecords(1), 2, 6, ErrInvalid},
	} {
		z := newZone()
		z.age, z.old[name], z.texts[name] = time.Hour, wrongRecords(3), c.fresh
		check := verifier(z).Check()
		mail := strings.Repeat(one, c.signatures) + plainMail
		io.WriteString(check, mail)
		content := &reread{Reader: strings.NewReader(mail)}
		err := check.Verdict(t.Context(), "author.test", content)
		if !errors.Is(err, c.want) || z.asked != c.asked || content.n != c.readings {
			t.Errorf("%s: %v, asked %d times, the body read %d times", what, err, z.asked, content.n)
		}
	}
}
