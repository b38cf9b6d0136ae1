package netserve

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// piped is both ends of a connection in memory, for a test in a bubble.
func piped(t *testing.T, p Pace) (c *Conn, peer net.Conn) {
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	c = NewConn(a, netip.Addr{})
	c.SetPace(p)
	return c, b
}

// A steady sender may take hours for one message.
func TestSilenceIsRenewedWithEveryRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := piped(t, Pace{Silence: time.Minute})
		go func() {
			for range 200 {
				time.Sleep(50 * time.Second)
				peer.Write([]byte("x"))
			}
		}()
		if n, err := io.ReadFull(c, make([]byte, 201)); n != 200 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(n, err)
		}
	})
}

// One octet every 50 seconds is not silent, but too slow for a message.
func TestFloorEndsATrickle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := piped(t, Pace{Silence: time.Minute, Floor: 100})
		over := make(chan struct{})
		go func() {
			defer close(over)
			for {
				time.Sleep(50 * time.Second)
				if _, err := peer.Write([]byte("x")); err != nil {
					return
				}
			}
		}()
		began := time.Now()
		n, err := io.ReadFull(c, make([]byte, 200))
		if n != 2 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) > 121*time.Second {
			t.Fatal(n, err, time.Since(began))
		}
		c.Close()
		<-over
	})
}

// A slow phone that keeps the floor, with pauses, is not cut off; and our own
// slowness is not held against it.
func TestFloorLetsASlowPhoneFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := piped(t, Pace{Silence: time.Minute, Floor: 100})
		go func() {
			for i := range 1000 {
				if i%100 == 99 {
					time.Sleep(45 * time.Second)
				}
				time.Sleep(10 * time.Second)
				peer.Write(make([]byte, 1200))
			}
			peer.Close()
		}()
		total := 0
		for b := make([]byte, 4096); ; {
			n, err := c.Read(b)
			total += n
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("after %d octets: %v", total, err)
			}
			if total == 12000 {
				time.Sleep(time.Hour) // a disk of ours
			}
		}
		if total != 1000*1200 {
			t.Fatal(total)
		}
	})
}

// Thirty megabytes to a slow phone in one write: it goes on while it moves.
func TestStallEndsOnlyAWriteThatDoesNotMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := piped(t, Pace{Stall: 2 * time.Minute})
		go func() {
			b := make([]byte, 30<<10)
			for range 1024 {
				time.Sleep(time.Minute)
				io.ReadFull(peer, b)
			}
		}()
		if n, err := c.Write(make([]byte, 30<<20)); n != 30<<20 || err != nil {
			t.Fatal(n, err)
		}
		began := time.Now()
		n, err := c.Write([]byte("x"))
		if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(n, err)
		}
		if d := time.Since(began); d != 2*time.Minute {
			t.Fatal(d)
		}
	})
}

// A server that sets a deadline of its own is obeyed beside the Pace, and
// SetPace with nothing in it takes the bounds away again.
func TestDeadlinesFromAboveHoldBesideThePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := piped(t, Pace{Silence: time.Hour, Stall: time.Hour})
		began := time.Now()
		c.SetDeadline(began.Add(time.Second))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
			t.Fatal(err, time.Since(began))
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
			t.Fatal(err, time.Since(began))
		}
		c.SetDeadline(time.Time{})
		began = time.Now()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Hour {
			t.Fatal(err, time.Since(began))
		}
		c.SetPace(Pace{})
		time.AfterFunc(1000*time.Hour, func() { c.Close() })
		began = time.Now()
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 1000*time.Hour {
			t.Fatal(err, time.Since(began))
		}
	})
}
