package imap

import (
	"strings"

	"github.com/emersion/go-imap/v2"

	"barid/imap/wire"
	"barid/storage"
)

// telling is what of the changes a client may be told at a moment.
type telling uint8

// What may be told, and how it is combined.
const (
	tellNew   telling = 1 << iota // EXISTS
	tellFlags                     // FETCH
	tellGone                      // EXPUNGE or VANISHED

	nothing     telling = 0
	arrivals            = tellNew                        // inside FETCH, and to cores in IDLE
	keepNumbers         = tellNew | tellFlags            // message numbers stay (RFC 9051 section 7.5.1)
	noFlags             = tellNew | tellGone             // inside UID FETCH of clients that know messages by UID
	everything          = tellNew | tellFlags | tellGone //
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
		s.update(v, what, known)
	}
	return nil
}

// update writes the difference between what was told and v.
func (s *session) update(v *storage.View, what telling, known func(storage.Message) bool) {
	b := &s.box
	old := b.told
	arrived, _ := find(v.Messages, lastUID(old)+1)
	gone, changed := compare(old, v.Messages[:arrived])

	next := v.Messages
	held := gone && what&tellGone == 0 || changed && what&tellFlags == 0
	if held {
		next = merge(old, v.Messages, what)
	}
	if gone && what&tellGone != 0 {
		old = s.expungeLines(old, v.Messages)
	}
	if len(next) > len(old) {
		exists(s.writer(), len(next))
	}
	if changed && what&tellFlags != 0 {
		for i, was := range old {
			if is := next[i]; is.ModSeq != was.ModSeq && (known == nil || !known(is)) {
				s.flagsLine(i, is)
			}
		}
	}
	b.told, b.view = next, nil
	if !held {
		b.view, b.whole = v, v.HighestModSeq
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

// merge gives what a client knows that was told so much of now: what is held
// back stays as it was in old.
func merge(old, now []storage.Message, what telling) []storage.Message {
	all := make([]storage.Message, 0, len(old)+len(now))
	j := 0
	for _, m := range old {
		if j == len(now) || now[j].UID != m.UID { // gone
			if what&tellGone == 0 {
				all = append(all, m)
			}
			continue
		}
		if what&tellFlags != 0 {
			m = now[j]
		}
		all = append(all, m)
		j++
	}
	return append(all, now[j:]...)
}

// expungeLines tells what is gone and gives the rest of old.
func (s *session) expungeLines(old, now []storage.Message) []storage.Message {
	out := s.writer()
	left := make([]storage.Message, 0, len(now))
	var vanished []uint32
	j := 0
	for _, m := range old {
		if j < len(now) && now[j].UID == m.UID {
			left = append(left, m)
			j++
			continue
		}
		if s.qresync {
			vanished = append(vanished, uint32(m.UID))
			continue
		}
		out.Raw("* ")
		out.Number(uint64(len(left) + 1))
		out.Raw(" EXPUNGE\r\n")
	}
	if len(vanished) > 0 {
		out.Raw("* VANISHED ")
		out.Raw(wire.FormatSet(vanished))
		out.EOL()
	}
	return left
}

func exists(out *wire.Writer, n int) {
	out.Raw("* ")
	out.Number(uint64(n))
	out.Raw(" EXISTS\r\n")
}

// flagsLine tells the flags of the message at place i.
func (s *session) flagsLine(i int, m storage.Message) {
	out := s.writer()
	out.Raw("* ")
	out.Number(uint64(i + 1))
	out.Raw(" FETCH (UID ")
	out.Number(uint64(m.UID))
	out.Raw(" FLAGS ")
	out.Flags(flagNames(m.Flags))
	s.modSeqToo(m)
	out.Raw(")\r\n")
}

// modSeqToo adds the mod-sequence to a line that nobody asked for, for
// clients that understand it.
func (s *session) modSeqToo(m storage.Message) {
	if s.modSeqs {
		s.writer().Raw(" ")
		writeModSeq(s.writer(), m.ModSeq)
	}
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
