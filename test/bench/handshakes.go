package main

import (
	"context"
	"sync/atomic"
	"time"
)

// handshakes measures full TLS handshakes of clients that leave at once, at
// the relay and at the bare server, by the processor time that the server
// spends: the load takes as much on the other processor. Web clients speak
// first, as those of the bare server do; the IMAP port greets besides.
func handshakes(ctx context.Context, o options) ([]Row, error) {
	site, err := newSite(o.dir)
	if err != nil {
		return nil, err
	}
	https, err := site.withPages()
	if err != nil {
		return nil, err
	}
	s, err := site.start(ctx, o.barid, o.serverCPU)
	if err != nil {
		return nil, err
	}
	defer s.kill()
	if err := s.await(ctx, https); err != nil {
		return nil, err
	}
	bare, echo, err := startBare(ctx, o, echoCommand)
	if err != nil {
		return nil, err
	}
	defer bare.kill()
	var web, imap, floor float64
	for range rounds {
		for _, of := range []struct {
			s    *server
			addr string
			sum  *float64
		}{{s, https, &web}, {s, s.imap, &imap}, {bare, echo, &floor}} {
			n, err := shakeHands(ctx, o, of.s, of.addr)
			if err != nil {
				return nil, err
			}
			*of.sum += n / rounds
		}
	}
	return []Row{
		{"full TLS handshakes per second and core, HTTPS", "1/s", web, higher, 0},
		{"the same with the greeting of IMAP", "1/s", imap, higher, 0},
		{"the same of a bare TLS loop", "1/s", floor, higher, 0},
		{"full TLS handshakes beside a bare TLS loop, HTTPS", "%", 100 * web / floor, higher, 90},
		{"full TLS handshakes beside a bare TLS loop, with the greeting of IMAP", "%", 100 * imap / floor, higher, 0},
	}, nil
}

// rounds go around all servers, as the machine is not the same all the time.
const rounds = 3

// shakeHands gives how many handshakes one processor of the server would do in
// a second.
func shakeHands(ctx context.Context, o options, s *server, addr string) (float64, error) {
	before, err := s.cpu()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.duration/rounds)
	defer cancel()
	var done atomic.Int64
	err = crowd(atOnce, func(int) error {
		for ctx.Err() == nil {
			c, err := dial(context.WithoutCancel(ctx), addr, coreHello())
			if err != nil {
				return err
			}
			c.Close()
			done.Add(1)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	time.Sleep(100 * time.Millisecond) // the last ones hang up
	after, err := s.cpu()
	if err != nil {
		return 0, err
	}
	return float64(done.Load()) / (ms(after.since(before).total) / 1000), nil
}
