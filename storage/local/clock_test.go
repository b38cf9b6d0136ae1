package local

import (
	"errors"
	"testing"
	"time"

	"barid/storage"
)

// wrist is a clock that can be set, beside one that cannot.
type wrist struct {
	now     time.Time
	elapsed time.Duration
}

func (w *wrist) pass(d time.Duration) { w.now, w.elapsed = w.now.Add(d), w.elapsed+d }

func wristed(t *testing.T) (Config, *wrist) {
	cfg, now := aging(t, 0)
	w := &wrist{now: *now}
	cfg.Now = func() time.Time { return w.now }
	cfg.Elapsed = func() time.Duration { return w.elapsed }
	return cfg, w
}

var check = storage.ExpiryPolicy{DryRun: true}

// A clock that jumps stops all expiry, at once and after a restart, until
// somebody confirms it; then nothing stands in the way.
func TestJumpOfTheClockStopsExpiry(t *testing.T) {
	for name, jump := range map[string]time.Duration{"forward": 400 * days, "back": -400 * days, "a little over a day": 25 * hour} {
		t.Run(name, func(t *testing.T) {
			cfg, w := wristed(t)
			s := openQuiet(t, cfg)
			must(t, s, login("alice"))
			deliverAll(t, s, 100)
			w.pass(20*days - 2*hour)
			must(t, s, checkpointNow)
			if err := s.Expire(ctx, usual, nil); err != nil {
				t.Fatal(err)
			}
			w.now = w.now.Add(jump)
			for _, p := range []storage.ExpiryPolicy{usual, check, {Mail: 1}} {
				if err := s.Expire(ctx, p, nil); !errors.Is(err, storage.ErrClock) {
					t.Errorf("after the jump: %v", err)
				}
			}
			w.pass(hour)
			deliverAll(t, s, 101)
			must(t, s, checkpointNow) // that must not take the clock for right
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openQuiet(t, cfg)
			if err := s.Expire(ctx, usual, nil); !errors.Is(err, storage.ErrClock) {
				t.Errorf("after a restart: %v", err)
			}
			if got := uidsIn(t, s, "INBOX"); len(got) != 2 {
				t.Errorf("left: %d", got)
			}
			p := usual
			p.ConfirmClock = true
			if err := s.Expire(ctx, p, nil); err != nil {
				t.Errorf("confirmed: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openQuiet(t, cfg)
			defer s.Close()
			if err := s.Expire(ctx, check, nil); err != nil {
				t.Errorf("confirmed, after a restart: %v", err)
			}
		})
	}
}

// A clock that is put right again by itself needs no confirmation, and what
// was stored meanwhile is neither of yesteryear nor of the far future.
func TestWrongClockDatesNothing(t *testing.T) {
	for name, year := range map[string]int{"past": 1970, "future": 2099} {
		t.Run(name, func(t *testing.T) {
			cfg, w := wristed(t)
			s := openQuiet(t, cfg)
			must(t, s, login("alice"), checkpointNow)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			right := w.now
			w.now = time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
			w.elapsed = 0
			s = openQuiet(t, cfg) // a machine that boots with a wrong clock
			defer s.Close()
			w.pass(hour)
			must(t, s, login("alice"), login("bob"))
			deliverAll(t, s, 100)
			must(t, s, checkpointNow)
			if err := s.Expire(ctx, usual, nil); !errors.Is(err, storage.ErrClock) {
				t.Errorf("wrong: %v", err)
			}
			w.now = right.Add(2 * hour)
			w.elapsed += hour
			if total, _ := expireOnce(t, s, usual); total.Messages != 0 || total.Accounts != 0 {
				t.Errorf("right again: %+v", total)
			}
			w.pass(21 * days)
			if total, _ := expireOnce(t, s, usual); total.Messages != 1 || total.Accounts != 0 {
				t.Errorf("three weeks later: %+v", total)
			}
			w.pass(70 * days)
			if total, _ := expireOnce(t, s, usual); total.Accounts != 2 {
				t.Errorf("three months later: %+v", total)
			}
		})
	}
}

// A relay that only was off for some hours goes on.
func TestShortStopNeedsNoConfirmation(t *testing.T) {
	cfg, w := wristed(t)
	s := openQuiet(t, cfg)
	must(t, s, login("alice"), checkpointNow)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	w.now, w.elapsed = w.now.Add(20*hour), 0
	s = openQuiet(t, cfg)
	defer s.Close()
	if err := s.Expire(ctx, check, nil); err != nil {
		t.Error(err)
	}
	if err := s.Expire(ctx, storage.ExpiryPolicy{DryRun: true, ConfirmClock: true}, nil); err == nil {
		t.Error("a dry run confirmed the clock")
	}
}
