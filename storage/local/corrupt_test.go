package local

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"barid/internal/journal"
	"barid/storage"
)

// A journal that lost what was acknowledged stops the start, with what can be
// done about it, and that works: accounts and settled mail are there.
func TestACorruptJournalHasARemedy(t *testing.T) {
	cfg := conformant(t.TempDir())
	s := mustOpen(t, cfg)
	a, err := s.Login(t.Context(), local("alice"), "a long password", storage.Origin{})
	if err == nil {
		_, err = s.Commit(t.Context(), storage.Batch{Ops: []storage.Op{storage.Deliver{To: a.Address, Content: strings.NewReader("mail")}}})
	}
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(cfg.Dir, journalDir, "mark")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(cfg); !errors.Is(err, journal.ErrCorrupt) || !strings.Contains(err.Error(), "move the directory journal away") {
		t.Fatalf("opened: %v", err)
	}
	if err := os.Rename(filepath.Join(cfg.Dir, journalDir), filepath.Join(cfg.Dir, "journal.kept")); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, cfg)
	defer s.Close()
	if again, err := s.Login(t.Context(), local("alice"), "a long password", storage.Origin{}); err != nil || again.Born {
		t.Errorf("login: %+v, %v", again, err)
	}
	if u, err := s.Usage(t.Context(), a); err != nil || u.Messages != 1 {
		t.Errorf("usage: %+v, %v", u, err)
	}
}
