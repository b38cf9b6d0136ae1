package dkim

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"barid/internal/resolver"
)

// now is when these tests take place: presently, for the library has no other
// clock than that of the machine.
var now = time.Now().Truncate(time.Second)

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
func forge(mail string, change map[string]string) string { return forgeWith(edKey(), mail, change) }

func forgeWith(k Key, mail string, change map[string]string) string {
	head, text, _ := strings.Cut(mail, "\r\n\r\n")
	value := map[string]string{
		"v": "1", "a": k.Algorithm() + "-sha256", "d": "author.test", "s": k.Selector, "c": "relaxed/simple", "h": "from:to:subject:from",
		"t": fmt.Sprint(now.Unix()),
	}
	list := []string{"v", "a", "d", "s", "c", "t", "h", "bh"}
	for name, to := range change {
		if _, ok := value[name]; !ok && name != "bh" {
			list = append(list, name)
		}
		value[name] = to
	}
	headCanon, bodyCanon, _ := strings.Cut(value["c"], "/")
	if _, ok := change["bh"]; !ok {
		sum := sha256.Sum256([]byte(plainBody(bodyCanon, text)))
		value["bh"] = base64.StdEncoding.EncodeToString(sum[:])
	}
	raw := "DKIM-Signature:"
	for _, name := range list {
		if value[name] != "" {
			raw += " " + name + "=" + value[name] + ";"
		}
	}
	raw += "\r\n\tb="
	sum := plainSum(headCanon, strings.Split(value["h"], ":"), head+"\r\n", raw)
	opts := crypto.SignerOpts(noHash)
	if k.Algorithm() == "rsa" {
		opts = crypto.SHA256
	}
	sig, err := k.private.Sign(rand.Reader, sum, opts)
	if err != nil {
		panic(err)
	}
	return raw + base64.StdEncoding.EncodeToString(sig) + "\r\n" + mail
}

// What RFC 6376 section 3.4 says, in few words and with no regard for cost.
var (
	blankRuns  = regexp.MustCompile("[ \t]+")
	blankEnds  = regexp.MustCompile("(?m)[ \t]+(\r\n|\\z)")
	fieldStart = regexp.MustCompile("\r\n([^ \t])")
)

func plainBody(canon, text string) string {
	if canon == "relaxed" {
		text = blankRuns.ReplaceAllString(blankEnds.ReplaceAllString(text, "$1"), " ")
	}
	for strings.HasSuffix(text, "\r\n") {
		text = text[:len(text)-2]
	}
	if text == "" && canon == "relaxed" {
		return ""
	}
	return text + "\r\n"
}

func plainField(canon, raw string) string {
	if canon != "relaxed" {
		return raw
	}
	name, value, _ := strings.Cut(strings.ReplaceAll(raw, "\r\n", ""), ":")
	return strings.ToLower(strings.Trim(name, " \t")) + ":" + strings.Trim(blankRuns.ReplaceAllString(value, " "), " ") + "\r\n"
}

// plainSum hashes what h= names of a header, and own, which has no b=.
func plainSum(canon string, h []string, head, own string) []byte {
	fields := strings.Split(fieldStart.ReplaceAllString(strings.TrimSuffix(head, "\r\n"), "\r\n\x00$1"), "\x00")
	var text string
	for _, name := range h {
		for i, f := range slices.Backward(fields) {
			if have, _, _ := strings.Cut(f, ":"); f != "" && strings.EqualFold(strings.Trim(have, " \t"), strings.TrimSpace(name)) {
				text += plainField(canon, strings.TrimSuffix(f, "\r\n")+"\r\n")
				fields[i] = ""
				break
			}
		}
	}
	sum := sha256.Sum256([]byte(text + strings.TrimSuffix(plainField(canon, own), "\r\n")))
	return sum[:]
}

// verifier makes a Verifier for a zone.
func verifier(z *zone) *Verifier {
	return NewVerifier(VerifierConfig{Keys: z, Now: func() time.Time { return now }})
}

// verdict feeds a mail in pieces of n octets.
func verdict(v *Verifier, mail string, n int) error {
	c := v.Check()
	for rest := []byte(mail); len(rest) > 0; {
		k := min(n, len(rest))
		c.Write(bytes.Clone(rest[:k]))
		rest = rest[k:]
	}
	return c.Verdict(context.Background(), "author.test", strings.NewReader(mail))
}

func signed(t testing.TB, mail string, keys ...Key) string {
	t.Helper()
	s, err := NewSigner(SignerConfig{Domain: "author.test", Keys: keys})
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
