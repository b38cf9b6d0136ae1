package imap

import (
	"bytes"
	"strings"

	"barid/imap/wire"
	"barid/storage"
	"barid/storage/metadata"
)

// deviceToken is the one entry that clients may set.
const deviceToken = "/private/devicetoken"

const (
	maxEntries   = 50
	maxTokenSize = metadata.MaxTokenSize
)

// getMetadata answers GETMETADATA (RFC 5464).
func (s *session) getMetadata(c *wire.Command) (string, error) {
	c.SP()
	ask := metadataOptions{maxSize: 1 << 62}
	option := func() {
		switch strings.ToUpper(c.Atom()) {
		case "MAXSIZE":
			c.SP()
			ask.maxSize = c.Number64()
		case "DEPTH": // there is nothing below any entry
			c.SP()
			switch strings.ToUpper(c.Atom()) {
			case "0":
			case "1", "INFINITY":
				ask.below = true
			default:
				c.Fail("Bad DEPTH")
			}
		default:
			c.Fail("Entry or option expected")
		}
	}
	if c.Next('(') {
		c.List(option)
		c.SP()
	}
	mailbox := c.Mailbox()
	c.SP()
	var names []string
	entries := func() { names = append(names, strings.ToLower(c.AString())) }
	if c.Next('(') {
		// Some put the options behind the mailbox.
		c.List(func() {
			if c.Next('/') || c.Next('"') || c.Next('{') {
				entries()
				return
			}
			option()
		})
		if len(names) == 0 && c.More() {
			c.SP()
			if c.Next('(') {
				c.List(entries)
			} else {
				entries()
			}
		}
	} else {
		entries()
	}
	if len(names) > maxEntries {
		c.Fail("Too many entries")
	}
	if err := c.End(); err != nil {
		return noReply, err
	}
	return s.metadataLine(mailbox, names, ask)
}

// metadataOptions is what a client wants to know of entries (RFC 5464 section
// 4.2).
type metadataOptions struct {
	maxSize uint64 // longer values are left out
	below   bool   // of the entries below those that it names, too
}

// metadataLine writes the values as literals: clients do not take
// backslashes off quoted strings. Entries without a value are NIL, as the
// reference has it, but not where the client looks for entries that it does
// not know. The line is left out when nothing is in it: clients do not
// understand an empty list.
func (s *session) metadataLine(mailbox string, names []string, ask metadataOptions) (string, error) {
	own, err := s.ownEntries(mailbox)
	if err != nil {
		return noReply, err
	}
	out := s.writer()
	open, long := false, uint64(0)
	for _, name := range names {
		value, ok := s.entry(mailbox, name, own)
		if !ok && ask.below {
			continue
		}
		if n := uint64(len(value)); n > ask.maxSize {
			long = max(long, n)
			continue
		}
		if open {
			out.Raw(" ")
		} else {
			out.Raw("* METADATA ")
			s.writeName(mailbox)
			out.Raw(" (")
			open = true
		}
		out.AString(name)
		out.Raw(" ")
		if ok {
			out.LiteralString(string(value))
		} else {
			out.Raw("NIL")
		}
	}
	if open {
		out.Raw(")\r\n")
	}
	if long > 0 {
		return "OK [METADATA LONGENTRIES " + number(long) + "] Getmetadata completed", nil
	}
	return "OK Getmetadata completed", nil
}

// ownEntries gives what the account has set on a mailbox, which must exist.
func (s *session) ownEntries(mailbox string) ([]storage.Entry, error) {
	if mailbox == "" {
		return nil, nil // nothing of the account's own is shown there
	}
	entries, err := s.sv.cfg.Store.Entries(s.ctx, s.account, mailbox)
	return entries, fault(err)
}

// entry gives the value of one entry. The tokens of devices are there, though
// empty, before there is one.
func (s *session) entry(mailbox, name string, own []storage.Entry) (value []byte, ok bool) {
	if mailbox == "" && strings.HasPrefix(name, "/shared/") && s.sv.cfg.Annotations != nil {
		return s.sv.cfg.Annotations(s.ctx, s.account, name)
	}
	if mailbox == "" || name != deviceToken {
		return nil, false
	}
	var tokens [][]byte
	for _, e := range own {
		if e.Name == name {
			tokens = append(tokens, e.Value)
		}
	}
	return bytes.Join(tokens, []byte(" ")), true
}

// setMetadata answers SETMETADATA. Only tokens of devices can be set.
func (s *session) setMetadata(c *wire.Command) (string, error) {
	c.SP()
	mailbox := c.Mailbox()
	c.SP()
	type pair struct {
		name, value string
		set         bool
	}
	var pairs []pair
	c.List(func() {
		p := pair{name: strings.ToLower(c.AString())}
		c.SP()
		p.value, p.set = c.NString()
		if pairs = append(pairs, p); len(pairs) > maxEntries {
			c.Fail("Too many entries")
		}
	})
	if len(pairs) == 0 {
		c.Fail("No entry")
	}
	if err := c.End(); err != nil {
		return noReply, err
	}
	for _, p := range pairs {
		switch {
		case mailbox == "" || p.name != deviceToken:
			return noReply, refusal("[NOPERM] This entry cannot be set")
		case len(p.value) > maxTokenSize:
			return noReply, refusal("[METADATA MAXSIZE 4096] Value too long")
		case p.set && p.value != "" && !metadata.ValidToken(p.value):
			return noReply, refusal("[CANNOT] A device token has visible ASCII characters only, without quotes and backslashes")
		}
	}
	if _, err := s.ownEntries(mailbox); err != nil {
		return noReply, err
	}
	var ops []storage.Op
	for _, p := range pairs {
		if !p.set || p.value == "" {
			continue // as the reference does: a token leaves by age
		}
		ops = append(ops, storage.SetEntry{Account: s.account, Mailbox: mailbox, Name: p.name, Value: []byte(p.value)})
	}
	if len(ops) > 0 {
		res, err := s.sv.cfg.Store.Commit(s.ctx, storage.Batch{Ops: ops, AllOrNone: true})
		if err != nil {
			return noReply, fault(err)
		}
		for _, o := range res.Per {
			if o.Err != nil {
				return noReply, fault(o.Err)
			}
		}
	}
	return "OK Setmetadata completed", nil
}
