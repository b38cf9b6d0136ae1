package netserve

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// arrived waits until the socket of c has something to read.
func arrived(t *testing.T, c *Conn) {
	t.Helper()
	raw, err := c.Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(set, 10000); n != 1 {
			t.Fatalf("nothing arrived: %v", err)
		}
	})
}

// What comes after the last read and before the wait wakes the wait, though
// the poller reported it when nobody listened.
func TestWaitReadableSeesWhatCameBefore(t *testing.T) {
	c, client := pair(t)
	c.SetPace(Pace{Silence: 10 * time.Second})
	for range 10 {
		io.WriteString(client, "a")
		if n, err := c.Read(make([]byte, 10)); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		io.WriteString(client, "b")
		arrived(t, c)
		time.Sleep(time.Millisecond) // no race: lets the runtime's poller take the event now
		if err := c.WaitReadable(); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 10)); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
}

func TestWaitReadableWakesForOctetsAndForTheEnd(t *testing.T) {
	for name, end := range map[string]struct {
		act  func(net.Conn)
		want error
	}{
		"octets": {func(c net.Conn) { io.WriteString(c, "x") }, nil},
		"FIN":    {func(c net.Conn) { c.Close() }, io.EOF},
		"RST":    {func(c net.Conn) { c.(*net.TCPConn).SetLinger(0); c.Close() }, syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			c, client := pair(t)
			woke := make(chan error)
			go func() { woke <- c.WaitReadable() }()
			end.act(client)
			if err := <-woke; err != nil {
				t.Fatal(err)
			}
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, end.want) {
				t.Fatalf("got %v, want %v", err, end.want)
			}
		})
	}
}

func TestWaitReadableEndsWithCloseAndWithSilence(t *testing.T) {
	c, _ := pair(t)
	c.SetPace(Pace{Silence: time.Millisecond})
	if err := c.WaitReadable(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	c.SetPace(Pace{})
	woke := make(chan error)
	go func() { woke <- c.WaitReadable() }()
	c.Close()
	if err := <-woke; !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
}

// A connection that was taken over may be closed while its reader reads: what
// tidies up after it keeps its hands off what is the reader's.
func TestDiscardLeavesAReaderAlone(t *testing.T) {
	c, _ := pair(t)
	c.Close()
	c.discard()
	if c.raw != nil || c.buf != nil {
		t.Error("a connection that is closed was read")
	}
}

// A bound that is set while somebody sleeps holds for the sleeper.
func TestSetPaceReachesTheSleeper(t *testing.T) {
	c, _ := pair(t)
	woke := make(chan error)
	go func() { woke <- c.WaitReadable() }()
	c.SetPace(Pace{Silence: time.Millisecond})
	if err := <-woke; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestWaitReadableReturnsWithoutADescriptor(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if err := NewConn(a, netip.Addr{}).WaitReadable(); err != nil {
		t.Fatal(err)
	}
}

// An error that is logged must not tell who the peer was.
func TestErrorsNameNoAddress(t *testing.T) {
	c, _ := pair(t)
	c.SetPace(Pace{Silence: time.Millisecond})
	_, err := c.Read(make([]byte, 1))
	if got := err.Error(); got != "read tcp: i/o timeout" {
		t.Fatal(got)
	}
	if err := c.WaitReadable(); err.Error() != "read tcp: i/o timeout" {
		t.Fatal(err)
	}
	c.Close()
	if _, err := c.Write([]byte("x")); err.Error() != "write tcp: use of closed network connection" {
		t.Fatal(err)
	}
	if err := c.WaitReadable(); err.Error() != "read tcp: use of closed network connection" {
		t.Fatal(err)
	}
}
