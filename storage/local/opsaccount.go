package local

import (
	"fmt"
	"slices"
	"strings"

	"barid/storage"
	"barid/storage/metadata"
)

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

func (c *commit) setPassword(b *builder, hash string) error {
	if hash == "" {
		return fmt.Errorf("set password: %w", errBadPassword)
	}
	c.change(b, change{kind: changePassword, text: hash, old: b.a.pw.known()})
	return nil
}
