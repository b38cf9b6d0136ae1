package pseudonym

import (
	"strings"
	"testing"
)

func TestOfTellsApartAndHides(t *testing.T) {
	a, b := Of("alice@relay.test"), Of("bob@relay.test")
	if a == b {
		t.Fatalf("two addresses share the name %s", a)
	}
	if a != Of("alice@relay.test") {
		t.Fatal("one address has two names")
	}
	if len(a) != 8 || strings.Contains(a, "alice") {
		t.Fatalf("name %q", a)
	}
}
