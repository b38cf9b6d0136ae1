package local

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"barid/smtp"
	"barid/storage"
)

// Lookup implements storage.Store.
func (s *Store) Lookup(ctx context.Context, addr smtp.Address) (storage.Account, error) {
	a, _, err := s.account(ctx, storage.Account{Address: addr.WithoutTag()})
	if err != nil {
		return storage.Account{}, fmt.Errorf("look up account: %w", err)
	}
	defer s.release(a)
	return storage.Account{Address: a.addr}, nil
}

// Mailboxes implements storage.Store.
func (s *Store) Mailboxes(ctx context.Context, acct storage.Account) ([]storage.MailboxInfo, error) {
	a, st, err := s.account(ctx, acct)
	if err != nil {
		return nil, fmt.Errorf("list mailboxes: %w", err)
	}
	defer s.release(a)
	list := make([]storage.MailboxInfo, len(st.boxes), len(st.boxes)+len(st.subs))
	for i, bs := range st.boxes {
		_, subscribed := slices.BinarySearch(st.subs, bs.view.Name)
		list[i] = storage.MailboxInfo{Name: bs.view.Name, ID: bs.view.ID, Subscribed: subscribed}
	}
	for _, name := range st.subs {
		if st.find(name) == nil {
			list = append(list, storage.MailboxInfo{Name: name, Subscribed: true})
		}
	}
	slices.SortStableFunc(list, func(x, y storage.MailboxInfo) int { return compareNames(x.Name, y.Name) })
	return list, nil
}

// Entries implements storage.Store.
func (s *Store) Entries(ctx context.Context, acct storage.Account, mailbox string) ([]storage.Entry, error) {
	a, st, err := s.account(ctx, acct)
	if err != nil {
		return nil, fmt.Errorf("list entries: %w", err)
	}
	defer s.release(a)
	if mailbox != "" {
		bs, err := findMailbox(st, mailbox)
		if err != nil {
			return nil, fmt.Errorf("list entries: %w", err)
		}
		mailbox = bs.view.Name
	}
	if st.meta == nil {
		return nil, nil
	}
	var list []storage.Entry
	meta := cloneMetadata(st.meta)
	for _, t := range meta.Tokens(s.cfg.Now()) {
		list = append(list, storage.Entry{Name: deviceToken, Value: []byte(t.Value), Set: t.Set})
	}
	for _, e := range meta.Entries(mailbox) {
		list = append(list, storage.Entry{Name: e.Name, Value: e.Value, Set: time.Time{}})
	}
	slices.SortStableFunc(list, func(x, y storage.Entry) int { return strings.Compare(x.Name, y.Name) })
	return list, nil
}

// Usage implements storage.Store.
func (s *Store) Usage(ctx context.Context, acct storage.Account) (storage.Usage, error) {
	a, st, err := s.account(ctx, acct)
	if err != nil {
		return storage.Usage{}, fmt.Errorf("usage: %w", err)
	}
	defer s.release(a)
	u := st.usage()
	u.MaxOctets = s.cfg.Quota
	return u, nil
}
