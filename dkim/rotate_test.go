package dkim

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A key is made, waits, and signs when it is told to; the one before stays
// until then, and its file for ever.
func TestKeysAreChangedInTwoSteps(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dkim")
	day := time.Date(2026, 11, 25, 23, 0, 0, 0, time.UTC)
	first, err := OpenKeys(dir, day)
	if err != nil {
		t.Fatal(err)
	}
	selectors := func(keys []Key, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, k := range keys {
			all = append(all, k.Selector)
		}
		return strings.Join(all, " ")
	}
	if err := MakeNext(dir, day, "rsa", "ed25519"); !errors.Is(err, ErrNotOlder) {
		t.Errorf("on the same day: %v", err)
	}
	for _, later := range []int{30, 31} { // the second time they are there
		if err := MakeNext(dir, day.AddDate(0, 0, later), "rsa", "ed25519"); err != nil {
			t.Fatal(err)
		}
		if s := selectors(FindNext(dir)); s != "rsa20261225 ed20261225" {
			t.Errorf("waiting: %s", s)
		}
		if s := selectors(OpenKeys(dir, day)); s != "rsa20261125 ed20261125" {
			t.Errorf("signing: %s", s)
		}
	}
	for _, s := range []string{"rsa20261125", "../dkim", ""} {
		if err := UseNext(dir, s); !errors.Is(err, ErrNoNext) {
			t.Errorf("%q: %v", s, err)
		}
	}
	if err := UseNext(dir, "ed20261225"); err != nil {
		t.Fatal(err)
	}
	keys, err := OpenKeys(dir, day)
	if s := selectors(keys, err); s != "rsa20261125 ed20261225" {
		t.Errorf("signing: %s", s)
	}
	if s := selectors(FindNext(dir)); s != "rsa20261225" {
		t.Errorf("waiting: %s", s)
	}

	signer, err := NewSigner(SignerConfig{Domain: "author.test", Keys: first})
	if err != nil {
		t.Fatal(err)
	}
	begun := signer.Sign()
	signer.SetKeys(keys)
	for g, want := range map[*Signing][]Key{begun: first, signer.Sign(): keys} {
		g.Write([]byte(plainMail))
		fields, err := g.Fields()
		if err != nil || !strings.Contains(string(fields), "s="+want[1].Selector) {
			t.Errorf("not signed with %s: %v", want[1], err)
		}
	}
}
