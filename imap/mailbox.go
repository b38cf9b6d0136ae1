package imap

import (
	"errors"
	"sort"

	"github.com/emersion/go-imap/v2"

	"barid/imap/wire"
	"barid/storage"
)

// mailbox is the mailbox that a session has selected and what the client was
// told of it.
type mailbox struct {
	storage.Mailbox // nil while none is selected
	name            string
	cancel          func() // ends the subscription; nil without one
	validity        storage.UIDValidity
	readOnly        bool
	// told has one Message for each message sequence number that the client
	// knows, with the flags and ModSeq that it knows. It is shared with a View
	// as a rule; nobody writes to it.
	told []storage.Message
	// view is the View that told is equal to, nil when they differ.
	view *storage.View
	// whole is the mod-sequence up to which the client knows everything.
	whole storage.ModSeq
	// saved is the result of the last search that was saved (RFC 5182), as a
	// resolved set of UIDs.
	saved wire.Set
}

// find gives the place of uid in messages, or where it would be.
func find(messages []storage.Message, uid storage.UID) (int, bool) {
	i := sort.Search(len(messages), func(i int) bool { return messages[i].UID >= uid })
	return i, i < len(messages) && messages[i].UID == uid
}

func lastUID(messages []storage.Message) storage.UID {
	if len(messages) == 0 {
		return 0
	}
	return messages[len(messages)-1].UID
}

// open opens a mailbox without telling anything of it.
func (s *session) open(name string, readOnly bool) (*storage.View, error) {
	box, err := s.sv.cfg.Store.Open(s.ctx, s.account, name)
	if err != nil {
		return nil, fault(err)
	}
	v, err := box.View(s.ctx)
	if err != nil {
		box.Close()
		return nil, fault(err)
	}
	s.box = mailbox{Mailbox: box, name: name, readOnly: readOnly, validity: v.UIDValidity, told: v.Messages, view: v, whole: v.HighestModSeq}
	s.state = selected
	return v, nil
}

// errGone: the selected mailbox was deleted or renamed. There is no answer for
// that; the client is to begin anew.
var errGone = errors.New("the selected mailbox is gone")

// look gives the selected mailbox as it is now.
func (s *session) look() (*storage.View, error) {
	v, err := s.box.View(s.ctx)
	if errors.Is(err, storage.ErrNoMailbox) || err == nil && v.UIDValidity != s.box.validity {
		return nil, errGone
	}
	return v, fault(err)
}

// unselect closes the mailbox, if there is one.
func (s *session) unselect() {
	if s.box.Mailbox != nil {
		if s.box.cancel != nil {
			s.box.cancel()
		}
		s.box.Close()
		s.box = mailbox{}
		s.state = authenticated
	}
}

func (s *session) selectBox(c *wire.Command) (string, error) { return s.selectAs(c, false) }
func (s *session) examine(c *wire.Command) (string, error)   { return s.selectAs(c, true) }

func (s *session) selectAs(c *wire.Command, readOnly bool) (string, error) {
	c.SP()
	name := c.Mailbox()
	params := c.Select()
	if params.QResync != nil && !s.qresync {
		c.Fail("ENABLE QRESYNC first")
	}
	if err := c.End(); err != nil {
		return noReply, err
	}
	if s.box.Mailbox != nil {
		s.unselect()
		s.writer().Raw("* OK [CLOSED] Another mailbox is opened\r\n")
	}
	if params.CondStore {
		s.useModSeqs()
	}
	v, err := s.open(name, readOnly)
	if err != nil {
		return noReply, err
	}
	out := s.writer()
	permanent := systemFlags
	if readOnly {
		permanent = nil
	}
	out.Raw("* FLAGS ")
	out.Flags(systemFlags)
	out.Raw("\r\n* OK [PERMANENTFLAGS ")
	out.Flags(permanent)
	out.Raw("] Flags permitted\r\n* ")
	out.Number(uint64(len(v.Messages)))
	out.Raw(" EXISTS\r\n")
	if s.rev2 {
		s.listLine("LIST", nil, s.spelled(v.Name), "")
	} else {
		out.Raw("* 0 RECENT\r\n")
	}
	out.Raw("* OK [UIDVALIDITY ")
	out.Number(uint64(v.UIDValidity))
	out.Raw("] UIDs valid\r\n* OK [UIDNEXT ")
	out.Number(uint64(v.UIDNext))
	out.Raw("] Predicted next UID\r\n")
	if s.asked || s.sv.saysObjectID { // nobody else can know that there is such a thing
		out.Raw("* OK [MAILBOXID (")
		out.Raw(objectID(v.ID))
		out.Raw(")] Mailbox ID\r\n")
	}
	s.highestLine(v.HighestModSeq)
	if err := s.resync(params.QResync); err != nil {
		return noReply, err
	}
	if readOnly {
		return "OK [READ-ONLY] Examine completed", nil
	}
	return "OK [READ-WRITE] Select completed", nil
}

func (s *session) closeBox(c *wire.Command) (string, error) {
	if err := c.End(); err != nil {
		return noReply, err
	}
	code := ""
	if !s.box.readOnly {
		gone, err := s.expungeDeleted(nil)
		if err != nil {
			return noReply, err
		}
		if gone.ModSeq > 0 && s.qresync {
			code = s.closingCode(gone)
		}
	}
	s.unselect()
	return "OK " + code + "Close completed", nil
}

// closingCode is the response code of CLOSE, after which the client is told
// no more: it must not hide what others did since the client was told last.
func (s *session) closingCode(gone storage.Outcome) string {
	if s.box.view == nil || s.box.whole+1 != gone.ModSeq {
		return ""
	}
	s.box.whole = gone.ModSeq
	return s.highestCode()
}

// expungeDeleted removes the messages that have the flag for it, of all or
// of those that only says.
func (s *session) expungeDeleted(only func(storage.UID) bool) (storage.Outcome, error) {
	v, err := s.look()
	if err != nil {
		return storage.Outcome{}, err
	}
	var uids []storage.UID
	for _, m := range v.Messages {
		if m.Flags&storage.FlagDeleted != 0 && (only == nil || only(m.UID)) {
			uids = append(uids, m.UID)
		}
	}
	if len(uids) == 0 {
		return storage.Outcome{}, nil
	}
	return s.commit(storage.Expunge{
		Account: s.account, Mailbox: s.box.name, UIDValidity: s.box.validity, UIDs: uids, OnlyDeleted: true,
	})
}

// The flags there are. Keywords are not kept.
var systemFlags = []imap.Flag{imap.FlagAnswered, imap.FlagFlagged, imap.FlagDeleted, imap.FlagSeen, imap.FlagDraft}

var flagBits = map[string]storage.Flags{
	`\answered`: storage.FlagAnswered, `\flagged`: storage.FlagFlagged, `\deleted`: storage.FlagDeleted,
	`\seen`: storage.FlagSeen, `\draft`: storage.FlagDraft,
}
