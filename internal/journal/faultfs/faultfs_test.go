package faultfs_test

import (
	"errors"
	"io"
	"io/fs"
	"math/rand"
	"os"
	"strings"
	"syscall"
	"testing"

	"barid/internal/journal/faultfs"
)

func write(t *testing.T, d *faultfs.FS, name, content string, sync bool) {
	t.Helper()
	f, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE)
	if err == nil {
		_, err = f.WriteAt([]byte(content), 0)
	}
	if err == nil && sync {
		err = f.Datasync()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func read(d *faultfs.FS, name string) string {
	f, err := d.OpenFile(name, os.O_RDONLY)
	if err != nil {
		return "(missing)"
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// outcomes collects what is in a file after many cuts.
func outcomes(d *faultfs.FS, name string) map[string]int {
	seen := map[string]int{}
	for seed := range int64(200) {
		seen[read(d.Cut(rand.New(rand.NewSource(seed))), name)]++
	}
	return seen
}

func TestWhatIsFlushedStays(t *testing.T) {
	d := faultfs.New()
	write(t, d, "x", "content", true)
	if err := d.SyncDir("."); err != nil {
		t.Fatal(err)
	}
	if seen := outcomes(d, "x"); seen["content"] != 200 {
		t.Error(seen)
	}
}

func TestWhatIsNotFlushedIsLostKeptOrTorn(t *testing.T) {
	d := faultfs.New()
	old, young := strings.Repeat("o", 1024), strings.Repeat("y", 1024)
	write(t, d, "x", old, true)
	if err := d.SyncFS(); err != nil {
		t.Fatal(err)
	}
	write(t, d, "x", young, false)
	seen := outcomes(d, "x")
	for _, want := range []string{old, young, old[:512] + young[512:], young[:512] + old[512:]} {
		if seen[want] == 0 {
			t.Errorf("never %q", want[511:513])
		}
	}
	if len(seen) != 4 {
		t.Errorf("%d outcomes", len(seen))
	}
}

func TestANameNeedsItsOwnFlush(t *testing.T) {
	d := faultfs.New()
	write(t, d, "x", "content", true)
	if seen := outcomes(d, "x"); seen["(missing)"] == 0 || seen["content"] == 0 || len(seen) != 2 {
		t.Error(seen)
	}
}

func TestARenameIsOneChange(t *testing.T) {
	d := faultfs.New()
	write(t, d, "x", "content", true)
	if err := d.SyncFS(); err != nil {
		t.Fatal(err)
	}
	if err := d.Rename("x", "y"); err != nil {
		t.Fatal(err)
	}
	for seed := range int64(50) {
		c := d.Cut(rand.New(rand.NewSource(seed)))
		if x, y := read(c, "x"), read(c, "y"); x == y {
			t.Fatalf("seed %d: x %s, y %s", seed, x, y)
		}
	}
}

func TestAFailedFlushLosesContentForGood(t *testing.T) {
	d := faultfs.New()
	write(t, d, "x", "old", true)
	if err := d.SyncFS(); err != nil {
		t.Fatal(err)
	}
	d.FailAt(d.Ops()+2, syscall.EIO)
	f, err := d.OpenFile("x", os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("new"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Datasync(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if err := f.Datasync(); err != nil || read(d, "x") != "new" {
		t.Fatal(err)
	}
	if seen := outcomes(d, "x"); seen["old"] != 200 {
		t.Error(seen)
	}
}

func TestRenameBetweenTwoLinksDoesNothing(t *testing.T) {
	d := faultfs.New()
	write(t, d, "x", "content", true)
	if err := d.Link("x", "y"); err != nil {
		t.Fatal(err)
	}
	if err := d.Rename("x", "y"); err != nil {
		t.Fatal(err)
	}
	if read(d, "x") != "content" || read(d, "y") != "content" {
		t.Error("a name went")
	}
}

func TestNothingWorksWithoutPower(t *testing.T) {
	d := faultfs.New()
	write(t, d, "x", "content", true)
	d.StopAt(d.Ops() + 1)
	if err := d.Mkdir("a"); !errors.Is(err, faultfs.ErrPower) {
		t.Error(err)
	}
	if _, err := d.Stat("x"); !errors.Is(err, faultfs.ErrPower) {
		t.Error(err)
	}
	if _, err := d.OpenFile("x", os.O_RDONLY); !errors.Is(err, faultfs.ErrPower) {
		t.Error(err)
	}
}

func TestErrorsAreThoseOfADisk(t *testing.T) {
	d := faultfs.New()
	write(t, d, "x", "", false)
	if err := d.Mkdir("a"); err != nil {
		t.Fatal(err)
	}
	write(t, d, "a/y", "", false)
	_, missing := d.Stat("z")
	_, through := d.Stat("x/y")
	_, exists := d.OpenFile("x", os.O_RDWR|os.O_CREATE|os.O_EXCL)
	for _, c := range []struct{ got, want error }{
		{missing, fs.ErrNotExist},
		{through, syscall.ENOTDIR},
		{exists, fs.ErrExist},
		{d.Mkdir("x"), fs.ErrExist},
		{d.Mkdir("b/c"), fs.ErrNotExist},
		{d.Remove("a"), syscall.ENOTEMPTY},
		{d.Remove("z"), fs.ErrNotExist},
		{d.Rename("z", "x"), fs.ErrNotExist},
		{d.Rename("x", "a"), syscall.EISDIR},
		{d.Link("x", "a/y"), fs.ErrExist},
		{d.Link("a", "b"), syscall.EPERM},
		{d.RemoveAll("z"), nil},
		{d.RemoveAll("a"), nil},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%v, want %v", c.got, c.want)
		}
	}
}
