package local

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"barid/smtp"
	"barid/storage"
)

// BenchmarkExpire is an expiry over many accounts that are not in memory, a
// part of whose mail is due, beside deliveries as they come. BARID_SOAK=1 makes
// it 1,000,000 messages in 10,000 accounts. The directory is new for each run:
// BARID_BENCH_DIR says where.
//
//	due_msgs/s   messages that left
//	accounts/s   accounts judged, of those with something due and those without
//	p50_ms, p99_ms   of a delivery meanwhile; before_p99_ms without an expiry
//	heap_MB      growth of the heap at its most
func BenchmarkExpire(b *testing.B) {
	accounts, messages := 500, 100
	if thorough() {
		accounts, messages = 10_000, 100
	}
	for _, due := range []int{0, 5, 100} {
		b.Run(fmt.Sprintf("%d messages in %d accounts, %d%% due", accounts*messages, accounts, due), func(b *testing.B) {
			for range b.N {
				benchExpire(b, accounts, messages, due)
			}
		})
	}
}

func benchExpire(b *testing.B, accounts, messages, due int) {
	b.StopTimer()
	dir, err := os.MkdirTemp(os.Getenv("BARID_BENCH_DIR"), "barid-expire-")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	now := time.Now()
	cfg := Config{Dir: dir, Domain: "relay.test"}
	populate(b, cfg, now, accounts, messages, messages*due/100)

	s := mustOpen(b, cfg)
	defer s.Close()
	do(b, s, login("alice"))
	deliver := func(quit <-chan bool) []time.Duration {
		var took []time.Duration
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				slices.Sort(took)
				return took
			case <-tick.C:
			}
			began := time.Now()
			do(b, s, ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 5000)}))
			took = append(took, time.Since(began))
		}
	}
	quit := make(chan bool)
	time.AfterFunc(time.Second, func() { close(quit) })
	quiet := deliver(quit)

	var busy []time.Duration
	var beside sync.WaitGroup
	quit = make(chan bool)
	beside.Go(func() { busy = deliver(quit) })
	runtime.GC()
	base, most := heap(), uint64(0)
	var total storage.Expired
	began := time.Now()
	b.StartTimer()
	err = s.Expire(ctx, usual, func(x storage.Expired) {
		if x.Account.IsZero() {
			total, most = x, max(most, heap())
		}
	})
	b.StopTimer()
	took := time.Since(began).Seconds()
	close(quit)
	beside.Wait()
	if err != nil || total.Messages != int64(accounts*(messages*due/100)) {
		b.Fatalf("%+v %v", total, err)
	}
	at := func(list []time.Duration, part int) float64 {
		if len(list) == 0 {
			return 0
		}
		return list[min(len(list)*part/100, len(list)-1)].Seconds() * 1000
	}
	b.ReportMetric(float64(total.Messages)/took, "due_msgs/s")
	b.ReportMetric(float64(total.Looked)/took, "accounts/s")
	b.ReportMetric(at(quiet, 99), "before_p99_ms")
	b.ReportMetric(at(busy, 50), "p50_ms")
	b.ReportMetric(at(busy, 99), "p99_ms")
	b.ReportMetric(float64(max(most, base)-base)/(1<<20), "heap_MB")
}

func do(b *testing.B, s *Store, steps ...step) {
	if _, err := run(s, steps); err != nil {
		b.Error(err)
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// populate makes accounts with messages, the first of which came 30 days ago
// and the rest yesterday.
func populate(b *testing.B, cfg Config, now time.Time, accounts, messages, due int) {
	b.Helper()
	when := now.Add(-30 * days)
	cfg.NoSync, cfg.Now = true, func() time.Time { return when }
	s, err := openStill(cfg)
	if err != nil {
		b.Fatal(err)
	}
	hash := hashed("a long password")
	for i := range accounts {
		local := fmt.Sprintf("user%06d", i)
		a, err := s.acquire(at(local))
		if err != nil {
			b.Fatal(err)
		}
		// Born without the price of a hash.
		validity := s.nextValidity()
		born := change{kind: changeBorn, box: storage.InboxName, validity: validity, id: s.ids.mailbox(a.addr, storage.InboxName, validity), text: hash}
		when = now
		if err := s.write(a, &record{accounts: []smtp.Address{a.addr}, changes: []change{born}}); err != nil {
			b.Fatal(err)
		}
		s.release(a)
		content := mail(local, 1000) // one file with many names: to make and to remove them costs nearly as much as files
		var old, young []storage.Op
		for n := range messages {
			op := storage.Deliver{To: at(local), Content: content}
			if n < due {
				old = append(old, op)
			} else {
				young = append(young, op)
			}
		}
		when = now.Add(-30 * days)
		do(b, s, ops("old", old...))
		when = now.Add(-days)
		do(b, s, ops("young", young...))
		if i%500 == 499 {
			do(b, s, checkpointNow)
			s.sweep(0)
		}
	}
	when = now
	s.disk.Lock()
	s.appendRows(nil)
	s.disk.Unlock()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}
