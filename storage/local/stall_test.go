package local

import (
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"barid/smtp"
	"barid/storage"
)

// BenchmarkDeliveryDuringACheckpoint measures how long deliveries wait while
// BARID_STALL_ACCOUNTS new accounts (default 2000) get their files.
func BenchmarkDeliveryDuringACheckpoint(b *testing.B) {
	accounts, err := strconv.Atoi(os.Getenv("BARID_STALL_ACCOUNTS"))
	if err != nil {
		accounts = 2000
	}
	for b.Loop() {
		cfg := conformant(b.TempDir())
		cfg.Quota = 0
		cfg.SettleAfter, cfg.CheckpointEvery = time.Hour, time.Hour
		s, err := Open(cfg)
		if err != nil {
			b.Fatal(err)
		}
		if err := login("alice").do(s); err != nil {
			b.Fatal(err)
		}
		hash := hashed("a long password")
		for n := range accounts {
			a, err := s.acquire(at("a" + strconv.Itoa(n)))
			if err == nil {
				v := s.nextValidity()
				err = s.write(a, &record{accounts: []smtp.Address{a.addr}, changes: []change{{
					kind: changeBorn, box: storage.InboxName, validity: v, id: s.ids.mailbox(a.addr, storage.InboxName, v), text: hash,
				}}})
				s.release(a)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		measure := func(during func() error) (all []time.Duration, took time.Duration) {
			done := make(chan error, 1)
			began := time.Now()
			go func() { done <- during() }()
			for {
				start := time.Now()
				if err := ops("deliver", storage.Deliver{To: at("alice"), Content: mail("x", 5000)}).do(s); err != nil {
					b.Fatal(err)
				}
				all = append(all, time.Since(start))
				select {
				case err := <-done:
					if err != nil {
						b.Fatal(err)
					}
					slices.Sort(all)
					return all, time.Since(began)
				default:
				}
			}
		}
		quiet, _ := measure(func() error { time.Sleep(time.Second); return nil })
		busy, took := measure(s.checkpoint)
		ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
		b.ReportMetric(took.Seconds(), "checkpoint-s")
		b.ReportMetric(ms(quiet[len(quiet)*99/100]), "quiet-p99-ms")
		b.ReportMetric(ms(quiet[len(quiet)-1]), "quiet-max-ms")
		b.ReportMetric(ms(busy[len(busy)/2]), "p50-ms")
		b.ReportMetric(ms(busy[len(busy)*99/100]), "p99-ms")
		b.ReportMetric(ms(busy[len(busy)-1]), "max-ms")
		b.ReportMetric(float64(len(busy)), "deliveries")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
