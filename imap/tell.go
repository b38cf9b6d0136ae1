package imap

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"barid/imap/wire"
	"barid/storage"
)

// telling is how much of what changed a client may be told at a moment.
type telling uint8

// The amounts, each more than the one before.
const (
	nothing     telling = iota
	arrivals            // EXISTS only: inside FETCH, and to cores in IDLE
	keepNumbers         // flags, too, but no EXPUNGE: message numbers stay (RFC 9051 section 7.5.1)
	everything          //
)

// tell writes what the client does not know yet of its mailbox. Changes of
// flags that known holds for are left out: the client was told otherwise.
func (s *session) tell(what telling, known func(storage.Message) bool) error {
	if what == nothing || s.box.Mailbox == nil {
		return nil
	}
	v, err := s.look()
	if err != nil {
		return err
	}
	if v != s.box.view {
		s.box.update(s.writer(), v, what, known)
	}
	return nil
}

// update writes the difference between what was told and v.
func (b *mailbox) update(out *wire.Writer, v *storage.View, what telling, known func(storage.Message) bool) {
	old := b.told
	arrived, _ := find(v.Messages, lastUID(old)+1)
	gone, changed := compare(old, v.Messages[:arrived])

	next := v.Messages
	switch {
	case what == arrivals && (gone || changed):
		next = append(slices.Clone(old), v.Messages[arrived:]...)
	case what == keepNumbers && gone:
		next = keep(old, v.Messages)
	}
	if what == everything && gone {
		old = expunge(out, old, v.Messages)
	}
	if len(next) > len(old) {
		exists(out, len(next))
	}
	if what >= keepNumbers && changed {
		for i, was := range old {
			if is := next[i]; is.ModSeq != was.ModSeq && (known == nil || !known(is)) {
				flagsLine(out, i, is)
			}
		}
	}
	b.told, b.view = next, nil
	if what == everything || !gone && (!changed || what == keepNumbers) {
		b.view = v
	}
}

// compare tells whether messages of old are gone from now, and whether some
// that are left have changed.
func compare(old, now []storage.Message) (gone, changed bool) {
	if len(old) > 0 && len(now) == len(old) && &old[0] == &now[0] {
		return false, false // the same memory, which never changes
	}
	gone = len(now) < len(old)
	j := 0
	for _, m := range old {
		for j < len(now) && now[j].UID < m.UID {
			j++
		}
		if j < len(now) && now[j].UID == m.UID && now[j].ModSeq != m.ModSeq {
			changed = true
			break
		}
	}
	return gone, changed
}

// keep gives now with the messages of old that are gone left in their place.
func keep(old, now []storage.Message) []storage.Message {
	all := make([]storage.Message, 0, len(old)+len(now))
	j := 0
	for _, m := range old {
		if j < len(now) && now[j].UID == m.UID {
			m = now[j]
			j++
		}
		all = append(all, m)
	}
	return append(all, now[j:]...)
}

// expunge writes EXPUNGE for what is gone and gives the rest of old.
func expunge(out *wire.Writer, old, now []storage.Message) []storage.Message {
	left := make([]storage.Message, 0, len(now))
	j := 0
	for _, m := range old {
		if j < len(now) && now[j].UID == m.UID {
			left = append(left, m)
			j++
			continue
		}
		out.Raw("* ")
		out.Number(uint64(len(left) + 1))
		out.Raw(" EXPUNGE\r\n")
	}
	return left
}

func exists(out *wire.Writer, n int) {
	out.Raw("* ")
	out.Number(uint64(n))
	out.Raw(" EXISTS\r\n")
}

// flagsLine tells the flags of the message at place i.
func flagsLine(out *wire.Writer, i int, m storage.Message) {
	out.Raw("* ")
	out.Number(uint64(i + 1))
	out.Raw(" FETCH (UID ")
	out.Number(uint64(m.UID))
	out.Raw(" FLAGS ")
	out.Flags(flagNames(m.Flags))
	out.Raw(")\r\n")
}

func flagNames(f storage.Flags) []imap.Flag {
	var names []imap.Flag
	for _, name := range systemFlags {
		if f&flagBits[strings.ToLower(string(name))] != 0 {
			names = append(names, name)
		}
	}
	return names
}

// flagsOf gives the flags that names has; keywords are dropped.
func flagsOf(names []imap.Flag) storage.Flags {
	var f storage.Flags
	for _, name := range names {
		f |= flagBits[strings.ToLower(string(name))]
	}
	return f
}
