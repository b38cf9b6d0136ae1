package dkim

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestTheSignatureField(t *testing.T) {
	mail := signed(t, plainMail, rsaKey(), edKey())
	fields := strings.TrimSuffix(mail, plainMail)
	for _, want := range []string{
		"a=rsa-sha256;", "s=rsa1;", "a=ed25519-sha256;", "s=ed1;", "c=relaxed/simple;", "d=author.test;", fmt.Sprintf(" t=%d", now.Unix()/1000),
		"h=from: from: reply-to:subject: subject:date: date:to: to: cc:",
	} {
		if !strings.Contains(strings.Join(strings.Fields(fields), " "), want) {
			t.Errorf("no %q in\n%s", want, fields)
		}
	}
	if strings.Contains(fields, "l=") || strings.Contains(fields, "x=") {
		t.Error("a length or an end")
	}
	for line := range strings.SplitSeq(fields, "\r\n") {
		if len(line) > 78 || strings.Contains(line, "\n") {
			t.Errorf("line of %d: %s", len(line), line)
		}
	}
}

func TestWhatCannotBeSigned(t *testing.T) {
	s, err := NewSigner(SignerConfig{Domain: "author.test", Keys: []Key{edKey()}})
	if err != nil {
		t.Fatal(err)
	}
	for head, want := range map[string]error{
		"no field\r\n\r\n": ErrMalformed,
		"X: " + strings.Repeat("y", maxOwnHeader) + "\r\n\r\n": ErrTooBig,
		"X: " + strings.Repeat("y", maxOwnHeader) + "\r\n":     ErrTooBig,
		strings.Repeat("To: x\r\n", maxAlike+1) + "\r\n":       ErrTooBig,
		"From: x\r\n\r\n" + strings.Repeat("\r\n", 9000):       EmptyLines,
		"From: x\nTo: y\r\n\r\n":                               ErrMalformed,
	} {
		g := s.Sign()
		g.Write([]byte(head))
		if _, err := g.Fields(); !errors.Is(err, want) {
			t.Errorf("%v, not %v", err, want)
		}
	}
	if _, err := NewSigner(SignerConfig{Domain: "author.test"}); err == nil {
		t.Error("signs without a key")
	}
}

// A Signing that nobody asks for its fields is closed, and nothing runs any
// more; one that was asked needs no Close.
func TestSigningsLeaveNothingBehind(t *testing.T) {
	defer goleak.VerifyNone(t)
	s, err := NewSigner(SignerConfig{Domain: "author.test", Keys: []Key{edKey(), edKey()}})
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(plainMail) {
		g := s.Sign()
		g.Write([]byte(plainMail[:n]))
		if err := g.Close(); err != nil {
			t.Errorf("closed after %d octets: %v", n, err)
		}
	}
	g := s.Sign()
	g.Write([]byte("From: x\r\n\r\n" + strings.Repeat("\r\n", 9000)))
	if _, err := g.Fields(); !errors.Is(err, EmptyLines) || !errors.Is(g.Close(), EmptyLines) {
		t.Error(err)
	}
	signed(t, plainMail, rsaKey(), edKey())
}

func TestKeysAreMadeOnceAndKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dkim")
	day := time.Date(2026, 11, 25, 23, 0, 0, 0, time.UTC)
	first, err := OpenKeys(dir, day)
	if err != nil {
		t.Fatal(err)
	}
	if len(first) != 2 || first[0].Selector != "rsa20261125" || first[1].Selector != "ed20261125" {
		t.Fatalf("%v", first)
	}
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
	}
	again, err := OpenKeys(dir, day.AddDate(1, 0, 0))
	if err != nil || len(again) != 2 || again[0].Record() != first[0].Record() || again[1].Record() != first[1].Record() {
		t.Fatalf("%v, %v", again, err)
	}
	// A later one takes over.
	if err := makeKey("ed", filepath.Join(dir, "ed20270101.pem")); err != nil {
		t.Fatal(err)
	}
	if later, err := OpenKeys(dir, day); err != nil || later[1].Selector != "ed20270101" {
		t.Errorf("%v, %v", later, err)
	}
	// A file that cannot be read is no reason for a new key.
	if err := os.WriteFile(filepath.Join(dir, "rsa20280101.pem"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeys(dir, day); err == nil || !strings.Contains(err.Error(), "rsa20280101.pem") {
		t.Errorf("%v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".new*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// The key of an older signer, in PKCS#1, signs in the place of ours.
func TestAKeyIsAdopted(t *testing.T) {
	der := x509.MarshalPKCS1PrivateKey(rsaKey().private.(*rsa.PrivateKey))
	file := filepath.Join(t.TempDir(), "opendkim.private")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := ReadKey(file, "opendkim")
	if err != nil {
		t.Fatal(err)
	}
	keys := Adopt([]Key{rsaKey(), edKey()}, k)
	if len(keys) != 2 || keys[0].Selector != "opendkim" || keys[1].Selector != "ed1" {
		t.Fatalf("%v", keys)
	}
	z := newZone(k)
	if err := verdict(verifier(z), signed(t, plainMail, keys...), 100); err != nil {
		t.Error(err)
	}
	if r := k.Record(); r.Name != "opendkim._domainkey" || !strings.HasPrefix(r.Text, "v=DKIM1;k=rsa;p=MII") || !strings.HasSuffix(r.Text, ";s=email;t=s") {
		t.Errorf("%+v", r)
	}
	line := k.Record().Line("author.test")
	if !strings.HasPrefix(line, `opendkim._domainkey.author.test. 3600 IN TXT "v=DKIM1;k=rsa;p=MII`) || strings.Count(line, `" "`) != 1 {
		t.Errorf("%s", line)
	}
	if _, err := ReadKey("testdata/rfc8463.eml", "x"); err == nil {
		t.Error("a mail is a key")
	}
}
