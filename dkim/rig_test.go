package dkim

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"barid/internal/resolver"
)

// now is when these tests take place.
var now = time.Unix(1795600000, 0)

// zone are TXT records, by name.
type zone struct {
	texts map[string][]string
	errs  map[string]error
	age   time.Duration       // of what TXT says
	old   map[string][]string // what TXT says instead, remembered

	asked, fresh int
}

func (z *zone) TXT(ctx context.Context, name string) (resolver.Answer[string], error) {
	z.asked++
	if old, ok := z.old[name]; ok {
		return resolver.Answer[string]{Records: old, Age: z.age}, nil
	}
	a, err := z.say(name)
	a.Age = z.age
	return a, err
}

func (z *zone) FreshTXT(_ context.Context, name string, _ time.Duration) (resolver.Answer[string], error) {
	z.fresh++
	return z.say(name)
}

func (z *zone) say(name string) (resolver.Answer[string], error) {
	if err := z.errs[name]; err != nil {
		return resolver.Answer[string]{}, err
	}
	if z.texts[name] == nil {
		return resolver.Answer[string]{}, resolver.ErrNoName
	}
	return resolver.Answer[string]{Records: z.texts[name]}, nil
}

func newZone(keys ...Key) *zone {
	z := &zone{texts: map[string][]string{}, errs: map[string]error{}, old: map[string][]string{}}
	for _, k := range keys {
		z.texts[k.Record().Name+".author.test"] = []string{k.Record().Text}
	}
	return z
}

// Keys that all tests share: to make one takes long.
var rsaKey = sync.OnceValue(func() Key {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return Key{"rsa1", k}
})

var edKey = sync.OnceValue(func() Key {
	_, k, _ := ed25519.GenerateKey(rand.Reader)
	return Key{"ed1", k}
})

// plainMail is what most tests sign.
const plainMail = "From: Alice <alice@author.test>\r\nTo: bob@relay.test\r\nSubject: [...]\r\n" +
	"Date: Sat, 21 Nov 2026 01:58:47 +0000\r\nMessage-ID: <1@localhost>\r\n\r\nHello,\r\n\r\nthere.\r\n"

// forge signs mail with an Ed25519 key, whatever the tags say: those given
// stand in for the usual ones, and "" leaves one out.
func forge(mail string, change map[string]string) string {
	head, text, _ := strings.Cut(mail, "\r\n\r\n")
	fields, err := splitFields(head+"\r\n", 10000)
	if err != nil {
		panic(err)
	}
	b := body{canon: simple, hash: sha256.New()}
	b.Write([]byte(text))
	value := map[string]string{
		"v": "1", "a": "ed25519-sha256", "d": "author.test", "s": "ed1", "c": "relaxed/simple", "h": "from:to:subject:from",
		"t": fmt.Sprint(now.Unix()), "bh": base64.StdEncoding.EncodeToString(b.end()),
	}
	list := []string{"v", "a", "d", "s", "c", "t", "h", "bh"}
	for name, to := range change {
		if _, ok := value[name]; !ok {
			list = append(list, name)
		}
		value[name] = to
	}
	raw := "DKIM-Signature:"
	for _, name := range list {
		if value[name] != "" {
			raw += " " + name + "=" + value[name] + ";"
		}
	}
	raw += "\r\n\tb="
	var names []string
	for name := range strings.SplitSeq(value["h"], ":") {
		names = append(names, strings.ToLower(strings.TrimSpace(name)))
	}
	c, _, _ := parseCanon(value["c"])
	sum := sha256.Sum256(signingInput(c, names, fields, raw))
	sig, err := edKey().private.Sign(rand.Reader, sum[:], noHash)
	if err != nil {
		panic(err)
	}
	return raw + base64.StdEncoding.EncodeToString(sig) + "\r\n" + mail
}

// verifier makes a Verifier for a zone.
func verifier(z *zone) *Verifier {
	return NewVerifier(VerifierConfig{Keys: z, Now: func() time.Time { return now }})
}

// presently is a Verifier with the clock of the machine, which others use.
func presently(z *zone) *Verifier { return NewVerifier(VerifierConfig{Keys: z}) }

// verdict feeds a mail in pieces of n octets.
func verdict(v *Verifier, mail string, n int) error {
	c := v.Check()
	for rest := []byte(mail); len(rest) > 0; {
		k := min(n, len(rest))
		c.Write(bytes.Clone(rest[:k]))
		rest = rest[k:]
	}
	return c.Verdict(context.Background(), "author.test")
}

func signed(t testing.TB, mail string, keys ...Key) string {
	t.Helper()
	s, err := NewSigner(SignerConfig{Domain: "author.test", Keys: keys, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	g := s.Sign()
	g.Write([]byte(mail))
	fields, err := g.Fields()
	if err != nil {
		t.Fatal(err)
	}
	return string(fields) + mail
}
