package imap

import (
	"slices"

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
	set := c.Set()
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
		Account: s.account, Mailbox: s.box.name, UIDs: uids, Mode: storeModes[st.Mode], Flags: flagsOf(st.Flags),
	}
	if st.UnchangedSince != nil {
		since := storage.ModSeq(*st.UnchangedSince)
		op.UnchangedSince = &since
	}
	o, err := s.commit(op)
	if err != nil {
		return noReply, err
	}
	known := func(m storage.Message) bool { return m.ModSeq == o.ModSeq }
	if !st.Silent {
		v, err := s.flagLines(uids)
		if err != nil {
			return noReply, err
		}
		known = func(m storage.Message) bool {
			_, ours := slices.BinarySearch(uids, m.UID)
			j, ok := find(v.Messages, m.UID)
			return ours && ok && v.Messages[j].ModSeq == m.ModSeq
		}
	}
	return "OK Store completed", s.tell(what, known)
}

// flagLines tells the flags of messages, changed or not, and gives the View
// that has them.
func (s *session) flagLines(uids []storage.UID) (*storage.View, error) {
	v, err := s.look()
	if err != nil {
		return nil, err
	}
	for _, uid := range uids {
		j, ok := find(v.Messages, uid)
		if !ok {
			continue
		}
		i, _ := find(s.box.told, uid)
		flagsLine(s.writer(), i, v.Messages[j])
	}
	return v, nil
}
