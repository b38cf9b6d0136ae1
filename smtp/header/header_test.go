package header

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func read(t testing.TB, content string) ([]Field, error) {
	t.Helper()
	var whole, bits Head
	io.WriteString(&whole, content)
	if _, err := io.Copy(&bits, iotest.OneByteReader(strings.NewReader(content))); err != nil {
		t.Fatal(err)
	}
	fields, err := whole.Fields()
	again, againErr := bits.Fields()
	if diff := cmp.Diff(fields, again); diff != "" || (err == nil) != (againErr == nil) {
		t.Fatalf("in pieces it reads otherwise: %s %v %v", diff, err, againErr)
	}
	return fields, err
}

func TestFieldsAreUnfolded(t *testing.T) {
	fields, err := read(t, "From: a@x.test\r\nSubject: one\r\n two\r\n\tthree \r\nX :y\r\n\r\nFrom: b@x.test\r\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []Field{{"From", "a@x.test"}, {"Subject", "one two\tthree"}, {"X", "y"}}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Fatal(diff)
	}
}

func TestAHeaderMayBeAllOrNothing(t *testing.T) {
	for content, n := range map[string]int{"": 0, "\r\n": 0, "\r\nFrom: a@x.test\r\n": 0, "A: b\r\n": 1, "A: b": 1, "A: b\r\n\r\n": 1} {
		if fields, err := read(t, content); err != nil || len(fields) != n {
			t.Errorf("%q: %v, %v", content, fields, err)
		}
	}
}

func TestWhatIsNoHeaderIsRefused(t *testing.T) {
	for _, content := range []string{
		"no colon\r\n\r\n", " folded first\r\n\r\n", ": nameless\r\n\r\n", "a b: c\r\n\r\n", "ä: c\r\n\r\n",
		"A: b\r\n.\r\n\r\n",
	} {
		if _, err := read(t, content); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func TestAHeaderIsBounded(t *testing.T) {
	if _, err := read(t, strings.Repeat("A: b\r\n", MaxFields+1)); !errors.Is(err, ErrTooBig) {
		t.Errorf("many fields: %v", err)
	}
	var h Head
	long := "A: " + strings.Repeat("x", MaxOctets)
	for range 100 {
		io.WriteString(&h, long)
	}
	if _, err := h.Fields(); !errors.Is(err, ErrTooBig) {
		t.Errorf("many octets: %v", err)
	}
	if h.raw.Len() > MaxOctets+4 {
		t.Errorf("%d octets kept", h.raw.Len())
	}
}

func TestFromIsOneAddress(t *testing.T) {
	for value, want := range map[string]string{
		"<alice@relay.test>":                                   "alice@relay.test",
		"alice@relay.test":                                     "alice@relay.test",
		`"Alice, the first" <Alice@Relay.test>`:                "Alice@relay.test",
		"=?koi8-r?B?4czJ08E=?= <alice@relay.test>":             "alice@relay.test",
		"=?utf-8?q?Al=C3=AFce?= <alice@relay.test>":            "alice@relay.test",
		"Alice (of relay.test)\r\n <alice@relay.test>":         "alice@relay.test",
		"<ac1_x@[192.0.2.7]>":                                  "ac1_x@[192.0.2.7]",
		"<t8@[IPv6:2001:db8::7]>":                              "t8@[IPv6:2001:db8::7]",
		"Alice <t8@[ipv6:2001:DB8::7]>":                        "t8@[IPv6:2001:db8::7]",
		`"eve@x.test> <alice@x.test" <alice@relay.test>`:       "alice@relay.test",
		`"<eve@x.test>, \"Bob\"" <alice@relay.test>`:           "alice@relay.test",
		`"a\";b" <alice@relay.test> (;\);)`:                    "alice@relay.test",
		`"eve@x.test,bob@x.test:;" <alice@relay.test>`:         "alice@relay.test",
		"=?utf-8?q?=3Ceve=40x.test=3E=2C?= <alice@relay.test>": "alice@relay.test",
		"<srs0=a=b=x.test=bob@relay.test>":                     "srs0=a=b=x.test=bob@relay.test",
	} {
		fields, err := read(t, "From: "+value+"\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		a, err := From(fields)
		if err != nil || a.Wire() != want {
			t.Errorf("%s: %s, %v", value, a.Wire(), err)
		}
	}
	for _, head := range []string{
		"From: eve@x.test> <alice@relay.test>\r\n", "From: Eve, Alice <alice@relay.test>\r\n", "From: eve@x.test <alice@relay.test>\r\n",
		"From: Eve <eve@x.test>, Alice <alice@relay.test>\r\n", "From: <eve@x.test> <alice@relay.test>\r\n", "From: a: alice@relay.test;\r\n", "From: a: alice@relay.test; (b)\r\n", "From: \"\\\";\": alice@relay.test;\r\n",
		"From: <@x.test:alice@relay.test>\r\n", "From: alice@relay.test\r\n\tbob@relay.test\r\n", "From: <alice@relay.test> x\r\n",
		"", "From:\r\n", "From: alice@relay.test, bob@relay.test\r\n", "From: alice\r\n",
		"From: a@x.test\r\nFROM: a@x.test\r\n", "From: a@x.test\r\nFrom : b@x.test\r\n", "From: <a@x.test> b@x.test\r\n",
		"From: a@x.test\r\n, b@x.test: c\r\n", "From: <>\r\n", "From: g:;\r\n",
		"From: <a@[2001:db8::7]>\r\n", "From: <a@[IPv6:192.0.2.7]>\r\n", "From: \"x@[IPv6:2001:db8::7]\" <a@x.test>\r\n", "From: <\"x@[IPv6:\"@x.test>\r\n",
		"From: <a@[IPv6:2001:db8::7]>, <b@[IPv6:2001:db8::7]>\r\n", "From: <a@[IPv6:IPv6:2001:db8::7]>\r\n", "From: <a@[IPv6:2001:db8::7%eth0]>\r\n", "From: " + strings.Repeat(" ", 10) + strings.Repeat("(", MaxFrom) + "\r\n",
	} {
		fields, err := read(t, head+"\r\n")
		if err != nil {
			continue
		}
		if a, err := From(fields); !errors.Is(err, ErrFrom) {
			t.Errorf("%q: %s, %v", head, a.Wire(), err)
		} else if strings.Contains(err.Error(), "x.test") {
			t.Errorf("the error tells an address: %v", err)
		}
	}
}

func FuzzHeader(f *testing.F) {
	for _, name := range []string{"encrypted", "handshake"} {
		seed, err := os.ReadFile("testdata/" + name + ".eml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(seed))
	}
	f.Add("From: a@x.test\r\n b\r\n\r\n")
	f.Fuzz(func(t *testing.T, content string) {
		fields, err := read(t, content)
		if err != nil {
			return
		}
		for _, field := range fields {
			if strings.Contains(field.Value, "\r\n") || field.Name == "" {
				t.Fatalf("%q", field)
			}
		}
		if a, err := From(fields); err == nil && a.IsZero() {
			t.Fatal("no address and no error")
		}
	})
}
