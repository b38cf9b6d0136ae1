package imap

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"barid/imap/wire"
	"barid/internal/mime"
	"barid/storage"
)

func number(n uint64) string { return strconv.FormatUint(n, 10) }

func (s *session) fetch(c *wire.Command) (string, error)    { return s.fetchBy(c, false) }
func (s *session) uidFetch(c *wire.Command) (string, error) { return s.fetchBy(c, true) }

// fetchBy answers FETCH and UID FETCH. Arrivals are told first, so that what
// is there can be given; flags that others changed wait for another command,
// because clients take every FETCH line for a piece of the answer.
func (s *session) fetchBy(c *wire.Command, byUID bool) (string, error) {
	c.SP()
	set := takeNumbers(c)
	c.SP()
	f := c.Fetch()
	if f.Vanished && (!byUID || !s.qresync) {
		c.Fail("VANISHED is for UID FETCH after ENABLE QRESYNC")
	}
	if err := c.End(); err != nil {
		return noReply, err
	}
	if f.ChangedSince != nil || f.Has(wire.ItemModSeq) {
		s.useModSeqs()
	}
	var gone wire.Set
	if f.Vanished {
		var err error
		if gone, err = s.vanishedSince(*f.ChangedSince, s.askedUIDs(set)); err != nil {
			return noReply, err
		}
	}
	what := arrivals
	if byUID && s.qresync {
		what = noFlags // or what they cache would be newer than what they know to be gone
	}
	if err := s.tell(what, nil); err != nil {
		return noReply, err
	}
	if s.over.Load() {
		return noReply, nil
	}
	if byUID && !f.Has(wire.ItemUID) {
		f.Items = append([]wire.FetchItem{{Item: wire.ItemUID}}, f.Items...)
	}
	if f.ChangedSince != nil && !f.Has(wire.ItemModSeq) {
		f.Items = append(f.Items, wire.FetchItem{Item: wire.ItemModSeq})
	}
	vanishedLine(s.writer(), gone, true)
	a, err := s.newFetchAnswer(f, s.pick(set, byUID))
	if err != nil {
		return noReply, err
	}
	if err := a.write(); err != nil {
		return noReply, err
	}
	a.told()
	if a.undecodable {
		return noReply, refusal("[UNKNOWN-CTE] A part cannot be decoded")
	}
	return "OK Fetch completed", nil
}

// emailID writes the ID of a message as RFC 8474 section 5.1 wants it.
func emailID(id uint64) string { return fmt.Sprintf("M%016x", id) }

// fetchAnswer is the answer to one FETCH under way.
type fetchAnswer struct {
	s     *session
	items []wire.FetchItem
	view  *storage.View
	uids  []storage.UID
	place map[storage.UID]int // in told; nil when no content is read
	seen  map[storage.UID]bool
	// repeated is how many octets of headers were looked at more than once.
	repeated int64
	// decoded is how many octets of parts are read for BINARY items.
	decoded int64
	// undecodable: a part was asked for without an encoding that is not known.
	undecodable bool
}

// maxRepeated bounds what one FETCH may look at again and again: fields of
// one long header, picked by many items.
const maxRepeated = 256 << 20

// maxDecoded bounds what the BINARY items of one FETCH may read; each part is
// read to know its size, and once more for each item that gives it.
const maxDecoded = 512 << 20

// newFetchAnswer finds what is still there, and marks as seen what is about
// to be read.
func (s *session) newFetchAnswer(f wire.Fetch, places []int) (*fetchAnswer, error) {
	v, err := s.look()
	if err != nil {
		return nil, err
	}
	a := &fetchAnswer{s: s, items: f.Items, view: v, place: make(map[storage.UID]int, len(places))}
	var unseen []storage.UID
	for _, i := range places {
		uid := s.box.told[i].UID
		j, ok := find(v.Messages, uid)
		if !ok || f.ChangedSince != nil && !newerThan(v.Messages[j].ModSeq, *f.ChangedSince) {
			continue
		}
		a.uids = append(a.uids, uid)
		a.place[uid] = i
		if v.Messages[j].Flags&storage.FlagSeen == 0 {
			unseen = append(unseen, uid)
		}
	}
	if len(unseen) == 0 || s.box.readOnly || !f.MarksSeen() {
		return a, nil
	}
	return a, a.markSeen(unseen)
}

func (a *fetchAnswer) markSeen(unseen []storage.UID) error {
	s := a.s
	o, err := s.commit(storage.SetFlags{
		Account: s.account, Mailbox: s.box.name, UIDValidity: s.box.validity, UIDs: unseen, Mode: storage.AddFlags, Flags: storage.FlagSeen,
	})
	if err != nil {
		return err
	}
	a.seen = make(map[storage.UID]bool, len(o.Changed))
	for _, uid := range o.Changed {
		a.seen[uid] = true
	}
	a.view, err = s.look()
	return err
}

// told notes that the client knows of the flags that the answer has set, so
// that they are not told once more.
func (a *fetchAnswer) told() {
	if len(a.seen) == 0 {
		return
	}
	b := &a.s.box
	b.told = slices.Clone(b.told)
	for uid := range a.seen {
		if j, ok := find(a.view.Messages, uid); ok {
			m := &b.told[a.place[uid]]
			m.Flags, m.ModSeq = a.view.Messages[j].Flags, a.view.Messages[j].ModSeq
		}
	}
	b.view = nil
}

func (a *fetchAnswer) write() error {
	part, content := partFor(a.items)
	if !content {
		for _, uid := range a.uids {
			if err := a.message(uid, nil); err != nil {
				return err
			}
		}
		return nil
	}
	if len(a.uids) == 0 {
		return nil
	}
	err := a.s.box.Read(a.s.ctx, a.uids, part, a.message)
	if errors.Is(err, errDecoding) {
		return refusal("[LIMIT] This is too much to decode for one FETCH") // nobody who reads mail so takes it for all there is
	}
	if errors.Is(err, errCostly) {
		a.s.bye("This is too much for one FETCH") // a NO would mean that there is no more
		return nil
	}
	if broken := a.s.writer().Err(); broken != nil {
		return sourceFault(broken)
	}
	return fault(err)
}

// sourceFault tells a message that cannot be read from a client that cannot.
func sourceFault(err error) error {
	if source, ok := errors.AsType[wire.SourceError](err); ok {
		return fault(source)
	}
	return err
}

// partFor tells what must be read for the items.
func partFor(items []wire.FetchItem) (part storage.Part, content bool) {
	part = storage.Header
	for _, i := range items {
		switch i.Item {
		case wire.ItemEnvelope:
			content = true
		case wire.ItemBody, wire.ItemBodyStructure, wire.ItemBinary, wire.ItemBinarySize:
			part, content = storage.Whole, true
		case wire.ItemSection:
			content = true
			if !headerOnly(i.Section) {
				part = storage.Whole
			}
		}
	}
	return part, content
}

// message writes the line of one message.
func (a *fetchAnswer) message(uid storage.UID, content storage.Content) error {
	j, ok := find(a.view.Messages, uid)
	if !ok {
		return nil
	}
	m := a.view.Messages[j]
	body := messageBody{content: content}
	if cost, err := body.binaryCost(a.items); err != nil {
		return err
	} else if a.decoded += cost; a.decoded > maxDecoded {
		return errDecoding
	}
	out := a.s.writer()
	out.Raw("* ")
	out.Number(uint64(a.place[uid] + 1))
	out.Raw(" FETCH (")
	flags, modSeq := false, false
	for n, i := range a.items {
		if n > 0 {
			out.Raw(" ")
		}
		flags = flags || i.Item == wire.ItemFlags
		modSeq = modSeq || i.Item == wire.ItemModSeq
		if err := a.item(out, i, m, &body); err != nil {
			return err
		}
	}
	if a.seen[uid] && !flags {
		out.Raw(" FLAGS ")
		out.Flags(flagNames(m.Flags))
	}
	if a.seen[uid] && !modSeq {
		a.s.modSeqToo(m)
	}
	out.Raw(")\r\n")
	if a.repeated += body.repeated(); a.repeated > maxRepeated {
		return errCostly
	}
	return out.Err()
}

func (a *fetchAnswer) item(out *wire.Writer, i wire.FetchItem, m storage.Message, body *messageBody) error {
	switch i.Item {
	case wire.ItemUID:
		out.Raw("UID ")
		out.Number(uint64(m.UID))
	case wire.ItemFlags:
		out.Raw("FLAGS ")
		out.Flags(flagNames(m.Flags))
	case wire.ItemInternalDate:
		out.Raw("INTERNALDATE ")
		out.Date(m.Received.Time().UTC())
	case wire.ItemSaveDate:
		out.Raw("SAVEDATE ")
		out.Date(m.Saved.Time().UTC())
	case wire.ItemEmailID:
		out.Raw("EMAILID (")
		out.Raw(emailID(m.ID))
		out.Raw(")")
	case wire.ItemThreadID: // nobody here looks which messages belong together
		out.Raw("THREADID NIL")
	case wire.ItemSize:
		out.Raw("RFC822.SIZE ")
		out.Number(uint64(m.Size))
	case wire.ItemModSeq:
		writeModSeq(out, m.ModSeq)
	case wire.ItemEnvelope:
		head, err := body.header()
		if err != nil {
			out.Abort(err) // in the middle of a line
			return err
		}
		out.Raw("ENVELOPE ")
		writeEnvelope(out, mime.EnvelopeFields(head))
	case wire.ItemBody, wire.ItemBodyStructure:
		p, err := body.structure()
		if err != nil {
			out.Abort(err)
			return err
		}
		if i.Item == wire.ItemBody {
			out.Raw("BODY ")
		} else {
			out.Raw("BODYSTRUCTURE ")
		}
		writeStructure(out, p, i.Item == wire.ItemBodyStructure)
	case wire.ItemSection:
		return body.section(out, i)
	case wire.ItemBinary, wire.ItemBinarySize:
		err := body.binary(out, i)
		if errors.Is(err, errEncoding) {
			a.undecodable, err = true, nil // the answer goes on, and ends in NO
		}
		return err
	}
	return nil
}
