package local

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"barid/smtp"
	"barid/storage"
)

const (
	deviceToken = "/private/devicetoken"

	maxMailboxes     = 200
	maxMessages      = 1 << 20 // of one mailbox, as many as dovecot-uidlist may have
	minMessages      = 1000    // that an account may have whatever its quota
	messageCost      = 4096    // octets of quota per message that it may have: an inode is not less than a block
	maxSubscriptions = 1000
)

// do decides one operation against the newest states, and changes them.
func (c *commit) do(op storage.Op, hash string, out *storage.Outcome) {
	addr, _ := c.target(op)
	if out.Err = c.shut[addr]; out.Err != nil {
		return
	}
	b := c.builder(addr)
	if b == nil || !b.st.alive {
		out.Err = storage.ErrNoAccount
		return
	}
	if out.Err = b.a.usable(); out.Err != nil {
		return
	}
	switch op := op.(type) {
	case storage.Deliver:
		if c.off[b.a] {
			out.Err = storage.ErrNoAccount
			return
		}
		c.take(b, storage.InboxName, change{kind: changeAdd}, op.Content, time.Time{}, out)
	case storage.Append:
		c.take(b, op.Mailbox, change{kind: changeAdd, flags: op.Flags & storage.SystemFlags, remove: true}, op.Content, op.Received, out)
	case storage.SetFlags:
		c.setFlags(b, op, out)
	case storage.Expunge:
		c.expunge(b, op, out)
	case storage.Copy:
		c.copy(b, op, false, out)
	case storage.Move:
		c.copy(b, storage.Copy(op), true, out)
	case storage.SetEntry:
		out.Err = c.setEntry(b, op)
	case storage.RemoveToken:
		out.Err = c.removeToken(b, op)
	case storage.CreateMailbox:
		out.Err = c.createMailbox(b, op.Name, storage.MailboxID{}, out)
	case storage.DeleteMailbox:
		out.Err = c.deleteMailbox(b, op.Name)
	case storage.RenameMailbox:
		out.Err = c.renameMailbox(b, op, out)
	case storage.Subscribe:
		out.Err = c.subscribe(b, op)
	case storage.SetPassword:
		out.Err = c.setPassword(b, hash)
	case storage.DeleteAccount:
		c.change(b, change{kind: changeDied, old: b.a.pw.known()})
	}
}

// builder gives the builder of an account, nil when there is no such account.
func (c *commit) builder(addr smtp.Address) *builder {
	a := c.accounts[addr]
	if a == nil {
		return nil
	}
	if c.builders[a] == nil {
		c.builders[a] = newBuilder(a, a.next)
	}
	return c.builders[a]
}

// take puts content into a mailbox. Zero received means now.
func (c *commit) take(b *builder, mailbox string, ch change, given storage.Content, received time.Time, out *storage.Outcome) {
	bs, err := findMailbox(b.st, mailbox)
	if err == nil && given == nil {
		err = errors.New("no content given")
	}
	if err != nil {
		out.Err = err
		return
	}
	ch.content = c.number[given]
	c.trim(b, c.contents[ch.content].size)
	bs = b.st.find(bs.view.Name)
	if out.Err = c.fits(b, bs, 1, c.contents[ch.content].size); out.Err != nil {
		return
	}
	ch.box = bs.view.Name
	ch.uid, ch.modseq = bs.view.UIDNext, bs.view.HighestModSeq+1
	ch.saved = c.s.clock.now().Unix()
	if ch.at = ch.saved; !received.IsZero() {
		ch.at = received.Unix()
	}
	out.UIDValidity, out.UID, out.ModSeq = bs.view.UIDValidity, ch.uid, ch.modseq
	c.change(b, ch)
}

// fits tells why n messages of so many octets do not fit into a mailbox.
func (c *commit) fits(b *builder, bs *boxState, n int, octets int64) error {
	use := b.st.usage()
	use.Octets, use.Messages = use.Octets+octets, use.Messages+int64(n)
	if r, bounded := c.s.capacity(); bounded && !r.holds(use, 100) {
		return storage.ErrQuota
	}
	if len(bs.view.Messages)+n > maxMessages || uint64(bs.view.UIDNext)+uint64(n) > math.MaxUint32 {
		return fmt.Errorf("mailbox has all the messages it can: %w", storage.ErrFull)
	}
	return nil
}

func (c *commit) setFlags(b *builder, op storage.SetFlags, out *storage.Outcome) {
	bs, err := findLife(b.st, op.Mailbox, op.UIDValidity)
	if err != nil {
		out.Err = err
		return
	}
	out.UIDValidity = bs.view.UIDValidity
	ch := change{kind: changeFlags, box: bs.view.Name, modseq: bs.view.HighestModSeq + 1}
	for _, uid := range ascending(op.UIDs) {
		at, ok := bs.index(uid)
		if !ok {
			continue
		}
		m := &bs.view.Messages[at]
		if op.UnchangedSince != nil && m.ModSeq > *op.UnchangedSince {
			out.Skipped = append(out.Skipped, uid)
			continue
		}
		if flags := after(op.Mode, m.Flags, op.Flags&storage.SystemFlags); flags != m.Flags {
			ch.list = append(ch.list, changed{uid: uid, flags: flags})
			out.Changed = append(out.Changed, uid)
		}
	}
	if len(ch.list) > 0 {
		out.ModSeq = ch.modseq
		c.change(b, ch)
	}
}

func (c *commit) expunge(b *builder, op storage.Expunge, out *storage.Outcome) {
	bs, err := findLife(b.st, op.Mailbox, op.UIDValidity)
	if err != nil {
		out.Err = err
		return
	}
	out.UIDValidity = bs.view.UIDValidity
	var list []changed
	for _, uid := range ascending(op.UIDs) {
		at, ok := bs.index(uid)
		if !ok || op.OnlyDeleted && bs.view.Messages[at].Flags&storage.FlagDeleted == 0 {
			continue
		}
		list = append(list, changed{uid: uid})
		out.Changed = append(out.Changed, uid)
	}
	out.ModSeq = c.remove(b, bs, list)
}

// remove expunges messages that are there.
func (c *commit) remove(b *builder, bs *boxState, list []changed) storage.ModSeq {
	if len(list) == 0 {
		return 0
	}
	modseq := bs.view.HighestModSeq + 1
	c.change(b, change{kind: changeExpunge, box: bs.view.Name, modseq: modseq, list: list})
	return modseq
}

// copy copies messages, and with move removes them where they were.
func (c *commit) copy(b *builder, op storage.Copy, move bool, out *storage.Outcome) {
	from, err := findLife(b.st, op.Mailbox, op.UIDValidity)
	var to *boxState
	if err == nil {
		to, err = findMailbox(b.st, op.Dest)
	}
	if err != nil {
		out.Err = err
		return
	}
	var list []changed
	octets, now := int64(0), c.s.clock.now().Unix()
	for _, uid := range ascending(op.UIDs) {
		if at, ok := from.index(uid); ok {
			m := copied(from, at)
			m.saved = now
			list = append(list, m)
			octets += m.size
		}
	}
	out.UIDValidity = to.view.UIDValidity
	if len(list) == 0 {
		return
	}
	if move {
		octets = 0 // a move weighs nothing
	}
	if out.Err = c.fits(b, to, len(list), octets); out.Err != nil && !(move && errors.Is(out.Err, storage.ErrQuota)) {
		return
	}
	out.Err = nil
	first := to.view.UIDNext
	for i, m := range list {
		out.Copied = append(out.Copied, storage.Copied{Source: m.uid, Dest: first + storage.UID(i)})
	}
	out.ModSeq = to.view.HighestModSeq + 1
	c.transfer(b, from, to, list)
	if move {
		if from == to || from.view.Name == to.view.Name {
			from = b.st.find(from.view.Name)
		}
		c.remove(b, from, list)
	}
}

// copied describes a message for its copy.
func copied(bs *boxState, at int) changed {
	m := &bs.view.Messages[at]
	return changed{
		uid: m.UID, flags: m.Flags, at: int64(m.Received), saved: int64(m.Saved), size: m.Size,
		id: m.ID, own: bs.items[at].loc.Load()&locNumbered != 0,
	}
}

// transfer copies messages that are there.
func (c *commit) transfer(b *builder, from, to *boxState, list []changed) {
	c.change(b, change{
		kind: changeCopy, box: from.view.Name, to: to.view.Name,
		uid: to.view.UIDNext, modseq: to.view.HighestModSeq + 1, list: list,
	})
}

// ascending gives UIDs in order and each once; almost always they are so
// already.
func ascending(uids []storage.UID) []storage.UID {
	for i := 1; i < len(uids); i++ {
		if uids[i] <= uids[i-1] {
			uids = slices.Clone(uids)
			slices.Sort(uids)
			return slices.Compact(uids)
		}
	}
	return uids
}

// after gives the flags that a message has after an operation.
func after(mode storage.FlagMode, have, flags storage.Flags) storage.Flags {
	switch mode {
	case storage.AddFlags:
		return have | flags
	case storage.RemoveFlags:
		return have &^ flags
	}
	return flags
}
