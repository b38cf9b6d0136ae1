package local

import (
	"testing"

	"barid/internal/journal/faultfs"
	"barid/storage/storetest"
)

// conformant is the Config that storetest wants.
func conformant(dir string) Config {
	return Config{
		Dir: dir, Domain: storetest.Domain, Quota: storetest.Quota, MaxMessage: 1 << 20, SegmentBytes: 1 << 20, QueueMax: storetest.QueueMax, rounds: 1000,
		Policy: Policy{UsernameMin: storetest.UsernameMin, UsernameMax: storetest.UsernameMax, PasswordMin: storetest.PasswordMin},
	}
}

func mustOpen(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The suite holds however often files are written, and whether or not the
// store gets to close before it is opened anew.
func TestStoreDoesWhatEveryEngineMust(t *testing.T) {
	for _, mode := range []struct {
		name   string
		change func(*Config)
		killed bool
	}{
		{"stopped", func(*Config) {}, false},
		{"killed", func(cfg *Config) { cfg.NoSync = true }, true},
		{"settling at once", func(cfg *Config) { settlingAtOnce(cfg, 1) }, false},
		{"settling at once and killed", func(cfg *Config) { settlingAtOnce(cfg, 1000) }, true},
	} {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T) storetest.Engine {
				cfg := conformant(t.TempDir())
				mode.change(&cfg)
				return engine(mustOpen(t, cfg), cfg, mode.killed)
			})
		})
	}
}

// settlingAtOnce makes many files and checkpoints: on a simulated disk, as a
// real one that is busy takes a minute for them.
func settlingAtOnce(cfg *Config, checkpoint int64) {
	cfg.FS = faultfs.New()
	cfg.SettleAfter, cfg.CheckpointBytes, cfg.NoSync = 1, checkpoint, true
}

func engine(s *Store, cfg Config, killed bool) storetest.Engine {
	return storetest.Engine{Store: s, Reopen: func(t *testing.T) storetest.Engine {
		t.Helper()
		if killed {
			s.settler.stop()
			s.queue.flusher.stop()
			endJournal(t, s)
			if s.unlock != nil {
				s.unlock()
			}
		} else if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return engine(mustOpen(t, cfg), cfg, killed)
	}}
}

// endJournal ends what the journal does in the background. Of a process that
// was killed nothing would go on, to write into a segment that now is
// another's.
func endJournal(t *testing.T, s *Store) {
	t.Helper()
	if err := s.journal.Close(); err != nil {
		t.Fatal(err)
	}
}
