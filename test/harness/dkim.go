package harness

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"barid/dkim"
)

// dkimKeys are the files of DKIM keys that the relays of a test process share:
// to make an RSA key takes longer than most tests.
var dkimKeys = sync.OnceValues(func() (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "barid-dkim-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if _, err := dkim.OpenKeys(dir, time.Now()); err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	names, err := os.ReadDir(dir)
	for _, n := range names {
		content, readErr := os.ReadFile(filepath.Join(dir, n.Name()))
		files[n.Name()] = content
		err = errors.Join(err, readErr)
	}
	return files, err
})

// putKeys gives a relay those keys, unless it has some.
func putKeys(t testing.TB, dataDir string) {
	t.Helper()
	dir := filepath.Join(dataDir, "dkim")
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		t.Fatalf("keys: %v", err)
	}
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		return
	} else if err != nil {
		t.Fatalf("keys: %v", err)
	}
	files, err := dkimKeys()
	if err != nil {
		t.Fatalf("keys: %v", err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatalf("keys: %v", err)
		}
	}
}
