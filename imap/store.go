package imap

import (
	"barid/imap/wire"
	"barid/storage"
)

func (s *session) store(c *wire.Command) (string, error)    { return s.storeBy(c, false) }
func (s *session) uidStore(c *wire.Command) (string, error) { return s.storeBy(c, true) }

var storeModes = map[wire.StoreMode]storage.FlagMode{
	wire.StoreReplace: storage.ReplaceFlags, wire.StoreAdd: storage.AddFlags, wire.StoreRemove: storage.RemoveFlags,
}

func (s *session) storeBy(c *wire.Command, byUID bool) (string, error) {
	c.SP()
	set := takeNumbers(c)
	c.SP()
	st := c.Store()
	if err := c.End(); err != nil {
		return noReply, err
	}
	if s.box.readOnly {
		return noReply, refusal("[READ-ONLY] The mailbox is open for reading")
	}
	if _, err := s.look(); err != nil {
		return noReply, err // or the change would hit another mailbox of that name
	}
	uids := s.uids(s.pick(set, byUID))
	what := keepNumbers
	if byUID {
		what = everything
	}
	if len(uids) == 0 {
		return "OK Store completed", s.tell(what, nil)
	}
	op := storage.SetFlags{
		Account: s.account, Mailbox: s.box.name, UIDValidity: s.box.validity, UIDs: uids, Mode: storeModes[st.Mode], Flags: flagsOf(st.Flags),
	}
	if st.UnchangedSince != nil {
		s.useModSeqs()
		since, _ := storeModSeq(*st.UnchangedSince) // no message has a ModSeq as low as zero
		op.UnchangedSince = &since
	}
	o, err := s.commit(op)
	if err != nil {
		return noReply, err
	}
	known, err := s.stored(o, op, st.Silent)
	if err != nil {
		return noReply, err
	}
	reply := "OK Store completed"
	if len(o.Skipped) > 0 {
		reply = "OK [MODIFIED " + s.named(o.Skipped, byUID) + "] Some messages were changed meanwhile"
	}
	return reply, s.tell(what, known)
}

// stored tells what came of a STORE, and gives what need not be told again.
func (s *session) stored(o storage.Outcome, op storage.SetFlags, silent bool) (known func(storage.Message) bool, err error) {
	v, err := s.look()
	if err != nil {
		return nil, err
	}
	told := make(map[storage.UID]storage.ModSeq, len(op.UIDs))
	for _, uid := range op.UIDs {
		j, ok := find(v.Messages, uid)
		if !ok {
			continue
		}
		i, _ := find(s.box.told, uid)
		m := v.Messages[j]
		switch {
		case !silent:
			s.flagsLine(i, m)
		case m.ModSeq != o.ModSeq || m.Flags != after(op, s.box.told[i].Flags):
			continue // another had a hand in it, so the client cannot know
		case s.modSeqs:
			s.modSeqLine(i, m) // or its own change looks like another's later
		}
		told[uid] = m.ModSeq
	}
	return func(m storage.Message) bool { return m.ModSeq != 0 && told[m.UID] == m.ModSeq }, nil
}

// after gives what a client takes for the flags of a message that it changed.
func after(op storage.SetFlags, had storage.Flags) storage.Flags {
	switch op.Mode {
	case storage.AddFlags:
		return had | op.Flags
	case storage.RemoveFlags:
		return had &^ op.Flags
	}
	return op.Flags
}

func (s *session) modSeqLine(i int, m storage.Message) {
	out := s.writer()
	out.Raw("* ")
	out.Number(uint64(i + 1))
	out.Raw(" FETCH (UID ")
	out.Number(uint64(m.UID))
	s.modSeqToo(m)
	out.Raw(")\r\n")
}

// named writes messages as a set, by UID or by number.
func (s *session) named(uids []storage.UID, byUID bool) string {
	names := make([]uint32, len(uids))
	for k, uid := range uids {
		names[k] = uint32(uid)
		if !byUID {
			i, _ := find(s.box.told, uid)
			names[k] = uint32(i + 1)
		}
	}
	return wire.FormatSet(names)
}
