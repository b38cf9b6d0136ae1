package dkim

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// holdsPlainly checks the first signature of a mail as the RFC says it, with
// the key that made it.
func holdsPlainly(mail string, k Key) bool {
	own := mail[:fieldEnd(mail)]
	list, err := parseTags(own, strings.IndexByte(own, ':')+1)
	if err != nil {
		return false
	}
	head, text, _ := strings.Cut(mail, "\r\n\r\n")
	canonHead, canonBody, _ := strings.Cut(list.get("c"), "/")
	bodySum := crypto.SHA256.New()
	bodySum.Write([]byte(plainBody(canonBody, text)))
	b, _ := list.find("b")
	sum := plainSum(canonHead, list.list("h"), head+"\r\n", own[:b.start]+own[b.end:])
	sig, _ := list.octets("b")
	holds := false
	switch public := k.private.Public().(type) {
	case ed25519.PublicKey:
		holds = ed25519.Verify(public, sum, sig)
	case *rsa.PublicKey:
		holds = rsa.VerifyPKCS1v15(public, crypto.SHA256, sum, sig) == nil
	}
	return holds && list.get("bh") == base64.StdEncoding.EncodeToString(bodySum.Sum(nil))
}

// What is signed here holds by the letter of the RFC, and what is signed by
// its letter holds here.
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
			if m := signed(t, mail, k); !holdsPlainly(m, k) {
				t.Errorf("does not hold by the letter: %q", m)
			}
			for _, c := range []string{"simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"} {
				m := forgeWith(k, mail, map[string]string{"c": c, "h": "From:To:X:From:Subject"})
				agree(t, m, k)
				for _, n := range []int{1, 3, 1 << 20} {
					if err := verdict(verifier(z), m, n); err != nil {
						t.Errorf("%s: %v for %q", c, err, m)
					}
				}
			}
		}
	}
}

// agree asks the library and holdsLate about each signature of a mail whose
// body is right and whose time has not passed.
func agree(t testing.TB, mail string, k Key) {
	t.Helper()
	c := verifier(newZone()).Check()
	io.WriteString(c, mail)
	record, err := readKey(k.Record().Text)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.signatures {
		if s.err != nil || c.empty.over || !s.covers(c.fields) || record.admits(s.signature) != nil ||
			!s.expires.IsZero() && s.expires.Before(now.Add(time.Hour)) || !bytes.Equal(c.bodies[s.body].end(), s.bodyHash) {
			continue
		}
		header := s.reduced(c.fields)
		text := strings.NewReader(mail[int64(len(mail))-c.size:])
		library := verify(s.signature, s.selector+"._domainkey."+s.domain, record, header, text)
		if late := holdsLate(s.signature, record, header); late != (library == nil) {
			t.Fatalf("by the library %v, if it came late %t: %q", library, late, mail)
		}
	}
}

// changed is a mail with one octet of its header another one.
func changed(mail string, at int) string {
	b := []byte(mail)
	at %= strings.Index(mail, "\r\n\r\n")
	b[at] ^= 0x20
	return string(b)
}

// What differs in the header counts late as it does in time: the letter case of
// a name, a blank, which of several fields, and any octet at all.
func TestLateAndInTimeAreJudgedAlike(t *testing.T) {
	const fields = "X: one\r\nx:  two\r\n\t2 \r\nX\t: \r\n \r\nDKIM-Signature: z\r\n"
	for _, k := range []Key{rsaKey(), edKey()} {
		for _, c := range []string{"simple/simple", "relaxed/relaxed"} {
			for _, h := range []string{"from:from", "x:from:x:to:nothing:X:x", "to:x:from:subject:dkim-signature"} {
				m := forgeWith(k, fields+plainMail, map[string]string{"c": c, "h": h})
				agree(t, m, k)
				step := 1
				if k.Algorithm() == "rsa" { // costs ten times as much, and the header is read the same way
					step = 11
				}
				for at := 0; at < strings.Index(m, "\r\n\r\n"); at += step {
					agree(t, changed(m, at), k)
				}
				for _, edit := range []*strings.Replacer{
					strings.NewReplacer("X: one\r\n", ""), strings.NewReplacer("x:  two", "x: two"), strings.NewReplacer("x:  two", "X:  two"),
					strings.NewReplacer("\r\n\t2", " 2"), strings.NewReplacer("X\t:", "X:"), strings.NewReplacer("Subject: ", "Subject:"),
					strings.NewReplacer("To: bob", "X: three\r\nTo: bob"), strings.NewReplacer("From: Alice", "From:  Alice"),
				} {
					agree(t, edit.Replace(m), k)
				}
			}
		}
	}
}

// Any header and body: the library, what stands in front of it, and the
// letter of the RFC read them the same way.
func FuzzCanonicalization(f *testing.F) {
	f.Add("From: a\r\nX: \t y\r\n", "a \t b \r\n\r\n", uint8(3))
	f.Add("From: a\r\n", "", uint8(0))
	f.Add("From: a\r\n", " \r\n\t\r\n", uint8(1))
	f.Fuzz(func(t *testing.T, head, body string, at uint8) {
		fields, err := splitFields(head, MaxFields)
		if err != nil || !tidy(head) || !tidy(body) || !strings.HasSuffix(head, "\r\n") {
			return // the dialogue refuses it, or it is no header
		}
		h := "from:x:from:x:to"
		for _, f := range fields {
			if f.name == "dkim-signature" {
				return
			}
			if f.name == "from" {
				h += ":from"
			}
		}
		mail := "From: alice@author.test\r\n" + head + "\r\n" + body
		z := newZone(edKey())
		for _, c := range []string{"simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"} {
			m := forge(mail, map[string]string{"c": c, "h": h})
			agree(t, m, edKey())
			agree(t, changed(m, int(at)), edKey())
			if err := verdict(verifier(z), m, int(at)+1); err != nil && !errors.Is(err, ErrTooBig) && !errors.Is(err, EmptyLines) && !errors.Is(err, TooBig) {
				t.Fatalf("%s: %v for %q", c, err, m)
			}
		}
		s, err := NewSigner(SignerConfig{Domain: "author.test", Keys: []Key{edKey()}})
		if err != nil {
			t.Fatal(err)
		}
		g := s.Sign()
		g.Write([]byte(mail))
		own, err := g.Fields()
		if err != nil {
			if !errors.Is(err, ErrTooBig) && !errors.Is(err, EmptyLines) {
				t.Fatal(err)
			}
			return
		}
		if m := string(own) + mail; !holdsPlainly(m, edKey()) {
			t.Fatalf("does not hold by the letter: %q", m)
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
	z := newZone(edKey())
	f.Fuzz(func(t *testing.T, raw string) {
		s, err := readSignature(raw)
		if err != nil && s != nil && s.domain == "" {
			t.Fatal("a signature of nobody")
		}
		if err == nil && (len(raw) > maxSignature || len(s.names) > maxNames) {
			t.Fatalf("%+v", s)
		}
		agree(t, raw+plainMail, edKey())
		if err := verdict(verifier(z), raw+plainMail, 1<<20); err == nil && !strings.Contains(raw, "ed25519") {
			t.Fatalf("holds: %q", raw)
		} else if errors.Is(err, ErrContent) {
			t.Fatal(err)
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
		if (k.algorithm == "rsa") != (k.bits >= minRSA) || k.bits > maxRSA || k.algorithm == "ed25519" && len(k.octets) != 32 {
			t.Fatalf("%+v", k)
		}
		if again, err := readKey(k.text()); err != nil || again.algorithm != k.algorithm || again.bits != k.bits {
			t.Fatalf("%q is read as %+v, %v", k.text(), again, err)
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
		if err := c.Verdict(t.Context(), "author.test", strings.NewReader(mail)); err == nil && !strings.Contains(strings.ToLower(mail), "ed1") {
			t.Fatalf("holds: %q", mail)
		}
		if cap(c.head) > 2*MaxHeader {
			t.Fatalf("%d octets of header kept", cap(c.head))
		}
		whole := verifier(z).Check()
		whole.Write([]byte(mail))
		if a, b := c.Verdict(t.Context(), "author.test", strings.NewReader(mail)), whole.Verdict(t.Context(), "author.test", strings.NewReader(mail)); (a == nil) != (b == nil) {
			t.Fatalf("in pieces %v, whole %v", a, b)
		}
	})
}
