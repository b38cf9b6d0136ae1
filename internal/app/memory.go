package app

import (
	"context"
	"runtime/debug"
	"time"
)

// When memory is given back. Clients that come all at once, after a start
// mostly, leave a heap behind that their coming needed (handshakes, passwords)
// and their staying does not; by itself the collector lets up to half of it be
// for as long as little happens.
const (
	storm     = 500              // sessions more than before, and
	stormPart = 4                // more by this part of what there was
	calm      = 10 * time.Second // so long hardly any came
	calmPart  = 100              // that is, less than this part
	between   = time.Minute      // at least, from one time to the next
	looking   = 5 * time.Second
)

// tide follows the number of idle sessions.
type tide struct {
	mark  int64     // when memory was last given back, or lower since
	still int64     // about so many for some time
	since time.Time // of still
	freed time.Time
}

// over tells whether a storm of sessions is over, once for each.
func (t *tide) over(now time.Time, sessions int64) bool {
	t.mark = min(t.mark, sessions)
	if t.since.IsZero() || sessions > t.still+t.still/calmPart || sessions < t.still-t.still/calmPart {
		t.still, t.since = sessions, now
	}
	if sessions-t.mark < max(storm, t.mark/stormPart) || now.Sub(t.since) < calm || now.Sub(t.freed) < between {
		return false
	}
	t.mark, t.freed = sessions, now
	return true
}

// returnMemory calls free after each storm of sessions, until ctx ends.
func returnMemory(ctx context.Context, sessions func() int64, free func()) {
	look := time.NewTicker(looking)
	defer look.Stop()
	var t tide
	for {
		select {
		case <-look.C:
			if t.over(time.Now(), sessions()) {
				free()
			}
		case <-ctx.Done():
			return
		}
	}
}

// startReturningMemory does so beside the relay, until Stop. A collection of
// 10,000 idle sessions takes some 30 ms of one processor.
func (a *App) startReturningMemory() {
	if !a.opt.ReturnMemory {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		returnMemory(ctx, a.imap.Idle, debug.FreeOSMemory)
	}()
	a.onStop("memory", func(context.Context) error {
		cancel()
		<-done
		return nil
	})
}
