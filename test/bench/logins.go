package main

import (
	"context"
	"crypto/sha512"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// atOnce is how many clients log in at a time.
const atOnce = 16

// setup measures whole IMAP set-ups of accounts that were there before.
func setup(ctx context.Context, o options) ([]Row, error) {
	s, err := startFresh(ctx, o)
	if err != nil {
		return nil, err
	}
	defer s.kill()
	const accounts = 200
	if err := firstLogins(ctx, s, 'r', accounts, atOnce); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.duration)
	defer cancel()
	var done atomic.Int64
	took, spent, err := s.cost(func() error {
		return crowd(atOnce, func(int) error {
			for ctx.Err() == nil {
				n := done.Add(1)
				// The whole set-up is done even when the time is up meanwhile.
				c, err := dialIMAP(context.WithoutCancel(ctx), s.imap, person('r', int(n)%accounts), coreHello())
				if err != nil {
					return err
				}
				_, err = c.do(`SELECT "INBOX"`)
				c.Close()
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	n := float64(done.Load())
	return []Row{
		{"IMAP set-ups per second", "1/s", n / took.Seconds(), higher, 1000},
		{"CPU per IMAP set-up", "ms", ms(spent.total) / n, lower, 0.8},
	}, s.stop()
}

// reconnects measures what follows a start: every client comes back once. The
// accounts are read from disk and their passwords checked anew.
func reconnects(ctx context.Context, o options) ([]Row, error) {
	site, err := newSite(o.dir)
	if err != nil {
		return nil, err
	}
	accounts := 2000
	if o.quick {
		accounts = 100
	}
	s, err := site.start(ctx, o.barid, o.serverCPU)
	if err != nil {
		return nil, err
	}
	if err := firstLogins(ctx, s, 'r', accounts, atOnce); err != nil {
		s.kill()
		return nil, err
	}
	if err := s.stop(); err != nil {
		return nil, err
	}
	if s, err = site.start(ctx, o.barid, o.serverCPU); err != nil {
		return nil, err
	}
	defer s.kill()
	var next atomic.Int64
	took, spent, err := s.cost(func() error {
		return crowd(atOnce, func(int) error {
			for i := next.Add(1) - 1; i < int64(accounts) && ctx.Err() == nil; i = next.Add(1) - 1 {
				c, err := dialIMAP(ctx, s.imap, person('r', int(i)), coreHello())
				if err != nil {
					return err
				}
				_, err = c.do(`SELECT "INBOX"`)
				c.Close()
				if err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	})
	if err != nil {
		return nil, err
	}
	n := float64(accounts)
	return []Row{
		{"IMAP set-ups per second, each account's first after a start", "1/s", n / took.Seconds(), higher, 0},
		{"CPU per IMAP set-up, each account's first after a start", "ms", ms(spent.total) / n, lower, 0},
	}, s.stop()
}

// birth measures first logins.
func birth(ctx context.Context, o options) ([]Row, error) {
	s, err := startFresh(ctx, o)
	if err != nil {
		return nil, err
	}
	defer s.kill()
	accounts := 2000
	if o.quick {
		accounts = 100
	}
	took, spent, err := s.cost(func() error { return firstLogins(ctx, s, 'n', accounts, atOnce) })
	if err != nil {
		return nil, err
	}
	n := float64(accounts)
	return []Row{
		{"accounts made by first login per second", "1/s", n / took.Seconds(), higher, 400},
		{"CPU per account, first login", "ms", ms(spent.total) / n, lower, 0},
		{"of it in the kernel, first login", "ms", ms(spent.kernel) / n, lower, 0},
		{"the floor: SHA-512 of one password", "ms", ms(passwordFloor()), lower, 0},
	}, s.stop()
}

// passwordFloor is what the hash of a password of 22 octets costs by itself:
// 4 of 7 rounds of SHA512-CRYPT take two blocks, the others one.
func passwordFloor() time.Duration {
	const blocks = 5000 * 11 / 7
	octets := make([]byte, blocks*sha512.BlockSize)
	took := make([]time.Duration, 20)
	for i := range took {
		began := time.Now()
		sha512.Sum512(octets)
		took[i] = time.Since(began)
	}
	return quantile(took, 0.5)
}

// aStorm is how many sessions, coming at once, make the relay collect its
// garbage when they are there.
const aStorm = 600

// idle measures what an idle connection costs in memory.
func idle(ctx context.Context, o options) ([]Row, error) {
	site, err := newSite(o.dir)
	if err != nil {
		return nil, err
	}
	s, err := site.start(ctx, o.barid, o.serverCPU)
	if err != nil {
		return nil, err
	}
	if err := firstLogins(ctx, s, 'r', o.idle, atOnce); err != nil {
		s.kill()
		return nil, err
	}
	if err := s.stop(); err != nil {
		return nil, err
	}
	var rows []Row
	for _, kind := range []struct {
		name   string
		hello  hello
		target float64
		lowest float64
	}{{"X25519", coreHello, 12, 10}, {"post-quantum", quantumHello, 17, 0}} {
		// A new process each, so that nothing of an earlier run is reused.
		s, err := site.start(ctx, o.barid, o.serverCPU)
		if err != nil {
			return nil, err
		}
		g, err := growth(ctx, o, s, func(ctx context.Context, n int) (closer, error) {
			c, err := dialIMAP(ctx, s.imap, person('r', n), kind.hello())
			if err != nil {
				return nil, err
			}
			if _, err := c.do(`SELECT "INBOX"`); err != nil {
				c.Close()
				return nil, err
			}
			return c, c.idle()
		})
		s.kill()
		if err != nil {
			return nil, err
		}
		if len(rows) == 0 {
			rows = append(rows, Row{"memory with no connection", "MB", float64(g.empty) / 1e6, lower, 30})
		}
		bare, err := echoGrowth(ctx, o, kind.hello)
		if err != nil {
			return nil, err
		}
		of := fmt.Sprintf("%d idle, %s", o.idle, kind.name)
		rows = append(rows,
			Row{"PSS per connection, " + of, "KB", g.settled / 1e3, lower, kind.target},
			Row{"the same, when the last one came, " + kind.name, "KB", g.atOnce / 1e3, lower, 0},
			Row{"the same, a bare TLS loop, " + kind.name, "KB", bare / 1e3, lower, 0},
		)
		if o.idle >= aStorm {
			rows = append(rows, Row{"the same, after a collection, " + kind.name, "KB", g.lowest / 1e3, lower, kind.lowest})
		}
	}
	return rows, nil
}

type closer interface{ Close() }

// grown is the memory of a process, in octets: with no connection, and what
// each connection added.
type grown struct {
	empty                   int64
	atOnce, settled, lowest float64
}

// growth opens o.idle connections and gives what each of them adds at once,
// when o.settle has passed, and the lowest of that time.
func growth(ctx context.Context, o options, s *server, open func(context.Context, int) (closer, error)) (g grown, err error) {
	conns := make([]closer, o.idle)
	openAll := func(n int) error {
		var next atomic.Int64
		return crowd(atOnce, func(int) error {
			for i := next.Add(1) - 1; i < int64(n) && ctx.Err() == nil; i = next.Add(1) - 1 {
				c, err := open(ctx, int(i))
				if err != nil {
					return fmt.Errorf("connection %d: %w", i, err)
				}
				conns[i] = c
			}
			return ctx.Err()
		})
	}
	closeAll := func() {
		for i, c := range conns {
			if c != nil {
				c.Close()
				conns[i] = nil
			}
		}
	}
	defer closeAll()
	if g.empty, err = s.pss(); err != nil {
		return g, err
	}
	// What the first connections load once is not theirs.
	if err = openAll(min(64, o.idle)); err != nil {
		return g, err
	}
	closeAll()
	if err = wait(ctx, 2*time.Second); err != nil {
		return g, err
	}
	warm, err := s.pss()
	if err != nil {
		return g, err
	}
	if err = openAll(o.idle); err != nil {
		return g, err
	}
	fmt.Fprintf(os.Stderr, "  %d connections are idle for %v\n", o.idle, o.settle)
	each := func() (float64, error) {
		now, err := s.pss()
		return float64(now-warm) / float64(o.idle), err
	}
	if g.atOnce, err = each(); err != nil {
		return g, err
	}
	g.settled, g.lowest = g.atOnce, g.atOnce
	for end := time.Now().Add(o.settle); time.Now().Before(end); {
		if err = wait(ctx, min(time.Second, time.Until(end))); err != nil {
			return g, err
		}
		if g.settled, err = each(); err != nil {
			return g, err
		}
		g.lowest = min(g.lowest, g.settled)
	}
	return g, nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
