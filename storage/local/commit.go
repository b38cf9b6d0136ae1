package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"barid/internal/journal"
	"barid/smtp"
	"barid/storage"
)

// maxOps bounds the operations of one batch.
const maxOps = 20_000

// commit is one Commit on its way to a record.
type commit struct {
	s        *Store
	batch    storage.Batch
	record   record
	contents []*content // as record.contents
	number   map[storage.Content]int
	accounts map[smtp.Address]*account
	shut     map[smtp.Address]error // of accounts that could not be opened
	off      map[*account]bool      // disabled: nothing is delivered
	builders map[*account]*builder
	messages uint32   // put into mailboxes so far
	trimmed  capacity // what left for want of quota

	places map[int]places // by operation, of each Dequeue
	queues bool           // there are operations on the queue
	edit   *queueEdit     // what they come to
}

// Commit implements storage.Store.
func (s *Store) Commit(ctx context.Context, b storage.Batch) (storage.Result, error) {
	if err := s.writable(ctx); err != nil {
		return storage.Result{}, fmt.Errorf("commit: %w", err)
	}
	if len(b.Ops) > maxOps {
		return storage.Result{}, fmt.Errorf("commit of %d operations: %w", len(b.Ops), storage.ErrFull)
	}
	c := &commit{
		s: s, batch: b, number: map[storage.Content]int{},
		accounts: map[smtp.Address]*account{}, off: map[*account]bool{}, builders: map[*account]*builder{},
	}
	defer c.release()
	if err := c.open(ctx); err != nil {
		return storage.Result{}, fmt.Errorf("commit: %w", err)
	}
	per, seq, err := c.decide(ctx)
	if err == nil && seq > 0 {
		err = s.finish(seq, c.locked())
	}
	if err != nil {
		return storage.Result{}, fmt.Errorf("commit: %w", err)
	}
	c.countQuota(per)
	return storage.Result{Per: per}, nil
}

// open does everything that takes I/O: accounts and content.
func (c *commit) open(ctx context.Context) error {
	room := 4 * c.s.inline
	for i, op := range c.batch.Ops {
		if err := c.openAccount(op); err != nil {
			return err
		}
		c.openQueue(i, op)
		given := contentIn(op)
		if given == nil {
			continue
		}
		if !reflect.ValueOf(given).Comparable() {
			return errContent
		}
		if _, have := c.number[given]; have {
			continue
		}
		if len(c.contents) == 0 {
			if err := c.s.room(ctx); err != nil {
				return err
			}
		}
		body, err := c.s.contentOf(given, room)
		if err != nil {
			return err
		}
		rc := recordContent{size: body.size, crc: body.crc, staged: body.staged}
		if body.staged == "" {
			rc.octets = body.mem
			room -= body.size
		}
		c.number[given] = len(c.contents)
		c.contents = append(c.contents, body)
		c.record.contents = append(c.record.contents, rc)
	}
	return nil
}

// errContent is about a storage.Content whose type has no "==": whether two
// operations of a batch share it cannot be told, and to ask would panic.
var errContent = errors.New("content of a type that cannot be compared: give a pointer to it")

func contentIn(op storage.Op) storage.Content {
	switch op := op.(type) {
	case storage.Deliver:
		return op.Content
	case storage.Append:
		return op.Content
	case storage.Enqueue:
		return op.Content
	}
	return nil
}

// openQueue reads what an operation on the queue needs.
func (c *commit) openQueue(i int, op storage.Op) {
	c.queues = c.queues || ofQueue(op)
	if end, ok := op.(storage.Dequeue); ok {
		if c.places == nil {
			c.places = map[int]places{}
		}
		c.places[i] = c.s.queue.placesOf(end.ID, end.To)
	}
}

// openAccount brings the account of an operation into memory.
func (c *commit) openAccount(op storage.Op) error {
	addr, ok := c.target(op)
	if !ok || c.accounts[addr] != nil {
		return nil
	}
	a, err := c.s.acquire(addr)
	if theirs(err) || errors.Is(err, errTrouble) {
		if c.shut == nil {
			c.shut = map[smtp.Address]error{}
		}
		c.shut[addr] = err // the others get their mail
		return nil
	}
	if err != nil {
		return err
	}
	c.accounts[addr] = a
	c.off[a] = c.s.disabled(a)
	return nil
}

func makesMailbox(op storage.Op) bool {
	switch op.(type) {
	case storage.CreateMailbox, storage.RenameMailbox:
		return true
	}
	return false
}

// target gives the address of the account that an operation is about.
func (c *commit) target(op storage.Op) (smtp.Address, bool) {
	var a smtp.Address
	switch op := op.(type) {
	case storage.Deliver:
		a = op.To.WithoutTag()
	case storage.Append:
		a = op.Account.Address
	case storage.SetFlags:
		a = op.Account.Address
	case storage.Expunge:
		a = op.Account.Address
	case storage.Copy:
		a = op.Account.Address
	case storage.Move:
		a = op.Account.Address
	case storage.SetEntry:
		a = op.Account.Address
	case storage.RemoveToken:
		a = op.Account.Address
	case storage.CreateMailbox:
		a = op.Account.Address
	case storage.DeleteMailbox:
		a = op.Account.Address
	case storage.RenameMailbox:
		a = op.Account.Address
	case storage.Subscribe:
		a = op.Account.Address
	case storage.SetPassword:
		a = op.Account.Address
	case storage.DeleteAccount:
		a = op.Account.Address
	}
	return c.s.ours(a)
}

// locked gives the accounts in the order of their addresses.
func (c *commit) locked() []*account {
	list := make([]*account, 0, len(c.accounts))
	for _, a := range c.accounts {
		list = append(list, a)
	}
	slices.SortFunc(list, func(x, y *account) int { return cmp.Compare(x.addr.LocalPart, y.addr.LocalPart) })
	return list
}

// errBury says that the dead must be buried first.
var errBury = errors.New("a name was used until a moment ago")

// decide is run, after the dead are buried: a name never has two lives in one
// journal.
func (c *commit) decide(ctx context.Context) (per []storage.Outcome, seq uint64, err error) {
	prepared, err := c.hashes(ctx)
	if err != nil {
		return nil, 0, err
	}
	for range 10 { // as others may delete in between
		per, seq, err = c.run(prepared)
		if err != errBury {
			return per, seq, err
		}
		if err := c.s.checkpoint(); err != nil {
			return nil, 0, err
		}
	}
	return nil, 0, fmt.Errorf("%w: %w", errBury, storage.ErrFull)
}

// run decides every operation and gives the record its place. seq is the
// record to wait for, zero when there is none.
func (c *commit) run(prepared map[int]string) (per []storage.Outcome, seq uint64, err error) {
	accounts := c.locked()
	for _, a := range accounts {
		a.mu.Lock()
		defer a.mu.Unlock()
	}
	for _, op := range c.batch.Ops {
		if addr, _ := c.target(op); makesMailbox(op) && c.accounts[addr] != nil && c.accounts[addr].died.Load() > c.s.trimmed.Load() {
			return nil, 0, errBury
		}
	}
	if c.queues {
		q := c.s.queue
		q.mu.Lock()
		defer q.mu.Unlock()
		c.edit = q.edit()
		seq = q.seq
	}
	per = make([]storage.Outcome, len(c.batch.Ops))
	for i, op := range c.batch.Ops {
		if ofQueue(op) {
			c.doQueue(op, c.places[i], &per[i])
		} else {
			c.do(op, prepared[i], &per[i])
		}
		if per[i].Err != nil && c.batch.AllOrNone {
			return nil, 0, fmt.Errorf("operation %d: %w", i, per[i].Err)
		}
	}
	var builders []*builder
	for _, a := range accounts {
		if b := c.builders[a]; b != nil && b.changed {
			builders = append(builders, b)
		}
		// What the outcomes rest on must be durable, too.
		seq = max(seq, a.next.seq)
	}
	if len(builders) == 0 && (c.edit == nil || !c.edit.changed) {
		return per, min(seq, uint64(c.s.journal.Last())), nil
	}
	seq, err = c.s.append(&c.record, builders, c.contents)
	return per, seq, err
}

// hashes computes what SetPassword needs, outside of every lock.
func (c *commit) hashes(ctx context.Context) (map[int]string, error) {
	var hashes map[int]string
	for i, op := range c.batch.Ops {
		set, ok := op.(storage.SetPassword)
		if !ok || len(set.Password) > maxPassword {
			continue
		}
		a, _ := c.s.ours(set.Account.Address)
		hash, err := c.s.hash(ctx, a, set.Password)
		if err != nil {
			return nil, err
		}
		if hashes == nil {
			hashes = map[int]string{}
		}
		hashes[i] = hash
	}
	return hashes, nil
}

// change notes a change in the record and does it.
func (c *commit) change(b *builder, ch change) {
	ch.account = c.accountNumber(b.a.addr)
	c.record.changes = append(c.record.changes, ch)
	b.apply(&ch, c.messages, c.contents)
	c.messages += ch.messages()
}

func (c *commit) accountNumber(a smtp.Address) int {
	if i := slices.Index(c.record.accounts, a); i >= 0 {
		return i
	}
	c.record.accounts = append(c.record.accounts, a)
	return len(c.record.accounts) - 1
}

// release gives back what open took.
func (c *commit) release() {
	for _, body := range c.contents {
		c.s.dropUnused(body)
	}
	for _, a := range c.accounts {
		c.s.release(a)
	}
}

// append gives a record its place in the journal and makes the builders'
// states the newest of their accounts. The accounts are locked, and the queue
// when the record changes it.
func (s *Store) append(r *record, builders []*builder, contents []*content) (uint64, error) {
	parts := r.encode()
	s.placing.RLock()
	defer s.placing.RUnlock()
	n, err := s.journal.Append(parts...)
	if err != nil {
		return 0, s.failed(err)
	}
	seq := uint64(n)
	for _, b := range builders {
		s.seal(b, seq)
		b.a.pub.Lock()
		b.a.pending = append(b.a.pending, pendingState{b.st, b.rung, b.jobs})
		b.a.pub.Unlock()
		b.a.next = b.st
		s.markDirty(b.a)
	}
	if r.changesQueue() {
		s.queue.commit(r, seq, contents)
	}
	return seq, nil
}

// seal gives the new state of an account, and what was added to it, the
// number of its record.
func (s *Store) seal(b *builder, seq uint64) {
	b.st.seq = seq
	for _, bs := range b.edited {
		bs.seq = seq
	}
	for i := range b.added {
		add := &b.added[i]
		if add.it.foreign == nil {
			add.it.seq = seq
		}
		s.identify(b, add, seq)
		s.hold(b.a, add, seq)
	}
	if b.died {
		b.a.died.Store(seq)
	}
}

// finish waits until a record is durable and shows it in its accounts.
func (s *Store) finish(seq uint64, accounts []*account) error {
	if err := s.journal.Wait(journal.Seq(seq)); err != nil {
		return s.failed(err)
	}
	for _, a := range accounts {
		s.publish(a)
	}
	s.queue.publish()
	s.settler.look(s.journal.Size())
	return nil
}

// failed turns an error of the journal into one of the store. After a failed
// flush the store takes no write any more.
func (s *Store) failed(err error) error {
	if errors.Is(err, journal.ErrFailed) {
		if !s.readOnly.Swap(true) {
			s.log.Error("the store is read-only: a flush of the journal failed", "part", "storage", "error", err)
		}
		return errors.Join(storage.ErrReadOnly, err)
	}
	switch {
	case errors.Is(err, journal.ErrNoSpace), errors.Is(err, journal.ErrTooLarge):
		return errors.Join(storage.ErrFull, err)
	case errors.Is(err, journal.ErrClosed):
		return errors.Join(storage.ErrClosed, err)
	}
	return err
}

// writable tells why no write can be taken.
func (s *Store) writable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.readOnly.Load() {
		return storage.ErrReadOnly
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return storage.ErrClosed
	}
	return nil
}
