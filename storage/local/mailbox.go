package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"barid/storage"
	"barid/storage/maildir"
)

// mailbox is an open mailbox: one life of it, so a mailbox born again under
// the name is another.
type mailbox struct {
	s  *Store
	a  *account
	id *box

	closed atomic.Bool // set under id.mu
}

// subscription is one bell in the list of its box, whose lock guards it:
// there is one for each client that idles, so it is one small piece of memory.
type subscription struct {
	of             *mailbox // never changes
	bell           storage.Bell
	previous, next *subscription
	over           bool // not in the list any more
}

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
	if m.closed.Load() {
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
		it := bs.items[at]
		if it.loc.Load()&locBroken != 0 {
			continue // it was told when it was found
		}
		o, err := m.s.openItem(m.a, bs.view.Name, &bs.view.Messages[at], it)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			m.missing(uid)
			continue
		case maildir.Lasting(err):
			m.broken(uid, it, err)
			continue
		case err != nil:
			return fmt.Errorf("read message: %w", err)
		}
		err = give(uid, o, part, f)
		if c, ok := o.Content.(*maildir.Content); ok && c.Broken() != nil {
			m.broken(uid, it, c.Broken())
		}
		if err != nil {
			return err
		}
		if part == storage.Whole {
			m.s.fetched(m.a, bs, at)
		}
	}
	return nil
}

// broken tells of a message whose file no second try would read, and passes it
// over from now on: a client that is cut off at it each time would never get to
// the next. The file stays as it is.
func (m *mailbox) broken(uid storage.UID, it *item, cause error) {
	if it.loc.Or(locBroken)&locBroken == 0 {
		m.s.log.Error("a message cannot be read and is passed over", "part", "storage", "account", m.a.addr, "uid", uint32(uid), "error", cause)
	}
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
	id := m.id
	id.mu.Lock()
	defer id.mu.Unlock()
	if m.closed.Load() {
		return func() {}
	}
	sub := &subscription{of: m, bell: b, next: id.first}
	if id.first != nil {
		id.first.previous = sub
	}
	id.first = sub
	return sub.cancel
}

func (sub *subscription) cancel() {
	m := sub.of
	m.id.mu.Lock()
	defer m.id.mu.Unlock()
	m.id.drop(sub)
}

// drop takes a subscription out of the list, where it may be no more.
func (b *box) drop(sub *subscription) {
	if sub.over {
		return
	}
	sub.over = true
	if sub.previous != nil {
		sub.previous.next = sub.next
	} else {
		b.first = sub.next
	}
	if sub.next != nil {
		sub.next.previous = sub.previous
	}
	sub.previous, sub.next = nil, nil
}

// Close implements storage.Mailbox.
func (m *mailbox) Close() {
	if !m.end() {
		return
	}
	m.s.release(m.a)
}

// end ends the subscriptions and tells whether they had not ended before.
func (m *mailbox) end() bool {
	m.id.mu.Lock()
	defer m.id.mu.Unlock()
	if m.closed.Swap(true) {
		return false
	}
	for sub := m.id.first; sub != nil; {
		next := sub.next
		if sub.of == m {
			m.id.drop(sub)
		}
		sub = next
	}
	return true
}
