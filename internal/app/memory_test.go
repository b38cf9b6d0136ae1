package app

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Memory goes back once when a storm of clients is over, not while it lasts,
// not for a few, and again only after another one.
func TestMemoryGoesBackAfterAStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sessions, freed atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		go returnMemory(ctx, sessions.Load, func() { freed.Add(1) })
		defer synctest.Wait()
		defer cancel()
		step := func(what string, to int64, last time.Duration, want int64) {
			t.Helper()
			sessions.Store(to)
			time.Sleep(last)
			if n := freed.Load(); n != want {
				t.Fatalf("%s: memory went back %d times, want %d", what, n, want)
			}
		}
		step("nobody", 0, time.Hour+2*time.Second, 0) // looks come between the steps
		step("a few", storm-1, time.Hour, 0)
		for i := range int64(20) {
			step("the storm", 1000+i*450, 5*time.Second, 0)
		}
		step("it is over", 9550, 7*time.Second, 0)
		step("ten quiet seconds", 9551, 7*time.Second, 1)
		step("it stays so", 9600, time.Hour, 1)
		step("not by a quarter", 11_500, time.Hour, 1)
		step("by a quarter", 12_000, time.Minute, 2)
		step("they go", 3000, time.Hour, 2)
		step("they are back", 9600, 30*time.Second, 3)
		step("they go", 3000, 10*time.Second, 3)
		step("they are back too soon", 9600, 15*time.Second, 3)
		step("and now", 9600, time.Minute, 4)
	})
}
