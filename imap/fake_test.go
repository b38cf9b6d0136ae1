package imap

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"barid/smtp"
	"barid/storage"
)

// fakeStore is a small store in memory. Accounts are born by their first
// login with a password of 9 or more characters.
type fakeStore struct {
	storage.Store // nil: what is not below is not called

	mu       sync.Mutex // guards everything below
	accounts map[string]*fakeAccount
	fail     error  // given by every call but Login, when set
	failPart error  // given by Read
	overtake func() // called once, by the next Commit, before it does anything
	validity uint32 // of the last mailbox made
}

type fakeAccount struct {
	account  storage.Account
	password storage.Password
	boxes    map[string]*fakeBox
	entries  []storage.Entry
	subs     map[string]bool
	max      int64
}

type fakeBox struct {
	view    *storage.View
	content map[storage.UID]string
	bells   map[*storage.Bell]storage.Bell
}

func newFakeStore() *fakeStore { return &fakeStore{accounts: map[string]*fakeAccount{}} }

func (f *fakeStore) newBox(name string) *fakeBox {
	f.validity++
	return &fakeBox{
		view: &storage.View{
			Name: name, ID: storage.MailboxID{15: byte(f.validity)}, UIDValidity: storage.UIDValidity(f.validity), UIDNext: 1, HighestModSeq: 1,
		},
		content: map[storage.UID]string{}, bells: map[*storage.Bell]storage.Bell{},
	}
}

func (f *fakeStore) Login(_ context.Context, a smtp.Address, p storage.Password, _ storage.Origin) (storage.Account, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return storage.Account{}, f.fail
	}
	acc := f.accounts[a.Wire()]
	if acc == nil {
		if len(p) < 9 || a.Domain != "relay.test" {
			return storage.Account{}, storage.ErrRefused
		}
		acc = &fakeAccount{
			account: storage.Account{Address: a}, password: p, subs: map[string]bool{}, max: 500 << 20,
			boxes: map[string]*fakeBox{storage.InboxName: f.newBox(storage.InboxName)},
		}
		f.accounts[a.Wire()] = acc
	}
	if acc.password != p {
		return storage.Account{}, storage.ErrRefused
	}
	return acc.account, nil
}

func (f *fakeStore) Lookup(context.Context, smtp.Address) (storage.Account, error) {
	return storage.Account{}, storage.ErrNoAccount
}

type fakeContent struct{ *bytes.Reader }

func contentOf(s string) storage.Content { return fakeContent{bytes.NewReader([]byte(s))} }
func (c fakeContent) Size() int64        { return c.Reader.Size() }

type fakeDraft struct{ bytes.Buffer }

func (d *fakeDraft) Size() int64 { return int64(d.Len()) }
func (d *fakeDraft) Discard()    {}
func (d *fakeDraft) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(d.Bytes()).ReadAt(p, off)
}

func (f *fakeStore) Draft(context.Context, int64) (storage.Draft, error) { return new(fakeDraft), nil }

func (f *fakeStore) box(a storage.Account, name string) (*fakeAccount, *fakeBox, error) {
	acc := f.accounts[a.Address.Wire()]
	if acc == nil {
		return nil, nil, storage.ErrNoAccount
	}
	b := acc.boxes[name]
	if b == nil {
		return acc, nil, storage.ErrNoMailbox
	}
	return acc, b, nil
}

// life is box for the mailbox of that UIDVALIDITY, or any when it is zero.
func (f *fakeStore) life(a storage.Account, name string, validity storage.UIDValidity) (*fakeBox, error) {
	_, b, err := f.box(a, name)
	if err == nil && validity != 0 && b.view.UIDValidity != validity {
		err = storage.ErrNoMailbox
	}
	return b, err
}

// change makes the next view; f gets a copy of the messages.
func (b *fakeBox) change(f func(m []storage.Message, seq storage.ModSeq) []storage.Message) {
	v := *b.view
	v.HighestModSeq++
	v.Messages = f(slices.Clone(v.Messages), v.HighestModSeq)
	if n := len(v.Messages); n > 0 {
		v.UIDNext = max(v.UIDNext, v.Messages[n-1].UID+1)
	}
	b.view = &v
}

func (b *fakeBox) add(text string, flags storage.Flags, at time.Time) storage.UID {
	uid := b.view.UIDNext
	if at.IsZero() {
		at = time.Now().Truncate(time.Second)
	}
	b.content[uid] = text
	b.change(func(m []storage.Message, seq storage.ModSeq) []storage.Message {
		return append(m, storage.Message{UID: uid, Flags: flags, ModSeq: seq, Size: int64(len(text)), Received: storage.TimeOf(at), Saved: storage.TimeOf(time.Now())})
	})
	return uid
}

func (f *fakeStore) Commit(_ context.Context, b storage.Batch) (storage.Result, error) {
	f.mu.Lock()
	if first := f.overtake; first != nil {
		f.overtake = nil
		f.mu.Unlock()
		first()
		f.mu.Lock()
	}
	var ring []storage.Bell
	res := storage.Result{}
	err := f.fail
	if err == nil {
		for _, op := range b.Ops {
			o, touched := f.do(op)
			if b.AllOrNone && o.Err != nil {
				err = o.Err // the fake takes nothing back
				break
			}
			res.Per = append(res.Per, o)
			for _, t := range touched {
				for _, bell := range t.bells {
					ring = append(ring, bell)
				}
			}
		}
	}
	for _, bell := range ring { // under the lock: none is rung after its subscription ended
		bell.Ring()
	}
	f.mu.Unlock()
	return res, err
}

func read(c storage.Content) string {
	p := make([]byte, c.Size())
	c.ReadAt(p, 0)
	return string(p)
}

func (f *fakeStore) do(op storage.Op) (o storage.Outcome, touched []*fakeBox) {
	switch op := op.(type) {
	case storage.Deliver:
		_, b, err := f.box(storage.Account{Address: op.To}, storage.InboxName)
		if err != nil {
			return storage.Outcome{Err: err}, nil
		}
		o.UID = b.add(read(op.Content), 0, time.Unix(1e9, 0).UTC())
		return o, []*fakeBox{b}
	case storage.Append:
		acc, b, err := f.box(op.Account, op.Mailbox)
		if err != nil {
			return storage.Outcome{Err: err}, nil
		}
		if op.Content.Size() > acc.max {
			return storage.Outcome{Err: storage.ErrQuota}, nil
		}
		o.UID = b.add(read(op.Content), op.Flags, op.Received)
		o.UIDValidity = b.view.UIDValidity
		return o, []*fakeBox{b}
	case storage.SetFlags:
		b, err := f.life(op.Account, op.Mailbox, op.UIDValidity)
		if err != nil {
			return storage.Outcome{Err: err}, nil
		}
		b.change(func(m []storage.Message, seq storage.ModSeq) []storage.Message {
			o.ModSeq = seq
			for i := range m {
				if !slices.Contains(op.UIDs, m[i].UID) {
					continue
				}
				if op.UnchangedSince != nil && m[i].ModSeq > *op.UnchangedSince {
					o.Skipped = append(o.Skipped, m[i].UID)
					continue
				}
				was := m[i].Flags
				switch op.Mode {
				case storage.ReplaceFlags:
					m[i].Flags = op.Flags
				case storage.AddFlags:
					m[i].Flags |= op.Flags
				case storage.RemoveFlags:
					m[i].Flags &^= op.Flags
				}
				if was != m[i].Flags {
					m[i].ModSeq = seq
					o.Changed = append(o.Changed, m[i].UID)
				}
			}
			return m
		})
		return o, []*fakeBox{b}
	case storage.Expunge:
		b, err := f.life(op.Account, op.Mailbox, op.UIDValidity)
		if err != nil {
			return storage.Outcome{Err: err}, nil
		}
		b.change(func(m []storage.Message, _ storage.ModSeq) []storage.Message {
			return slices.DeleteFunc(m, func(m storage.Message) bool {
				gone := slices.Contains(op.UIDs, m.UID) && (!op.OnlyDeleted || m.Flags&storage.FlagDeleted != 0)
				if gone {
					o.Changed = append(o.Changed, m.UID)
				}
				return gone
			})
		})
		return o, []*fakeBox{b}
	case storage.Copy:
		return f.copy(op, false)
	case storage.Move:
		return f.copy(storage.Copy(op), true)
	case storage.SetEntry:
		acc, _, err := f.box(op.Account, storage.InboxName)
		if err == nil && !slices.ContainsFunc(acc.entries, func(e storage.Entry) bool { return string(e.Value) == string(op.Value) }) {
			acc.entries = append(acc.entries, storage.Entry{Name: op.Name, Value: op.Value})
		}
		return storage.Outcome{Err: err}, nil
	}
	o = storage.Outcome{Err: f.mailboxOp(op)}
	if op, ok := op.(storage.CreateMailbox); ok && o.Err == nil {
		_, b, _ := f.box(op.Account, op.Name)
		o.Mailbox = b.view.ID
	}
	return o, nil
}

func (f *fakeStore) copy(op storage.Copy, move bool) (o storage.Outcome, touched []*fakeBox) {
	src, err := f.life(op.Account, op.Mailbox, op.UIDValidity)
	if err != nil {
		return storage.Outcome{Err: err}, nil
	}
	_, dst, err := f.box(op.Account, op.Dest)
	if err != nil {
		return storage.Outcome{Err: err}, nil
	}
	o.UIDValidity = dst.view.UIDValidity
	for _, m := range src.view.Messages {
		if slices.Contains(op.UIDs, m.UID) {
			o.Copied = append(o.Copied, storage.Copied{Source: m.UID, Dest: dst.add(src.content[m.UID], m.Flags, m.Received.Time())})
		}
	}
	if move {
		src.change(func(m []storage.Message, _ storage.ModSeq) []storage.Message {
			return slices.DeleteFunc(m, func(m storage.Message) bool { return slices.Contains(op.UIDs, m.UID) })
		})
	}
	return o, []*fakeBox{src, dst}
}

func (f *fakeStore) mailboxOp(op storage.Op) error {
	switch op := op.(type) {
	case storage.CreateMailbox:
		acc, b, err := f.box(op.Account, op.Name)
		if b != nil {
			return storage.ErrMailboxExists
		}
		if !errors.Is(err, storage.ErrNoMailbox) {
			return err
		}
		if op.Name == "" || strings.ContainsAny(op.Name, "/\x7f") {
			return storage.ErrMailboxName
		}
		acc.boxes[op.Name] = f.newBox(op.Name)
	case storage.DeleteMailbox:
		acc, _, err := f.box(op.Account, op.Name)
		if err != nil {
			return err
		}
		if op.Name == storage.InboxName {
			return storage.ErrMailboxName
		}
		delete(acc.boxes, op.Name)
	case storage.RenameMailbox:
		acc, b, err := f.box(op.Account, op.From)
		if err != nil {
			return err
		}
		delete(acc.boxes, op.From)
		acc.boxes[op.To] = b
	case storage.Subscribe:
		acc, _, err := f.box(op.Account, storage.InboxName)
		if err != nil {
			return err
		}
		acc.subs[op.Name] = !op.Remove
	default:
		return errors.New("the fake store does not know this operation")
	}
	return nil
}

func (f *fakeStore) Mailboxes(_ context.Context, a storage.Account) ([]storage.MailboxInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	acc, _, err := f.box(a, storage.InboxName)
	if err != nil {
		return nil, err
	}
	infos := []storage.MailboxInfo{{Name: storage.InboxName, ID: acc.boxes[storage.InboxName].view.ID, Subscribed: acc.subs[storage.InboxName]}}
	var names []string
	for name := range acc.boxes {
		if name != storage.InboxName {
			names = append(names, name)
		}
	}
	for name, subscribed := range acc.subs {
		if subscribed && acc.boxes[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if acc.boxes[name] == nil {
			infos = append(infos, storage.MailboxInfo{Name: name, Subscribed: true})
			continue
		}
		infos = append(infos, storage.MailboxInfo{Name: name, ID: acc.boxes[name].view.ID, Subscribed: acc.subs[name]})
	}
	return infos, f.fail
}

func (f *fakeStore) Entries(_ context.Context, a storage.Account, mailbox string) ([]storage.Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	acc, _, err := f.box(a, cmp.Or(mailbox, storage.InboxName))
	if err != nil {
		return nil, err
	}
	return slices.Clone(acc.entries), f.fail
}

func (f *fakeStore) Usage(_ context.Context, a storage.Account) (storage.Usage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	acc, b, err := f.box(a, storage.InboxName)
	if err != nil {
		return storage.Usage{}, err
	}
	u := storage.Usage{MaxOctets: acc.max}
	for _, m := range b.view.Messages {
		u.Octets += m.Size
		u.Messages++
	}
	return u, f.fail
}

func (f *fakeStore) Close() error { return nil }

func (f *fakeStore) Open(_ context.Context, a storage.Account, name string) (storage.Mailbox, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return nil, f.fail
	}
	_, b, err := f.box(a, name)
	if err != nil {
		return nil, err
	}
	return &fakeMailbox{f: f, a: a, box: b, name: name}, nil
}

type fakeMailbox struct {
	f    *fakeStore
	a    storage.Account
	box  *fakeBox
	name string
}

func (m *fakeMailbox) View(context.Context) (*storage.View, error) {
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	if m.f.fail != nil {
		return nil, m.f.fail
	}
	if _, b, _ := m.f.box(m.a, m.name); b != m.box {
		return nil, storage.ErrNoMailbox
	}
	return m.box.view, nil
}

func (m *fakeMailbox) Since(context.Context, storage.ModSeq) (storage.Delta, error) {
	return storage.Delta{}, storage.ErrTooOld
}

func (m *fakeMailbox) Read(_ context.Context, uids []storage.UID, part storage.Part, f func(storage.UID, storage.Content) error) error {
	for _, uid := range uids {
		m.f.mu.Lock()
		text, ok := m.box.content[uid]
		_, there := find(m.box.view.Messages, uid)
		fail := m.f.failPart
		m.f.mu.Unlock()
		if fail != nil {
			return fail
		}
		if !ok || !there {
			continue
		}
		if part == storage.Header {
			if n := headerEnd([]byte(text)); n >= 0 {
				text = text[:n]
			}
		}
		if err := f(uid, contentOf(text)); err != nil {
			return err
		}
	}
	return nil
}

func (m *fakeMailbox) Subscribe(b storage.Bell) func() {
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	key := &b
	m.box.bells[key] = b
	return func() {
		m.f.mu.Lock()
		defer m.f.mu.Unlock()
		delete(m.box.bells, key)
	}
}

func (m *fakeMailbox) Close() {}

func (*fakeStore) Health(context.Context) error { return nil }
