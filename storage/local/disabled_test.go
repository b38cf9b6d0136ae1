package local

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"barid/smtp"
	"barid/storage"
	"barid/storage/storetest"
)

// The file DISABLED, put there and taken away by hand, takes effect within a
// second: mail passes the account by, which can still log in.
func TestDisabledAccount(t *testing.T) {
	dir := t.TempDir()
	var now atomic.Int64 // seconds; the settler reads the clock, too
	now.Store(1_790_000_000)
	cfg := conformant(dir)
	cfg.Now = func() time.Time { return time.Unix(now.Load(), 0) }
	s := mustOpen(t, cfg)
	defer s.Close()
	addr := smtp.Address{LocalPart: "alice", Domain: storetest.Domain}
	a, err := s.Login(t.Context(), addr, "a long password", storage.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	flag := filepath.Join(dir, "mail", storetest.Domain, addr.Wire(), disabledName)
	check := func(disabled bool) {
		t.Helper()
		now.Add(2)
		may, err := s.MayMail(t.Context(), a)
		if err != nil || may == disabled {
			t.Errorf("may send %v, %v", may, err)
		}
		r, err := s.Commit(t.Context(), storage.Batch{Ops: []storage.Op{storage.Deliver{To: addr, Content: strings.NewReader("x")}}})
		if err != nil || errors.Is(r.Per[0].Err, storage.ErrNoAccount) != disabled {
			t.Errorf("deliver: %+v, %v", r, err)
		}
		if _, err := s.Login(t.Context(), addr, "a long password", storage.Origin{}); err != nil {
			t.Errorf("login: %v", err)
		}
	}
	check(false)
	if err := os.MkdirAll(filepath.Dir(flag), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check(true)
	if err := os.Remove(flag); err != nil {
		t.Fatal(err)
	}
	check(false)
}
