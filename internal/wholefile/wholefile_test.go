package wholefile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file takes the place of the one before, and is ours alone.
func TestAFileTakesThePlaceOfTheOneBefore(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	for _, text := range []string{"first", "second, which is longer", ""} {
		if err := Write(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Error(info.Mode(), err)
	}
	only(t, dir, "key")
}

// What cannot be written leaves nothing behind, and the error names it.
func TestAFailureLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{taken, filepath.Join(dir, "nowhere", "key")} {
		if err := Write(path, []byte("x")); err == nil || !strings.HasPrefix(err.Error(), "write "+path+": ") {
			t.Error(err)
		}
	}
	only(t, dir, "taken")
}

func only(t *testing.T, dir, name string) {
	t.Helper()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("%v, %v", entries, err)
	}
}
