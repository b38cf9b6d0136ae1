package journal_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"barid/internal/journal"
)

func TestADirectoryHasOneHolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	release, err := journal.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := journal.Lock(dir); !errors.Is(err, journal.ErrLocked) {
		t.Errorf("a second lock gives %v", err)
	}
	release()
	release, err = journal.Lock(dir)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	release()
}

func TestTheRealDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "data")
	d, err := journal.OpenFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(d.Mkdir("a"))
	if err := d.Mkdir("a"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("mkdir twice: %v", err)
	}
	f, err := d.OpenFile("a/x", os.O_RDWR|os.O_CREATE|os.O_EXCL)
	must(err)
	_, err = f.Write([]byte("content"))
	must(err)
	must(f.Datasync())
	must(f.Close())
	must(d.Link("a/x", "a/y"))
	must(d.Rename("a/y", "a/z"))
	must(d.SyncDir("a"))
	must(d.SyncFS())
	for _, name := range []string{".", "a", "a/x"} {
		info, err := d.Stat(name)
		must(err)
		if want := os.FileMode(0o700); info.IsDir() && info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
		if !info.IsDir() && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	entries, err := d.ReadDir("a")
	if err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
	f, err = d.OpenFile("a/z", os.O_RDONLY)
	must(err)
	b := make([]byte, 20)
	if n, _ := f.ReadAt(b, 0); string(b[:n]) != "content" {
		t.Errorf("reads %q", b[:n])
	}
	must(f.Close())
	mtime := time.Unix(1_775_324_677, 0)
	must(d.(journal.Toucher).Touch("a/z", mtime))
	if info, err := d.Stat("a/x"); err != nil || !info.ModTime().Equal(mtime) {
		t.Error(info, err)
	}
	octets, inodes, err := d.Free()
	if err != nil || octets == 0 || inodes == 0 {
		t.Error(octets, inodes, err)
	}
	must(d.RemoveAll("a"))
	must(d.RemoveAll("a"))
	if _, err := d.Stat("a/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// A service manager may give any umask.
func TestModesDoNotDependOnTheUmask(t *testing.T) {
	dir := t.TempDir()
	old := syscall.Umask(0o377)
	defer syscall.Umask(old)
	d, err := journal.OpenFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Mkdir("a"); err != nil {
		t.Fatal(err)
	}
	f, err := d.OpenFile("a/x", os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, want := range map[string]os.FileMode{"a": 0o700, "a/x": 0o600} {
		if info, err := d.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

func TestNoNameLeavesTheRoot(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/data", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/secret", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../secret", dir+"/data/link"); err != nil {
		t.Fatal(err)
	}
	d, err := journal.OpenFS(dir + "/data")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, name := range []string{"../secret", "/etc/passwd", "link"} {
		if f, err := d.OpenFile(name, os.O_RDONLY); err == nil {
			t.Errorf("%s was opened", name)
			f.Close()
		}
	}
}

// Errors get logged, and directories have addresses for names.
func TestErrorsOfTheRealDiskQuoteNoAddress(t *testing.T) {
	d, err := journal.OpenFS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Mkdir("alice@relay.test"); err != nil {
		t.Fatal(err)
	}
	f, err := d.OpenFile("alice@relay.test/password", os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	const none = "alice@relay.test/none/none"
	var failed []error
	fails := func(err error) { failed = append(failed, err) }
	first := func(_ any, err error) { fails(err) }
	first(d.OpenFile(none, os.O_RDONLY))
	first(d.OpenFile(none, os.O_RDWR|os.O_CREATE))
	first(d.Stat(none))
	first(d.ReadDir(none))
	fails(d.Mkdir(none))
	fails(d.Rename(none, "alice@relay.test/x"))
	fails(d.Link(none, "alice@relay.test/x"))
	fails(d.Remove("alice@relay.test"))
	fails(d.RemoveAll("alice@relay.test/."))
	fails(d.SyncDir(none))
	fails(d.(journal.Toucher).Touch(none, time.Now()))
	first(f.ReadAt(make([]byte, 1), 0))
	first(f.WriteAt(make([]byte, 1), 0))
	first(f.Read(make([]byte, 1)))
	first(f.Write(make([]byte, 1)))
	first(f.Stat())
	fails(f.Truncate(0))
	fails(f.Datasync())
	fails(f.Close())
	for i, err := range failed {
		if err == nil {
			t.Errorf("call %d: no error", i)
		} else if strings.Contains(err.Error(), "alice") {
			t.Errorf("call %d: %v", i, err)
		}
	}
}
