package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"syscall"
	"testing"

	"barid/internal/journal"
	"barid/internal/journal/faultfs"
)

// history is what a user of a journal knows over many lives of it.
type history struct {
	appended map[journal.Seq][]byte
	acked    journal.Seq // durable, as we were told
	trimmed  journal.Seq // as we were told
	trim     journal.Seq // as we asked
	lives    int
}

// check compares what a replay gave with what must be there.
func (h *history) check(l *log, last journal.Seq) error {
	if len(l.records) > 0 {
		if t := l.first - 1; t < h.trimmed || t > h.trim {
			return fmt.Errorf("replay begins with %d; trimmed up to %d, asked for %d", l.first, h.trimmed, h.trim)
		}
	}
	if last < h.acked {
		return fmt.Errorf("ends with %d, but %d was acknowledged", last, h.acked)
	}
	for i, r := range l.records {
		s := l.first + journal.Seq(i)
		if !bytes.Equal(r, h.appended[s]) {
			return fmt.Errorf("record %d is not what was appended last: %.20q", s, r)
		}
	}
	if len(l.records) == 0 && last > h.trim {
		return fmt.Errorf("ends with %d, nothing replayed, trimmed up to %d only", last, h.trim)
	}
	for s := range h.appended {
		if s > last {
			delete(h.appended, s) // gone, and its number is free
		}
	}
	h.acked = last
	return nil
}

// live opens the journal on a disk and works until the power fails or the
// steps are done. Errors other than those of the power are wrong.
func (h *history) live(fs *faultfs.FS, cfg journal.Config, random *rand.Rand, steps int) error {
	h.lives++
	l := &log{}
	j, err := journal.Open(cfg, l.take)
	if err != nil {
		return onlyPower(err)
	}
	defer j.Close()
	if err := h.check(l, j.Last()); err != nil {
		return err
	}
	for i := range steps {
		if err := h.step(j, random, i); err != nil {
			return onlyPower(err)
		}
	}
	return nil
}

func (h *history) step(j *journal.Journal, random *rand.Rand, i int) error {
	if random.Intn(8) == 0 && h.acked > 0 {
		s := h.acked - min(h.acked, journal.Seq(random.Intn(4)))
		h.trim = max(h.trim, s)
		if err := j.Trim(s); err != nil {
			return err
		}
		h.trimmed = max(h.trimmed, s)
		return nil
	}
	// Sizes that come again, so that what an earlier life left fits in.
	r := bytes.Repeat([]byte{byte(h.lives)}, []int{0, 8, 600, 1900}[random.Intn(4)])
	copy(r, fmt.Sprintf("%d/%d", h.lives, i))
	s, err := j.Append(r)
	if err != nil {
		return err
	}
	h.appended[s] = r
	if random.Intn(3) > 0 {
		if err := j.Wait(s); err != nil {
			return err
		}
		h.acked = s
	}
	return nil
}

func onlyPower(err error) error {
	if errors.Is(err, faultfs.ErrPower) {
		return nil
	}
	return err
}

// Whatever the power does, what was acknowledged is there, what was not is
// there as a whole or not at all, and nothing comes from an earlier lap or
// life.
func TestAcknowledgedRecordsSurvivePowerCuts(t *testing.T) {
	for seed := range int64(1500) {
		random := rand.New(rand.NewSource(seed))
		fs := faultfs.New()
		h := &history{appended: map[journal.Seq][]byte{}}
		for range 6 {
			cfg := journal.Config{FS: fs, Dir: "journal", SegmentSize: 4096}
			fs.StopAt(1 + random.Intn(60))
			if err := h.live(fs, cfg, random, 40); err != nil {
				t.Fatalf("seed %d, life %d: %v", seed, h.lives, err)
			}
			fs = fs.Cut(random)
		}
	}
}

// The same with the cut at every single operation of one life, and many
// outcomes of each.
func TestACutAtEveryOperation(t *testing.T) {
	for n := 1; ; n++ {
		fs := faultfs.New()
		cfg := journal.Config{FS: fs, Dir: "journal", SegmentSize: 4096}
		h := &history{appended: map[journal.Seq][]byte{}}
		fs.StopAt(n)
		if err := h.live(fs, cfg, rand.New(rand.NewSource(1)), 60); err != nil {
			t.Fatalf("operation %d: %v", n, err)
		}
		if fs.Ops() < n {
			if n < 60 {
				t.Fatalf("only %d operations", n)
			}
			return
		}
		for seed := range int64(12) {
			after := *h
			after.appended = map[journal.Seq][]byte{}
			for s, r := range h.appended {
				after.appended[s] = r
			}
			cfg.FS = fs.Cut(rand.New(rand.NewSource(seed)))
			if err := after.live(nil, cfg, rand.New(rand.NewSource(seed)), 3); err != nil {
				t.Fatalf("operation %d %v, outcome %d: %v", n, fs.Log()[n-1], seed, err)
			}
		}
	}
}

// A crash of the process alone leaves everything that was written, flushed or
// not, and a cut of the power right after the restart takes nothing of what
// the restart saw.
func TestWhatARestartSawIsDurable(t *testing.T) {
	for seed := range int64(300) {
		random := rand.New(rand.NewSource(seed))
		fs := faultfs.New()
		h := &history{appended: map[journal.Seq][]byte{}}
		cfg := journal.Config{FS: fs, Dir: "journal", SegmentSize: 4096}
		n := 20 + random.Intn(40)
		fs.FailAt(n, syscall.EIO) // ends the first life with something not flushed
		if err := h.live(fs, cfg, random, 40); err != nil && !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		if fs.Log()[min(n, fs.Ops())-1].Kind == faultfs.Datasync {
			continue // a failed flush loses what the restart sees; no file system tells
		}
		if err := h.live(fs, cfg, random, 0); err != nil {
			t.Fatalf("seed %d, restart: %v", seed, err)
		}
		cfg.FS = fs.Cut(random)
		if err := h.live(nil, cfg, random, 3); err != nil {
			t.Fatalf("seed %d, after the cut: %v", seed, err)
		}
	}
}

// Without sync a cut may cost anything, but the log opens again, what it gives
// is a piece without holes of what was appended, and numbers go on.
func TestWithoutSyncACutCostsRecordsButNotTheLog(t *testing.T) {
	for seed := range int64(500) {
		random := rand.New(rand.NewSource(seed))
		fs := faultfs.New()
		h := &history{appended: map[journal.Seq][]byte{}}
		cfg := journal.Config{FS: fs, Dir: "journal", SegmentSize: 4096, NoSync: true}
		fs.StopAt(20 + random.Intn(60))
		if err := h.live(fs, cfg, random, 60); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		cfg.FS = fs.Cut(random)
		cfg.NoSync = seed%2 == 0
		l := &log{}
		j, err := journal.Open(cfg, l.take)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for i, r := range l.records {
			if !bytes.Equal(r, h.appended[l.first+journal.Seq(i)]) {
				t.Fatalf("seed %d: record %d is not what was appended", seed, l.first+journal.Seq(i))
			}
		}
		s := add(t, j, []byte("on"))
		mustClose(t, j)
		l = &log{}
		j, err = journal.Open(cfg, l.take)
		if err != nil || j.Last() != s || string(l.records[len(l.records)-1]) != "on" {
			t.Fatalf("seed %d: ends with %d, want %d, %v", seed, j.Last(), s, err)
		}
		mustClose(t, j)
	}
}

// Records of one transaction are one record: one torn sector takes all of it.
func TestARecordHappensAsAWholeOrNotAtAll(t *testing.T) {
	kept, lost := 0, 0
	for seed := range int64(200) {
		random := rand.New(rand.NewSource(seed))
		fs := faultfs.New()
		j, _ := open(t, fs)
		add(t, j, record(1, 10))
		j.Idle()
		fs.StopAt(fs.Ops() + 2) // the flush of what follows
		big := record(2, 4000)
		s, err := j.Append(big[:1000], big[1000:])
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Wait(s); !errors.Is(err, faultfs.ErrPower) {
			t.Fatal(err)
		}
		j, got := open(t, fs.Cut(random))
		switch {
		case len(got.records) == 1:
			lost++
		case len(got.records) == 2 && bytes.Equal(got.records[1], big):
			kept++
		default:
			t.Fatalf("seed %d: %d records", seed, len(got.records))
		}
		j.Close()
	}
	if kept == 0 || lost == 0 {
		t.Errorf("kept %d, lost %d: the disk is too kind or too unkind", kept, lost)
	}
}

// A mark that could not be flushed frees nothing.
func TestNoSegmentIsReusedBeforeTheMarkIsFlushed(t *testing.T) {
	fs := faultfs.New()
	j, _ := open(t, fs)
	for n := range 9 { // two to a segment
		add(t, j, record(n, 3500))
	}
	used := slices.ContainsFunc(fs.Log(), func(op faultfs.Op) bool {
		return op.Kind == faultfs.Write && op.Name == "journal/seg-00000004"
	})
	if !used {
		t.Fatal("the fifth segment is not in use")
	}
	blocked, release := make(chan struct{}), make(chan struct{})
	fs.OnFlush(func(op faultfs.Op) {
		if op.Kind == faultfs.Datasync && op.Name == "journal/mark.new" { // as it was made
			close(blocked)
			<-release
		}
	})
	done := make(chan error)
	go func() { done <- j.Trim(8) }()
	<-blocked
	before := fs.Ops()
	for n := range 8 { // meanwhile work goes on, in new segments
		add(t, j, record(9+n, 3500))
	}
	for _, op := range fs.Log()[before:] {
		if op.Kind == faultfs.Write && op.Name < "journal/seg-00000004" {
			t.Errorf("%s was written before the mark was flushed", op.Name)
		}
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
	j, got := open(t, fs.Cut(rand.New(rand.NewSource(1))))
	defer j.Close()
	if len(got.records) != 9 || got.first != 9 {
		t.Errorf("%d records from %d", len(got.records), got.first)
	}

	fs = faultfs.New()
	j, _ = open(t, fs)
	for n := range 9 {
		add(t, j, record(n, 3500))
	}
	j.Idle()
	fs.FailAt(fs.Ops()+2, syscall.EIO) // write of the mark, then its flush
	if err := j.Trim(8); !errors.Is(err, journal.ErrFailed) || !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	j.Close()
	j, got = open(t, fs.Cut(rand.New(rand.NewSource(1))))
	defer j.Close()
	if len(got.records) != 9 {
		t.Errorf("%d records after a trim that failed", len(got.records))
	}
}
