package local

import (
	"fmt"
	"slices"
	"strings"

	"barid/storage"
	"barid/storage/maildir"
)

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

// findLife is findMailbox for one life of the mailbox; of any when validity
// is zero.
func findLife(st *accountState, name string, validity storage.UIDValidity) (*boxState, error) {
	bs, err := findMailbox(st, name)
	if err == nil && validity != 0 && bs.view.UIDValidity != validity {
		return nil, fmt.Errorf("%w: one of that name has another UIDVALIDITY", storage.ErrNoMailbox)
	}
	return bs, err
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

// createMailbox makes a mailbox and those above it that are missing. It gets a
// new ID when id is zero.
func (c *commit) createMailbox(b *builder, name string, id storage.MailboxID, out *storage.Outcome) error {
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
		if out.Mailbox = id; n != name || id == (storage.MailboxID{}) {
			out.Mailbox = c.s.ids.mailbox(b.a.addr, n, out.UIDValidity)
		}
		c.change(b, change{kind: changeMakeBox, box: n, validity: out.UIDValidity, id: out.Mailbox})
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
	var below []*boxState
	for _, bs := range b.st.boxes {
		if rest, ok := strings.CutPrefix(bs.view.Name, old+"."); ok && old != storage.InboxName {
			if _, err := mailboxName(to + "." + rest); err != nil {
				return err
			}
			if b.st.find(to+"."+rest) != nil {
				return storage.ErrMailboxExists
			}
			below = append(below, bs)
		}
	}
	if len(b.st.boxes)+1+len(below)+strings.Count(to, ".") > maxMailboxes {
		return fmt.Errorf("account has all the mailboxes it can: %w", storage.ErrFull)
	}
	id := from.view.ID
	if old == storage.InboxName {
		id = storage.MailboxID{} // it stays, with its ID
	}
	if err := c.createMailbox(b, to, id, out); err != nil {
		return err
	}
	c.empty(b, old, to)
	for _, bs := range below {
		is := to + strings.TrimPrefix(bs.view.Name, old)
		if err := c.createMailbox(b, is, bs.view.ID, new(storage.Outcome)); err != nil {
			return err
		}
		c.empty(b, bs.view.Name, is)
	}
	return nil
}

// empty moves all of a mailbox into a new one, which gets its entries, and
// removes it, if it is not INBOX.
func (c *commit) empty(b *builder, old, to string) {
	from := b.st.find(old)
	var list []changed
	for i := range from.view.Messages {
		list = append(list, copied(from, i))
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
