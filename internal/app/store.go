package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"syscall"

	"barid/internal/admin"
	"barid/internal/config"
	"barid/internal/journal"
	"barid/storage/local"
)

// StoreCheck is the question of "POST /store/check".
type StoreCheck struct {
	Repair bool `json:"repair,omitempty"`
}

// StoreLine is a line of its answer: a fault, how far it is, or, as the last,
// the end.
type StoreLine struct {
	Fault    string `json:"fault,omitempty"` // its kind: "missing"
	Account  string `json:"account,omitempty"`
	Mailbox  string `json:"mailbox,omitempty"`
	UID      uint32 `json:"uid,omitempty"`
	File     string `json:"file,omitempty"` // below the account's directory, or the data directory
	Text     string `json:"text,omitempty"`
	Repaired bool   `json:"repaired,omitempty"`

	Progress *StoreSum `json:"progress,omitempty"`
	End      *StoreSum `json:"end,omitempty"`
}

// StoreSum is how far a check is, or what it came to.
type StoreSum struct {
	Accounts  int64 `json:"accounts"` // there are
	Looked    int64 `json:"looked"`   // at so many of them
	Mailboxes int64 `json:"mailboxes"`
	Messages  int64 `json:"messages"` // whose files were read
	Octets    int64 `json:"octets"`
	Waiting   int64 `json:"waiting,omitempty"` // messages that have no file yet
	Faults    int64 `json:"faults"`
	Repaired  int64 `json:"repaired"`
}

// errNoFiles is about a store that is not made of files.
var errNoFiles = errors.New("this relay's store has no files to look at")

// handleStore answers what "barid store" asks.
func (a *App) handleStore() {
	a.admin.Handle("POST /store/check", admin.Stream(func(ctx context.Context, q StoreCheck, send func(any) error) error {
		s, ok := a.store.(*local.Store)
		if !ok {
			return errNoFiles
		}
		return checkStore(ctx, s, q, false, func(l StoreLine) error { return send(l) })
	}))
	a.admin.Handle("POST /store/settle", admin.Stream(func(ctx context.Context, _ struct{}, send func(any) error) error {
		s, ok := a.store.(*local.Store)
		if !ok {
			return errNoFiles
		}
		if err := s.Settle(ctx); err != nil {
			return err
		}
		return send(StoreLine{End: &StoreSum{}})
	}))
}

func checkStore(ctx context.Context, s *local.Store, q StoreCheck, hurry bool, send func(StoreLine) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sum, err := s.Check(ctx, local.CheckOptions{
		Repair: q.Repair, Hurry: hurry,
		Report: func(f local.Fault) error {
			l := StoreLine{Fault: f.Kind, Mailbox: f.Mailbox, UID: uint32(f.UID), File: f.File, Text: f.Text, Repaired: f.Repaired}
			if !f.Account.IsZero() {
				l.Account = f.Account.Wire()
			}
			return send(l)
		},
		Progress: func(c local.Checked) {
			if send(StoreLine{Progress: (*StoreSum)(&c)}) != nil {
				cancel() // nobody reads any more
			}
		},
	})
	if err != nil {
		return err
	}
	return send(StoreLine{End: (*StoreSum)(&sum)})
}

// CheckStoppedStore is what "POST /store/check" does, on the data directory of
// a relay that is not running. It opens the store, which settles what a crash
// left in the journal. journal.ErrLocked when a relay runs.
func CheckStoppedStore(ctx context.Context, cfg *config.Config, q StoreCheck, send func(StoreLine) error) error {
	return onStoppedStore(cfg, func(s *local.Store) error { return checkStore(ctx, s, q, true, send) })
}

// SettleStoppedStore is what "POST /store/settle" does, likewise.
func SettleStoppedStore(ctx context.Context, cfg *config.Config) error {
	return onStoppedStore(cfg, func(s *local.Store) error { return s.Settle(ctx) })
}

func onStoppedStore(cfg *config.Config, do func(*local.Store) error) error {
	s, err := local.Open(storeConfig(cfg, namesOf(cfg.Domain), slog.New(slog.DiscardHandler), nil))
	if err != nil {
		err = fmt.Errorf("open the store of a relay that is not running: %w", err)
		if errors.Is(err, journal.ErrLocked) {
			return err // nothing was written
		}
		return errors.Join(err, giveBack(cfg.DataDir))
	}
	return errors.Join(do(s), s.Close(), giveBack(cfg.DataDir))
}

// giveBack gives what root wrote into a data directory to the directory's
// owner: the relay runs as that user, and could not open it else.
func giveBack(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return nil
	}
	if err := giveTree(dir, st.Uid, ourEntries...); err != nil {
		return fmt.Errorf("give the data directory to its owner: %w", err)
	}
	return nil
}
