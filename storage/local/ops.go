package local

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"barid/smtp"
	"barid/storage"
	"barid/storage/maildir"
	"barid/storage/metadata"
)

const (
	deviceToken = "/private/devicetoken"

	maxMailboxes     = 200
	maxMessages      = 1 << 20 // of one mailbox, as many as dovecot-uidlist may have
	maxSubscriptions = 1000
)

// do decides one operation against the newest states, and changes them.
func (c *commit) do(op storage.Op, hash string, out *storage.Outcome) {
	addr, _ := c.target(op)
	b := c.builder(addr)
	if b == nil || !b.st.alive {
		out.Err = storage.ErrNoAccount
		return
	}
	switch op := op.(type) {
	case storage.Deliver:
		c.take(b, storage.InboxName, change{kind: changeAdd}, op.Content, c.s.cfg.Now(), out)
	case storage.Append:
		received := op.Received
		if received.IsZero() {
			received = c.s.cfg.Now()
		}
		c.take(b, op.Mailbox, change{kind: changeAdd, flags: op.Flags & storage.SystemFlags, remove: true}, op.Content, received, out)
	case storage.SetFlags:
		c.setFlags(b, op, out)
	case storage.Expunge:
		c.expunge(b, op, out)
	case storage.Copy:
		c.copy(b, op.Mailbox, op.Dest, op.UIDs, false, out)
	case storage.Move:
		c.copy(b, op.Mailbox, op.Dest, op.UIDs, true, out)
	case storage.SetEntry:
		out.Err = c.setEntry(b, op)
	case storage.CreateMailbox:
		out.Err = c.createMailbox(b, op.Name, out)
	case storage.DeleteMailbox:
		out.Err = c.deleteMailbox(b, op.Name)
	case storage.RenameMailbox:
		out.Err = c.renameMailbox(b, op, out)
	case storage.Subscribe:
		out.Err = c.subscribe(b, op)
	case storage.SetPassword:
		out.Err = c.setPassword(b, hash)
	case storage.DeleteAccount:
		c.change(b, change{kind: changeDied, old: b.st.hash})
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

// findMailbox finds a mailbox by what a caller calls it.
func findMailbox(st *accountState, name string) (*boxState, error) {
	name, err := mailboxName(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", storage.ErrNoMailbox, err)
	}
	if bs := st.find(name); bs != nil {
		return bs, nil
	}
	return nil, storage.ErrNoMailbox
}

// mailboxName gives the one spelling of a mailbox name, or ErrMailboxName
// when no mailbox can have it.
func mailboxName(name string) (string, error) {
	first, rest, deep := strings.Cut(name, ".")
	if strings.EqualFold(first, storage.InboxName) {
		name = storage.InboxName
		if deep {
			name += "." + rest
		}
	}
	if strings.ContainsAny(name, "*%") {
		return "", fmt.Errorf("%w: has a wildcard", storage.ErrMailboxName)
	}
	if _, err := maildir.FolderPath(name); err != nil {
		return "", err
	}
	return name, nil
}

// take puts content into a mailbox.
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
	if out.Err = c.fits(b, bs, 1, c.contents[ch.content].size); out.Err != nil {
		return
	}
	ch.box = bs.view.Name
	ch.uid, ch.modseq = bs.view.UIDNext, bs.view.HighestModSeq+1
	ch.at = received.Unix()
	out.UIDValidity, out.UID, out.ModSeq = bs.view.UIDValidity, ch.uid, ch.modseq
	c.change(b, ch)
}

// fits tells why n messages of so many octets do not fit into a mailbox.
func (c *commit) fits(b *builder, bs *boxState, n int, octets int64) error {
	if quota := c.s.cfg.Quota; quota > 0 && b.st.usage().Octets+octets > quota {
		return storage.ErrQuota
	}
	if len(bs.view.Messages)+n > maxMessages || uint64(bs.view.UIDNext)+uint64(n) > math.MaxUint32 {
		return fmt.Errorf("mailbox has all the messages it can: %w", storage.ErrFull)
	}
	return nil
}

func (c *commit) setFlags(b *builder, op storage.SetFlags, out *storage.Outcome) {
	bs, err := findMailbox(b.st, op.Mailbox)
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
	bs, err := findMailbox(b.st, op.Mailbox)
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
func (c *commit) copy(b *builder, mailbox, dest string, uids []storage.UID, move bool, out *storage.Outcome) {
	from, err := findMailbox(b.st, mailbox)
	var to *boxState
	if err == nil {
		to, err = findMailbox(b.st, dest)
	}
	if err != nil {
		out.Err = err
		return
	}
	var list []changed
	octets := int64(0)
	for _, uid := range ascending(uids) {
		if at, ok := from.index(uid); ok {
			m := &from.view.Messages[at]
			list = append(list, changed{uid, m.Flags, m.Received.Unix(), m.Size})
			octets += m.Size
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

// transfer copies messages that are there.
func (c *commit) transfer(b *builder, from, to *boxState, list []changed) {
	c.change(b, change{
		kind: changeCopy, box: from.view.Name, to: to.view.Name,
		uid: to.view.UIDNext, modseq: to.view.HighestModSeq + 1, list: list,
	})
}

func (c *commit) setEntry(b *builder, op storage.SetEntry) error {
	name := strings.ToLower(op.Name)
	mailbox := op.Mailbox
	if mailbox != "" {
		bs, err := findMailbox(b.st, mailbox)
		if err != nil {
			return err
		}
		mailbox = bs.view.Name
	}
	if !strings.HasPrefix(name, "/private/") || len(name) > metadata.MaxNameSize || strings.ContainsFunc(name, notInEntry) {
		return storage.ErrEntry
	}
	if name == deviceToken && op.Value == nil {
		return nil
	}
	// What the state would come to decides whether it may.
	meta := cloneMetadata(b.st.meta)
	var err error
	if name == deviceToken {
		mailbox, err = "", meta.AddToken(string(op.Value), c.s.cfg.Now())
	} else {
		err = meta.Set(mailbox, name, op.Value)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", storage.ErrEntry, err)
	}
	c.change(b, change{
		kind: changeEntry, box: mailbox, text: name, value: slices.Clone(op.Value), remove: op.Value == nil, at: c.s.cfg.Now().Unix(),
	})
	return nil
}

func notInEntry(r rune) bool { return r <= ' ' || r >= 0x7f || r == '*' || r == '%' }

// createMailbox makes a mailbox and those above it that are missing.
func (c *commit) createMailbox(b *builder, name string, out *storage.Outcome) error {
	name, err := mailboxName(name)
	if err != nil {
		return err
	}
	if b.st.find(name) != nil {
		return storage.ErrMailboxExists
	}
	var missing []string
	for i := range len(name) + 1 {
		if i < len(name) && name[i] != '.' {
			continue
		}
		if b.st.find(name[:i]) == nil {
			missing = append(missing, name[:i])
		}
	}
	if len(b.st.boxes)+len(missing) > maxMailboxes {
		return fmt.Errorf("account has all the mailboxes it can: %w", storage.ErrFull)
	}
	if slices.ContainsFunc(missing, func(n string) bool { return slices.Contains(b.dropped, n) }) {
		return fmt.Errorf("a mailbox of that name goes in the same batch: %w", storage.ErrMailboxExists)
	}
	for _, n := range missing {
		out.UIDValidity = c.s.nextValidity()
		c.change(b, change{kind: changeMakeBox, box: n, validity: out.UIDValidity})
	}
	return nil
}

func (c *commit) deleteMailbox(b *builder, name string) error {
	if name, err := mailboxName(name); err == nil && name == storage.InboxName {
		return fmt.Errorf("%w: INBOX stays", storage.ErrMailboxName)
	}
	bs, err := findMailbox(b.st, name)
	if err != nil {
		return err
	}
	c.change(b, change{kind: changeDropBox, box: bs.view.Name})
	return nil
}

// renameMailbox makes the new mailboxes, moves the messages, and removes the
// old ones; so no directory ever changes its name.
func (c *commit) renameMailbox(b *builder, op storage.RenameMailbox, out *storage.Outcome) error {
	to, err := mailboxName(op.To)
	if err != nil {
		return err
	}
	from, err := findMailbox(b.st, op.From)
	if err != nil {
		return err
	}
	old := from.view.Name
	if to == old || b.st.find(to) != nil {
		return storage.ErrMailboxExists
	}
	if strings.HasPrefix(to, old+".") && old != storage.InboxName {
		return fmt.Errorf("%w: it would lie below itself", storage.ErrMailboxName)
	}
	// The names as they are now; creating may list more.
	var below []string
	for _, bs := range b.st.boxes {
		if rest, ok := strings.CutPrefix(bs.view.Name, old+"."); ok && old != storage.InboxName {
			if _, err := mailboxName(to + "." + rest); err != nil {
				return err
			}
			if b.st.find(to+"."+rest) != nil {
				return storage.ErrMailboxExists
			}
			below = append(below, rest)
		}
	}
	if len(b.st.boxes)+1+len(below)+strings.Count(to, ".") > maxMailboxes {
		return fmt.Errorf("account has all the mailboxes it can: %w", storage.ErrFull)
	}
	if err := c.createMailbox(b, to, out); err != nil {
		return err
	}
	c.empty(b, old, to)
	for _, rest := range below {
		if err := c.createMailbox(b, to+"."+rest, new(storage.Outcome)); err != nil {
			return err
		}
		c.empty(b, old+"."+rest, to+"."+rest)
	}
	return nil
}

// empty moves all of a mailbox into a new one, which gets its entries, and
// removes it, if it is not INBOX.
func (c *commit) empty(b *builder, old, to string) {
	from := b.st.find(old)
	var list []changed
	for i := range from.view.Messages {
		m := &from.view.Messages[i]
		list = append(list, changed{m.UID, m.Flags, m.Received.Unix(), m.Size})
	}
	if len(list) > 0 {
		c.transfer(b, from, b.st.find(to), list)
		if old == storage.InboxName {
			c.remove(b, b.st.find(old), list)
		}
	}
	if old == storage.InboxName {
		return
	}
	if b.st.meta != nil {
		for _, e := range b.st.meta.Entries(old) {
			c.change(b, change{kind: changeEntry, box: to, text: e.Name, value: e.Value, at: c.s.cfg.Now().Unix()})
		}
	}
	c.change(b, change{kind: changeDropBox, box: old})
}

func (c *commit) subscribe(b *builder, op storage.Subscribe) error {
	name, err := mailboxName(op.Name)
	if err != nil {
		return err
	}
	if !op.Remove && len(b.st.subs) >= maxSubscriptions {
		return fmt.Errorf("account has all the subscriptions it can: %w", storage.ErrFull)
	}
	if _, have := slices.BinarySearch(b.st.subs, name); have == op.Remove {
		c.change(b, change{kind: changeSubscribe, text: name, remove: op.Remove})
	}
	return nil
}

func (c *commit) setPassword(b *builder, hash string) error {
	if hash == "" {
		return fmt.Errorf("set password: %w", errBadPassword)
	}
	c.change(b, change{kind: changePassword, text: hash, old: b.a.pw.known()})
	return nil
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
