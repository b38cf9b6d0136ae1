package smtp

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	for _, good := range []string{
		"alice@relay.test", "a.b-c_d@_cm.test", "ac1_xyz@[192.0.2.7]", "x@[IPv6:2001:db8::1]",
		`"a b"@relay.test`, `"a\"b"@relay.test`, "SRS0=ab=c@relay.test", "a/b@relay.test",
		strings.Repeat("a", 64) + "@relay.test",
	} {
		a, err := ParseAddress(good)
		if err != nil {
			t.Errorf("%s: %v", good, err)
		} else if !strings.EqualFold(a.Wire(), good) {
			t.Errorf("%s became %s", good, a.Wire())
		}
	}
	for _, bad := range []string{
		"", "@", "alice", "@relay.test", "alice@", "a..b@relay.test", ".a@relay.test", "a b@relay.test",
		"a@b@relay.test", `"a@relay.test`, `"a"b"@relay.test`, `"a\"@relay.test`, "a@relay..test", "a@-relay.test",
		"a@relay.test.", "a@[1.2.3]", "a@[IPv6:1.2.3.4]", "a@[::1]", "a@[1.2.3.4", "a\x00@relay.test", "ä@relay.test",
		"\"a\x01\"@relay.test", "a@rel\x00ay.test", strings.Repeat("a", 65) + "@relay.test",
		"a@" + strings.Repeat("abcdefg.", 32) + "test", "<a@relay.test>", "a@relay.test ", "a\r\n@relay.test",
	} {
		if a, err := ParseAddress(bad); err == nil {
			t.Errorf("%q passed as %s", bad, a.Wire())
		}
	}
}

func TestAddressHidesWhenPrinted(t *testing.T) {
	a, _ := ParseAddress("alice@relay.test")
	for _, s := range []string{fmt.Sprint(a), fmt.Sprintf("%v %s %q %+v %#v", a, a, a, a, a), fmt.Sprint(Path{a}), fmt.Sprintf("%+v", struct{ A Address }{a})} {
		if strings.Contains(s, "alice") || strings.Contains(s, "relay") {
			t.Errorf("printed %s", s)
		}
	}
}

func TestNewReplyCannotBreakTheLine(t *testing.T) {
	if got := NewReply(550, "5.1.1", "no %s", "x\r\n250 ok").Wire(); got != "550 5.1.1 no x??250 ok" {
		t.Fatal(got)
	}
}

func TestWithoutTag(t *testing.T) {
	for s, want := range map[string]string{
		"alice@relay.test": "alice@relay.test", "alice+x@relay.test": "alice@relay.test", "alice+x+y@relay.test": "alice@relay.test",
		"alice+@relay.test": "alice@relay.test", "+x@relay.test": "+x@relay.test", `"a+x"@relay.test`: `"a+x"@relay.test`,
		"alice.+x@relay.test": "alice.+x@relay.test",
	} {
		a, err := ParseAddress(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.WithoutTag().Wire(); got != want {
			t.Errorf("%s became %s", s, got)
		}
	}
}

// What passes is one word of ASCII that reads the same again, whatever is
// done with it, and never shows when printed.
func FuzzAddress(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			if !errors.Is(err, ErrAddress) || !a.IsZero() {
				t.Fatalf("%q: %v and %q", s, err, a.Wire())
			}
			return
		}
		for _, b := range []Address{a, a.Fold(), a.WithoutTag(), a.Fold().WithoutTag()} {
			again, err := ParseAddress(b.Wire())
			if err != nil || again != b {
				t.Fatalf("%q reads as %q, which reads as %q, %v", s, b.Wire(), again.Wire(), err)
			}
		}
		if strings.ContainsFunc(a.Wire(), func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("%q lets %q through", s, a.Wire())
		}
		if a.Fold().Fold() != a.Fold() || a.WithoutTag().WithoutTag() != a.WithoutTag() {
			t.Fatalf("%q folds twice", s)
		}
		if len(a.LocalPart) > 3 && strings.Contains(a.String(), a.LocalPart) {
			t.Fatalf("%q shows as %s", s, a)
		}
	})
}
