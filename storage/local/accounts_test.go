package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"barid/internal/journal/faultfs"
	"barid/internal/metrics"
	"barid/smtp"
	"barid/storage"
	"barid/storage/storetest"
)

func local(name string) smtp.Address {
	return smtp.Address{LocalPart: name, Domain: storetest.Domain}
}

// What lies beside the accounts is none, and an account without directory is
// one.
func TestOnlyAccountsAreListed(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, conformant(dir))
	defer s.Close()
	mail := filepath.Join(dir, "mail", storetest.Domain)
	for name, password := range map[string]bool{
		"imported@" + storetest.Domain: true, "nopassword@" + storetest.Domain: false, "Upper@" + storetest.Domain: true,
		"pending_notifications": true, "alice@elsewhere.test": true, "@" + storetest.Domain: true, "a b@" + storetest.Domain: true,
	} {
		if err := os.Mkdir(filepath.Join(mail, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if password {
			file := filepath.Join(mail, name, passwordName)
			if err := os.WriteFile(file, []byte("{PLAIN}x"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(file, time.Time{}, time.Unix(200_000, 0)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(mail, "file@"+storetest.Domain), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Login(t.Context(), local("newborn"), "a long password", storage.Origin{}); err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := s.Accounts(t.Context(), "", func(i storage.AccountInfo) error {
		got = append(got, fmt.Sprint(i.Address.LocalPart, " ", i.LastLogin.Unix()))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"imported 172800", fmt.Sprint("newborn ", day(time.Now()).Unix())}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if len(s.accounts) != 1 {
		t.Errorf("%d accounts were brought into memory", len(s.accounts))
	}
}

// Frozen and closed are on disk when the command returns, also where the
// account itself is so young that it has no directory, and whichever unflushed
// names the disk loses.
func TestFrozenAndClosedSurviveAPowerCut(t *testing.T) {
	for seed := range int64(20) {
		disk := faultfs.New()
		cfg := conformant("")
		cfg.FS, cfg.SettleAfter = disk, time.Hour
		s := mustOpen(t, cfg)
		a, err := s.Login(t.Context(), local("alice"), "a long password", storage.Origin{})
		if err == nil {
			err = errors.Join(s.Freeze(t.Context(), a, true), s.SetRegistration(t.Context(), false))
		}
		if err != nil {
			t.Fatal(err)
		}
		cfg.FS = disk.Cut(rand.New(rand.NewSource(seed)))
		s.settler.stop()
		again := mustOpen(t, cfg)
		if may, err := again.MayMail(t.Context(), a); err != nil || may {
			t.Errorf("seed %d: may mail %v, %v", seed, may, err)
		}
		if open, err := again.Registration(t.Context()); err != nil || open {
			t.Errorf("seed %d: registration open %v, %v", seed, open, err)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
		s.Close()
	}
}

// gated is a store whose births are asked for outside.
func gated(t *testing.T, change func(*Config)) (s *Store, log *strings.Builder, counted func(reason string) float64) {
	t.Helper()
	cfg := conformant(t.TempDir())
	log = &strings.Builder{}
	var mu sync.Mutex
	cfg.Logger = slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return log.Write(p)
	}), nil))
	cfg.Metrics = metrics.New()
	change(&cfg)
	s = mustOpen(t, cfg)
	t.Cleanup(func() { s.Close() })
	return s, log, func(string) float64 {
		v, err := cfg.Metrics.Values()
		if err != nil {
			t.Fatal(err)
		}
		return v["rejected_registrations"]
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Who is refused by what stands outside is born nowhere, whoever exists is
// served, and the log has one line for a thousand refusals.
func TestARefusalFromOutsideIsForBirthsOnly(t *testing.T) {
	var short atomic.Bool
	s, log, counted := gated(t, func(cfg *Config) {
		cfg.Policy.Admit = func(context.Context, smtp.Address, storage.Origin) error {
			if short.Load() {
				return fmt.Errorf("admit: %w", &storage.Refusal{Reason: "memory", Text: "available memory 1MB < 200MB"})
			}
			return nil
		}
	})
	if _, err := s.Login(t.Context(), local("alice"), "a long password", storage.Origin{}); err != nil {
		t.Fatal(err)
	}
	short.Store(true)
	for i := range 1000 {
		if _, err := s.Login(t.Context(), local(fmt.Sprintf("user%03d", i)), "a long password", storage.Origin{}); !errors.Is(err, storage.ErrRefused) {
			t.Fatalf("login: %v", err)
		}
	}
	if _, err := s.Login(t.Context(), local("alice"), "a long password", storage.Origin{}); err != nil {
		t.Errorf("who exists: %v", err)
	}
	if n := strings.Count(log.String(), "registration rejected: available memory 1MB < 200MB"); n != 1 || counted("memory") != 1000 {
		t.Errorf("%d lines, %v counted\n%s", n, counted("memory"), log)
	}
	if _, err := s.Lookup(t.Context(), local("user001")); !errors.Is(err, storage.ErrNoAccount) {
		t.Errorf("look up: %v", err)
	}
}

// Those outside are asked once for each birth, last, with the client's
// address; a fault of theirs is one of ours.
func TestAdmitIsAskedOnceForABirth(t *testing.T) {
	var asked atomic.Int32
	broken := errors.New("broken")
	s, _, _ := gated(t, func(cfg *Config) {
		cfg.Policy.Invited = func(a smtp.Address) bool { return a.LocalPart != "stranger" }
		cfg.Policy.Admit = func(_ context.Context, a smtp.Address, from storage.Origin) error {
			asked.Add(1)
			if from.Protocol != "imap" {
				t.Errorf("from %+v", from)
			}
			if a.LocalPart == "broken" {
				return broken
			}
			return nil
		}
	})
	login := func(name string, p storage.Password) error {
		_, err := s.Login(t.Context(), local(name), p, storage.Origin{Protocol: "imap"})
		return err
	}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if err := login("alice", "a long password"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for name, p := range map[string]storage.Password{"stranger": "a long password", "short": "short", "ab": "a long password"} {
		if err := login(name, p); !errors.Is(err, storage.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if err := login("broken", "a long password"); !errors.Is(err, broken) || errors.Is(err, storage.ErrRefused) {
		t.Errorf("a fault: %v", err)
	}
}

// An account without a hash is nobody's, and not born anew over the mail of
// another; the log says so once.
func TestAnEmptyPasswordFileBlocks(t *testing.T) {
	dir := t.TempDir()
	s, log, counted := gated(t, func(cfg *Config) { cfg.Dir, cfg.SettleAfter = dir, 1 })
	file := filepath.Join(dir, "mail", storetest.Domain, "alice@"+storetest.Domain, passwordName)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := s.Login(t.Context(), local("alice"), "a long password", storage.Origin{}); !errors.Is(err, storage.ErrRefused) {
			t.Errorf("login: %v", err)
		}
	}
	if n := strings.Count(log.String(), "a password file is empty or gone"); n != 1 || counted("any") != 0 {
		t.Errorf("%d lines, %v counted\n%s", n, counted("any"), log)
	}
}

// A full disk refuses births as a limit does, with one line in the log beside
// the one about the disk.
func TestAFullDiskRefusesBirthsQuietly(t *testing.T) {
	disk := faultfs.New()
	s, log, counted := gated(t, func(cfg *Config) { cfg.Dir, cfg.FS = "", disk })
	disk.SetFree(1<<20, 1<<20)
	for i := range 100 {
		if _, err := s.Login(t.Context(), local(fmt.Sprintf("user%03d", i)), "a long password", storage.Origin{}); !errors.Is(err, storage.ErrRefused) {
			t.Fatalf("login: %v", err)
		}
	}
	if n := strings.Count(log.String(), "registration rejected: no space is left"); n != 1 || strings.Count(log.String(), "level=ERROR") != 1 || counted("full") != 100 {
		t.Errorf("%d lines, %v counted\n%s", n, counted("full"), log)
	}
	disk.SetFree(1<<40, 1<<30)
}
