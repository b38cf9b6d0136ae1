package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"barid/internal/admin"
	"barid/smtp"
	"barid/storage"
)

// AccountsList is the question of "POST /accounts".
type AccountsList struct {
	Prefix string `json:"prefix,omitempty"` // of the address
	// IdleDays leaves out who logged in within so many days.
	IdleDays int  `json:"idle_days,omitempty"`
	Frozen   bool `json:"frozen,omitempty"` // only those
}

// AccountRow is a line of its answer.
type AccountRow struct {
	Address   string `json:"address"`
	LastLogin string `json:"last_login,omitempty"` // "2026-11-25", in UTC
	Frozen    bool   `json:"frozen,omitempty"`
}

// AccountName is the question of those that are about one account. A name
// without "@" is one of our domain.
type AccountName struct {
	Address string `json:"address"`
}

// AccountDetails is the answer to "POST /accounts/show".
type AccountDetails struct {
	AccountRow
	Octets    int64         `json:"octets"`
	MaxOctets int64         `json:"max_octets"` // the quota; zero means none
	Messages  int64         `json:"messages"`
	Tokens    int           `json:"tokens"` // devices that want to be woken
	Mailboxes []MailboxSize `json:"mailboxes"`
}

// MailboxSize is one mailbox of an account.
type MailboxSize struct {
	Name     string `json:"name"`
	Messages int    `json:"messages"`
	Octets   int64  `json:"octets"`
}

// AccountFreeze is the question of "POST /accounts/freeze".
type AccountFreeze struct {
	Address string `json:"address"`
	Thaw    bool   `json:"thaw,omitempty"`
}

// handleAccounts answers what "barid accounts" asks.
func (a *App) handleAccounts() {
	a.admin.Handle("POST /accounts", admin.Stream(a.listAccounts))
	a.admin.Handle("POST /accounts/show", admin.Answer(a.showAccount))
	a.admin.Handle("POST /accounts/freeze", admin.Answer(func(ctx context.Context, q AccountFreeze) (AccountRow, error) {
		return a.changeAccount(ctx, q.Address, func(acct storage.Account) error { return a.store.Freeze(ctx, acct, !q.Thaw) })
	}))
	a.admin.Handle("POST /accounts/delete", admin.Answer(func(ctx context.Context, q AccountName) (AccountRow, error) {
		return a.changeAccount(ctx, q.Address, func(acct storage.Account) error {
			r, err := a.store.Commit(ctx, storage.Batch{Ops: []storage.Op{storage.DeleteAccount{Account: acct}}})
			if err == nil {
				err = r.Per[0].Err
			}
			if err == nil {
				a.log.Info("account deleted", "part", "app", "account", acct.Address)
			}
			return err
		})
	}))
}

func rowOf(i storage.AccountInfo) AccountRow {
	row := AccountRow{Address: i.Address.Wire(), Frozen: i.Frozen}
	if !i.LastLogin.IsZero() {
		row.LastLogin = i.LastLogin.Format(time.DateOnly)
	}
	return row
}

// listAccounts sends the accounts one by one, as the store finds them.
func (a *App) listAccounts(ctx context.Context, q AccountsList, send func(any) error) error {
	prefix := strings.ToLower(q.Prefix)
	before := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -max(q.IdleDays, 0))
	local, _, _ := strings.Cut(prefix, "@")
	return a.store.Accounts(ctx, local, func(i storage.AccountInfo) error {
		row := rowOf(i)
		if !strings.HasPrefix(row.Address, prefix) || q.Frozen && !i.Frozen || q.IdleDays > 0 && i.LastLogin.After(before) {
			return nil
		}
		return send(row)
	})
}

// account finds the account that an operator means, in his own spelling of it.
func (a *App) account(ctx context.Context, name string) (storage.Account, error) {
	if !strings.Contains(name, "@") {
		name += "@" + a.names.mail
	}
	addr, err := smtp.ParseAddress(name)
	if err != nil {
		return storage.Account{}, err
	}
	acct, err := a.store.Lookup(ctx, addr)
	if errors.Is(err, storage.ErrNoAccount) {
		return storage.Account{}, errors.New("there is no such account")
	}
	if err == nil && acct.Address != addr.Fold() {
		return storage.Account{}, errors.New("an account has no tag: leave out what begins with +")
	}
	return acct, err
}

// changeAccount does f and gives the account as it was before, or is now if
// it is still there.
func (a *App) changeAccount(ctx context.Context, name string, f func(storage.Account) error) (AccountRow, error) {
	acct, err := a.account(ctx, name)
	if err != nil {
		return AccountRow{}, err
	}
	if err := f(acct); err != nil {
		return AccountRow{}, err
	}
	info, err := a.store.About(ctx, acct)
	if errors.Is(err, storage.ErrNoAccount) {
		return AccountRow{Address: acct.Address.Wire()}, nil
	}
	return rowOf(info), err
}

func (a *App) showAccount(ctx context.Context, q AccountName) (AccountDetails, error) {
	acct, err := a.account(ctx, q.Address)
	if err != nil {
		return AccountDetails{}, err
	}
	info, err := a.store.About(ctx, acct)
	if err != nil {
		return AccountDetails{}, err
	}
	usage, err := a.store.Usage(ctx, acct)
	if err != nil {
		return AccountDetails{}, err
	}
	d := AccountDetails{AccountRow: rowOf(info), Octets: usage.Octets, MaxOctets: usage.MaxOctets, Messages: usage.Messages}
	entries, err := a.store.Entries(ctx, acct, "")
	if err != nil {
		return AccountDetails{}, err
	}
	for _, e := range entries {
		if e.Name == "/private/devicetoken" {
			d.Tokens++
		}
	}
	boxes, err := a.store.Mailboxes(ctx, acct)
	if err != nil {
		return AccountDetails{}, err
	}
	for _, b := range boxes {
		if b.ID == (storage.MailboxID{}) {
			continue // a name that is subscribed to, no more
		}
		size, err := a.mailboxSize(ctx, acct, b.Name)
		if errors.Is(err, storage.ErrNoMailbox) {
			continue // it went meanwhile
		}
		if err != nil {
			return AccountDetails{}, err
		}
		d.Mailboxes = append(d.Mailboxes, size)
	}
	return d, nil
}

func (a *App) mailboxSize(ctx context.Context, acct storage.Account, name string) (MailboxSize, error) {
	box, err := a.store.Open(ctx, acct, name)
	if err != nil {
		return MailboxSize{}, err
	}
	defer box.Close()
	v, err := box.View(ctx)
	if err != nil {
		return MailboxSize{}, fmt.Errorf("look into a mailbox: %w", err)
	}
	size := MailboxSize{Name: name, Messages: len(v.Messages)}
	for i := range v.Messages {
		size.Octets += v.Messages[i].Size
	}
	return size, nil
}
