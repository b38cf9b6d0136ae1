package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"barid/smtp"
	"barid/storage"
)

// The kinds of Fault.
const (
	FaultUnreadable = "unreadable"  // an account or a mailbox cannot be read
	FaultSnapshot   = "snapshot"    // a mailbox's snapshot is broken: repaired from its files
	FaultMissing    = "missing"     // a message has no file: repaired by expunging it
	FaultUnlisted   = "unlisted"    // a file is no message yet: repaired by giving it a UID
	FaultDouble     = "double"      // two files of one message
	FaultForeign    = "foreign"     // no message can have that name
	FaultContent    = "content"     // a file that cannot be read to its end
	FaultSize       = "size"        // content of another size than its name and the index say; quota counts what they say
	FaultUIDList    = "uidlist"     // dovecot-uidlist says something else: repaired by writing it anew
	FaultTmp        = "tmp"         // a file that was never finished: repaired by removing it after 36 hours
	FaultStaging    = "staging"     // large content that nobody waits for: repaired by removing it after an hour
	FaultQueued     = "queued"      // a queued message whose files cannot be read: repaired by ending it, what is left lies in queue/aside
	FaultOrphan     = "orphan"      // a file in the queue of no message: repaired by removing it
	FaultNoPassword = "no-password" // a directory that is no account's
)

const (
	// tmpAge is when a file in tmp is nobody's any more, as the inventor of the
	// Maildir has it.
	tmpAge = 36 * time.Hour
	// stagingAge is when a draft is nobody's any more: no transaction lasts so
	// long.
	stagingAge = time.Hour
	// checkTime is how long a check works before it rests as long.
	checkTime = 50 * time.Millisecond
)

// Fault is something in the data directory that is not as it should be.
type Fault struct {
	Kind     string
	Account  smtp.Address // zero: the store's own
	Mailbox  string
	UID      storage.UID // of the message, where one is known
	File     string      // below the account's directory, or the data directory
	Text     string
	Repaired bool
}

// Checked is how far a check is, or, at its end, what it came to.
type Checked struct {
	Accounts  int64 // there are
	Looked    int64 // accounts
	Mailboxes int64
	Messages  int64
	Octets    int64 // of content that was read
	Waiting   int64 // messages whose content waits in the journal for its file
	Faults    int64
	Repaired  int64
}

// CheckOptions says how a check is made.
type CheckOptions struct {
	// Repair does what is safe: nothing that has content goes, but for files in
	// tmp and staging that nobody waits for.
	Repair bool
	// Hurry lets it work without rest: for a store that serves nobody.
	Hurry bool
	// Report gets each fault, Progress how far it is; an error of Report ends the
	// check with it. Progress may be nil.
	Report   func(Fault) error
	Progress func(Checked)
}

// Check compares what the store knows with what lies on disk, account after
// account, while the store serves. Without Repair it changes nothing.
func (s *Store) Check(ctx context.Context, opt CheckOptions) (Checked, error) {
	c := &checking{s: s, opt: opt, began: time.Now()}
	names, err := s.accountNames("")
	if err != nil {
		return c.sum, fmt.Errorf("check store: %w", err)
	}
	c.sum.Accounts = int64(len(names))
	err = c.staging()
	if err == nil {
		err = c.queue(ctx)
	}
	for _, name := range names {
		if err == nil {
			err = c.account(ctx, smtp.Address{LocalPart: name, Domain: s.cfg.Domain})
		}
		if err == nil {
			err = c.rest(ctx)
		}
	}
	if c.rewrite && err == nil {
		err = s.checkpoint()
	}
	if err != nil {
		return c.sum, fmt.Errorf("check store: %w", err)
	}
	return c.sum, nil
}

// Settle writes everything into Maildir files and brings dovecot-uidlist up to
// date, so that other programs find all there is.
func (s *Store) Settle(ctx context.Context) error {
	err := s.writable(ctx)
	if err == nil {
		err = s.checkpoint()
	}
	if err != nil {
		return fmt.Errorf("settle store: %w", err)
	}
	return nil
}

// checking is a check on its way.
type checking struct {
	s       *Store
	opt     CheckOptions
	sum     Checked
	began   time.Time // this stretch of work
	rewrite bool      // a checkpoint writes what was repaired
}

// rest tells how far it is, and lets others work.
func (c *checking) rest(ctx context.Context) error {
	took := time.Since(c.began)
	if took < checkTime {
		return ctx.Err()
	}
	if c.opt.Progress != nil {
		c.opt.Progress(c.sum)
	}
	if !c.opt.Hurry {
		timer := time.NewTimer(min(took, time.Second))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	c.began = time.Now()
	return ctx.Err()
}

func (c *checking) fault(f Fault) error {
	c.sum.Faults++
	if f.Repaired {
		c.sum.Repaired++
	}
	return c.opt.Report(f)
}

// staging looks for large content that nobody waits for.
func (c *checking) staging() error {
	s := c.s
	entries, err := s.fs.ReadDir(stagingDir)
	if err != nil {
		return err
	}
	s.mu.Lock()
	closed := false // what such accounts wait for only the journal knows
	for _, t := range s.troubled {
		closed = closed || t.closed
	}
	dirty := make([]*account, 0, len(s.dirty))
	for a := range s.dirty {
		dirty = append(dirty, a)
	}
	s.mu.Unlock()
	if closed || len(entries) == 0 {
		return nil
	}
	needed := s.stagedNames(dirty)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || needed[e.Name()] || s.cfg.Now().Sub(info.ModTime()) < stagingAge {
			continue
		}
		f := Fault{Kind: FaultStaging, File: stagingDir + "/" + e.Name(), Text: fmt.Sprintf("%d octets that nobody waits for", info.Size())}
		if c.opt.Repair {
			f.Repaired = s.fs.Remove(f.File) == nil
		}
		if err := c.fault(f); err != nil {
			return err
		}
	}
	return nil
}

// stagedNames gives the staging files that messages wait in, or that the
// journal names. Accounts that are not dirty have none.
func (s *Store) stagedNames(dirty []*account) map[string]bool {
	needed := map[string]bool{}
	for _, a := range dirty {
		a.mu.Lock()
		states := []*accountState{a.next, a.now.Load()}
		a.mu.Unlock()
		for _, st := range states {
			if st == nil {
				continue
			}
			for _, bs := range st.boxes {
				for _, it := range bs.items {
					if content := it.content.Load(); content != nil && content.staged != "" {
						needed[content.staged] = true
					}
				}
			}
		}
	}
	s.bodies.Lock()
	defer s.bodies.Unlock()
	for _, content := range s.unneeded {
		needed[content.staged] = true
	}
	for content := range s.held { // by what is queued, too
		needed[content.staged] = true
	}
	return needed
}

// account checks one account.
func (c *checking) account(ctx context.Context, addr smtp.Address) error {
	c.sum.Looked++
	s := c.s
	s.mu.Lock()
	a := s.accounts[addr]
	if a != nil {
		a.refs++
	}
	s.mu.Unlock()
	if a != nil {
		defer s.release(a)
		if st := a.now.Load(); st != nil {
			return c.inMemory(ctx, a, st)
		}
	}
	a = &account{addr: addr}
	names, folders, err := s.list(a.dir())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // gone meanwhile
	case err != nil:
		return c.fault(Fault{Kind: FaultUnreadable, Account: addr, Text: err.Error()})
	case !slices.Contains(names, passwordName):
		return c.fault(Fault{Kind: FaultNoPassword, Account: addr, Text: "a directory without password file"})
	}
	for _, box := range append([]string{storage.InboxName}, folders...) {
		if err := c.onDisk(ctx, a, box); err != nil {
			return err
		}
	}
	return nil
}

// onDisk checks a mailbox of an account that is not in memory: its snapshot
// has all there is to know.
func (c *checking) onDisk(ctx context.Context, a *account, name string) error {
	s := c.s
	dir := s.dir(a, name)
	names, _, err := s.list(dir.Path())
	if err != nil {
		return c.fault(Fault{Kind: FaultUnreadable, Account: a.addr, Mailbox: name, Text: err.Error()})
	}
	sn, err := s.peekSnapshot(dir.Path(), names)
	if err != nil {
		f := Fault{Kind: FaultSnapshot, Account: a.addr, Mailbox: name, File: snapshotName, Text: err.Error()}
		if c.opt.Repair && errors.Is(err, errSnapshot) {
			f.Repaired = c.reload(a.addr) == nil
		}
		return c.fault(f)
	}
	if sn == nil {
		return nil // made by another program, and never opened yet
	}
	bs := &boxState{items: sn.items, view: storage.View{Name: name, UIDValidity: sn.validity, ID: sn.id, UIDNext: sn.next, Messages: sn.messages}}
	return c.mailbox(ctx, a, bs, true)
}

// peekSnapshot is readSnapshot that changes no name.
func (s *Store) peekSnapshot(dir string, names []string) (*snapshot, error) {
	newest, file := uint64(0), ""
	for _, found := range names {
		if n, ok := checkpointOf(found, snapshotName); ok && n <= s.trimmed.Load() && (file == "" || n > newest) {
			newest, file = n, found
		}
	}
	if file == "" {
		return nil, nil
	}
	text, err := s.readFile(dir+"/"+file, maxSnapshot)
	if err != nil {
		return nil, err
	}
	return decodeSnapshot(text)
}

// inMemory checks an account that somebody uses, or that has changes which no
// snapshot has.
func (c *checking) inMemory(ctx context.Context, a *account, st *accountState) error {
	if !st.alive {
		return nil
	}
	if t := a.trouble.Load(); t != nil {
		return c.fault(Fault{Kind: FaultUnreadable, Account: a.addr, Text: t.err.Error()})
	}
	for _, bs := range st.boxes {
		own := *bs // readers have the other
		if err := c.mailbox(ctx, a, &own, false); err != nil {
			return err
		}
	}
	return nil
}

// reload reads an account, which repairs what reading can.
func (c *checking) reload(addr smtp.Address) error {
	a, err := c.s.acquire(addr)
	if err != nil {
		return err
	}
	c.s.release(a)
	c.rewrite = true
	return nil
}
