package journal_test

import (
	"errors"
	"fmt"
	"math/rand"
	"os"
	"slices"
	"strings"
	"testing"

	"barid/internal/journal"
	"barid/internal/journal/faultfs"
)

// TestEveryFlushIsNeeded takes away one flush after the other and demands
// that a power cut then costs something that was promised. docs/durability.md
// lists the flushes with what each is for.
func TestEveryFlushIsNeeded(t *testing.T) {
	sites, err := faultfs.FindSites(".")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../docs/durability.md")
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| `journal.") {
			told++
		}
	}
	if told != len(sites.Names()) {
		t.Errorf("docs/durability.md tells of %d flushes of the journal, there are %d", told, len(sites.Names()))
	}
	for _, name := range sites.Names() {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(string(text), "\n| `"+name+"` |") {
				t.Errorf("docs/durability.md does not tell of it")
			}
			if how := noticed(sites, name); how != "" {
				t.Log(how)
				return
			}
			t.Error("nobody notices that it is missing: it is not needed, or a test is missing")
		})
	}
}

// noticed looks for a history that goes wrong without a flush, and tells how.
func noticed(sites *faultfs.Sites, name string) string {
	ignore := func(fs *faultfs.FS) *faultfs.FS {
		sites.Ignore(fs, name)
		return fs
	}
	if err := onlyRecordsAreFlushed(ignore(faultfs.New())); err != nil {
		return err.Error()
	}
	for seed := range int64(3000) {
		for what, drill := range map[string]func(int64, func(*faultfs.FS) *faultfs.FS) error{
			"cuts": cuts, "a kill and a cut": killAndCut, "without sync": withoutSync,
		} {
			if err := drill(seed, ignore); err != nil {
				return fmt.Sprintf("%s, seed %d: %v", what, seed, err)
			}
		}
	}
	return ""
}

// cuts is several lives, each ended by a power cut.
func cuts(seed int64, each func(*faultfs.FS) *faultfs.FS) error {
	random := rand.New(rand.NewSource(seed))
	fs := each(faultfs.New())
	h := &history{appended: map[journal.Seq][]byte{}}
	for range 6 {
		cfg := journal.Config{FS: fs, Dir: "journal", SegmentSize: 4096}
		fs.StopAt(1 + random.Intn(60))
		if err := h.live(fs, cfg, random, 40); err != nil {
			return fmt.Errorf("life %d: %w", h.lives, err)
		}
		fs = each(fs.Cut(random))
	}
	return nil
}

// killAndCut is a life that ends with its process, and one that ends with the
// power: what the second saw is promised.
func killAndCut(seed int64, each func(*faultfs.FS) *faultfs.FS) error {
	random := rand.New(rand.NewSource(seed))
	fs := each(faultfs.New())
	cfg := journal.Config{FS: fs, Dir: "journal", SegmentSize: 4096}
	h := &history{appended: map[journal.Seq][]byte{}}
	fs.StopAt(1 + random.Intn(60))
	if err := h.live(fs, cfg, random, 40); err != nil {
		return fmt.Errorf("first life: %w", err)
	}
	fs.Revive()
	if err := h.live(fs, cfg, random, random.Intn(4)); err != nil {
		return fmt.Errorf("after the kill: %w", err)
	}
	cfg.FS = each(fs.Cut(random))
	if err := h.live(nil, cfg, random, 3); err != nil {
		return fmt.Errorf("after the cut: %w", err)
	}
	return nil
}

// withoutSync is what TestWithoutSyncACutCostsRecordsButNotTheLog does.
func withoutSync(seed int64, each func(*faultfs.FS) *faultfs.FS) error {
	random := rand.New(rand.NewSource(seed))
	fs := each(faultfs.New())
	h := &history{appended: map[journal.Seq][]byte{}}
	cfg := journal.Config{FS: fs, Dir: "journal", SegmentSize: 4096, NoSync: true}
	fs.StopAt(5 + random.Intn(60))
	if err := h.live(fs, cfg, random, 60); err != nil {
		return err
	}
	fs = each(fs.Cut(random))
	// From here on with sync: what is acknowledged now stays.
	cfg.FS, cfg.NoSync = fs, false
	l := &log{}
	j, err := journal.Open(cfg, l.take)
	if err != nil {
		return err
	}
	s, err := j.Append([]byte("on"))
	if err == nil {
		err = j.Wait(s)
	}
	if err = errors.Join(err, j.Close()); err != nil {
		return err
	}
	cfg.FS = each(fs.Cut(random))
	l = &log{}
	if j, err = journal.Open(cfg, l.take); err != nil {
		return err
	}
	defer j.Close()
	if j.Last() != s || len(l.records) == 0 || string(l.records[len(l.records)-1]) != "on" {
		return fmt.Errorf("ends with %d, want %d", j.Last(), s)
	}
	return nil
}

// onlyRecordsAreFlushed demands that a segment was written to the disk before
// records go there: else the flush of the first one carries all of it, waits
// for its blocks, and meets a full disk when it may not fail any more.
func onlyRecordsAreFlushed(fs *faultfs.FS) error {
	j, err := journal.Open(journal.Config{FS: fs, Dir: "journal", SegmentSize: 64 << 10}, func(journal.Seq, []byte) error { return nil })
	if err != nil {
		return err
	}
	var most int64
	s, err := j.Append(make([]byte, 100))
	if err != nil {
		return err
	}
	j.Idle()
	fs.OnFlush(func(op faultfs.Op) {
		if n, err := fs.Unsynced(op.Name); err == nil && strings.HasPrefix(op.Name, "journal/seg-") {
			most = max(most, n)
		}
	})
	if err := errors.Join(j.Wait(s), j.Close()); err != nil {
		return err
	}
	if most > 4096 {
		return fmt.Errorf("the flush of a record of 100 octets carries %d", most)
	}
	return nil
}

// The drills above are no drills when they fail with all flushes in place.
func TestDrillsPassWithEveryFlush(t *testing.T) {
	same := func(fs *faultfs.FS) *faultfs.FS { return fs }
	for seed := range int64(500) {
		if err := errors.Join(cuts(seed, same), killAndCut(seed, same), withoutSync(seed, same)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	if err := onlyRecordsAreFlushed(faultfs.New()); err != nil {
		t.Error(err)
	}
	sites, err := faultfs.FindSites(".")
	if err != nil {
		t.Fatal(err)
	}
	fs := faultfs.New()
	var strange []string
	fs.IgnoreFlush(func(faultfs.Op) bool {
		if name := sites.Caller(); !slices.Contains(sites.Names(), name) {
			strange = append(strange, name)
		}
		return false
	})
	if err := cuts(1, func(*faultfs.FS) *faultfs.FS { return fs }); len(strange) > 0 {
		t.Errorf("flushes of nobody: %q, %v", strange, err)
	}
}
