package local

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"barid/smtp"
	"barid/storage"
	"barid/storage/storetest"
)

// An account takes encrypted mail only, from its birth until an operator
// removes the file that says so.
func TestEncryptedOnly(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, conformant(dir))
	addr := smtp.Address{LocalPart: "alice", Domain: storetest.Domain}
	a, err := s.Login(t.Context(), addr, "a long password", storage.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	check := func(s *Store, when string, want bool) {
		t.Helper()
		if only, err := s.EncryptedOnly(t.Context(), a); err != nil || only != want {
			t.Errorf("%s: %v, %v", when, only, err)
		}
	}
	check(s, "newborn", true)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, conformant(dir))
	defer s.Close()
	check(s, "with its files", true)
	if err := os.Remove(filepath.Join(dir, "mail", storetest.Domain, addr.Wire(), enforceName)); err != nil {
		t.Fatal(err)
	}
	check(s, "without that file", false)
	gone := storage.Account{Address: smtp.Address{LocalPart: "gone", Domain: storetest.Domain}}
	if only, err := s.EncryptedOnly(t.Context(), gone); !only || !errors.Is(err, storage.ErrNoAccount) {
		t.Errorf("an account that is not there: %v, %v", only, err)
	}
}
