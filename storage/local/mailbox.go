package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"barid/storage"
)

// mailbox is an open mailbox: one life of it, so a mailbox born again under
// the name is another.
type mailbox struct {
	s  *Store
	a  *account
	id *box

	mu     sync.Mutex // guards the fields below
	subs   map[*subscription]struct{}
	closed bool
}

type subscription struct{ bell storage.Bell }

// account gives the account that a caller means. The caller releases it.
func (s *Store) account(ctx context.Context, acct storage.Account) (*account, *accountState, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	addr, ok := s.ours(acct.Address)
	if !ok {
		return nil, nil, storage.ErrNoAccount
	}
	a, err := s.acquire(addr)
	if err != nil {
		return nil, nil, err
	}
	st := a.now.Load()
	if !st.alive {
		s.release(a)
		return nil, nil, storage.ErrNoAccount
	}
	return a, st, nil
}

// Open implements storage.Store.
func (s *Store) Open(ctx context.Context, acct storage.Account, name string) (storage.Mailbox, error) {
	a, st, err := s.account(ctx, acct)
	if err != nil {
		return nil, fmt.Errorf("open mailbox: %w", err)
	}
	bs, err := findMailbox(st, name)
	if err != nil {
		s.release(a)
		return nil, fmt.Errorf("open mailbox: %w", err)
	}
	return &mailbox{s: s, a: a, id: bs.id}, nil
}

// state gives the mailbox as it is now.
func (m *mailbox) state(ctx context.Context) (*boxState, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	closed := m.closed
	m.mu.Unlock()
	if closed {
		return nil, storage.ErrClosed
	}
	bs := m.a.now.Load().of(m.id)
	if bs == nil {
		return nil, storage.ErrNoMailbox
	}
	return bs, nil
}

// View implements storage.Mailbox.
func (m *mailbox) View(ctx context.Context) (*storage.View, error) {
	bs, err := m.state(ctx)
	if err != nil {
		return nil, fmt.Errorf("view: %w", err)
	}
	return &bs.view, nil
}

// Since implements storage.Mailbox.
func (m *mailbox) Since(ctx context.Context, since storage.ModSeq) (storage.Delta, error) {
	bs, err := m.state(ctx)
	if err != nil {
		return storage.Delta{}, fmt.Errorf("since: %w", err)
	}
	if since < bs.floor {
		return storage.Delta{}, fmt.Errorf("since: %w", storage.ErrTooOld)
	}
	return storage.Delta{View: &bs.view, Changed: bs.changedSince(since), Vanished: bs.goneSince(since)}, nil
}

// Read implements storage.Mailbox.
func (m *mailbox) Read(ctx context.Context, uids []storage.UID, part storage.Part, f func(storage.UID, storage.Content) error) error {
	for _, uid := range uids {
		bs, err := m.state(ctx) // anew, so that what is expunged meanwhile is passed over
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		at, ok := bs.index(uid)
		if !ok {
			continue
		}
		o, err := m.s.openItem(m.a, bs.view.Name, &bs.view.Messages[at], bs.items[at])
		if errors.Is(err, fs.ErrNotExist) {
			m.missing(uid)
			continue
		}
		if err != nil {
			return fmt.Errorf("read message: %w", err)
		}
		if err := give(uid, o, part, f); err != nil {
			return err
		}
	}
	return nil
}

// missing tells of a message whose file is gone though nobody expunged it.
func (m *mailbox) missing(uid storage.UID) {
	bs := m.a.now.Load().of(m.id)
	if bs == nil {
		return
	}
	if _, ok := bs.index(uid); ok {
		m.s.log.Error("a message has lost its file", "part", "storage", "account", m.a.addr, "uid", uint32(uid))
	}
}

func give(uid storage.UID, o opened, part storage.Part, f func(storage.UID, storage.Content) error) error {
	c := o.Content
	var err error
	if part == storage.Header {
		c, err = headerOf(o.Content)
	}
	if err == nil {
		err = f(uid, c)
	}
	if closing := o.close(); err == nil {
		err = closing
	}
	return err
}

// Subscribe implements storage.Mailbox.
func (m *mailbox) Subscribe(b storage.Bell) (cancel func()) {
	sub := &subscription{b}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return func() {}
	}
	if m.subs == nil {
		m.subs = map[*subscription]struct{}{}
	}
	m.subs[sub] = struct{}{}
	m.id.mu.Lock()
	defer m.id.mu.Unlock()
	if m.id.bells == nil {
		m.id.bells = map[*subscription]struct{}{}
	}
	m.id.bells[sub] = struct{}{}
	return func() { m.cancel(sub) }
}

func (m *mailbox) cancel(sub *subscription) {
	m.mu.Lock()
	delete(m.subs, sub)
	m.mu.Unlock()
	m.id.mu.Lock()
	defer m.id.mu.Unlock()
	delete(m.id.bells, sub)
}

// Close implements storage.Mailbox.
func (m *mailbox) Close() {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return
	}
	m.closed = true
	subs := m.subs
	m.subs = nil
	m.mu.Unlock()
	m.id.mu.Lock()
	for sub := range subs {
		delete(m.id.bells, sub)
	}
	m.id.mu.Unlock()
	m.s.release(m.a)
}
