package maildir_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand"
	"os"
	"strings"
	"syscall"
	"testing"

	"barid/internal/journal"
	"barid/internal/journal/faultfs"
	"barid/storage/maildir"
)

// dirs gives a mailbox on a disk in memory, and one on the real disk.
func dirs(t *testing.T) map[string]maildir.Dir {
	t.Helper()
	real, err := journal.OpenFS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { real.Close() })
	all := map[string]maildir.Dir{"memory": maildir.At(faultfs.New(), "a"), "disk": maildir.At(real, "a")}
	for _, d := range all {
		if err := d.Make(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func content(d maildir.Dir, sub, name string) (string, error) {
	c, err := d.Open(sub, name, 1<<30)
	if err != nil {
		return "", err
	}
	defer c.Close()
	b, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
	if err == nil && int64(len(b)) != c.Size() {
		err = io.ErrUnexpectedEOF
	}
	return string(b), err
}

func want(t *testing.T, d maildir.Dir, sub, name, text string) {
	t.Helper()
	if got, err := content(d, sub, name); err != nil || got != text {
		t.Errorf("%s/%s: %d octets, want %d, %v", sub, name, len(got), len(text), err)
	}
}

// tmpNames are names that some test could leave in tmp.
var tmpNames = []string{"1.x", "1.x:2,", "2.y:2,S", "1.a:2,S", "2.b"}

// list gives "sub/name" of all message files, and of what is left in tmp.
func list(t *testing.T, d maildir.Dir) map[string]bool {
	t.Helper()
	files, err := d.List()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, name := range tmpNames {
		if _, err := d.Stat(maildir.Tmp, name); err == nil {
			names["tmp/"+name] = true
		}
	}
	for _, f := range files {
		names[f.Sub+"/"+f.Name] = true
	}
	return names
}

func noise(n int) string {
	b := make([]byte, n)
	rand.New(rand.NewSource(int64(n))).Read(b)
	return string(b)
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	texts := map[string]string{
		"empty":                  "",
		"small":                  "Subject: x\r\n\r\nhello\r\n",
		"saves a block":          strings.Repeat("abcdefgh", 640),
		"saves nothing":          noise(5000),
		"large":                  strings.Repeat("a line of text\r\n", 100_000),
		"large noise":            noise(400_000),
		"looks like gzip":        "\x1f\x8b and no more",
		"one octet of the magic": "\x1f",
	}
	for where, d := range dirs(t) {
		for name, text := range texts {
			for _, compress := range []bool{false, true} {
				file := fmt.Sprintf("1.%s,S=%d:2,", strings.ReplaceAll(name, " ", ""), len(text))
				if err := d.Write(maildir.Cur, file, strings.NewReader(text), compress); err != nil {
					t.Fatalf("%s, %s: %v", where, name, err)
				}
				want(t, d, maildir.Cur, file, text)
				if err := d.Move(maildir.Cur, file, maildir.New, "1.untold"); err != nil {
					t.Fatal(err)
				}
				want(t, d, maildir.New, "1.untold", text) // and without a size in the name
			}
		}
	}
}

func TestCompressionIsKeptWhereItSavesABlock(t *testing.T) {
	d := dirs(t)["disk"]
	for text, saves := range map[string]bool{
		strings.Repeat("abcdefgh", 640): true,  // 5120 octets
		strings.Repeat("abcdefgh", 512): false, // 4096: one block either way
		noise(5000):                     false,
	} {
		name := fmt.Sprintf("1.x,S=%d:2,", len(text))
		if err := d.Write(maildir.Cur, name, strings.NewReader(text), true); err != nil {
			t.Fatal(err)
		}
		info, err := d.Stat(maildir.Cur, name)
		if err != nil || (info.Size() < int64(len(text))) != saves {
			t.Errorf("%d octets became %d, %v", len(text), info.Size(), err)
		}
	}
}

func TestLargeCompressedContentIsReadInPieces(t *testing.T) {
	d := dirs(t)["disk"]
	text := []byte(strings.Repeat("0123456789abcdef", 1<<16))
	name := fmt.Sprintf("1.x,S=%d:2,", len(text))
	if err := d.Write(maildir.Cur, name, bytes.NewReader(text), true); err != nil {
		t.Fatal(err)
	}
	c, err := d.Open(maildir.Cur, name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	random := rand.New(rand.NewSource(1))
	for range 50 {
		off, b := random.Intn(len(text)), make([]byte, random.Intn(5000))
		n, err := c.ReadAt(b, int64(off))
		end := min(off+len(b), len(text))
		if n != end-off || (n < len(b)) != (err == io.EOF) || !bytes.Equal(b[:n], text[off:end]) {
			t.Fatalf("at %d, %d octets: %d, %v", off, len(b), n, err)
		}
	}
	if _, err := c.ReadAt(make([]byte, 1), int64(len(text))); err != io.EOF {
		t.Error(err)
	}
	if _, err := c.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("read before the beginning")
	}
}

// raw puts octets into a file as they are.
func raw(t *testing.T, fsys journal.FS, name string, b []byte) {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
}

func zipped(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.Bytes()
}

// Whoever passes over what is broken does not do so for a disk that could not
// read it this once.
func TestOnlyWhatTheNextTryMeetsAgainIsLasting(t *testing.T) {
	for err, want := range map[error]bool{
		nil:               false,
		syscall.EIO:       false,
		fs.ErrNotExist:    false,
		maildir.ErrBroken: true,
		fmt.Errorf("open: %w", maildir.ErrTooLarge):                              true,
		fmt.Errorf("%w: %w", maildir.ErrBroken, io.ErrUnexpectedEOF):             true,
		fmt.Errorf("%w: %w", maildir.ErrBroken, syscall.EIO):                     false,
		fmt.Errorf("%w: %w", maildir.ErrBroken, &fs.PathError{Err: syscall.EIO}): false,
	} {
		if maildir.Lasting(err) != want {
			t.Errorf("%v: lasting is %v", err, !want)
		}
	}
}

func TestInflatingIsBounded(t *testing.T) {
	fsys := faultfs.New()
	d := maildir.At(fsys, "")
	if err := d.Make(); err != nil {
		t.Fatal(err)
	}
	bomb := zipped(strings.Repeat("\x00", 10<<20))
	half := zipped(noise(2000))
	half = half[:1000]
	for _, c := range []struct {
		name string
		b    []byte
		max  int64
		want error
	}{
		{"1.bomb", bomb, 1 << 20, maildir.ErrTooLarge},
		{"1.bomb,S=100", bomb, 1 << 20, maildir.ErrTooLarge},
		{"1.bomb,S=20000000", bomb, 1 << 20, maildir.ErrTooLarge},
		{"1.short,S=100", zipped("short"), 1 << 20, maildir.ErrBroken},
		{"1.long,S=5", zipped("too long"), 1 << 20, maildir.ErrTooLarge},
		{"1.half", half, 1 << 20, maildir.ErrBroken},
		{"1.magic", []byte("\x1f\x8b"), 1 << 20, maildir.ErrBroken},
		{"1.plain", make([]byte, 100), 99, maildir.ErrTooLarge},
		{"1.plain", make([]byte, 100), 100, nil},
		{"1.bomb", bomb, 10 << 20, nil},
		{"1.bomb,S=10485760", bomb, 10 << 20, nil},
		{"1.parts,S=10", append(zipped("01234"), zipped("56789")...), 100, nil},
	} {
		raw(t, fsys, "cur/"+c.name, c.b)
		f, err := d.Open(maildir.Cur, c.name, c.max)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s, at most %d: %v", c.name, c.max, err)
		}
		if err == nil {
			f.Close()
		}
	}
	// A large one whose end is missing is found out when it is read.
	text := noise(300_000)
	raw(t, fsys, "cur/1.cut,S=300000", zipped(text)[:200_000])
	if got, err := content(d, maildir.Cur, "1.cut,S=300000"); !errors.Is(err, maildir.ErrBroken) {
		t.Errorf("%d octets, %v", len(got), err)
	}
}

// What inflates is used again: nothing of one file shows in another, be the
// other broken, half read or open at the same time.
func TestFilesThatInflateOneAfterAnotherAreApart(t *testing.T) {
	fsys := faultfs.New()
	d := maildir.At(fsys, "")
	if err := d.Make(); err != nil {
		t.Fatal(err)
	}
	large, small := noise(400_000), noise(5000)
	raw(t, fsys, "cur/1.large,S=400000", zipped(large))
	raw(t, fsys, "cur/2.small,S=5000", zipped(small))
	raw(t, fsys, "cur/3.broken,S=5000", zipped(small)[:3000])
	for range 3 {
		open, err := d.Open(maildir.Cur, "1.large,S=400000", 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1000)
		for _, off := range []int64{0, 300_000, 200_000} {
			want(t, d, maildir.Cur, "2.small,S=5000", small)
			if _, err := content(d, maildir.Cur, "3.broken,S=5000"); !errors.Is(err, maildir.ErrBroken) {
				t.Fatal(err)
			}
			if _, err := open.ReadAt(b, off); err != nil || string(b) != large[off:off+1000] {
				t.Fatal(err)
			}
		}
		if err := open.Close(); err != nil { // half read
			t.Fatal(err)
		}
		want(t, d, maildir.Cur, "1.large,S=400000", large)
	}
}

func TestALinkIsTheSameMessage(t *testing.T) {
	for where, d := range dirs(t) {
		if err := d.Write(maildir.Cur, "1.x:2,", strings.NewReader("hello"), false); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time over the first, which is the same file
			if err := d.Link(d, maildir.Cur, "1.x:2,", maildir.Cur, "2.y:2,S"); err != nil {
				t.Fatalf("%s: %v", where, err)
			}
		}
		want(t, d, maildir.Cur, "2.y:2,S", "hello")
		if err := d.Move(maildir.Cur, "1.x:2,", maildir.Cur, "2.y:2,S"); err != nil {
			t.Fatal(err)
		}
		if got := list(t, d); len(got) != 1 || !got["cur/2.y:2,S"] {
			t.Errorf("%s: %v", where, got)
		}
		if err := d.Move(maildir.Cur, "2.y:2,S", maildir.Cur, "2.y:2,S"); err != nil {
			t.Fatal(err)
		}
		want(t, d, maildir.Cur, "2.y:2,S", "hello")
	}
}

// Nothing may stay in tmp, and a name that a crash left there is no hindrance,
// nor written into: it may be a link to another mailbox's message.
func TestWhatACrashLeftInTmpIsReplacedNotWrittenTo(t *testing.T) {
	fsys := faultfs.New()
	d := maildir.At(fsys, "a")
	if err := d.Make(); err != nil {
		t.Fatal(err)
	}
	if err := d.Write(maildir.Cur, "1.x", strings.NewReader("first"), false); err != nil {
		t.Fatal(err)
	}
	steps := []func() error{
		func() error { return d.Write(maildir.Cur, "2.y", strings.NewReader("second"), false) },
		func() error { return d.Link(d, maildir.Cur, "2.y", maildir.Cur, "2.z") },
	}
	for i, name := range []string{"2.y", "2.z"} {
		if err := fsys.Link("a/cur/1.x", "a/tmp/"+name); err != nil {
			t.Fatal(err)
		}
		if err := steps[i](); err != nil {
			t.Fatal(err)
		}
		want(t, d, maildir.Cur, "1.x", "first")
		want(t, d, maildir.Cur, name, "second")
		if left, err := fsys.ReadDir("a/tmp"); err != nil || len(left) != 0 {
			t.Errorf("left in tmp: %v, %v", left, err)
		}
	}
}

func TestWhereNoLinkCanBeTheMessageIsCopied(t *testing.T) {
	for _, why := range []error{syscall.EMLINK, syscall.EPERM, syscall.EXDEV} {
		fsys := faultfs.New()
		d := maildir.At(fsys, "a")
		if err := d.Make(); err != nil {
			t.Fatal(err)
		}
		if err := d.Write(maildir.Cur, "1.x", strings.NewReader(strings.Repeat("abcdefgh", 640)), true); err != nil {
			t.Fatal(err)
		}
		fsys.FailAt(fsys.Ops()+1, why)
		if err := d.Link(d, maildir.Cur, "1.x", maildir.Cur, "2.y"); err != nil {
			t.Fatalf("%v: %v", why, err)
		}
		want(t, d, maildir.Cur, "2.y", strings.Repeat("abcdefgh", 640))
		if fsys.Count(faultfs.Link) != 1 {
			t.Error("linked after all")
		}
	}
	fsys := faultfs.New()
	d := maildir.At(fsys, "a")
	if err := d.Make(); err != nil {
		t.Fatal(err)
	}
	if err := d.Link(d, maildir.Cur, "gone", maildir.Cur, "2.y"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Whatever operation fails, either the file is there as a whole or it is not
// there; and the next try succeeds.
func TestAFailedWriteLeavesNothing(t *testing.T) {
	text := strings.Repeat("a line of text\r\n", 20_000)
	for n := 1; ; n++ {
		fsys := faultfs.New()
		d := maildir.At(fsys, "a")
		if err := d.Make(); err != nil {
			t.Fatal(err)
		}
		start := fsys.Ops()
		fsys.FailAt(start+n, syscall.ENOSPC)
		err := d.Write(maildir.Cur, "1.x", strings.NewReader(text), n%2 == 0)
		if fsys.Ops() < start+n {
			if err != nil || n < 4 {
				t.Fatal(n, err)
			}
			return
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("operation %d: %v", n, err)
		}
		left, _ := fsys.ReadDir("a/tmp")
		if got := list(t, d); len(got) != 0 || len(left) != 0 {
			t.Errorf("operation %d left %v and in tmp %v", n, got, left)
		}
		if err := d.Write(maildir.Cur, "1.x", strings.NewReader(text), n%2 == 0); err != nil {
			t.Fatal(err)
		}
		want(t, d, maildir.Cur, "1.x", text)
	}
}

func TestListPassesOverWhatIsNoMessage(t *testing.T) {
	for where, d := range dirs(t) {
		for _, f := range []maildir.File{{Sub: "cur", Name: "1.a:2,S"}, {Sub: "new", Name: "2.b"}, {Sub: "cur", Name: ".hidden"}} {
			if err := d.Write(f.Sub, f.Name, strings.NewReader("x"), false); err != nil {
				t.Fatal(err)
			}
		}
		sub := maildir.At(fsOf(t), "x")
		if got, err := sub.List(); err != nil || len(got) != 0 {
			t.Errorf("a directory that is not there: %v, %v", got, err)
		}
		if got := list(t, d); len(got) != 2 || !got["cur/1.a:2,S"] || !got["new/2.b"] {
			t.Errorf("%s: %v", where, got)
		}
		for range 2 {
			if err := d.Remove("new", "2.b"); err != nil {
				t.Fatal(err)
			}
			if err := d.Make(); err != nil {
				t.Fatal(err)
			}
		}
		if got := list(t, d); len(got) != 1 {
			t.Errorf("%s: %v", where, got)
		}
	}
}

func fsOf(t *testing.T) journal.FS { t.Helper(); return faultfs.New() }

func TestFoldersAreTheDirectoriesOfMailboxes(t *testing.T) {
	fsys := faultfs.New()
	for _, name := range []string{"a", "a/cur", "a/.B.C", "a/.B", "a/...", "a/.é"} {
		if err := fsys.Mkdir(name); err != nil {
			t.Fatal(err)
		}
	}
	raw(t, fsys, "a/.file", nil)
	got, err := maildir.Folders(fsys, "a")
	if err != nil || fmt.Sprint(got) != "[B B.C]" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := maildir.Folders(fsys, "none"); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}
