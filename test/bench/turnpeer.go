package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// far is a peer in a network of its own, as somebody has who is no client of
// the server: whatever it gets it sends back. host is the address at which the
// far network reaches this one.
type far struct {
	conn net.PacketConn
	host string
	work sync.WaitGroup
}

const (
	farHost = "10.78.250.1"
	farPeer = "10.78.250.2"
	farLink = "barid-bench"
	// farBeyond is reached through the far network only, which passes nothing on.
	farBeyond = "10.78.251.1"
)

// newFar needs root, and the program "ip".
func newFar() (*far, error) {
	f := &far{host: farHost}
	thread, linked, made := make(chan int), make(chan error), make(chan error, 1)
	f.work.Go(func() {
		runtime.LockOSThread() // for good: the thread ends with its network
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			thread <- 0
			made <- fmt.Errorf("make a network: %w", err)
			return
		}
		thread <- unix.Gettid()
		err := <-linked
		if err == nil {
			err = ip("addr", "add", farPeer+"/24", "dev", "far")
		}
		if err == nil {
			err = ip("link", "set", "far", "up")
		}
		if err == nil {
			f.conn, err = net.ListenPacket("udp4", farPeer+":0")
		}
		if err == nil {
			err = roomy(f.conn)
		}
		made <- err
		if err == nil {
			f.echo()
		}
	})
	if id := <-thread; id != 0 {
		err := ip("link", "add", farLink, "type", "veth", "peer", "name", "far", "netns", strconv.Itoa(id))
		if err == nil {
			err = ip("addr", "add", farHost+"/24", "dev", farLink)
		}
		if err == nil {
			err = ip("link", "set", farLink, "up")
		}
		linked <- err
	}
	if err := <-made; err != nil {
		f.work.Wait()
		return nil, err
	}
	return f, nil
}

// roomy lets many packets wait at an end of the load: with the kernel's default
// the ends lose some before the server does.
func roomy(conn net.PacketConn) error {
	raw, err := conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		return fmt.Errorf("receive buffer: %w", err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<23)
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("receive buffer: %w", err)
	}
	return nil
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %v: %w: %s", args, err, out)
	}
	return nil
}

func (f *far) echo() {
	b := make([]byte, 2000)
	for {
		n, from, err := f.conn.ReadFrom(b)
		if err != nil {
			return
		}
		f.conn.WriteTo(b[:n], from) // lost is lost, and counted where it should arrive
	}
}

func (f *far) close() {
	f.conn.Close()
	f.work.Wait()
	exec.Command("ip", "link", "del", farLink).Run() // gone with its other end, mostly
}

// foreign measures calls with peers that are no clients of the server.
func foreign(ctx context.Context, o options) ([]Row, error) {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "  peers in another network are not measured: that needs root")
		return nil, nil
	}
	f, err := newFar()
	if err != nil {
		return nil, err
	}
	defer f.close()
	var names []string
	var passed [][]pace
	for _, start := range []func(context.Context, options, string) (*turnServer, error){turnOfBarid, turnOfCoturn} {
		t, err := start(ctx, o, f.host)
		if err != nil {
			return nil, err
		}
		paces, err := t.measureFar(ctx, o, f)
		t.kill()
		if err == nil && len(paces) == 0 {
			err = errors.New("lost messages at the lowest rate")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
		names, passed = append(names, t.name), append(passed, paces)
	}
	// The more messages come at once, the less each costs: compare at one rate.
	both := min(len(passed[0]), len(passed[1])) - 1
	var rows []Row
	for i, paces := range passed {
		name := func(what string) string { return "calls: " + what + ", peers elsewhere, " + names[i] }
		rows = append(rows,
			Row{name("CPU per relayed message, 8 clients with 1,000/s each"), "us", paces[0].cpu, lower, 0},
			Row{name("highest rate with less than 0.1 % lost"), "1/s", paces[len(paces)-1].rate, higher, 0},
			Row{name("CPU per relayed message at the highest rate of both"), "us", paces[both].cpu, lower, 0})
	}
	for i := range 3 { // the design's bound is the other
		rows[i].Target = rows[3+i].Value
	}
	return rows, nil
}

// pace is one rate that a server passed without losses.
type pace struct {
	rate float64 // relayed messages a second
	cpu  float64 // microseconds for each
}

// measureFar has 8,000 messages relayed a second, and more until some are lost:
// half as many more with each of the paces that it gives.
func (t *turnServer) measureFar(ctx context.Context, o options, f *far) (passed []pace, err error) {
	const clients = 8
	callers := make([]*caller, clients)
	for i := range callers {
		c, err := t.call()
		if err != nil {
			return nil, err
		}
		defer c.close()
		if err := roomy(c.conn); err != nil {
			return nil, err
		}
		if err := c.client.CreatePermission(f.conn.LocalAddr()); err != nil {
			return nil, err
		}
		callers[i] = c
	}
	if _, _, err := t.echoed(ctx, callers, f, 100, time.Second); err != nil { // channels are bound now
		return nil, err
	}
	each := o.duration / 2
	for rate, failed := 4000, 0; rate <= 400_000 && failed < 3; {
		before, err := t.cpu()
		if err != nil {
			return nil, err
		}
		sent, back, err := t.echoed(ctx, callers, f, rate, each)
		if err != nil {
			return nil, err
		}
		after, err := t.cpu()
		if err != nil {
			return nil, err
		}
		cpu := float64(after.since(before).total.Microseconds()) / float64(sent+back)
		if lost := sent - back; lost*1000 > sent || float64(sent) < 0.9*float64(rate)*each.Seconds() {
			failed++ // may be somebody else's work on this machine, or the load client's end
			continue
		}
		passed = append(passed, pace{2 * float64(sent) / each.Seconds(), cpu})
		rate, failed = rate*3/2, 0
	}
	return passed, nil
}

// echoed sends so many messages a second to the peer, spread over all callers,
// and counts what was sent and what came back.
func (t *turnServer) echoed(ctx context.Context, callers []*caller, f *far, rate int, during time.Duration) (sent, back int64, err error) {
	var got atomic.Int64
	var readers sync.WaitGroup
	round := rand64()
	for _, c := range callers {
		c.relayed.SetReadDeadline(time.Time{})
		readers.Go(func() {
			b := make([]byte, 2000)
			for {
				n, _, err := c.relayed.ReadFrom(b)
				if err != nil {
					return
				}
				if n == 200 && binary.BigEndian.Uint64(b) == round {
					got.Add(1)
				}
			}
		})
	}
	p := make([]byte, 200)
	binary.BigEndian.PutUint64(p, round)
	began := time.Now()
	for time.Since(began) < during && err == nil && ctx.Err() == nil {
		due := int64(time.Since(began).Seconds() * float64(rate))
		for ; sent < due && err == nil; sent++ {
			_, err = callers[sent%int64(len(callers))].relayed.WriteTo(p, f.conn.LocalAddr())
		}
		time.Sleep(500 * time.Microsecond)
	}
	time.Sleep(300 * time.Millisecond) // what is on its way
	for _, c := range callers {
		c.relayed.SetReadDeadline(time.Now())
	}
	readers.Wait()
	if err == nil {
		err = ctx.Err()
	}
	return sent, got.Load(), err
}

func rand64() uint64 { return uint64(time.Now().UnixNano()) }
