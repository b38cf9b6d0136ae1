package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"testing"

	"barid/internal/journal"
	"barid/internal/journal/faultfs"
)

const recordSpace = 40 + 504 // header and record of the logs below

// threeSegments gives a disk whose log has 40 records, each flushed by
// itself: 15 in each of seg-00000000 and 1, 10 in seg-00000002.
func threeSegments(t *testing.T) *faultfs.FS {
	fs := faultfs.New()
	j, _ := open(t, fs)
	for n := range 40 {
		add(t, j, record(n+1, 504))
	}
	mustClose(t, j)
	return fs
}

func overwrite(t *testing.T, fs journal.FS, segment int, off int64, with []byte) {
	t.Helper()
	f, err := fs.OpenFile(fmt.Sprintf("journal/seg-%08d", segment), os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(with, off); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, fs journal.FS, segment int, size int64) {
	t.Helper()
	f, err := fs.OpenFile(fmt.Sprintf("journal/seg-%08d", segment), os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
}

// Damage to what was acknowledged is told, with the segment, where anything
// shows it; damage behind the end is none.
func TestDamage(t *testing.T) {
	garbage := make([]byte, 300)
	rand.New(rand.NewSource(1)).Read(garbage)
	cases := []struct {
		name    string
		damage  func(t *testing.T, fs *faultfs.FS)
		replays int    // records, or
		corrupt string // the segment named
	}{
		{"none", func(*testing.T, *faultfs.FS) {}, 40, ""},
		{"garbage tail", func(t *testing.T, fs *faultfs.FS) { overwrite(t, fs, 2, 10*recordSpace, garbage) }, 40, ""},
		{"torn last record", func(t *testing.T, fs *faultfs.FS) { overwrite(t, fs, 2, 9*recordSpace+400, garbage[:50]) }, 39, ""},
		{"bad record in the middle of the last segment", func(t *testing.T, fs *faultfs.FS) {
			overwrite(t, fs, 2, 4*recordSpace+100, garbage)
		}, 0, "seg-00000002"},
		{"bad record in the first segment", func(t *testing.T, fs *faultfs.FS) {
			overwrite(t, fs, 0, 4*recordSpace+100, garbage)
		}, 0, "seg-00000001"},
		{"bad first record of the last segment", func(t *testing.T, fs *faultfs.FS) {
			overwrite(t, fs, 2, 0, garbage)
		}, 0, "seg-00000002"},
		{"length beyond the segment", func(t *testing.T, fs *faultfs.FS) {
			overwrite(t, fs, 2, 9*recordSpace+8, []byte{0xff, 0xff, 0xff, 0x7f})
		}, 39, ""},
		{"cut off behind the records", func(t *testing.T, fs *faultfs.FS) { truncate(t, fs, 2, 10*recordSpace) }, 40, ""},
		{"cut off within the last record", func(t *testing.T, fs *faultfs.FS) { truncate(t, fs, 2, 10*recordSpace-1) }, 39, ""},
		{"cut off in the middle", func(t *testing.T, fs *faultfs.FS) { truncate(t, fs, 1, 100) }, 0, "seg-00000002"},
		{"missing segment in the middle", func(t *testing.T, fs *faultfs.FS) {
			if err := fs.Remove("journal/seg-00000001"); err != nil {
				t.Fatal(err)
			}
		}, 0, "seg-00000002"},
		{"missing first segment", func(t *testing.T, fs *faultfs.FS) {
			if err := fs.Remove("journal/seg-00000000"); err != nil {
				t.Fatal(err)
			}
		}, 0, "seg-00000001"},
		{"missing mark", func(t *testing.T, fs *faultfs.FS) {
			if err := fs.Remove("journal/mark"); err != nil {
				t.Fatal(err)
			}
		}, 0, "mark"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			fs := threeSegments(t)
			c.damage(t, fs)
			l := &log{}
			j, err := journal.Open(config(fs), l.take)
			if c.corrupt != "" {
				if !errors.Is(err, journal.ErrCorrupt) || !strings.Contains(err.Error(), c.corrupt) {
					t.Fatalf("error %v, want one that names %s", err, c.corrupt)
				}
				return
			}
			if err != nil || len(l.records) != c.replays {
				t.Fatalf("%d records, want %d, %v", len(l.records), c.replays, err)
			}
			last := add(t, j, []byte("on"))
			mustClose(t, j)
			l = &log{}
			j, err = journal.Open(config(fs), l.take)
			if err != nil || j.Last() != last || len(l.records) != c.replays+1 {
				t.Fatalf("after going on: %d records, last %d, want %d, %v", len(l.records), j.Last(), last, err)
			}
			mustClose(t, j)
		})
	}
}

// One slot of the mark may be torn at any time.
func TestOneSlotOfTheMarkIsEnough(t *testing.T) {
	for slot := range 2 {
		fs := threeSegments(t)
		f, err := fs.OpenFile("journal/mark", os.O_RDWR)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(make([]byte, 30), int64(slot)*4096); err != nil {
			t.Fatal(err)
		}
		j, got := open(t, fs)
		if len(got.records) != 40 {
			t.Errorf("slot %d: %d records", slot, len(got.records))
		}
		mustClose(t, j)
	}
}

// A record of an earlier life stands exactly where the next record of this
// one would, with the right number, and still does not count.
func TestARecordOfAnEarlierLifeDoesNotCount(t *testing.T) {
	fs := faultfs.New()
	j, _ := open(t, fs)
	for n := range 3 {
		if _, err := j.Append(record(n+1, 504)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Wait(3); err != nil { // one group, of which a cut took the first
		t.Fatal(err)
	}
	j.Idle()
	mustClose(t, j)
	overwrite(t, fs, 0, 100, []byte("torn"))
	if err := fs.Remove("journal/seg-00000001"); err != nil {
		t.Fatal(err)
	}

	j, got := open(t, fs)
	if len(got.records) != 0 {
		t.Fatalf("%d records", len(got.records))
	}
	add(t, j, record(9, 504))
	mustClose(t, j)

	j, got = open(t, fs)
	defer j.Close()
	if len(got.records) != 1 || !bytes.Equal(got.records[0], record(9, 504)) {
		t.Errorf("%d records, want the one of the second life", len(got.records))
	}
}

// A segment in its second lap holds what is left of the first behind its end.
func TestARecordOfAnEarlierLapDoesNotCount(t *testing.T) {
	fs := faultfs.New()
	j, _ := open(t, fs)
	n := 0
	for fs.Count(faultfs.Create) < 3 || n < 200 {
		n++
		add(t, j, record(n, 504))
		if n%20 == 0 {
			if err := j.Trim(journal.Seq(n)); err != nil {
				t.Fatal(err)
			}
		}
		if n%7 == 0 {
			j.Close()
			var got *log
			if j, got = open(t, fs); len(got.records) != n%20 || int(j.Last()) != n {
				t.Fatalf("%d records up to %d, want %d up to %d", len(got.records), j.Last(), n%20, n)
			}
		}
	}
	mustClose(t, j)
}

func TestARecordThatIsTooLargeIsRefused(t *testing.T) {
	j, _ := open(t, faultfs.New())
	defer j.Close()
	if _, err := j.Append(make([]byte, 4096-40+1)); !errors.Is(err, journal.ErrTooLarge) {
		t.Error(err)
	}
	if s, err := j.Append(make([]byte, 4096-40)); err != nil || s != 1 {
		t.Error(s, err)
	}
	if err := j.Wait(2); err == nil {
		t.Error("waited for a record that never was")
	}
}

func TestAnErrorOfReplayEndsOpen(t *testing.T) {
	fs := threeSegments(t)
	stop := errors.New("stop")
	_, err := journal.Open(config(fs), func(s journal.Seq, _ []byte) error {
		if s == 17 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Error(err)
	}
}

func TestAClosedJournalSaysSo(t *testing.T) {
	j, _ := open(t, faultfs.New())
	s, err := j.Append([]byte("last"))
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
	if err := j.Wait(s); err != nil {
		t.Errorf("close did not flush: %v", err)
	}
	if _, err := j.Append(nil); !errors.Is(err, journal.ErrClosed) {
		t.Error(err)
	}
	if err := j.Trim(s); !errors.Is(err, journal.ErrClosed) {
		t.Error(err)
	}
	mustClose(t, j)
}

// What nobody waits for does not fill the memory.
func TestAppendWithoutWaitIsBounded(t *testing.T) {
	fs := faultfs.New()
	j, err := journal.Open(journal.Config{FS: fs, Dir: "journal"}, (&log{}).take)
	if err != nil {
		t.Fatal(err)
	}
	big := make([]byte, journal.MaxRecord)
	for range 9 {
		if _, err := j.Append(big); err != nil {
			t.Fatal(err)
		}
	}
	if j.Durable() < 3 {
		t.Errorf("only %d of 9 records of 4 MiB are written", j.Durable())
	}
	mustClose(t, j)
}
