package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"barid/smtp"
	"barid/storage"
)

// The measure of one step of an expiry: what is in memory, on its way to the
// disk, and done without a pause.
const (
	stepAccounts = 64
	stepMessages = 1000
	// stepTime is how long a step looks at accounts.
	stepTime = 50 * time.Millisecond
	// stepPause is the longest pause after a step. Pauses are as long as steps, so
	// that an expiry has half of one processor and half of the disk at most.
	stepPause = time.Second
	// dirtyAccounts and dirtyMessages bound what stays in memory until the next
	// checkpoint; then an expiry makes one of its own.
	dirtyAccounts = 2000
	dirtyMessages = 200_000
)

// expiry is a run of Expire.
type expiry struct {
	s      *Store
	p      storage.ExpiryPolicy
	ages   ages
	report func(storage.Expired)
	total  storage.Expired

	// Of this step:
	began    time.Time
	touched  []*account // with a record that is not waited for; held
	seq      uint64     // of the last of these
	messages int        // that leave
	rows     []string   // for the table
	broken   bool       // it failed, as the next would

	// Since the last checkpoint:
	used  []smtp.Address
	dirty int // accounts
	held  int // messages in them
}

// Expire implements storage.Store.
func (s *Store) Expire(ctx context.Context, p storage.ExpiryPolicy, report func(storage.Expired)) error {
	if err := s.expire(ctx, p, report); err != nil {
		return fmt.Errorf("expire: %w", err)
	}
	return nil
}

func (s *Store) expire(ctx context.Context, p storage.ExpiryPolicy, report func(storage.Expired)) error {
	if p.DryRun && p.ConfirmClock {
		return errors.New("a dry run changes nothing, so it cannot confirm the clock")
	}
	if err := s.expiring.enter(ctx); err != nil {
		return err
	}
	defer s.expiring.leave()
	if !p.DryRun {
		if err := s.writable(ctx); err != nil {
			return err
		}
	}
	if p.ConfirmClock {
		if err := s.confirmClock(); err != nil {
			return err
		}
	}
	if off, lies := s.clock.lies(); lies {
		return fmt.Errorf("%w: it is %s off", storage.ErrClock, off.Round(time.Minute))
	}
	if p.Mail <= 0 && p.Large <= 0 && p.Accounts <= 0 {
		return nil
	}
	e := &expiry{s: s, p: p, ages: agesOf(p, s.clock.now()), report: report, began: time.Now()}
	if report == nil {
		e.report = func(storage.Expired) {}
	}
	err := e.run(ctx)
	if !p.DryRun {
		err = errors.Join(err, e.step())
	}
	e.report(e.total)
	return err
}

// confirmClock takes the clock for right, and notes that durably.
func (s *Store) confirmClock() error {
	s.clock.set(s.cfg.Now())
	s.disk.Lock()
	defer s.disk.Unlock()
	if !s.appendRows(nil) {
		return errors.New("the confirmed time cannot be noted")
	}
	return s.table.flush()
}

// run looks at all that has a directory.
func (e *expiry) run(ctx context.Context) error {
	rows, _, err := e.s.readTable()
	if err != nil {
		return err
	}
	entries, err := e.s.fs.ReadDir(mailDir(e.s.cfg.Domain))
	if err != nil {
		return err
	}
	var names []string
	for _, d := range entries {
		if local, ours := e.s.localPart(d.Name()); ours && d.IsDir() {
			names = append(names, local)
			e.total.Stored += int64(rows[local].messages)
		}
	}
	slices.Sort(names)
	e.total.Of = len(names)
	e.report(e.total)
	for _, local := range names {
		row, known := rows[local]
		e.total.Looked++
		if known && !e.ages.row(row) {
			continue
		}
		addr := smtp.Address{LocalPart: local, Domain: e.s.cfg.Domain}
		if err := e.look(addr, row, known); err != nil {
			if e.mustStop(ctx, err) {
				return err
			}
			e.s.log.Error("an account cannot be judged, nothing of it expires", "part", "storage", "account", addr, "error", err)
			e.total.Failed++
			e.report(storage.Expired{Account: addr, Failed: 1})
		}
		if err := e.pace(ctx); err != nil {
			return err
		}
	}
	if e.p.DryRun {
		return nil
	}
	if err := e.step(); err != nil {
		return err
	}
	return e.pack(names)
}

// mustStop tells whether an error ends the run.
func (e *expiry) mustStop(ctx context.Context, err error) bool {
	if errors.Is(err, errTrouble) {
		return ctx.Err() != nil // the trouble of that account
	}
	return ctx.Err() != nil || e.broken || errors.Is(err, storage.ErrClosed) || errors.Is(err, storage.ErrReadOnly) || errors.Is(err, storage.ErrFull)
}

// look judges an account, and does what comes of it.
func (e *expiry) look(addr smtp.Address, row standing, known bool) error {
	v, err := e.s.judge(addr, &e.ages)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // gone meanwhile, or just moving; there is a next time
	}
	if err != nil {
		return err
	}
	switch {
	case !v.alive:
		return e.withoutPassword(addr)
	case e.ages.account(v.login):
		e.total.Stored -= int64(row.messages)
		return e.account(addr)
	case !known:
		e.total.Stored += v.all
	}
	if !known || e.ages.sweep(row) {
		if v.strays, err = e.strays(addr); err != nil {
			return err
		}
	}
	switch {
	case e.p.DryRun:
	case v.messages > 0:
		if v.messages, v.octets, err = e.mail(addr); err != nil {
			return err
		}
	default:
		e.rows = append(e.rows, v.row.text(addr.LocalPart))
	}
	e.tell(storage.Expired{Account: addr, Messages: v.messages, Octets: v.octets, Strays: v.strays})
	return nil
}

// tell reports an account, if there is something to tell.
func (e *expiry) tell(x storage.Expired) {
	if x.Accounts == 0 && x.Messages == 0 && x.Strays == 0 && x.Kept == 0 {
		return
	}
	e.total.Accounts += x.Accounts
	e.total.Messages += x.Messages
	e.total.Octets += x.Octets
	e.total.Strays += x.Strays
	e.total.Kept += x.Kept
	e.report(x)
}

// withoutPassword lets a directory go that is no account, if it is empty.
func (e *expiry) withoutPassword(addr smtp.Address) error {
	x := storage.Expired{Account: addr}
	empty, err := e.s.dropEmpty(addr, !e.p.DryRun)
	switch {
	case errors.Is(err, errKnown), errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("remove an empty directory: %w", err)
	case empty:
		x.Accounts = 1
	default:
		e.s.log.Warn("a directory without password is not empty, and stays", "part", "storage", "account", addr)
		x.Kept = 1
	}
	e.tell(x)
	return nil
}

// errKnown is about a directory of an account that is being born, or dies.
var errKnown = errors.New("somebody knows that account")

// dropEmpty tells whether the directory of no account is empty, and removes
// it then if it shall go.
func (s *Store) dropEmpty(addr smtp.Address, remove bool) (empty bool, err error) {
	s.disk.Lock() // so nobody makes files there
	defer s.disk.Unlock()
	s.mu.Lock()
	known := s.accounts[addr] != nil
	s.mu.Unlock()
	if known {
		return false, errKnown
	}
	entries, err := s.fs.ReadDir(accountDir(addr))
	if err != nil || len(entries) > 0 || !remove {
		return len(entries) == 0, err
	}
	return true, s.fs.Remove(accountDir(addr))
}

// account lets an account go as a whole, unless it is in use.
func (e *expiry) account(addr smtp.Address) error {
	if e.p.DryRun {
		e.tell(storage.Expired{Account: addr, Accounts: 1})
		return nil
	}
	gone, err := e.change(addr, func(c *commit, b *builder) bool {
		// Whoever has a session open need not log in.
		if e.s.inUse(b.a) || !e.ages.account(b.a.pw.lastLogin(e.s.clock.now())) {
			return false
		}
		c.change(b, change{kind: changeDied, old: b.a.pw.known()})
		return true
	})
	if err != nil || !gone {
		return err
	}
	e.tell(storage.Expired{Account: addr, Accounts: 1})
	return nil
}

// inUse tells whether somebody beside its caller, and the wait for the next
// checkpoint, has the account open.
func (s *Store) inUse(a *account) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine := 1
	if s.dirty[a] {
		mine++
	}
	return a.refs > mine
}

// mail lets the mail go that is due.
func (e *expiry) mail(addr smtp.Address) (messages, octets int64, err error) {
	for {
		n := 0
		changed, err := e.change(addr, func(c *commit, b *builder) bool {
			due := e.ages.due(b.st)
			n = len(due)
			for _, d := range due {
				octets += d.size
			}
			c.leave(b, due)
			return n > 0
		})
		messages += int64(n)
		if err != nil || !changed || n < stepMessages {
			return messages, octets, err
		}
	}
}

// due lists the messages of an account that are due, a step's worth at most.
func (g *ages) due(st *accountState) (list []leaving) {
	for _, bs := range st.boxes {
		for i := range bs.view.Messages {
			m := &bs.view.Messages[i]
			if g.message(m.Saved, m.Size, fetched(m, bs.items[i])) {
				if list = append(list, leaving{m.Saved, m.Size, bs.view.Name, m.UID}); len(list) == stepMessages {
					return list
				}
			}
		}
	}
	return list
}

// change makes a record of what decide changes of an account that lives. It
// is waited for at the end of the step.
func (e *expiry) change(addr smtp.Address, decide func(*commit, *builder) bool) (changed bool, err error) {
	a, err := e.s.acquire(addr)
	if err != nil {
		return false, err
	}
	c := &commit{s: e.s, accounts: map[smtp.Address]*account{addr: a}, builders: map[*account]*builder{}}
	before := int64(0)
	if changed, before, err = e.append(c, a, decide); err != nil || !changed {
		e.s.release(a)
		return false, err
	}
	e.touched = append(e.touched, a)
	e.used = append(e.used, addr)
	e.dirty++
	e.held += int(before)
	for i := range c.record.changes {
		e.messages += max(1, len(c.record.changes[i].list))
	}
	if len(e.touched) >= stepAccounts || e.messages >= stepMessages {
		return true, e.step()
	}
	return true, nil
}

func (e *expiry) append(c *commit, a *account, decide func(*commit, *builder) bool) (changed bool, messages int64, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := c.builder(a.addr)
	if !b.st.alive || a.usable() != nil || !decide(c, b) {
		return false, 0, nil
	}
	messages = a.next.usage().Messages
	if e.seq, err = e.s.append(&c.record, []*builder{b}, nil); err != nil {
		return false, 0, err
	}
	return true, messages, nil
}

// strays removes files that are no messages.
func (e *expiry) strays(addr smtp.Address) (int64, error) {
	if e.ages.mail.IsZero() {
		return 0, nil
	}
	if !e.p.DryRun {
		e.s.disk.Lock()
		defer e.s.disk.Unlock()
	}
	return e.s.strays(addr, &e.ages, !e.p.DryRun)
}

// pace ends the step when it has been long, and lets others work.
func (e *expiry) pace(ctx context.Context) error {
	took := time.Since(e.began)
	if took < stepTime {
		return ctx.Err()
	}
	if !e.p.DryRun {
		if err := e.step(); err != nil {
			return err
		}
		took = time.Since(e.began)
	}
	e.report(e.total)
	timer := time.NewTimer(min(took, stepPause))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	e.began = time.Now()
	return nil
}

// step makes durable what was decided, shows it, and does it on disk, so that
// nothing piles up.
func (e *expiry) step() error {
	err := e.settle()
	if err == nil && (e.dirty >= dirtyAccounts || e.held >= dirtyMessages) {
		err = e.s.checkpoint()
		e.s.forget(e.used)
		e.used, e.dirty, e.held = nil, 0, 0
	}
	e.broken = err != nil
	return err
}

func (e *expiry) settle() error {
	s := e.s
	if len(e.rows) > 0 {
		s.disk.Lock()
		s.appendRows(e.rows)
		s.disk.Unlock()
		e.rows = nil
	}
	if len(e.touched) == 0 {
		return nil
	}
	touched := e.touched
	e.touched, e.messages = nil, 0
	defer func() {
		for _, a := range touched {
			s.release(a)
		}
	}()
	slices.SortFunc(touched, func(x, y *account) int { return cmp.Compare(x.addr.LocalPart, y.addr.LocalPart) })
	if err := s.finish(e.seq, slices.Compact(slices.Clone(touched))); err != nil {
		return err
	}
	return e.clear(touched)
}

// clear removes the files of what left. The next checkpoint writes the rows of
// these accounts anew.
func (e *expiry) clear(touched []*account) error {
	e.s.disk.Lock()
	defer e.s.disk.Unlock()
	for _, a := range touched {
		a.noted = nil
	}
	return notTheirs(e.s.settler.doUrgent())
}

// forget drops accounts that nobody uses from memory before their time.
func (s *Store) forget(list []smtp.Address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, addr := range list {
		if a := s.accounts[addr]; a != nil && a.refs == 0 {
			delete(s.accounts, addr)
		}
	}
}

// pack makes the files that grew while nobody looked smaller. names are the
// accounts that there were.
func (e *expiry) pack(names []string) error {
	s := e.s
	s.disk.Lock()
	defer s.disk.Unlock()
	err := s.packTable(func(local string) bool {
		if _, was := slices.BinarySearch(names, local); was {
			return true // one that left is passed over the next time
		}
		_, err := s.fs.Stat(accountDir(smtp.Address{LocalPart: local, Domain: s.cfg.Domain}))
		return err == nil
	})
	return errors.Join(err, s.names.pack())
}
