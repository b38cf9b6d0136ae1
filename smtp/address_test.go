package smtp

import (
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
