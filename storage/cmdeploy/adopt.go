package cmdeploy

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"barid/smtp"
	"barid/storage"
)

// Store is what adopts the accounts: storage.Store, and a way to have all it
// knows in its files.
type Store interface {
	Lookup(ctx context.Context, a smtp.Address) (storage.Account, error)
	Mailboxes(ctx context.Context, a storage.Account) ([]storage.MailboxInfo, error)
	Open(ctx context.Context, a storage.Account, mailbox string) (storage.Mailbox, error)
	Settle(ctx context.Context) error
}

// Sum is how far an import is, or what it came to.
type Sum struct {
	Directories int64 `json:"directories"` // that may be accounts
	Looked      int64 `json:"looked"`      // at so many of them
	Accounts    int64 `json:"accounts"`
	Mailboxes   int64 `json:"mailboxes"`
	Messages    int64 `json:"messages"`
	Octets      int64 `json:"octets"` // of content, as far as names tell
	Copied      int64 `json:"copied"` // files
	CopiedBytes int64 `json:"copied_octets"`
	Faults      int64 `json:"faults"`
	Warnings    int64 `json:"warnings"`
}

// Work is what is done to each account of a tree.
type Work struct {
	Tree     *Tree
	Accounts []string
	// Before, when not nil, is done to an account before it is looked at.
	Before func(ctx context.Context, name string) (Copied, []Found, error)
	// Store, when not nil, then reads it, and what came out is compared with
	// what lies there.
	Store Store
	// Workers is how many accounts are worked on at once; at least one.
	Workers int
	// Report gets what was found, Progress how far it is; both one at a time.
	// An error of Report ends the work with it.
	Report   func(Found) error
	Progress func(Sum)
}

// settleEvery is how many messages and accounts the store may hold in memory.
const (
	settleEvery         = 20_000
	settleEveryAccounts = 1_000
)

// Run does it. An account that cannot be read is a Found, and the rest goes on.
func (w *Work) Run(ctx context.Context) (Sum, error) {
	r := &running{Work: w, sum: Sum{Directories: int64(len(w.Accounts))}}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	names := make(chan string)
	var workers sync.WaitGroup
	for range max(1, w.Workers) {
		workers.Go(func() {
			for name := range names {
				if err := r.account(ctx, name); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, name := range w.Accounts {
		select {
		case names <- name:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(names)
	workers.Wait()
	if err := context.Cause(ctx); err != nil {
		return r.sum, err
	}
	if w.Store != nil {
		return r.sum, w.Store.Settle(ctx)
	}
	return r.sum, nil
}

// running is a Work on its way.
type running struct {
	*Work
	mu       sync.Mutex // guards the fields below; held while Report and Progress run
	sum      Sum
	accounts int // since the store settled
	messages int
}

func (r *running) account(ctx context.Context, name string) error {
	var copied Copied
	var found []Found
	var err error
	if r.Before != nil {
		copied, found, err = r.Before(ctx, name)
	}
	var seen *Seen
	if err == nil {
		var more []Found
		seen, more, err = r.Tree.Look(ctx, name)
		found = append(found, more...)
	}
	if err == nil && r.Store != nil && seen.Account {
		var more []Found
		more, err = r.adopt(ctx, seen)
		found = append(found, more...)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		found = append(found, fault(FoundUnreadable, name, "is left out: "+err.Error()+".", "Look at the disk and the owners, and import again."))
	}
	return r.done(ctx, seen, copied, found)
}

// done adds an account up, and lets the store settle now and then, so that its
// memory stays flat.
func (r *running) done(ctx context.Context, seen *Seen, copied Copied, found []Found) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sum.Looked++
	r.sum.Copied += copied.Files
	r.sum.CopiedBytes += copied.Octets
	if seen != nil && seen.Account {
		r.sum.Accounts++
		r.sum.Mailboxes += int64(len(seen.Boxes))
		r.sum.Messages += int64(seen.Messages())
		r.sum.Octets += seen.Octets()
		r.accounts++
		r.messages += seen.Messages()
	}
	for _, f := range found {
		r.sum.count(f)
		if err := r.Report(f); err != nil {
			return err
		}
	}
	if r.Progress != nil {
		r.Progress(r.sum)
	}
	if r.Store == nil || r.messages < settleEvery && r.accounts < settleEveryAccounts {
		return nil
	}
	r.accounts, r.messages = 0, 0
	return r.Store.Settle(ctx)
}

// adopt has the store read an account, and compares.
func (r *running) adopt(ctx context.Context, seen *Seen) ([]Found, error) {
	acct, err := r.Store.Lookup(ctx, r.Tree.address(seen.Name))
	if err != nil {
		return nil, err
	}
	infos, err := r.Store.Mailboxes(ctx, acct)
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, i := range infos {
		there[i.Name] = i.ID != (storage.MailboxID{})
	}
	var found []Found
	for _, box := range seen.Boxes {
		why := "the store does not have it"
		if there[box.Name] {
			if why, err = r.compare(ctx, acct, box); err != nil {
				return found, err
			}
		}
		if why != "" {
			f := fault(FoundMismatch, seen.Name, "is not what lies on disk: "+why+".", `"barid store check" tells more.`)
			f.Mailbox = box.Name
			found = append(found, f)
		}
	}
	return found, nil
}

// compare tells how a mailbox differs from its files; empty when it does not.
func (r *running) compare(ctx context.Context, acct storage.Account, box SeenBox) (why string, err error) {
	m, err := r.Store.Open(ctx, acct, box.Name)
	if err != nil {
		return "", err
	}
	defer m.Close()
	v, err := m.View(ctx)
	switch {
	case errors.Is(err, storage.ErrNoMailbox):
		return "it is gone", nil
	case err != nil:
		return "", err
	case box.Validity != 0 && uint32(v.UIDValidity) != box.Validity:
		return fmt.Sprintf("UIDVALIDITY is %d, not %d", v.UIDValidity, box.Validity), nil
	case uint32(v.UIDNext) < box.Next:
		return fmt.Sprintf("UIDNEXT is %d, not %d", v.UIDNext, box.Next), nil
	case len(v.Messages) != box.Files:
		return fmt.Sprintf("it has %d messages, not %d", len(v.Messages), box.Files), nil
	}
	left := len(box.UIDs)
	for i := range v.Messages {
		size, listed := box.UIDs[uint32(v.Messages[i].UID)]
		if !listed {
			continue
		}
		left--
		if size >= 0 && size != v.Messages[i].Size {
			return fmt.Sprintf("UID %d has %d octets, not %d", v.Messages[i].UID, v.Messages[i].Size, size), nil
		}
	}
	if left > 0 {
		return counted(left, "UID is missing", "UIDs are missing"), nil
	}
	return "", nil
}
