package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"barid/internal/journal"
	"barid/smtp"
	"barid/storage"
	"barid/storage/local"
	"barid/test/letter"
)

// manyWriters is the crowd of the store's scenarios.
const manyWriters = 32

// store measures the store alone, in this process and on one processor, beside
// the bare disk.
func store(ctx context.Context, o options) ([]Row, error) {
	return onDisks(ctx, o, func(d disk) ([]Row, error) {
		rows, err := rawDisk(ctx, o, d)
		if err != nil {
			return nil, err
		}
		large := largeMailbox
		if o.quick {
			large = 300
		}
		for _, flush := range []string{"always", "never"} {
			for _, full := range []int{smallMailbox, large} {
				more, err := storeDeliveries(ctx, o, d, flush, full)
				if err != nil {
					return nil, err
				}
				rows = append(rows, more...)
			}
		}
		return rows, nil
	})
}

// storeDeliveries measures deliveries per second into mailboxes that hold so
// many messages in files when each measurement begins, and more of this run's.
func storeDeliveries(ctx context.Context, o options, d disk, flush string, full int) ([]Row, error) {
	dir, err := os.MkdirTemp(d.dir, "store-")
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	mailboxes := 10
	if full == smallMailbox {
		mailboxes = 200
	}
	if err := makeAccounts(dir, mailboxes); err != nil {
		return nil, err
	}
	if err := fillStore(ctx, dir, mailboxes, full); err != nil {
		return nil, err
	}
	var rows []Row
	for _, recipients := range []int{1, 10} {
		for _, writers := range []int{1, manyWriters} {
			s, err := openStore(dir, flush == "never", nil)
			if err != nil {
				return nil, err
			}
			took, n, err := pourIn(ctx, s, o.duration/10, writers, recipients, mailboxes)
			if err = errors.Join(err, s.Close()); err != nil {
				return nil, err
			}
			rows = append(rows, Row{
				fmt.Sprintf("store: deliveries, sync %s, %s, %s, mailboxes of %d, %s", flush,
					plural(writers, "writer"), plural(recipients, "recipient"), full, d.name),
				"1/s", float64(n) * float64(recipients) / took.Seconds(), higher, 0,
			})
		}
	}
	return rows, nil
}

// pourIn delivers as fast as the store takes it, when each mailbox has been
// read from disk.
func pourIn(ctx context.Context, s storage.Store, spell time.Duration, writers, recipients, mailboxes int) (time.Duration, int64, error) {
	_, content := letter.New("first", person('s', 0).address, letter.Size).Next()
	everybody := make([]int, mailboxes)
	for i := range everybody {
		everybody[i] = i
	}
	if _, err := deliverTo(ctx, s, content, everybody...); err != nil {
		return 0, 0, err
	}
	return hammer(ctx, spell, writers, storeWriter(s, writers, recipients, mailboxes))
}

// storeWriter gives what each of the writers does in turn: one message to so
// many of the mailboxes.
func storeWriter(s storage.Store, writers, recipients, mailboxes int) func(worker, turn int) error {
	contents := make([]*letter.Writer, writers)
	for i := range contents {
		contents[i] = letter.New(fmt.Sprintf("writer-%d", i), person('s', i).address, letter.Size)
	}
	return func(worker, turn int) error {
		_, content := contents[worker].Next()
		first := (turn*writers + worker) * recipients
		to := make([]int, recipients)
		for i := range to {
			to[i] = (first + i) % mailboxes
		}
		_, err := deliverTo(context.Background(), s, content, to...)
		return err
	}
}

// deliverTo does what a server does with a message that it took.
func deliverTo(ctx context.Context, s storage.Store, content []byte, to ...int) (storage.Result, error) {
	d, err := s.Draft(ctx, int64(len(content)))
	if err != nil {
		return storage.Result{}, err
	}
	defer d.Discard()
	if _, err := d.Write(content); err != nil {
		return storage.Result{}, err
	}
	ops := make([]storage.Op, len(to))
	for i, n := range to {
		ops[i] = storage.Deliver{To: mailAddress(n), Content: d}
	}
	return s.Commit(ctx, storage.Batch{Ops: ops, AllOrNone: true})
}

// mailAddress is that of person 'r' of the number.
func mailAddress(n int) smtp.Address {
	return smtp.Address{LocalPart: fmt.Sprintf("r%08d", n), Domain: domain}
}

// measured is a store in this process, and what it does to its disk.
type measured struct {
	*local.Store
	disk *meter
}

func openStore(dir string, noSync bool, now func() time.Time) (*measured, error) {
	disk, err := journal.OpenFS(dir)
	if err != nil {
		return nil, err
	}
	m := &meter{FS: disk}
	s, err := local.Open(local.Config{FS: m, Domain: domain, NoSync: noSync, Now: now})
	if err != nil {
		return nil, errors.Join(err, disk.Close())
	}
	return &measured{s, m}, nil
}

func (m *measured) Close() error { return errors.Join(m.Store.Close(), m.disk.Close()) }

// makeAccounts puts accounts r00000000 and up on the disk as the reference
// leaves them: a directory with a password file. Nobody can log in.
func makeAccounts(dir string, n int) error {
	mail := filepath.Join(dir, "mail", domain)
	if err := os.MkdirAll(mail, 0o700); err != nil {
		return fmt.Errorf("make accounts: %w", err)
	}
	for i := range n {
		account := filepath.Join(mail, person('r', i).address)
		if err := os.Mkdir(account, 0o700); err != nil {
			return fmt.Errorf("make accounts: %w", err)
		}
		if err := os.WriteFile(filepath.Join(account, "password"), []byte("{SHA512-CRYPT}!"), 0o600); err != nil {
			return fmt.Errorf("make accounts: %w", err)
		}
	}
	return nil
}

// fillStore puts so many messages into each mailbox, in files: one content with
// many links, as that of a large group has.
func fillStore(ctx context.Context, dir string, mailboxes, full int) error {
	s, err := openStore(dir, true, nil)
	if err != nil {
		return err
	}
	_, content := letter.New("before", person('s', 0).address, letter.Size).Next()
	for i := range mailboxes {
		to := make([]int, full)
		for j := range to {
			to[j] = i
		}
		if _, err := deliverTo(ctx, s, content, to...); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	return s.Close()
}
