package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"barid/smtp"
	"barid/storage"
	"barid/storage/maildir"
)

// expectedFile is a message and the file that it should have.
type expectedFile struct {
	at   int // in the view
	file maildir.File
}

// mailbox compares a mailbox with its files. settled says that all of it has
// files and dovecot-uidlist is as it should be.
func (c *checking) mailbox(ctx context.Context, a *account, bs *boxState, settled bool) error {
	c.sum.Mailboxes++
	found, expected, err := c.compare(a, bs, settled)
	if err != nil {
		return c.fault(Fault{Kind: FaultUnreadable, Account: a.addr, Mailbox: bs.view.Name, Text: err.Error()})
	}
	if err := c.strangers(a, bs, found, expected, settled); err != nil {
		return err
	}
	var missing []storage.UID
	for base, e := range expected {
		m := &bs.view.Messages[e.at]
		f, ok := found[base]
		if !ok {
			missing = append(missing, m.UID)
			continue
		}
		c.sum.Messages++
		if err := c.content(a, bs, m, f); err != nil {
			return err
		}
		if err := c.rest(ctx); err != nil {
			return err
		}
	}
	if err := c.missing(ctx, a, bs, missing); err != nil || !settled {
		return err
	}
	return c.uidList(a, bs)
}

// compare lists the files of a mailbox, by base, and those that it should have.
// Of a mailbox that is in use it holds up the settler meanwhile, and brings bs,
// which is the caller's own, up to date.
func (c *checking) compare(a *account, bs *boxState, settled bool) (found map[string]maildir.File, expected map[string]expectedFile, err error) {
	s := c.s
	if !settled {
		s.disk.Lock()
		defer s.disk.Unlock()
		// In this order: the files of what is gone by now go, too.
		a.pub.Lock()
		now := a.now.Load().of(bs.id)
		a.pub.Unlock()
		s.settler.doUrgent()
		if now == nil {
			return nil, nil, nil // it ended
		}
		*bs = *now
	}
	expected = map[string]expectedFile{}
	for i, it := range bs.items {
		loc := it.loc.Load()
		if loc&locDead != 0 {
			continue
		}
		if loc&locSettled == 0 {
			c.sum.Waiting++
			continue
		}
		m := &bs.view.Messages[i]
		sub, name := it.fileName(m, loc)
		expected[it.base(m)] = expectedFile{i, maildir.File{Sub: sub, Name: name}}
	}
	found, err = listFiles(s.dir(a, bs.view.Name))
	return found, expected, err
}

// strangers tells of files that are no messages.
func (c *checking) strangers(a *account, bs *boxState, found map[string]maildir.File, expected map[string]expectedFile, settled bool) error {
	dir := c.s.dir(a, bs.view.Name)
	fault := func(kind, file, text string) error {
		return c.fault(Fault{Kind: kind, Account: a.addr, Mailbox: bs.view.Name, File: file, Text: text})
	}
	for _, sub := range []string{maildir.Cur, maildir.New, maildir.Tmp} {
		entries, err := c.s.fs.ReadDir(dir.Path() + "/" + sub)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fault(FaultUnreadable, sub, err.Error())
		}
		for _, e := range entries {
			if sub == maildir.Tmp {
				err = c.unfinished(a, bs, dir, e)
			} else if n, ok := maildir.ParseName(e.Name()); !ok || !e.Type().IsRegular() {
				err = fault(FaultForeign, sub+"/"+e.Name(), "no message can have that name, or it is no file")
			} else if f := found[n.Base]; f.Name != "" && (f.Sub != sub || f.Name != e.Name()) &&
				c.bothThere(dir.Path(), sub+"/"+e.Name(), f.Sub+"/"+f.Name) {
				err = fault(FaultDouble, sub+"/"+e.Name(), "another file is of the same message: "+f.Sub+"/"+f.Name)
			}
			if err != nil {
				return err
			}
		}
	}
	var unlisted []maildir.File
	for base, f := range found {
		if _, ok := expected[base]; !ok && (settled || !c.s.settler.hasJobs(a)) {
			unlisted = append(unlisted, f)
		}
	}
	sortFiles(unlisted)
	repaired := len(unlisted) > 0 && settled && c.opt.Repair && c.reload(a.addr) == nil
	for _, f := range unlisted {
		text := "it gets a UID when the account is next opened"
		if err := c.fault(Fault{Kind: FaultUnlisted, Account: a.addr, Mailbox: bs.view.Name, File: f.Sub + "/" + f.Name, Text: text, Repaired: repaired}); err != nil {
			return err
		}
	}
	return nil
}

// bothThere tells two files from one that got another name between two looks.
func (c *checking) bothThere(dir, one, other string) bool {
	for _, name := range []string{one, other} {
		if _, err := c.s.fs.Stat(dir + "/" + name); errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
}

// unfinished looks at a file in tmp.
func (c *checking) unfinished(a *account, bs *boxState, dir maildir.Dir, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil || c.s.cfg.Now().Sub(info.ModTime()) < tmpAge {
		return nil
	}
	f := Fault{Kind: FaultTmp, Account: a.addr, Mailbox: bs.view.Name, File: maildir.Tmp + "/" + e.Name(), Text: "it was never finished"}
	if c.opt.Repair && e.Type().IsRegular() {
		f.Repaired = c.s.fs.Remove(dir.Path()+"/"+f.File) == nil
	}
	return c.fault(f)
}

// content reads a message file to its end.
func (c *checking) content(a *account, bs *boxState, m *storage.Message, f maildir.File) error {
	fault := func(kind, text string) error {
		return c.fault(Fault{Kind: kind, Account: a.addr, Mailbox: bs.view.Name, UID: m.UID, File: f.Sub + "/" + f.Name, Text: text})
	}
	content, err := c.s.dir(a, bs.view.Name).Open(f.Sub, f.Name, maxOpen)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // renamed or expunged meanwhile
	}
	if err != nil {
		return fault(FaultContent, err.Error())
	}
	defer content.Close() // only read
	var nul nulCounter
	n, err := io.Copy(&nul, io.NewSectionReader(content, 0, content.Size()))
	c.sum.Octets += n
	switch {
	case err != nil || n != content.Size():
		return fault(FaultContent, fmt.Sprintf("%d octets of %d can be read: %v", n, content.Size(), err))
	case n > 0 && int64(nul) == n:
		return fault(FaultContent, "it has nothing but NULs, as after a crash of another program")
	case n != m.Size:
		return fault(FaultSize, fmt.Sprintf("%d octets, the index says %d", n, m.Size))
	}
	return nil
}

// nulCounter counts NULs.
type nulCounter int64

func (c *nulCounter) Write(p []byte) (int, error) {
	*c += nulCounter(bytes.Count(p, []byte{0}))
	return len(p), nil
}

// missing tells of messages without file, and expunges them.
func (c *checking) missing(ctx context.Context, a *account, bs *boxState, uids []storage.UID) error {
	if len(uids) == 0 {
		return nil
	}
	slices.Sort(uids)
	repaired := false
	if c.opt.Repair {
		r, err := c.s.Commit(ctx, storage.Batch{Ops: []storage.Op{storage.Expunge{
			Account: storage.Account{Address: a.addr}, Mailbox: bs.view.Name, UIDValidity: bs.view.UIDValidity, UIDs: uids,
		}}})
		repaired = err == nil && (r.Per[0].Err == nil || errors.Is(r.Per[0].Err, storage.ErrNoMailbox))
	}
	for _, uid := range uids {
		f := Fault{Kind: FaultMissing, Account: a.addr, Mailbox: bs.view.Name, UID: uid, Text: "the message has no file", Repaired: repaired}
		if err := c.fault(f); err != nil {
			return err
		}
	}
	return nil
}

// uidList compares dovecot-uidlist with the snapshot.
func (c *checking) uidList(a *account, bs *boxState) error {
	if bs.view.UIDNext == 1 && bs.view.Name == storage.InboxName {
		return nil // has none
	}
	text, err := c.s.readFile(c.s.dir(a, bs.view.Name).Path()+"/"+maildir.UIDListName, maxSnapshot)
	var why string
	if err != nil {
		why = err.Error()
	} else if list, err := maildir.ReadUIDList(bytes.NewReader(text)); err != nil {
		why = err.Error()
	} else {
		why = differs(list, uidListOf(bs))
	}
	if why == "" {
		return nil
	}
	f := Fault{Kind: FaultUIDList, Account: a.addr, Mailbox: bs.view.Name, File: maildir.UIDListName, Text: why}
	if c.opt.Repair {
		f.Repaired = c.writeAnew(a, bs.view.Name) == nil
	}
	return c.fault(f)
}

// differs tells how a list differs from what it should be.
func differs(list, want *maildir.UIDList) string {
	switch {
	case list.UIDValidity != want.UIDValidity:
		return fmt.Sprintf("UIDVALIDITY %d, the snapshot says %d", list.UIDValidity, want.UIDValidity)
	case list.UIDNext != want.UIDNext:
		return fmt.Sprintf("UIDNEXT %d, the snapshot says %d", list.UIDNext, want.UIDNext)
	case len(list.Entries) != len(want.Entries):
		return fmt.Sprintf("%d messages, the snapshot has %d", len(list.Entries), len(want.Entries))
	}
	for i := range want.Entries {
		l, _ := maildir.ParseName(list.Entries[i].Name)
		w, _ := maildir.ParseName(want.Entries[i].Name)
		if list.Entries[i].UID != want.Entries[i].UID || l.Base != w.Base {
			return fmt.Sprintf("UID %d is of another file", want.Entries[i].UID)
		}
	}
	return ""
}

// writeAnew has the next checkpoint write the files of a mailbox.
func (c *checking) writeAnew(of *account, name string) error {
	s := c.s
	a, err := s.acquire(of.addr)
	if err != nil {
		return err
	}
	defer s.release(a)
	bs := a.now.Load().find(name)
	if bs == nil {
		return storage.ErrNoMailbox
	}
	// A record that says what is so already.
	if err := s.write(a, &record{accounts: []smtp.Address{a.addr}, changes: []change{{
		kind: changeRebuilt, box: name, validity: bs.view.UIDValidity, id: bs.view.ID, uid: bs.view.UIDNext, modseq: bs.view.HighestModSeq,
	}}}); err != nil {
		return err
	}
	c.rewrite = true
	return nil
}
