package local

import (
	"testing"

	"barid/storage/storetest"
)

// conformant is the Config that storetest wants.
func conformant(dir string) Config {
	return Config{
		Dir: dir, Domain: storetest.Domain, Quota: storetest.Quota, MaxMessage: 1 << 20, SegmentBytes: 1 << 20,
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

func TestStoreDoesWhatEveryEngineMust(t *testing.T) {
	var engine func(s *Store, cfg Config) storetest.Engine
	engine = func(s *Store, cfg Config) storetest.Engine {
		return storetest.Engine{Store: s, Reopen: func(t *testing.T) storetest.Engine {
			t.Helper()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return engine(mustOpen(t, cfg), cfg)
		}}
	}
	storetest.Run(t, func(t *testing.T) storetest.Engine {
		cfg := conformant(t.TempDir())
		return engine(mustOpen(t, cfg), cfg)
	})
}
