package local

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"barid/storage"
)

// benchmarkDeliver delivers 5 kB messages from so many writers to a hundred
// accounts, expunging each mailbox when it has a thousand.
func benchmarkDeliver(b *testing.B, writers, recipients int) {
	cfg := conformant(b.TempDir())
	cfg.Quota, cfg.SegmentBytes = 0, 0
	s := mustOpen(b, cfg)
	defer s.Close()
	const accounts = 100
	for i := range accounts {
		if err := login(fmt.Sprintf("user%d", i)).do(s); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	var next atomic.Int64
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for {
				i := int(next.Add(1))
				if i > b.N {
					return
				}
				deliverOne(b, s, i, recipients, accounts)
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N*recipients)/b.Elapsed().Seconds(), "deliveries/s")
}

func deliverOne(b *testing.B, s *Store, i, recipients, accounts int) {
	d, err := s.Draft(ctx, 5000)
	if err != nil {
		b.Error(err)
		return
	}
	defer d.Discard()
	if _, err := d.Write(*mail("bench", 5000).(*octets)); err != nil {
		b.Error(err)
		return
	}
	var ops []storage.Op
	for r := range recipients {
		ops = append(ops, storage.Deliver{To: at(fmt.Sprintf("user%d", (i+r)%accounts)), Content: d})
	}
	if _, err := s.Commit(ctx, storage.Batch{Ops: ops}); err != nil {
		b.Error(err)
	}
}

func BenchmarkDeliver1(b *testing.B)       { benchmarkDeliver(b, 1, 1) }
func BenchmarkDeliver16(b *testing.B)      { benchmarkDeliver(b, 16, 1) }
func BenchmarkDeliverGroup16(b *testing.B) { benchmarkDeliver(b, 16, 10) }

// A repeated login costs no hash.
func BenchmarkLoginAgain(b *testing.B) {
	s := mustOpen(b, conformant(b.TempDir()))
	defer s.Close()
	if err := login("alice").do(s); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := login("alice").do(s); err != nil {
			b.Fatal(err)
		}
	}
}

// A delivery to a full mailbox costs what it costs to an empty one.
func BenchmarkDeliverTo10000(b *testing.B) {
	cfg := conformant(b.TempDir())
	cfg.Quota, cfg.SegmentBytes = 0, 0
	s := mustOpen(b, cfg)
	defer s.Close()
	if err := login("alice").do(s); err != nil {
		b.Fatal(err)
	}
	var ops []storage.Op
	for range 10_000 {
		ops = append(ops, storage.Deliver{To: at("alice"), Content: mail("x", 50)})
	}
	if _, err := s.Commit(ctx, storage.Batch{Ops: ops}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Commit(ctx, storage.Batch{Ops: []storage.Op{storage.Deliver{To: at("alice"), Content: mail("x", 5000)}}}); err != nil {
			b.Fatal(err)
		}
	}
}

// Opening a mailbox of 10,000 that is not in memory.
func BenchmarkLoad10000(b *testing.B) {
	cfg := conformant(b.TempDir())
	cfg.Quota, cfg.SegmentBytes = 0, 0
	s := mustOpen(b, cfg)
	if err := login("alice").do(s); err != nil {
		b.Fatal(err)
	}
	var ops []storage.Op
	for range 10_000 {
		ops = append(ops, storage.Deliver{To: at("alice"), Content: mail("x", 50)})
	}
	if _, err := s.Commit(ctx, storage.Batch{Ops: ops}); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	s = mustOpen(b, cfg)
	defer s.Close()
	b.ReportAllocs()
	for b.Loop() {
		m, err := s.Open(ctx, acct("alice"), "INBOX")
		if err != nil {
			b.Fatal(err)
		}
		if v, err := m.View(ctx); err != nil || len(v.Messages) != 10_000 {
			b.Fatal(err)
		}
		m.Close()
		s.sweep(0)
	}
}
