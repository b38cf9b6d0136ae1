package submit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"barid/smtp"
	"barid/storage"
)

// fakeStore is a store in memory, as small as these tests need it. Accounts
// are born by their first login when the password has 9 octets.
type fakeStore struct {
	storage.Store // what is not used panics

	mu        sync.Mutex
	passwords map[smtp.Address]storage.Password
	inbox     map[smtp.Address][]string
	full      map[smtp.Address]bool // over quota
	disabled  map[smtp.Address]bool
	gone      map[smtp.Address]bool // deleted
	broken    map[smtp.Address]bool // cannot be delivered to, for now
	commits   int
	commitErr error
	room      int // octets a draft takes; zero means any
	forget    bool
	drafts    int // not discarded
	taken     int64
	loginErr  error
}

func newFakeStore() *fakeStore {
	return &fakeStore{passwords: map[smtp.Address]storage.Password{}, inbox: map[smtp.Address][]string{},
		full: map[smtp.Address]bool{}, broken: map[smtp.Address]bool{}}
}

func (f *fakeStore) Login(_ context.Context, a smtp.Address, p storage.Password, _ storage.Origin) (storage.Account, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.loginErr != nil {
		return storage.Account{}, f.loginErr
	}
	have, ok := f.passwords[a]
	if !ok && len(p) >= 9 && a.Domain == "relay.test" {
		f.passwords[a] = p
		return storage.Account{Address: a, Born: true}, nil
	}
	if !ok || have != p {
		return storage.Account{}, storage.ErrRefused
	}
	return storage.Account{Address: a}, nil
}

func (f *fakeStore) MayMail(_ context.Context, a storage.Account) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone[a.Address] {
		return false, storage.ErrNoAccount
	}
	return !f.disabled[a.Address], nil
}

type fakeDraft struct {
	store *fakeStore
	bytes.Buffer
	size      int64
	discarded bool
}

func (f *fakeStore) Draft(context.Context, int64) (storage.Draft, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drafts++
	return &fakeDraft{store: f}, nil
}

func (d *fakeDraft) Write(p []byte) (int, error) {
	d.size += int64(len(p))
	if d.store.room > 0 && d.size > int64(d.store.room) {
		return 0, storage.ErrFull
	}
	if d.store.forget {
		return len(p), nil
	}
	return d.Buffer.Write(p)
}

func (d *fakeDraft) Size() int64 { return d.size }

func (d *fakeDraft) ReadAt([]byte, int64) (int, error) { return 0, errors.New("not here") }

func (d *fakeDraft) Discard() {
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	if !d.discarded {
		d.discarded = true
		d.store.drafts--
	}
}

func (f *fakeStore) Commit(ctx context.Context, b storage.Batch) (storage.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := errors.Join(f.commitErr, ctx.Err()); err != nil {
		return storage.Result{}, err
	}
	f.commits++
	var result storage.Result
	for _, op := range b.Ops {
		deliver := op.(storage.Deliver)
		to := deliver.To.Fold().WithoutTag()
		var err error
		switch _, known := f.passwords[to]; {
		case !known:
			err = storage.ErrNoAccount
		case f.full[to]:
			err = storage.ErrQuota
		case f.broken[to]:
			err = errors.New("broken for alice@relay.test") // must not reach a peer
		default:
			f.taken += deliver.Content.Size()
			f.inbox[to] = append(f.inbox[to], octets(deliver.Content))
		}
		result.Per = append(result.Per, storage.Outcome{Err: err})
	}
	return result, nil
}

// octets reads a content: a draft of ours, or what was made elsewhere.
func octets(c storage.Content) string {
	if d, ok := c.(*fakeDraft); ok {
		return d.String()
	}
	text, _ := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
	return string(text)
}

// mail gives what an account got.
func (f *fakeStore) mail(a string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.inbox[address(a)]
}

func address(s string) smtp.Address {
	a, err := smtp.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}
