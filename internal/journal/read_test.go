package journal_test

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"barid/internal/journal"
	"barid/internal/journal/faultfs"
)

// What is in the log can be read while it is written.
func TestReadGivesWhatIsDurable(t *testing.T) {
	fs := faultfs.New()
	j, _ := open(t, fs)
	defer j.Close()
	for n := range 40 {
		add(t, j, record(n+1, 504))
	}
	if err := j.Trim(3); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := range 100 {
			add(t, j, record(n+41, 504))
		}
	})
	for range 20 {
		last := j.Durable()
		next := journal.Seq(6)
		err := j.Read(5, func(s journal.Seq, got []byte) error {
			if s != next || !bytes.Equal(got, record(int(s), 504)) {
				t.Fatalf("record %d, want %d", s, next)
			}
			next++
			return nil
		})
		if err != nil || next <= last {
			t.Fatalf("ends with %d, want %d, %v", next-1, last, err)
		}
	}
	wg.Wait()
	stop := errors.New("enough")
	if err := j.Read(5, func(journal.Seq, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
	if err := j.Trim(100); err != nil {
		t.Fatal(err)
	}
	if err := j.Read(5, func(journal.Seq, []byte) error { return nil }); !errors.Is(err, journal.ErrCorrupt) {
		t.Errorf("what is trimmed: %v", err)
	}
}
