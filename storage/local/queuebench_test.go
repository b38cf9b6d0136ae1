package local

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"barid/storage"
)

// queueOf makes a store with so many settled entries of 5 kB messages, 20 of
// them with a content each, to a thousand destinations.
func queueOf(b *testing.B, n int) Config {
	cfg := conformant(b.TempDir())
	cfg.Quota, cfg.SegmentBytes, cfg.QueueMax, cfg.NoSync, cfg.FreshBytes, cfg.CheckpointBytes = 0, 0, 10*n, true, 1<<30, 1<<30
	s := mustOpen(b, cfg)
	began := time.Now()
	for done := 0; done < n; {
		var batch []storage.Op
		for range min(1000, n-done) {
			c := mail(fmt.Sprint(done/20), 5000)
			if done%20 > 0 {
				c = batch[len(batch)-1].(storage.Enqueue).Content
			}
			op := leave(c, fmt.Sprint("someone", done))
			op.Dest, op.Prefix = fmt.Sprintf("peer%d.test", done%1000), make([]byte, 1200)
			batch = append(batch, op)
			done++
		}
		if err := ops("queue", batch...).do(s); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/time.Since(began).Seconds(), "enqueued/s")
	began = time.Now()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(n)/time.Since(began).Seconds(), "settled/s")
	return cfg
}

// cpuTime is what the process has used of all processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkQueueStart starts a store with 100,000 queued messages, and tells
// what each takes in memory, how large the index is, and how long a checkpoint
// holds up the queue.
func BenchmarkQueueStart(b *testing.B) {
	const n = 100_000
	cfg := queueOf(b, n)
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		runtime.GC()
		before := heap()
		b.StartTimer()
		cpu := cpuTime()
		s := mustOpen(b, cfg)
		rows := 0
		s.Watch(func(storage.QueueEntry) { rows++ })()
		b.StopTimer()
		b.ReportMetric(float64((cpuTime() - cpu).Milliseconds()), "start-cpu-ms")
		if rows != n {
			b.Fatalf("%d of %d", rows, n)
		}
		runtime.GC()
		b.ReportMetric(float64(heap()-before)/n, "octets/entry")
		began := time.Now()
		s.queue.mu.Lock()
		index := s.queue.encodeIndex(1)
		s.queue.mu.Unlock()
		b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "index-ms")
		b.ReportMetric(float64(len(index))/n, "index-octets/entry")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkQueueDrain looks at settled entries, reads them and ends them.
func BenchmarkQueueDrain(b *testing.B) {
	cfg := queueOf(b, b.N)
	cfg.NoSync = false
	s := mustOpen(b, cfg)
	var rows []storage.QueueEntry
	s.Watch(func(e storage.QueueEntry) { rows = append(rows, e) })()
	b.ReportAllocs()
	b.ResetTimer()
	for _, row := range rows {
		item, err := s.Queued(ctx, row.ID)
		if err == nil {
			err = s.ReadQueued(ctx, row.ID, func(storage.Content) error { return nil })
		}
		if err == nil {
			err = s.Done(row.ID, item.To)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}
