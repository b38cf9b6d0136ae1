package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"barid/storage"
	"barid/test/letter"
)

// cycle measures mail that lives for less than a second, as most mail of a
// client that is online does: delivered, fetched and deleted.
func cycle(ctx context.Context, o options) ([]Row, error) {
	return onDisks(ctx, o, func(d disk) ([]Row, error) { return storeCycle(ctx, o, d) })
}

const (
	cycleRate     = 1000 // messages a second
	cycleAccounts = 200
	cycleLife     = 300 * time.Millisecond // until a message is fetched and deleted
)

// lives are the times of what was done to all messages.
type lives struct {
	mu                      sync.Mutex // guards the fields below
	delivered, fetched, out []time.Duration
}

func storeCycle(ctx context.Context, o options, d disk) ([]Row, error) {
	dir, err := os.MkdirTemp(d.dir, "cycle-")
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := makeAccounts(dir, cycleAccounts); err != nil {
		return nil, err
	}
	s, err := openStore(dir, false, nil)
	if err != nil {
		return nil, err
	}
	if err := lapJournal(ctx, s, o.quick); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	before := s.disk.now()
	l, err := liveAndDie(ctx, s, o.duration)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	spent := s.disk.now().since(before)
	if err := s.Close(); err != nil {
		return nil, err
	}
	n := float64(len(l.delivered))
	row := func(what, unit string, value, target float64) Row {
		return Row{fmt.Sprintf("cycle at %d/s: %s, %s", cycleRate, what, d.name), unit, value, lower, target}
	}
	return []Row{
		row("delivery, p50", "ms", ms(quantile(l.delivered, 0.5)), 0),
		row("delivery, p99", "ms", ms(quantile(l.delivered, 0.99)), 2),
		row("fetch, p99", "ms", ms(quantile(l.fetched, 0.99)), 0),
		row("deletion, p99", "ms", ms(quantile(l.out, 0.99)), 0),
		row("written for each message", "kB", float64(spent.written)/n/1e3, 10),
		row("flushes for each message", "", float64(spent.flushes)/n, 2),
		row("files of messages made", "", float64(spent.messages), 0),
		row("other files made", "", float64(spent.created-spent.messages), 0),
	}, nil
}

// lapJournal fills the journal until its files are used again: they are made
// once in the life of a data directory, with zeros.
func lapJournal(ctx context.Context, s *measured, quick bool) error {
	octets := int64(160 << 20)
	if quick {
		octets = 40 << 20
	}
	contents := letter.New("lap", person('s', 0).address, 100_000)
	for n := 0; s.disk.written.Load() < octets; n++ {
		_, message := contents.Next()
		got, err := deliverTo(ctx, s, message, n%cycleAccounts)
		if err != nil {
			return err
		}
		if _, err := s.Commit(ctx, expunge(n%cycleAccounts, got.Per[0].UID)); err != nil {
			return err
		}
	}
	return nil
}

func expunge(account int, uid storage.UID) storage.Batch {
	return storage.Batch{AllOrNone: true, Ops: []storage.Op{storage.Expunge{
		Account: storage.Account{Address: mailAddress(account)}, Mailbox: storage.InboxName, UIDs: []storage.UID{uid},
	}}}
}

// liveAndDie starts a message at each moment it is due, however late the store
// is with those before. A delivery is timed from then.
func liveAndDie(ctx context.Context, s storage.Store, spell time.Duration) (*lives, error) {
	l := &lives{}
	var boxes [cycleAccounts]storage.Mailbox
	for i := range boxes {
		m, err := s.Open(ctx, storage.Account{Address: mailAddress(i)}, storage.InboxName)
		if err != nil {
			return nil, err
		}
		defer m.Close()
		boxes[i] = m
	}
	content := letter.New("cycle", person('s', 0).address, letter.Size)
	errs := make(chan error, 1)
	var all sync.WaitGroup
	defer all.Wait()
	began := time.Now()
	for n := range int(spell.Seconds() * cycleRate) {
		due := began.Add(time.Duration(n) * time.Second / cycleRate)
		if ahead := time.Until(due); ahead > 0 {
			time.Sleep(ahead)
		}
		_, message := content.Next()
		all.Go(func() {
			if err := l.live(ctx, s, boxes[n%cycleAccounts], n%cycleAccounts, message, due); err != nil {
				select {
				case errs <- err:
				default:
				}
			}
		})
		select {
		case err := <-errs:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		default:
		}
	}
	all.Wait()
	select {
	case err := <-errs:
		return nil, err
	default:
		return l, nil
	}
}

// live is one message from its delivery to its end.
func (l *lives) live(ctx context.Context, s storage.Store, box storage.Mailbox, account int, message []byte, due time.Time) error {
	got, err := deliverTo(ctx, s, message, account)
	if err != nil {
		return err
	}
	delivered := time.Since(due)
	uids := []storage.UID{got.Per[0].UID}
	if err := wait(ctx, cycleLife); err != nil {
		return err
	}
	began := time.Now()
	octets := make([]byte, len(message))
	err = box.Read(ctx, uids, storage.Whole, func(_ storage.UID, c storage.Content) error {
		_, err := c.ReadAt(octets, 0)
		return err
	})
	if err != nil {
		return err
	}
	if string(octets) != string(message) {
		return errors.New("what was fetched is not what was delivered")
	}
	fetched := time.Since(began)
	began = time.Now()
	_, err = s.Commit(ctx, expunge(account, uids[0]))
	out := time.Since(began)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delivered, l.fetched, l.out = append(l.delivered, delivered), append(l.fetched, fetched), append(l.out, out)
	return err
}
