package dkim

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"

	other "github.com/emersion/go-msgauth/dkim"
)

// byOther asks another verifier, which keeps its own clock, whether a mail has
// a signature that holds.
func byOther(z *zone, mail string) bool {
	all, err := other.VerifyWithOptions(strings.NewReader(mail), &other.VerifyOptions{
		LookupTXT: func(name string) ([]string, error) {
			if z.texts[name] == nil {
				return nil, errors.New("no such name")
			}
			return z.texts[name], nil
		},
	})
	return err == nil && slices.ContainsFunc(all, func(v *other.Verification) bool { return v.Err == nil })
}

// What is signed here another verifier takes, and the other way round.
func TestAnotherImplementationAgrees(t *testing.T) {
	z := newZone(rsaKey(), edKey())
	for _, mail := range []string{
		plainMail,
		"From: alice@author.test\r\n\r\n",
		"From: alice@author.test\r\n\r\n\r\n\r\n",
		"From: alice@author.test\r\n\r\n \t\r\n\t x  \t y \r\n \r\n\r\n",
		"From: alice@author.test\r\n\r\nno line end",
		"From: alice@author.test\r\n\r\nx \t\r\ny\t\r\n\r\nz\r\n",
		"X:\r\n\t\r\n folded\r\n\t  away \r\nfrom : alice@author.test\r\nTo:\r\n\r\nx\r\n",
		"From: alice@author.test\r\n\r\n..\r\n.x\r\n",
	} {
		for _, k := range []Key{rsaKey(), edKey()} {
			if m := signed(t, mail, k); !byOther(z, m) {
				t.Errorf("another verifier refuses %q", m)
			}
			for _, head := range []other.Canonicalization{"simple", "relaxed"} {
				for _, body := range []other.Canonicalization{"simple", "relaxed"} {
					m := signedByOther(t, mail, k, head, body)
					for _, n := range []int{1, 3, 1 << 20} {
						if err := verdict(presently(z), m, n); err != nil {
							t.Errorf("%s/%s: %v for %q", head, body, err, m)
						}
					}
				}
			}
		}
	}
}

func signedByOther(t testing.TB, mail string, k Key, head, body other.Canonicalization) string {
	t.Helper()
	var out bytes.Buffer
	err := other.Sign(&out, strings.NewReader(mail), &other.SignOptions{
		Domain: "author.test", Selector: k.Selector, Signer: k.private,
		HeaderCanonicalization: head, BodyCanonicalization: body, HeaderKeys: []string{"From", "To", "X", "From", "Subject"},
	})
	if err != nil {
		t.Fatalf("sign %q: %v", mail, err)
	}
	return out.String()
}

// Any header and body: both read it the same way.
func FuzzCanonicalization(f *testing.F) {
	f.Add("From: a\r\nX: \t y\r\n", "a \t b \r\n\r\n", uint8(3))
	f.Add("From: a\r\n", "", uint8(0))
	f.Add("From: a\r\n", " \r\n\t\r\n", uint8(1))
	f.Fuzz(func(t *testing.T, head, body string, at uint8) {
		fields, err := splitFields(head, MaxFields)
		if err != nil || !tidy(head) || !tidy(body) || !strings.HasSuffix(head, "\r\n") {
			return // the dialogue refuses it, or it is no header
		}
		for _, f := range fields {
			if f.name == "dkim-signature" || strings.Trim(f.raw, blanks) != strings.TrimSpace(f.raw) || strings.ContainsAny(f.raw, "\v\f\u0085\u00a0") {
				return // it takes other characters for blanks
			}
		}
		mail := "From: alice@author.test\r\n" + head + "\r\n" + body
		z := newZone(edKey())
		for _, head := range []other.Canonicalization{"simple", "relaxed"} {
			for _, body := range []other.Canonicalization{"simple", "relaxed"} {
				m := signedByOther(t, mail, edKey(), head, body)
				err := verdict(presently(z), m, int(at)+1)
				if have := slices.ContainsFunc(fields, func(f field) bool { return f.name == "from" }); have {
					// It signs two From, of three; that does not cover all.
					continue
				}
				if err != nil && !errors.Is(err, ErrTooBig) {
					t.Fatalf("%s/%s: %v for %q", head, body, err, m)
				}
			}
		}
	})
}

// tidy tells whether all line ends are CRLF.
func tidy(s string) bool {
	s = strings.ReplaceAll(s, "\r\n", "")
	return !strings.ContainsAny(s, "\r\n\x00")
}

// Whatever a field says, reading it ends, and the octets it is checked with
// are bounded.
func FuzzSignature(f *testing.F) {
	mail := forge(plainMail, map[string]string{"i": "x@author.test", "x": "99999999999", "q": "dns/txt"})
	field := mail[:fieldEnd(mail)]
	for _, s := range []string{
		field, "DKIM-Signature:", "DKIM-Signature: v=1; a=;;", "DKIM-Signature: b=b=; b", "DKIM-Signature: v=1;\r\n\tb=\r\n x",
		strings.Replace(field, "h=", "h=:::", 1), strings.Replace(field, "a=ed25519", "a=rsa", 1),
	} {
		f.Add(s)
	}
	fields, _ := splitFields(plainMail[:strings.Index(plainMail, "\r\n\r\n")+2], MaxFields)
	z := newZone(edKey())
	f.Fuzz(func(t *testing.T, raw string) {
		s, err := readSignature(raw)
		if err != nil {
			if s != nil && s.domain == "" {
				t.Fatal("a signature of nobody")
			}
			return
		}
		if len(raw) > maxSignature || len(s.names) > maxNames || s.start > s.end || s.end > len(raw) {
			t.Fatalf("%+v", s)
		}
		sum := sha256.Sum256(s.input(fields))
		if err := tryKeys(s, sum[:], z.texts["ed1._domainkey.author.test"], nil); err == nil && !bytes.Contains([]byte(raw), []byte("ed25519")) {
			t.Fatalf("holds: %q", raw)
		}
	})
}

// Whatever a record says, it is a key of a size that is checked quickly, or
// none.
func FuzzKeyRecord(f *testing.F) {
	f.Add(rsaKey().Record().Text)
	f.Add(edKey().Record().Text)
	f.Add(`"v=DKIM1; k=rsa; p=MIG" "fMA"`)
	f.Add("p=;p=")
	f.Add("v=DKIM1;h=sha256:sha1;s=*:email;t=y:s;k=ed25519;p=")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := readKey(text)
		if err != nil {
			if _, ok := errors.AsType[Reason](err); !ok {
				t.Fatalf("%v is no reason", err)
			}
			return
		}
		if (k.rsa == nil) == (k.ed25519 == nil) || k.rsa != nil && k.rsa.N.BitLen() > maxRSA || k.ed25519 != nil && len(k.ed25519) != 32 {
			t.Fatalf("%+v", k)
		}
	})
}

// Any octets in the place of a header: Check ends, and holds no more than it
// may.
func FuzzHeader(f *testing.F) {
	f.Add(forge(plainMail, nil), uint8(5))
	f.Add("\r\n\r\n", uint8(0))
	f.Add("From:\r\n \r\n\r\n", uint8(1))
	f.Add(strings.Repeat("DKIM-Signature: x\r\n", 300), uint8(200))
	z := newZone(edKey())
	f.Fuzz(func(t *testing.T, mail string, at uint8) {
		c := verifier(z).Check()
		for rest := []byte(mail); len(rest) > 0; {
			n := min(int(at)+1, len(rest))
			c.Write(rest[:n])
			rest = rest[n:]
		}
		if err := c.Verdict(t.Context(), "author.test"); err == nil && !strings.Contains(strings.ToLower(mail), "ed1") {
			t.Fatalf("holds: %q", mail)
		}
		if cap(c.head) > 2*MaxHeader {
			t.Fatalf("%d octets of header kept", cap(c.head))
		}
		whole := verifier(z).Check()
		whole.Write([]byte(mail))
		if a, b := c.Verdict(t.Context(), "author.test"), whole.Verdict(t.Context(), "author.test"); (a == nil) != (b == nil) {
			t.Fatalf("in pieces %v, whole %v", a, b)
		}
	})
}
