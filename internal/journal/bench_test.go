package journal_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"barid/internal/journal"
)

// BenchmarkCommit appends records of 5 kB and waits for each, on the disk of
// the temporary directory; give another with TMPDIR.
func BenchmarkCommit(b *testing.B) {
	for _, noSync := range []bool{false, true} {
		for _, writers := range []int{1, 16} {
			b.Run(fmt.Sprintf("nosync=%t/writers=%d", noSync, writers), func(b *testing.B) {
				benchmarkCommit(b, writers, noSync)
			})
		}
	}
}

func benchmarkCommit(b *testing.B, writers int, noSync bool) {
	fs, err := journal.OpenFS(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer fs.Close()
	j, err := journal.Open(journal.Config{FS: fs, Dir: "journal", NoSync: noSync}, func(journal.Seq, []byte) error { return nil })
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	message := make([]byte, 5000)
	b.SetBytes(int64(len(message)))
	times := make([][]time.Duration, writers)
	b.ResetTimer()
	var wg sync.WaitGroup
	for w := range writers {
		n := b.N / writers
		if w == 0 {
			n += b.N % writers
		}
		wg.Go(func() {
			for range n {
				start := time.Now()
				s, err := j.Append(message)
				if err == nil {
					err = j.Wait(s)
				}
				if err == nil && s%2000 == 0 {
					err = j.Trim(s - 100)
				}
				if err != nil {
					b.Error(err)
					return
				}
				times[w] = append(times[w], time.Since(start))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	all := slices.Concat(times...)
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-us")
	b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "records/s")
}
