package ratelimit

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestABurstPassesThenOnePerInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New[string](Config{Every: time.Second, Burst: 10})
		for i := range 10 {
			if ok, _ := l.Allow("a"); !ok {
				t.Fatalf("unit %d of the burst was refused", i+1)
			}
		}
		for range 100 { // what is refused costs nothing
			if ok, after := l.Allow("a"); ok || after != time.Second {
				t.Fatalf("over the burst: %v, after %v", ok, after)
			}
		}
		time.Sleep(time.Second)
		if ok, _ := l.Allow("a"); !ok {
			t.Fatal("no unit came back after the interval")
		}
		if ok, _ := l.Allow("a"); ok {
			t.Fatal("two units came back in one interval")
		}
		time.Sleep(time.Hour)
		for i := range 10 {
			if ok, _ := l.Allow("a"); !ok {
				t.Fatalf("after a rest, unit %d was refused", i+1)
			}
		}
		if ok, _ := l.Allow("a"); ok {
			t.Fatal("a rest gave more than the burst")
		}
	})
}

func TestKeysCountApart(t *testing.T) {
	l := New[string](Config{Every: time.Hour, Burst: 1})
	for _, key := range []string{"a", "b", "c"} {
		if ok, _ := l.Allow(key); !ok {
			t.Fatalf("%s paid for another", key)
		}
	}
}

func TestStaleKeysAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New[int](Config{Every: time.Second, Burst: 2})
		for i := range 10000 {
			l.Allow(i)
			time.Sleep(10 * time.Millisecond)
		}
		// 100 of them can be fresh at any time.
		if n := l.Keys(); n > 400 {
			t.Fatalf("%d keys remembered", n)
		}
	})
}

func TestKeysAreBounded(t *testing.T) {
	l := New[int](Config{Every: time.Hour, Burst: 1, MaxKeys: 160})
	for i := range 10000 {
		if ok, _ := l.Allow(i); !ok {
			t.Fatal("a new key was refused")
		}
	}
	if n := l.Keys(); n > 160 {
		t.Fatalf("%d keys remembered", n)
	}
}

func TestManyAtOnceGetNoMoreThanTheBurst(t *testing.T) {
	l := New[string](Config{Every: time.Hour, Burst: 50})
	var wg sync.WaitGroup
	var mu sync.Mutex
	passed := map[string]int{}
	for i := range 400 {
		key := fmt.Sprint(i % 4)
		wg.Go(func() {
			if ok, _ := l.Allow(key); ok {
				mu.Lock()
				passed[key]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for key, n := range passed {
		if n != 50 {
			t.Errorf("key %s passed %d times", key, n)
		}
	}
}
