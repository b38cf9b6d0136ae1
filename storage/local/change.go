package local

import (
	"time"

	"barid/storage"
	"barid/storage/maildir"
)

// source says where the content of a new item comes from: from a record, or
// from another item that has it.
type source struct {
	content *content
	item    *item
	home    home // of item
}

// addition is a message that a builder added.
type addition struct {
	it   *item
	box  string
	msg  storage.Message
	from source
}

// apply does what a change says. It is the one way to change an account, for
// Commit and for replay. n is the number, within the record, of the first
// message the change adds; contents are those of the record.
func (b *builder) apply(c *change, n uint32, contents []*content) {
	switch c.kind {
	case changeBorn:
		b.forget()
		b.st.alive = true
		b.setHash(c.text)
		b.makeBox(storage.InboxName, c.validity, c.id)
	case changeDied:
		b.die(c.old)
	case changePassword:
		b.setHash(c.text)
	case changeEntry:
		if c.remove && c.text == deviceToken {
			b.removeToken(string(c.value))
			return
		}
		value := c.value
		if c.remove {
			value = nil
		}
		b.setEntry(c.box, c.text, value, time.Unix(c.at, 0))
	case changeSubscribe:
		b.subscribe(c.text, c.remove)
	case changeMakeBox:
		b.makeBox(c.box, c.validity, c.id)
	case changeDropBox:
		b.dropBox(c.box)
	case changeRebuilt:
		b.applyRebuilt(c)
	default:
		b.applyMessages(c, n, contents)
	}
}

func (b *builder) setHash(hash string) {
	b.st.hash, b.st.hashFresh = hash, true
	b.changed = true
	b.jobs = append(b.jobs, job{kind: jobAccount})
}

// applyMessages is apply for the changes of messages.
func (b *builder) applyMessages(c *change, n uint32, contents []*content) {
	bs := b.edit(c.box)
	if bs == nil {
		return
	}
	switch c.kind {
	case changeAdd:
		from := contents[c.content]
		it := &item{n: n}
		it.loc.Store(locNumbered)
		if c.remove {
			it.loc.Store(locNumbered | locCur)
		}
		m := c.message(from.size)
		m.ID = uint64(n)
		b.add(bs, m, it, source{content: from})
	case changeAdopt:
		it := &item{foreign: foreignName(c.text)}
		it.loc.Store(locNumbered | locSettled | locOf(c.remove, c.flags))
		m := c.message(c.size)
		m.Saved = m.Received // that is when another program put it there, as far as names tell
		b.add(bs, m, it, source{})
	case changeCopy:
		b.applyCopy(c, bs, n)
	case changeFlags:
		b.setFlags(bs, c)
	case changeExpunge:
		b.expunge(bs, uidsOf(c.list), c.modseq)
	}
}

func (b *builder) applyCopy(c *change, from *boxState, n uint32) {
	to := b.edit(c.to)
	if to == nil {
		return
	}
	for i, m := range c.list {
		msg := storage.Message{
			UID: c.uid + storage.UID(i), Flags: m.flags, ModSeq: c.modseq, Size: m.size,
			Received: storage.Time(m.at), Saved: storage.Time(m.saved), ID: m.id,
		}
		it := &item{n: n + uint32(i)}
		it.loc.Store(locCur)
		if m.own {
			it.loc.Store(locCur | locNumbered)
		}
		var src source
		if at, ok := from.index(m.uid); ok {
			src = source{item: from.items[at], home: home{b.a, c.box, from.view.Messages[at], from.items[at]}}
		}
		b.add(to, msg, it, src)
	}
}

func (b *builder) applyRebuilt(c *change) {
	bs := b.edit(c.box)
	if bs == nil {
		return
	}
	bs.view.UIDValidity, bs.view.ID = c.validity, c.id
	bs.view.UIDNext = max(bs.view.UIDNext, c.uid)
	bs.view.HighestModSeq = max(bs.view.HighestModSeq, c.modseq)
	bs.floor = max(bs.floor, c.modseq)
	if bs.adopting == adoptionBegins {
		bs.adopting = adoptionGoesOn
	} else {
		bs.adopting = adoptionEnded
	}
}

func (c *change) message(size int64) storage.Message {
	return storage.Message{
		UID: c.uid, Flags: c.flags, ModSeq: c.modseq, Size: size, Received: storage.Time(c.at), Saved: storage.Time(c.saved),
	}
}

func uidsOf(list []changed) []storage.UID {
	uids := make([]storage.UID, len(list))
	for i, m := range list {
		uids[i] = m.uid
	}
	return uids
}

func foreignName(text string) *maildir.Name {
	n, _ := maildir.ParseName(text)
	return &n
}
