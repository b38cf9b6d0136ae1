package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"barid/test/letter"
)

// pair is one who sends and one who waits in IDLE.
type pair struct {
	sender  *smtpClient
	waiter  *imapClient
	to      string
	content *letter.Writer
}

func newPair(ctx context.Context, s *server, n int) (*pair, error) {
	return joinPair(ctx, fmt.Sprintf("pair-%d", n), s.smtp, person('s', n), s.imap, person('r', n))
}

// joinPair logs from in where it submits, and to where it waits. The name
// begins every Message-ID.
func joinPair(ctx context.Context, name, submission string, from account, imap string, to account) (*pair, error) {
	p := &pair{to: to.address, content: letter.New(name, from.address, letter.Size)}
	var err error
	if p.waiter, err = dialIMAP(ctx, imap, to, coreHello()); err != nil {
		return nil, err
	}
	if _, err = p.waiter.do(`SELECT "INBOX"`); err == nil {
		err = p.waiter.idle()
	}
	if err == nil {
		p.sender, err = dialSMTP(ctx, submission, from)
	}
	if err != nil {
		p.waiter.Close()
		return nil, err
	}
	return p, nil
}

func (p *pair) Close() { p.sender.Close(); p.waiter.Close() }

// once sends a message and gives the time from the first octet of MAIL FROM
// to the end of the EXISTS line.
func (p *pair) once() (time.Duration, error) {
	type arrival struct {
		at  time.Time
		err error
	}
	arrived := make(chan arrival, 1)
	go func() {
		_, err := p.waiter.exists()
		arrived <- arrival{time.Now(), err}
	}()
	_, content := p.content.Next()
	var began time.Time
	err := p.sender.send([]string{p.to}, content, func() { began = time.Now() })
	if err != nil {
		p.waiter.Close() // ends the goroutine
		<-arrived
		return 0, err
	}
	a := <-arrived
	return a.at.Sub(began), a.err
}

// times sends so many messages, one after the other.
func (p *pair) times(ctx context.Context, messages int) (took []time.Duration, err error) {
	const warm = 20
	for i := range warm + messages {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		d, err := p.once()
		if err != nil {
			return nil, err
		}
		if i >= warm {
			took = append(took, d)
		}
	}
	return took, nil
}

// latency measures MAIL FROM to EXISTS.
func latency(ctx context.Context, o options) ([]Row, error) {
	s, err := startFresh(ctx, o)
	if err != nil {
		return nil, err
	}
	defer s.kill()
	messages, spell := 500, 20*time.Second
	if o.quick {
		messages, spell = 50, 3*time.Second
	}
	alone, err := oneByOne(ctx, s, messages)
	if err != nil {
		return nil, err
	}
	together, err := manyPairs(ctx, s, 20, 45, spell)
	if err != nil {
		return nil, err
	}
	return []Row{
		{"MAIL to EXISTS, 1 pair, p50", "ms", ms(quantile(alone, 0.50)), lower, 1.5},
		{"MAIL to EXISTS, 1 pair, p99", "ms", ms(quantile(alone, 0.99)), lower, 6},
		{"MAIL to EXISTS, 20 pairs at 45/s, p50", "ms", ms(quantile(together, 0.50)), lower, 1.5},
		{"MAIL to EXISTS, 20 pairs at 45/s, p99", "ms", ms(quantile(together, 0.99)), lower, 8},
	}, s.stop()
}

func oneByOne(ctx context.Context, s *server, messages int) ([]time.Duration, error) {
	p, err := newPair(ctx, s, 0)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return p.times(ctx, messages)
}

// manyPairs sends at a rate for all pairs together, at random moments.
func manyPairs(ctx context.Context, s *server, pairs int, rate float64, spell time.Duration) ([]time.Duration, error) {
	var all []*pair
	defer func() {
		for _, p := range all {
			p.Close()
		}
	}()
	for i := range pairs {
		p, err := newPair(ctx, s, 1+i)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	ctx, cancel := context.WithTimeout(ctx, spell)
	defer cancel()
	var mu sync.Mutex // guards took
	var took []time.Duration
	err := crowd(pairs, func(i int) error {
		dice := rand.New(rand.NewPCG(uint64(i), 1))
		for {
			pause := time.Duration(dice.ExpFloat64() * float64(pairs) / rate * float64(time.Second))
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return nil
			}
			d, err := all[i].once()
			if err != nil {
				return err
			}
			mu.Lock()
			took = append(took, d)
			mu.Unlock()
		}
	})
	return took, err
}

// crowd runs do(0) to do(n-1) at once and gives the first error.
func crowd(n int, do func(int) error) error {
	errs := make(chan error, n)
	for i := range n {
		go func() { errs <- do(i) }()
	}
	var first error
	for range n {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// senders and mailboxes of the throughput scenarios.
const (
	senders   = 16
	mailboxes = 160
)

func deliver(ctx context.Context, o options) ([]Row, error) {
	return pour(ctx, o, 1, letter.Size, "16 senders", 1500, 0.5)
}

func submit(ctx context.Context, o options) ([]Row, error) {
	return pour(ctx, o, 1, 10_000, "16 senders, 10 kB", 1500, 0)
}

func fanout(ctx context.Context, o options) ([]Row, error) {
	return pour(ctx, o, 10, letter.Size, "10 recipients each", 5000, 0)
}

// crew is clients that send at once, each over a connection that stays.
type crew []*smtpClient

func newCrew(n int, dial func(i int) (*smtpClient, error)) (crew, error) {
	var all crew
	for i := range n {
		c, err := dial(i)
		if err != nil {
			all.Close()
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func (all crew) Close() {
	for _, c := range all {
		c.Close()
	}
}

// pour sends as fast as the server takes it, each message of about size octets
// and to that many recipients.
func pour(ctx context.Context, o options, recipients, size int, how string, rate, cpu float64) ([]Row, error) {
	s, err := startFresh(ctx, o)
	if err != nil {
		return nil, err
	}
	defer s.kill()
	if err := firstLogins(ctx, s, 'r', mailboxes, 8); err != nil {
		return nil, err
	}
	clients, err := newCrew(senders, func(i int) (*smtpClient, error) { return dialSMTP(ctx, s.smtp, person('s', i)) })
	if err != nil {
		return nil, err
	}
	defer clients.Close()
	ctx, cancel := context.WithTimeout(ctx, o.duration)
	defer cancel()
	var delivered atomic.Int64
	took, spent, err := s.cost(func() error {
		return crowd(senders, func(i int) error {
			content := letter.New(fmt.Sprintf("sender-%d", i), clients[i].from, size)
			to := make([]string, recipients)
			for turn := i; ctx.Err() == nil; turn += senders {
				for r := range to {
					to[r] = person('r', (turn*recipients+r)%mailboxes).address
				}
				_, message := content.Next()
				if err := clients[i].send(to, message, nil); err != nil {
					return err
				}
				delivered.Add(int64(recipients))
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	n := float64(delivered.Load())
	return []Row{
		{"deliveries per second, " + how, "1/s", n / took.Seconds(), higher, rate},
		{"CPU per 1,000 deliveries, " + how, "s", spent.total.Seconds() / n * 1000, lower, cpu},
		{"of it in the kernel, " + how, "s", spent.kernel.Seconds() / n * 1000, lower, 0},
	}, s.stop()
}

// firstLogins makes accounts 0 to n-1 of a kind by logging in, with that many
// at a time.
func firstLogins(ctx context.Context, s *server, kind byte, n, at int) error {
	var next atomic.Int64
	return crowd(at, func(int) error {
		for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
			c, err := dialIMAP(ctx, s.imap, person(kind, int(i)), coreHello())
			if err != nil {
				return fmt.Errorf("account %d: %w", i, err)
			}
			c.Close()
		}
		return nil
	})
}

// quantile gives the smallest value that a fraction q of all does not exceed.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	i := int(q*float64(len(sorted)) + 0.999999)
	return sorted[min(max(i-1, 0), len(sorted)-1)]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
