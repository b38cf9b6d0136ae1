package main

import (
	"context"
	"sync/atomic"
	"time"
)

// handshakes measures full TLS handshakes of clients that leave at once, at
// the relay and at the bare server, by the processor time that the server
// spends: the load takes as much on the other processor.
func handshakes(ctx context.Context, o options) ([]Row, error) {
	s, err := startFresh(ctx, o)
	if err != nil {
		return nil, err
	}
	relay, err := shakeHands(ctx, o, s, s.imap)
	if stop := s.stop(); err == nil {
		err = stop
	}
	if err != nil {
		return nil, err
	}
	bare, addr, err := startBare(ctx, o, echoCommand)
	if err != nil {
		return nil, err
	}
	defer bare.kill()
	floor, err := shakeHands(ctx, o, bare, addr)
	if err != nil {
		return nil, err
	}
	return []Row{
		{"full TLS handshakes per second and core", "1/s", relay, higher, 0},
		{"the same of a bare TLS loop", "1/s", floor, higher, 0},
		{"full TLS handshakes beside a bare TLS loop", "%", 100 * relay / floor, higher, 90},
	}, nil
}

// shakeHands gives how many handshakes one processor of the server would do in
// a second.
func shakeHands(ctx context.Context, o options, s *server, addr string) (float64, error) {
	before, err := s.cpu()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.duration)
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
