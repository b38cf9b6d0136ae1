package app

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"barid/internal/config"
)

// What root writes into the data directory of another user, while no relay
// runs, can be opened by the relay when that user starts it.
func TestRootLeavesTheStoreToItsOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can write what the owner cannot open")
	}
	const nobody = 65534
	cfg := config.Default("relay.test")
	cfg.DataDir = t.TempDir()
	account := filepath.Join(cfg.DataDir, "mail", "relay.test", "alicealic@relay.test")
	if err := os.MkdirAll(filepath.Join(account, "cur"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"password": "{PLAIN}x", "cur/1775324677.M1P1.exam,S=5:2,S": "hello", "barid-mailbox": "garbage"} {
		if err := os.WriteFile(filepath.Join(account, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stray := filepath.Join(cfg.DataDir, "operators-notes")
	if err := os.WriteFile(stray, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	every := func(f func(path string) error) {
		t.Helper()
		if err := filepath.WalkDir(cfg.DataDir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || path == stray {
				return err
			}
			return f(path)
		}); err != nil {
			t.Fatal(err)
		}
	}
	every(func(path string) error { return os.Lchown(path, nobody, nobody) })
	found := 0
	err := CheckStoppedStore(t.Context(), cfg, StoreCheck{Repair: true}, func(l StoreLine) error {
		if l.Repaired {
			found++
		}
		return nil
	})
	if err != nil || found == 0 {
		t.Fatalf("%d repaired, %v", found, err)
	}
	if err := SettleStoppedStore(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	files := 0
	every(func(path string) error {
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		files++
		if st := info.Sys().(*syscall.Stat_t); st.Uid != nobody || st.Gid != nobody {
			t.Errorf("%s belongs to %d:%d", path, st.Uid, st.Gid)
		}
		return nil
	})
	if files < 15 {
		t.Errorf("%d files", files)
	}
	if info, err := os.Lstat(stray); err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("what is not the relay's: %v, %v", info, err)
	}
}
