package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"barid/internal/journal"
	"barid/internal/journal/faultfs"
)

// log is what a replay gave.
type log struct {
	first   journal.Seq
	records [][]byte
}

func (l *log) take(s journal.Seq, record []byte) error {
	if len(l.records) == 0 {
		l.first = s
	}
	if s != l.first+journal.Seq(len(l.records)) {
		return fmt.Errorf("replayed %d after %d records from %d", s, len(l.records), l.first)
	}
	l.records = append(l.records, bytes.Clone(record))
	return nil
}

func config(fs journal.FS) journal.Config {
	return journal.Config{FS: fs, Dir: "journal", SegmentSize: 8192}
}

func open(t *testing.T, fs journal.FS) (*journal.Journal, *log) {
	t.Helper()
	l := &log{}
	j, err := journal.Open(config(fs), l.take)
	if err != nil {
		t.Fatal(err)
	}
	return j, l
}

func add(t *testing.T, j *journal.Journal, record []byte) journal.Seq {
	t.Helper()
	s, err := j.Append(record)
	if err == nil {
		err = j.Wait(s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustClose(t *testing.T, j *journal.Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// record gives octets that tell number and length.
func record(n, size int) []byte {
	b := bytes.Repeat([]byte{byte(n)}, size)
	copy(b, fmt.Sprintf("record %d ", n))
	return b
}

func TestReplayGivesWhatWasAppended(t *testing.T) {
	for _, fs := range []journal.FS{faultfs.New(), realDisk(t)} {
		j, _ := open(t, fs)
		var want [][]byte
		for i := range 60 {
			r := record(i, i*37%3000)
			want = append(want, r)
			s, err := j.Append(r[:len(r)/2], nil, r[len(r)/2:])
			if err != nil || s != journal.Seq(i+1) {
				t.Fatalf("append %d gives %d, %v", i, s, err)
			}
			if i%3 == 0 {
				if err := j.Wait(s); err != nil || j.Durable() != s {
					t.Fatal(err, j.Durable(), s)
				}
			}
		}
		mustClose(t, j)
		j, got := open(t, fs)
		if !slices.EqualFunc(got.records, want, bytes.Equal) {
			t.Fatalf("%d records, want %d", len(got.records), len(want))
		}
		if j.Last() != 60 || j.Durable() != 60 {
			t.Fatal(j.Last(), j.Durable())
		}
		mustClose(t, j)
	}
}

func realDisk(t *testing.T) journal.FS {
	fs, err := journal.OpenFS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fs.Close() })
	return fs
}

func TestTrimmedRecordsDoNotComeBackAndSegmentsAreReused(t *testing.T) {
	fs := faultfs.New()
	j, _ := open(t, fs)
	n := 0
	for range 100 {
		for range 5 {
			n++
			add(t, j, record(n, 1500))
		}
		if err := j.Trim(journal.Seq(n - 2)); err != nil {
			t.Fatal(err)
		}
	}
	if size := j.Size(); size < 2*1500 || size > 64<<10+5*1600 {
		t.Errorf("size %d", size)
	}
	if err := j.Trim(journal.Seq(n)); err != nil || j.Size() != 0 {
		t.Errorf("size %d after everything was trimmed, %v", j.Size(), err)
	}
	n++
	add(t, j, record(n, 10))
	mustClose(t, j)
	entries, err := fs.ReadDir("journal")
	if err != nil || len(entries) > 7 {
		t.Errorf("%d files, %v", len(entries), err)
	}
	j, got := open(t, fs)
	defer j.Close()
	if len(got.records) != 1 || got.first != journal.Seq(n) || !bytes.Equal(got.records[0], record(n, 10)) {
		t.Errorf("%d records from %d, want one, %d", len(got.records), got.first, n)
	}
}

func TestSixteenWritersShareFlushes(t *testing.T) {
	fs := faultfs.New()
	// A flush takes time, in which others append.
	synctest.Test(t, func(t *testing.T) {
		j, _ := open(t, fs)
		before := fs.Count(faultfs.Datasync)
		var wg sync.WaitGroup
		start := make(chan struct{})
		for w := range 16 {
			wg.Go(func() {
				<-start
				for i := range 10 {
					s, err := j.Append(record(w*10+i, 10))
					if err == nil {
						err = j.Wait(s)
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		gate := make(chan struct{})
		fs.OnFlush(func(op faultfs.Op) {
			if op.Kind == faultfs.Datasync {
				<-gate
			}
		})
		close(start)
		for j.Durable() < 160 {
			synctest.Wait() // all others wait behind the one that flushes
			gate <- struct{}{}
			synctest.Wait()
		}
		wg.Wait()
		fs.OnFlush(nil)
		if n := fs.Count(faultfs.Datasync) - before; n > 40 {
			t.Errorf("%d flushes for 160 records of 16 writers", n)
		}
		mustClose(t, j)
	})
}

func TestAFullDiskRefusesRecordsAndRecovers(t *testing.T) {
	fs := faultfs.New()
	j, _ := open(t, fs)
	add(t, j, record(1, 3000)) // the spare segment is being made
	fs.SetFree(100, 100)
	n := 1
	for {
		s, err := j.Append(record(n+1, 3000))
		if errors.Is(err, journal.ErrNoSpace) {
			break
		}
		if err != nil || n > 10 {
			t.Fatal(n, err)
		}
		n++
		if err := j.Wait(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Trim(journal.Seq(n - 1)); err != nil {
		t.Fatal(err)
	}
	fs.SetFree(1<<30, 100)
	n++
	if s := add(t, j, record(n, 3000)); s != journal.Seq(n) {
		t.Errorf("number %d after a refusal, want %d", s, n)
	}
	mustClose(t, j)
	j, got := open(t, fs)
	defer j.Close()
	if len(got.records) != 2 || !bytes.Equal(got.records[1], record(n, 3000)) {
		t.Errorf("%d records", len(got.records))
	}
}

// A disk that fills up while a segment is made is no failure of the journal;
// one that cannot write is.
func TestASegmentThatCannotBeMade(t *testing.T) {
	for n := 1; n <= 4; n++ { // create, write, flush of content, flush of the name
		for cause, want := range map[error]error{syscall.ENOSPC: journal.ErrNoSpace, syscall.EIO: journal.ErrFailed} {
			fs := faultfs.New()
			j, _ := open(t, fs)
			fs.FailAt(fs.Ops()+n, cause)
			_, err := j.Append([]byte("first"))
			if n == 1 && cause == syscall.EIO {
				want = cause // no file was made, nothing was written
			}
			if !errors.Is(err, want) || !errors.Is(err, cause) {
				t.Errorf("operation %d, %v: %v", n, cause, err)
			}
			if want == journal.ErrFailed {
				if _, err = j.Append([]byte("again")); !errors.Is(err, journal.ErrFailed) {
					t.Errorf("operation %d, %v, then %v", n, cause, err)
				}
				j.Close()
				continue
			}
			if s := add(t, j, []byte("again")); s != 1 {
				t.Errorf("operation %d: number %d", n, s)
			}
			mustClose(t, j)
			if j, got := open(t, fs); len(got.records) != 1 || string(got.records[0]) != "again" {
				t.Errorf("operation %d: %q", n, got.records)
			} else {
				mustClose(t, j)
			}
		}
	}
}

func TestAFailedFlushIsTheEndOfWriting(t *testing.T) {
	for _, kind := range []faultfs.Kind{faultfs.Write, faultfs.Datasync} {
		fs := faultfs.New()
		j, _ := open(t, fs)
		first := add(t, j, record(1, 100))
		j.Idle()
		n := fs.Ops() + 1
		if kind == faultfs.Datasync {
			n++
		}
		fs.FailAt(n, syscall.EIO)
		s, err := j.Append(record(2, 100))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 { // nor does a second flush change it
			if err := j.Wait(s); !errors.Is(err, journal.ErrFailed) || !errors.Is(err, syscall.EIO) {
				t.Errorf("%s: wait gives %v", kind, err)
			}
			if _, err := j.Append(nil); !errors.Is(err, journal.ErrFailed) {
				t.Errorf("%s: append gives %v", kind, err)
			}
			if err := j.Trim(first); !errors.Is(err, journal.ErrFailed) {
				t.Errorf("%s: trim gives %v", kind, err)
			}
		}
		if got := fs.Log()[n-1].Kind; got != kind {
			t.Errorf("%s: failed was %s", kind, got)
		}
		if fs.Ops() != n {
			t.Errorf("%s: operations after the failure: %v", kind, fs.Log()[n:])
		}
		if err := j.Wait(first); err != nil {
			t.Errorf("%s: what was durable is so no more: %v", kind, err)
		}
		if err := j.Close(); !errors.Is(err, journal.ErrFailed) {
			t.Errorf("%s: close gives %v", kind, err)
		}
	}
}
