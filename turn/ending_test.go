package turn

import (
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"go.uber.org/goleak"
)

// A client over TCP that asks for an allocation and is gone when it gets one
// leaves none behind.
func TestClientThatLeavesAtOnce(t *testing.T) {
	l := newLaboratory(t, nil)
	conn, err := net.Dial("tcp", l.tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	request := (&raw{t, conn}).request(l.credentials(), allocateRequest, overUDP)
	d, err := l.streamAt(addrPortOf(conn.RemoteAddr()))
	if err != nil {
		t.Fatal(err)
	}
	l.mu.RLock() // no allocation is made meanwhile
	_, err = conn.Write(request)
	conn.Close()
	for d.has(addrPortOf(conn.LocalAddr())) {
		time.Sleep(time.Millisecond)
	}
	l.mu.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	for until := time.Now().Add(3 * time.Second); l.Allocations() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%d allocations are left", l.Allocations())
		}
	}
}

// What is reserved for an allocation that the library refuses is free again.
func TestRefusedAllocationTakesNoRoom(t *testing.T) {
	l := newLaboratory(t, nil)
	r := l.raw(t)
	none := stun.RawAttribute{Type: stun.AttrLifetime, Value: []byte{0, 0, 0, 0}}
	m := r.ask(r.request(l.credentials(), allocateRequest, overUDP, none))
	if m == nil || m.Type.Class != stun.ClassErrorResponse {
		t.Fatal(m)
	}
	for until := time.Now().Add(3 * time.Second); l.Allocations() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%d allocations are counted", l.Allocations())
		}
	}
}

// Clients that vanish leave nothing behind: those with connections at once, the
// others when nothing passes; nor does a server that closes while calls are on.
func TestNothingIsLeft(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) }) // after the server closed
	var ahead atomic.Int64
	l := newLaboratory(t, func(c *Config) {
		c.PerUser = 100
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	goroutines := runtime.NumGoroutine()
	for i := range 20 {
		e := l.client(t, []string{"udp", "tcp"}[i%2], l.credentials())
		if err := e.client.CreatePermission(e.relayed.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		e.conn.Close() // without a word
		e.close()
	}
	reaches := func(what string, now func() int, want int) {
		t.Helper()
		for until := time.Now().Add(5 * time.Second); now() > want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("%d %s, want %d", now(), what, want)
			}
		}
	}
	reaches("allocations", l.Allocations, 10)
	ahead.Store(int64(l.cfg.Idle + time.Second))
	l.endIdle()
	reaches("allocations", l.Allocations, 0)
	reaches("goroutines", runtime.NumGoroutine, goroutines+5) // the library's of the door for connections
	for _, network := range []string{"udp", "udp", "tcp"} {
		l.client(t, network, l.credentials())
	}
	if err := l.Close(); err != nil || l.Allocations() != 0 {
		t.Errorf("%d allocations are left, %v", l.Allocations(), err)
	}
}
