package dkim

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"barid/internal/metrics"
	"barid/internal/resolver"
)

const noHash = crypto.Hash(0)

// The example of RFC 8463 appendix A, with both signatures.
func TestTheExampleOfTheRFC(t *testing.T) {
	text, err := os.ReadFile("testdata/rfc8463.eml")
	if err != nil {
		t.Fatal(err)
	}
	mail := strings.ReplaceAll(string(text), "\n", "\r\n")
	const ed = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
	const rsa = "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/" +
		"byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
	for name, record := range map[string]string{"brisbane": ed, "test": rsa} {
		z := newZone()
		z.texts[name+"._domainkey.football.example.com"] = []string{record}
		c := verifier(z).Check()
		c.Write([]byte(mail))
		if err := c.Verdict(t.Context(), "football.example.com", strings.NewReader(mail)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.Verdict(t.Context(), "example.com", strings.NewReader(mail)); !errors.Is(err, ErrInvalid) {
			t.Errorf("the domain above: %v", err)
		}
	}
}

func TestEachReason(t *testing.T) {
	seconds := func(d time.Duration) string { return fmt.Sprint(now.Add(d).Unix()) }
	z := newZone(edKey())
	p := strings.Split(z.texts["ed1._domainkey.author.test"][0], ";")[2]
	record := func(selector string, texts ...string) string {
		z.texts[selector+"._domainkey.author.test"] = texts
		return selector
	}
	small, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaRecord := Key{"x", small}.Record().Text
	z.errs["trouble._domainkey.author.test"] = fmt.Errorf("look up: %w", resolver.ErrTemporary)
	z.errs["huge._domainkey.author.test"] = resolver.ErrTooLarge
	many := strings.Repeat("from:", 100) + "from"
	const mismatched = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	for _, c := range []struct {
		name   string
		change map[string]string
		want   error // nil: holds
	}{
		{"as it should be", nil, nil},
		{"letter case", map[string]string{"d": "Author.TEST", "s": "ED1", "i": "x@Author.TEST", "h": "FROM:To:from"}, nil},
		{"letter case of i= and d=", map[string]string{"i": "x@AUTHOR.test"}, Identity},
		{"letter case of a=", map[string]string{"a": "Ed25519-SHA256"}, Algorithm},
		{"letter case of c=", map[string]string{"c": "Relaxed/simple"}, Algorithm},
		{"another version", map[string]string{"v": "2"}, Algorithm},
		{"no version", map[string]string{"v": ""}, Syntax},
		{"SHA-1", map[string]string{"a": "rsa-sha1"}, Algorithm},
		{"simple", map[string]string{"c": "simple/simple"}, nil},
		{"simple unsaid", map[string]string{"c": ""}, nil},
		{"half said", map[string]string{"c": "relaxed"}, nil},
		{"canonicalization unknown", map[string]string{"c": "relaxed/strict"}, Algorithm},
		{"query", map[string]string{"q": "dns/txt:other"}, nil},
		{"query unknown", map[string]string{"q": "other"}, Algorithm},
		{"l=", map[string]string{"l": "5"}, BodyLength},
		{"From not signed", map[string]string{"h": "to:subject"}, Author},
		{"many names", map[string]string{"h": many}, TooBig},
		{"an empty name", map[string]string{"h": "from::to"}, Syntax},
		{"long field", map[string]string{"z": strings.Repeat("x", maxSignature)}, TooBig},
		{"identity below", map[string]string{"i": "x@sub.author.test", "s": record("lax", "k=ed25519;"+p)}, nil},
		{"identity below, strict key", map[string]string{"i": "x@sub.author.test"}, Identity},
		{"identity elsewhere", map[string]string{"i": "x@xauthor.test"}, Identity},
		{"identity without @", map[string]string{"i": "author.test"}, Identity},
		{"a minute from now", map[string]string{"t": seconds(time.Minute)}, nil},
		{"an hour from now", map[string]string{"t": seconds(time.Hour)}, Future},
		{"no time", map[string]string{"t": ""}, nil},
		{"time in letters", map[string]string{"t": "today"}, Syntax},
		{"over in an hour", map[string]string{"x": seconds(time.Hour)}, nil},
		{"over a minute ago", map[string]string{"t": "", "x": seconds(-time.Minute)}, nil},
		{"over five minutes ago", map[string]string{"t": "", "x": seconds(-5 * time.Minute)}, nil},
		{"over a moment longer", map[string]string{"t": "", "x": seconds(-5*time.Minute - time.Second)}, Expired},
		{"over a minute ago, with another body", map[string]string{"t": "", "x": seconds(-time.Minute), "bh": mismatched}, BodyHash},
		{"over a minute ago, with another key", map[string]string{"t": "", "x": seconds(-time.Minute), "s": record("other", "k=ed25519;p="+mismatched)}, Mismatch},
		{"over a minute ago, simple", map[string]string{"t": "", "x": seconds(-time.Minute), "c": "simple/relaxed"}, nil},
		{"over an hour ago", map[string]string{"t": "", "x": seconds(-time.Hour)}, Expired},
		{"over before it was made", map[string]string{"x": seconds(0)}, Expired},
		{"never over", map[string]string{"x": "999999999999"}, nil},
		{"over after all time", map[string]string{"x": "99999999999999999999"}, Syntax},
		{"over after sixteen digits", map[string]string{"x": "1000000000000000"}, Syntax},
		{"over at a time with a sign", map[string]string{"x": "+999999999999"}, Syntax},
		{"a tag whose name ends in b", map[string]string{"bb": "x"}, Syntax},
		{"b= inside of another tag", map[string]string{"i": "b=x@author.test"}, Syntax},
		{"no ASCII", map[string]string{"y": "\u00a0"}, Syntax},
		{"a control character", map[string]string{"y": "\v"}, Syntax},
		{"another body", map[string]string{"bh": mismatched}, BodyHash},
		{"body hash in letters", map[string]string{"bh": "!"}, Syntax},
		{"no record", map[string]string{"s": "gone"}, NoKey},
		{"a selector that is no name", map[string]string{"s": "a/b"}, NoKey},
		{"a huge record", map[string]string{"s": "huge"}, NoKey},
		{"trouble", map[string]string{"s": "trouble"}, Trouble},
		{"revoked", map[string]string{"s": record("revoked", "v=DKIM1; p=")}, Revoked},
		{"record without version", map[string]string{"s": record("old", "k=ed25519; "+p)}, nil},
		{"version not first", map[string]string{"s": record("late", "k=ed25519; v=DKIM1; "+p)}, NoKey},
		{"not a key", map[string]string{"s": record("spf", "v=spf1 -all")}, NoKey},
		{"quotes and blanks", map[string]string{"s": record("quoted", `"v=DKIM1;k=ed25519;`+p[:20]+"\" \t\""+p[20:]+`;t=s"`)}, nil},
		{"no padding", map[string]string{"s": record("bare", "k=ed25519;"+strings.TrimRight(p, "="))}, nil},
		{"another record beside it", map[string]string{"s": record("two", "v=spf1 -all", "k=ed25519;"+p)}, nil},
		{"the key is the fourth", map[string]string{"s": record("four", "a=1;p", "b", "c", "k=ed25519;"+p)}, NoKey},
		{"testing", map[string]string{"s": record("testing", "k=ed25519;t=s:y;"+p)}, Testing},
		{"other service", map[string]string{"s": record("web", "k=ed25519;s=web;"+p)}, KeyUse},
		{"this service too", map[string]string{"s": record("both", "k=ed25519;s=web:email;"+p)}, nil},
		{"any service", map[string]string{"s": record("any", "k=ed25519;s=*;"+p)}, nil},
		{"other hash", map[string]string{"s": record("sha1", "k=ed25519;h=sha1;"+p)}, KeyUse},
		{"other algorithm", map[string]string{"s": record("rsa", rsaRecord)}, KeyUse},
		{"unknown algorithm", map[string]string{"s": record("new", "k=ml-dsa;"+p)}, KeyUse},
		{"a short key", map[string]string{"s": record("short", "k=ed25519;p=AAAA")}, BadKey},
		{"no base64", map[string]string{"s": record("letters", "k=ed25519;p=a*b")}, BadKey},
		{"no RSA key", map[string]string{"s": record("norsa", "k=rsa;"+p)}, BadKey},
		{"a long record", map[string]string{"s": record("long", "k=ed25519;n="+strings.Repeat("x", maxRecord)+";"+p)}, BadKey},
		{"another key", map[string]string{"s": record("other", "k=ed25519;p="+mismatched)}, Mismatch},
		{"a tag twice", map[string]string{" v": "1"}, Syntax},
		{"a tag without value", map[string]string{"y": "1;x"}, Syntax},
	} {
		err := verdict(verifier(z), forge(plainMail, c.change), 1<<20)
		kind := ErrInvalid
		if c.want == error(Trouble) {
			kind = ErrTemporary
		}
		if c.want == nil && err != nil || c.want != nil && (!errors.Is(err, c.want) || !errors.Is(err, kind)) {
			// A field whose tags cannot be read has no domain, so it is nobody's.
			if c.want == error(Syntax) || c.want == error(TooBig) {
				if err == ErrInvalid {
					continue
				}
			}
			t.Errorf("%s: %v, not %v", c.name, err, c.want)
		}
	}
}

func TestSmallAndGiantKeys(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	for bits, want := range map[int]error{512: BadKey, 1024: nil, 2048: nil} {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		_, err = readKey(Key{"x", k}.Record().Text)
		if !errors.Is(err, want) {
			t.Errorf("%d bits: %v", bits, err)
		}
	}
	// 16384 bits, made up: one check would take a tenth of a second.
	n := make([]byte, 2048)
	for i := range n {
		n[i] = 0xff
	}
	der := append([]byte{0x30, 0x82, 0x08, 0x0a, 0x02, 0x82, 0x08, 0x01, 0x00}, n...)
	der = append(der, 0x02, 0x03, 0x01, 0x00, 0x01)
	if k, err := readKey("p=" + base64.StdEncoding.EncodeToString(der)); !errors.Is(err, BadKey) || k.bits != 16384 {
		t.Errorf("16384 bits: %v", err)
	}
}

func TestWhatWasSignedCannotBeChanged(t *testing.T) {
	z := newZone(rsaKey(), edKey())
	for _, keys := range [][]Key{{rsaKey()}, {edKey()}, {rsaKey(), edKey()}} {
		mail := signed(t, plainMail, keys...)
		for _, n := range []int{1, 2, 3, 7, 1 << 20} {
			if err := verdict(verifier(z), mail, n); err != nil {
				t.Errorf("in pieces of %d: %v", n, err)
			}
		}
		for name, change := range map[string][2]string{
			"body":                 {"there.", "where."},
			"subject":              {"[...]", "[..]"},
			"a second From":        {"From: Alice", "From: Eve <eve@author.test>\r\nFrom: Alice"},
			"a second From below":  {"\r\n\r\nHello", "\r\nFrom: Eve <eve@author.test>\r\n\r\nHello"},
			"a second Subject":     {"\r\n\r\nHello", "\r\nSubject: x\r\n\r\nHello"},
			"an Autocrypt":         {"\r\n\r\nHello", "\r\nAutocrypt: x\r\n\r\nHello"},
			"a Content-Type":       {"\r\n\r\nHello", "\r\nContent-Type: text/html\r\n\r\nHello"},
			"a Secure-Join":        {"\r\n\r\nHello", "\r\nSecure-Join: vc-request\r\n\r\nHello"},
			"a line at the end":    {"there.\r\n", "there.\r\nmore\r\n"},
			"a blank in the body":  {"Hello,", "Hello, "},
			"an empty line inside": {"\r\n\r\nthere", "\r\n\r\n\r\nthere"},
		} {
			bad := strings.Replace(mail, change[0], change[1], 1)
			if err := verdict(verifier(z), bad, 1<<20); bad == mail || !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for name, change := range map[string][2]string{
			"folding":              {"Subject: [...]", "Subject:\r\n\t [...]  "},
			"letter case of names": {"Subject: [...]", "SUBJECT : [...]"},
			"a Received":           {"DKIM-Signature", "Received: by relay.test\r\nDKIM-Signature"},
			"lines at the end":     {"there.\r\n", "there.\r\n\r\n\r\n"},
			"another signature":    {"DKIM-Signature", "DKIM-Signature: v=1; d=author.test; nonsense\r\nDKIM-Signature"},
		} {
			good := strings.Replace(mail, change[0], change[1], 1)
			if err := verdict(verifier(z), good, 1<<20); good == mail || err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestWhatIsNoSignedMessage(t *testing.T) {
	for name, c := range map[string]struct {
		mail string
		want error
	}{
		"unsigned":             {plainMail, ErrUnsigned},
		"signed by another":    {forge(plainMail, map[string]string{"d": "other.test"}), ErrInvalid},
		"by the domain above":  {forge(plainMail, map[string]string{"d": "test"}), ErrInvalid},
		"by one below":         {forge(plainMail, map[string]string{"d": "sub.author.test"}), ErrInvalid},
		"no empty line":        {"From: alice@author.test\r\n", ErrMalformed},
		"nothing":              {"", ErrMalformed},
		"a line of no field":   {"From: alice@author.test\r\nno field\r\n\r\n", ErrMalformed},
		"no header":            {"\r\nbody\r\n", ErrUnsigned},
		"too many fields":      {strings.Repeat("X: y\r\n", MaxFields+1) + "\r\n", ErrTooBig},
		"too many octets":      {"X: " + strings.Repeat("y", MaxHeader) + "\r\n\r\n", ErrTooBig},
		"no end of a field":    {"X: " + strings.Repeat("y", MaxHeader*3), ErrTooBig},
		"8 bits in the header": {strings.Replace(forge(plainMail, nil), "Alice", "\xc4lice", 1), ErrInvalid},
	} {
		for _, n := range []int{100, 1 << 20} {
			if err := verdict(verifier(newZone(edKey())), c.mail, n); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, not %v", name, err, c.want)
			}
		}
	}
	if err := verdict(verifier(newZone(edKey())), forge(strings.Replace(plainMail, "Alice", "\xc4l\xffice", 1), nil), 10); err != nil {
		t.Errorf("8 bits that were signed: %v", err)
	}
}

// A From that was added above one that was signed is the one that people see.
func TestEveryAuthorIsSigned(t *testing.T) {
	v := verifier(newZone(edKey()))
	two := "From: <eve@author.test>\r\n" + plainMail
	if err := verdict(v, forge(two, map[string]string{"h": "from:to"}), 100); !errors.Is(err, Author) {
		t.Errorf("one of two is signed: %v", err)
	}
	if err := verdict(v, forge(two, map[string]string{"h": "from:to:from"}), 100); err != nil {
		t.Errorf("both are signed: %v", err)
	}
}

// Signatures of others come first, hundreds of them, and cost no look-up; of
// the author's own five are tried.
func TestHundredsOfSignatures(t *testing.T) {
	z := newZone(edKey())
	other := "DKIM-Signature: v=1; a=ed25519-sha256; d=other.test; s=x; h=from; bh=AAAA; b=AAAA\r\n"
	if err := verdict(verifier(z), strings.Repeat(other, 200)+forge(plainMail, nil), 1<<20); err != nil || z.asked != 1 {
		t.Errorf("%v after %d look-ups", err, z.asked)
	}
	own := strings.SplitAfterN(forge(plainMail, map[string]string{"s": "gone"}), "\r\n", 3)
	bad := own[0] + own[1]
	if err := verdict(verifier(z), strings.Repeat(bad, 4)+forge(plainMail, nil), 1<<20); err != nil {
		t.Errorf("the fifth holds: %v", err)
	}
	z.asked = 0
	if err := verdict(verifier(z), strings.Repeat(bad, 200)+forge(plainMail, nil), 1<<20); !errors.Is(err, ErrInvalid) || z.asked != maxTried {
		t.Errorf("%v after %d look-ups", err, z.asked)
	}
}

func TestAKeyThatWasChangedIsLookedUpAnew(t *testing.T) {
	const name = "ed1._domainkey.author.test"
	const other = "v=DKIM1;k=ed25519;p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	m := metrics.New()
	for what, c := range map[string]struct {
		old   []string
		age   time.Duration
		fresh int
		want  error
	}{
		"another key remembered":          {[]string{other}, time.Minute, 1, nil},
		"a revoked key remembered":        {[]string{"p="}, time.Minute, 1, nil},
		"another key, looked up just now": {[]string{other}, time.Second, 0, Mismatch},
		"the right key remembered":        {nil, time.Minute, 0, nil},
	} {
		z := newZone(edKey())
		z.age = c.age
		if c.old != nil {
			z.old[name] = c.old
		}
		v := NewVerifier(VerifierConfig{Keys: z, Now: func() time.Time { return now }, Metrics: m})
		if err := verdict(v, forge(plainMail, nil), 1<<20); !errors.Is(err, c.want) || c.want == nil && err != nil || z.fresh != c.fresh {
			t.Errorf("%s: %v after %d fresh look-ups", what, err, z.fresh)
		}
	}
	z := newZone(edKey())
	z.age, z.old[name] = time.Minute, []string{other}
	z.errs[name] = resolver.ErrTemporary
	if err := verdict(verifier(z), forge(plainMail, nil), 1<<20); !errors.Is(err, ErrTemporary) {
		t.Errorf("trouble with the fresh look-up: %v", err)
	}
	// A body that was changed is no reason to look anything up.
	z = newZone(edKey())
	verdict(verifier(z), strings.Replace(forge(plainMail, nil), "there", "where", 1), 1<<20)
	if z.asked != 0 {
		t.Errorf("%d look-ups for a changed body", z.asked)
	}
}

// One signature that holds is enough; where none does, doubt about one is
// doubt about the message.
func TestDoubtIsTemporary(t *testing.T) {
	z := newZone(edKey())
	z.errs["trouble._domainkey.author.test"] = resolver.ErrTemporary
	doubtful := strings.TrimSuffix(forge(plainMail, map[string]string{"s": "trouble"}), plainMail)
	wrong := strings.TrimSuffix(forge(plainMail, map[string]string{"s": "gone"}), plainMail)
	if err := verdict(verifier(z), doubtful+forge(plainMail, nil), 1<<20); err != nil {
		t.Error(err)
	}
	if err := verdict(verifier(z), doubtful+wrong+plainMail, 1<<20); !errors.Is(err, ErrTemporary) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := resolver.New(resolver.Config{Servers: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := NewVerifier(VerifierConfig{Keys: r, Now: func() time.Time { return now }}).Check()
	mail := forge(plainMail, nil)
	c.Write([]byte(mail))
	if err := c.Verdict(ctx, "author.test", strings.NewReader(mail)); !errors.Is(err, ErrTemporary) {
		t.Error(err)
	}
}

// Empty lines are what the library pays more than their size for. As many in
// a row as are let through to it, over and over, still take time in proportion;
// and one more is refused before it sees any.
func TestEmptyLinesCostWhatTheyWeigh(t *testing.T) {
	const size = 4 << 20
	run := strings.Repeat("\r\n", maxEmptyLines)
	head := "From: alice@author.test\r\n\r\n"
	text := strings.Repeat("x\r\n"+run, size/len(run))
	plain := strings.Repeat("x\r\n", len(text)/3)
	z := newZone(edKey())
	// The best of three: what else runs on the machine is no fault of ours.
	fastest := func(f func()) (d time.Duration) {
		for i := range 3 {
			begin := time.Now()
			f()
			if took := time.Since(begin); i == 0 || took < d {
				d = took
			}
		}
		return d
	}
	compare := func(what string, d, usual time.Duration) {
		t.Logf("%s: %v, without empty lines %v", what, d, usual)
		if d > 8*usual {
			t.Errorf("%s: %v, without empty lines %v", what, d, usual)
		}
	}
	verify := func(what, body string, change map[string]string, want error) time.Duration {
		mail := forge(head+body, change)
		return fastest(func() {
			if err := verdict(verifier(z), mail, 16<<10); !errors.Is(err, want) {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	for _, c := range []string{"simple/simple", "relaxed/relaxed"} {
		usual := verify(c, plain, map[string]string{"c": c}, nil)
		compare(c, verify(c, text, map[string]string{"c": c}, nil), usual)
		for what, body := range map[string]string{"beyond": text + "\r\n\r\nx\r\n", "beyond, at the end": text + "\r\n\r\n", "beyond, blanks": text + " \r\n\t\r\n"} {
			what = c + " " + what
			compare(what, verify(what, body, map[string]string{"c": c, "bh": "AAAA"}, EmptyLines), usual) // it does not get there
		}
	}
	sign := func(body string) time.Duration {
		return fastest(func() { signed(t, head+body, rsaKey(), edKey()) })
	}
	compare("signing", sign(text), sign(plain))
	for _, n := range []int{1, 1000, 1 << 20} {
		var e emptyLines
		for p := []byte("x" + run + "\r\n"); len(p) > 0; p = p[min(n, len(p)):] {
			if e.over {
				t.Errorf("in pieces of %d: too many with %d octets to go", n, len(p))
			}
			e.Write(p[:min(n, len(p))])
		}
		if e.Write([]byte("\r\n")); !e.over {
			t.Errorf("in pieces of %d: not too many", n)
		}
	}
}

// broken is content of which nothing can be read any more.
type broken struct{ Content }

var errBroken = errors.New("broken")

func (b broken) ReadAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) < b.Size() {
		return b.Content.ReadAt(p, at)
	}
	return 0, errBroken
}

// What cannot be read is our fault: it is told apart from a signature that
// does not hold, costs no second try, and leaves nothing running.
func TestContentThatCannotBeReadAgain(t *testing.T) {
	defer goleak.VerifyNone(t)
	z := newZone(edKey())
	z.age = time.Minute
	mail := forge(plainMail, nil)
	for _, many := range []int{1, 3} {
		mail := strings.Repeat(strings.TrimSuffix(mail, plainMail), many) + plainMail
		for name, content := range map[string]Content{"broken": broken{strings.NewReader(mail)}, "short": strings.NewReader("x")} {
			c := verifier(z).Check()
			c.Write([]byte(mail))
			err := c.Verdict(t.Context(), "author.test", content)
			if !errors.Is(err, ErrContent) || errors.Is(err, ErrInvalid) || z.fresh != 0 {
				t.Errorf("%s: %v, %d fresh look-ups", name, err, z.fresh)
			}
		}
	}
	// It is the body that is read, and no other will do.
	c := verifier(z).Check()
	c.Write([]byte(mail))
	if err := c.Verdict(t.Context(), "author.test", strings.NewReader("Edited: header\r\n\r\nHello,\r\n\r\nthere.\r\n")); err != nil {
		t.Errorf("with another header: %v", err)
	}
	if err := c.Verdict(t.Context(), "author.test", strings.NewReader(strings.Replace(mail, "there", "where", 1))); !errors.Is(err, Mismatch) {
		t.Errorf("with another body: %v", err)
	}
}

// Nothing runs for a Check that nobody asks, nor after one that was asked
// about signatures of all kinds.
func TestChecksLeaveNothingBehind(t *testing.T) {
	defer goleak.VerifyNone(t)
	z := newZone(rsaKey(), edKey())
	mail := signed(t, plainMail, rsaKey(), edKey())
	for n := range len(mail) {
		verifier(z).Check().Write([]byte(mail[:n]))
	}
	for _, m := range []string{mail, strings.Replace(mail, "Subject: [...]", "Subject: x", 1), strings.Replace(mail, "there", "where", 1)} {
		verdict(verifier(z), m, 100)
	}
}

// Another reader could see a field where we see none.
func TestAHeaderWithBareLineEnds(t *testing.T) {
	for _, bare := range []string{"\n", "\r", "\r\r\n "} {
		mail := strings.Replace(forge(plainMail, nil), "To: bob", "To: x"+bare+"From: eve@author.test, bob", 1)
		if err := verdict(verifier(newZone(edKey())), mail, 1<<20); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", bare, err)
		}
	}
}

// A signature may sign others; the library is asked about the one all the same.
func TestASignatureThatSignsOthers(t *testing.T) {
	z := newZone(edKey())
	other := "DKIM-Signature: v=1; a=ed25519-sha256; d=other.test; s=x; h=from; bh=AAAA; b=AAAA\r\n"
	mail := forge(other+plainMail, map[string]string{"h": "from:dkim-signature:to"})
	if err := verdict(verifier(z), mail, 1<<20); err != nil {
		t.Error(err)
	}
	if err := verdict(verifier(z), strings.Replace(mail, "d=other", "d=tother", 1), 1<<20); !errors.Is(err, Mismatch) {
		t.Error(err)
	}
}

// Our clock judges, and without a look-up; that of the library, which it
// cannot be kept from asking, changes nothing.
func TestTwoClocks(t *testing.T) {
	for name, c := range map[string]struct {
		clock, expires time.Duration // from now
		asked          int
		want           error
	}{
		"over by both":                  {0, -time.Hour, 0, Expired},
		"over by ours":                  {2 * time.Hour, time.Hour, 0, Expired},
		"over by the library's":         {-2 * time.Hour, -time.Hour, 1, nil},
		"over by both, within our time": {0, -4 * time.Minute, 1, nil},
	} {
		z := newZone(edKey())
		v := NewVerifier(VerifierConfig{Keys: z, Now: func() time.Time { return now.Add(c.clock) }})
		err := verdict(v, forge(plainMail, map[string]string{"t": "", "x": fmt.Sprint(now.Add(c.expires).Unix())}), 1<<20)
		if !errors.Is(err, c.want) || z.asked != c.asked {
			t.Errorf("%s: %v after %d look-ups", name, err, z.asked)
		}
	}
}

// The library sees one signature and what it signs, and has the key for that
// one alone.
func TestTheLibrarySeesNoMoreThanItMust(t *testing.T) {
	mail := forge("X-Other: x\r\n"+plainMail, nil)
	fields, err := splitFields("To: first\r\n"+mail[:strings.Index(mail, "\r\n\r\n")+2], MaxFields)
	if err != nil {
		t.Fatal(err)
	}
	s, err := readSignature(fields[1].raw)
	if err != nil {
		t.Fatal(err)
	}
	s.at = 1
	if want := s.raw + "To: first\r\nFrom: Alice <alice@author.test>\r\nTo: bob@relay.test\r\nSubject: [...]\r\n\r\n"; s.reduced(fields) != want {
		t.Errorf("it sees %q", s.reduced(fields))
	}
	k, err := readKey(edKey().Record().Text)
	if err != nil {
		t.Fatal(err)
	}
	header, text := s.reduced(fields[1:]), mail[strings.Index(mail, "\r\n\r\n")+4:]
	if err := verify(s, "ed1._domainkey.author.test", k, header, strings.NewReader(text)); err != nil {
		t.Error(err)
	}
	if err := verify(s, "ed1._domainkey.other.test", k, header, strings.NewReader(text)); !errors.Is(err, Syntax) {
		t.Errorf("with the key of another: %v", err)
	}
}
