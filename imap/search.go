package imap

import (
	"bytes"
	"errors"
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"barid/imap/wire"
	"barid/storage"
)

// Bounds of one SEARCH: how much of a message's body is looked at, and how
// much of all headers and bodies together, each time that one is looked at; to
// find the words of a message costs wordsCost times that, to undo encoded words
// encodedCost times what they take.
const (
	searchBody  = 1 << 20
	searchTotal = 1 << 30
)

func (s *session) search(c *wire.Command) (string, error)    { return s.searchBy(c, false) }
func (s *session) uidSearch(c *wire.Command) (string, error) { return s.searchBy(c, true) }

func (s *session) searchBy(c *wire.Command, byUID bool) (string, error) {
	search := c.Search()
	if err := c.End(); err != nil {
		return noReply, err
	}
	if s.rev2 && search.Return == nil {
		search.Return = &wire.SearchReturn{All: true} // RFC 9051 section 6.4.4
	}
	found, err := s.searchFor(search)
	if err != nil {
		if search.Return != nil && search.Return.Save {
			s.box.saved = nil // RFC 5182 section 2.1
		}
		return noReply, err
	}
	if search.Return != nil {
		s.searchResult(c.Tag, byUID, search, found)
		return "OK Search completed", nil
	}
	out := s.writer()
	out.Raw("* SEARCH")
	for _, i := range found {
		n := uint64(i + 1)
		if byUID {
			n = uint64(s.box.told[i].UID)
		}
		out.Raw(" ")
		out.Number(n)
	}
	if search.Key.HasModSeq() && len(found) > 0 {
		out.Raw(" (MODSEQ ")
		out.Number(wireModSeq(s.highestOf(found)))
		out.Raw(")")
	}
	out.EOL()
	return "OK Search completed", nil
}

// searchFor gives the places in told of what was found.
func (s *session) searchFor(search wire.Search) ([]int, error) {
	if search.Charset != "" && search.Charset != "US-ASCII" && search.Charset != "UTF-8" {
		return nil, refusal("[BADCHARSET (US-ASCII UTF-8)] Unknown charset")
	}
	if search.Key.HasModSeq() {
		s.useModSeqs()
	}
	if err := s.tell(arrivals, nil); err != nil {
		return nil, err
	}
	return s.find(newQuery(search.Key, s.box.told, s.box.saved))
}

// searchResult writes an ESEARCH line (RFC 4731), unless nothing is to be
// returned, and keeps what is to be kept (RFC 5182).
func (s *session) searchResult(tag string, byUID bool, search wire.Search, found []int) {
	r := *search.Return
	if r.Save {
		s.box.saved = s.savedOf(r, found)
		if r == (wire.SearchReturn{Save: true}) {
			return
		}
	}
	names := make([]uint32, len(found))
	for k, i := range found {
		names[k] = uint32(i + 1)
		if byUID {
			names[k] = uint32(s.box.told[i].UID)
		}
	}
	out := s.writer()
	out.Raw("* ESEARCH (TAG ")
	out.String(tag)
	out.Raw(")")
	if byUID {
		out.Raw(" UID")
	}
	item := func(name, value string) {
		out.Raw(" ")
		out.Raw(name)
		out.Raw(" ")
		out.Raw(value)
	}
	if n := len(names); n > 0 {
		if r.Min {
			item("MIN", number(uint64(names[0])))
		}
		if r.Max {
			item("MAX", number(uint64(names[n-1])))
		}
		if r.All {
			item("ALL", wire.FormatSet(names))
		}
	}
	if r.Count {
		item("COUNT", number(uint64(len(names))))
	}
	if search.Key.HasModSeq() && len(found) > 0 {
		item("MODSEQ", number(wireModSeq(s.highestOf(s.returned(r, found)))))
	}
	out.EOL()
}

// returned gives what of found the result options tell of: the ends only
// when nothing else is asked for (RFC 4731 section 3.2).
func (s *session) returned(r wire.SearchReturn, found []int) []int {
	if r.All || r.Count || !r.Min && !r.Max || len(found) == 0 {
		return found
	}
	var ends []int
	if r.Min {
		ends = append(ends, found[0])
	}
	if r.Max {
		ends = append(ends, found[len(found)-1])
	}
	return ends
}

// savedOf gives what a search leaves for "$".
func (s *session) savedOf(r wire.SearchReturn, found []int) wire.Set {
	var set wire.Set
	for _, i := range s.returned(r, found) {
		uid := uint32(s.box.told[i].UID)
		set = append(set, wire.Range{First: uid, Last: uid})
	}
	return set.Resolve(0) // neighbours become one
}

// highestOf gives the highest ModSeq of messages, as they are told or newer.
func (s *session) highestOf(places []int) storage.ModSeq {
	var top storage.ModSeq
	v, err := s.look()
	for _, i := range places {
		m := s.box.told[i]
		if err == nil {
			if j, ok := find(v.Messages, m.UID); ok {
				m = v.Messages[j]
			}
		}
		top = max(top, m.ModSeq)
	}
	return top
}

// find gives the places in told of the messages that q holds for, ascending.
// Content is read only of those that cannot be judged without.
func (s *session) find(q *query) ([]int, error) {
	v, err := s.look()
	if err != nil {
		return nil, err
	}
	holds := make([]bool, len(s.box.told))
	place := map[storage.UID]int{}
	var unclear []storage.UID
	for i, m := range s.box.told {
		j, ok := find(v.Messages, m.UID)
		if !ok {
			continue
		}
		switch q.holds(&q.key, i, v.Messages[j], nil) {
		case yes:
			holds[i] = true
		case unknown:
			unclear = append(unclear, m.UID)
			place[m.UID] = i
		}
	}
	if len(unclear) > 0 {
		part := storage.Header
		if q.key.NeedsBody() {
			part = storage.Whole
		}
		err := s.box.Read(s.ctx, unclear, part, func(uid storage.UID, content storage.Content) error {
			i := place[uid]
			j, _ := find(v.Messages, uid)
			text := &searchText{body: messageBody{content: content}, left: &q.left}
			holds[i] = q.holds(&q.key, i, v.Messages[j], text) == yes
			return text.err
		})
		if errors.Is(err, errCostly) {
			return nil, refusal("[LIMIT] The search would read too much")
		}
		if err != nil {
			return nil, fault(err)
		}
	}
	var found []int
	for i, ok := range holds {
		if ok {
			found = append(found, i)
		}
	}
	return found, nil
}

// verdict is what is known of whether a key holds for a message.
type verdict int8

const (
	no verdict = iota - 1
	unknown
	yes
)

func verdictOf(b bool) verdict {
	if b {
		return yes
	}
	return no
}

// query is a search under way.
type query struct {
	key   wire.SearchKey
	saved wire.Set
	left  int64 // octets that may still be read
}

// newQuery prepares a key for the messages that the client knows: sets are
// resolved, texts folded.
func newQuery(key wire.SearchKey, told []storage.Message, saved wire.Set) *query {
	q := &query{key: key, saved: saved, left: searchTotal}
	prepare(&q.key, uint32(len(told)), uint32(lastUID(told)))
	return q
}

func prepare(k *wire.SearchKey, numbers, uids uint32) {
	switch k.Op {
	case wire.SearchNumbers:
		k.Set = k.Set.Resolve(numbers)
	case wire.SearchUIDs:
		k.Set = k.Set.Resolve(uids)
	case wire.SearchHeader, wire.SearchBody, wire.SearchText:
		k.Text = strings.ToLower(k.Text)
	case wire.SearchFlag:
		k.Number = uint64(flagsOf([]imap.Flag{imap.Flag(k.Text)}))
	}
	for i := range k.Sub {
		prepare(&k.Sub[i], numbers, uids)
	}
}

// holds tells whether k holds for the message at place i. Without its text
// the answer may be unknown.
func (q *query) holds(k *wire.SearchKey, i int, m storage.Message, text *searchText) verdict {
	switch k.Op {
	case wire.SearchAll:
		return yes
	case wire.SearchNumbers:
		return verdictOf(k.Set.Has(uint32(i + 1)))
	case wire.SearchUIDs:
		return verdictOf(k.Set.Has(uint32(m.UID)))
	case wire.SearchFlag:
		return verdictOf(m.Flags&storage.Flags(k.Number) != 0)
	case wire.SearchBefore, wire.SearchOn, wire.SearchSince:
		return dateHolds(k.Op-wire.SearchBefore, m.Received.Time().UTC(), k.Date)
	case wire.SearchSavedBefore, wire.SearchSavedOn, wire.SearchSavedSince:
		return dateHolds(k.Op-wire.SearchSavedBefore, m.Saved.Time().UTC(), k.Date)
	case wire.SearchLarger:
		return verdictOf(m.Size > int64(k.Number))
	case wire.SearchSmaller:
		return verdictOf(m.Size < int64(k.Number))
	case wire.SearchModSeq:
		return verdictOf(wireModSeq(m.ModSeq) >= k.Number)
	case wire.SearchSaved:
		return verdictOf(q.saved.Has(uint32(m.UID)))
	case wire.SearchEmailID:
		return verdictOf(k.Text == emailID(m.ID))
	case wire.SearchThreadID: // no message belongs to a thread
		return no
	case wire.SearchNot:
		return -q.holds(&k.Sub[0], i, m, text)
	case wire.SearchOr:
		return max(q.holds(&k.Sub[0], i, m, text), q.holds(&k.Sub[1], i, m, text))
	case wire.SearchAnd:
		all := yes
		for n := range k.Sub {
			if all = min(all, q.holds(&k.Sub[n], i, m, text)); all == no {
				break
			}
		}
		return all
	}
	if text == nil {
		return unknown
	}
	return verdictOf(text.holds(k))
}

// dateHolds compares days, whatever the zone: before, on, since.
func dateHolds(op wire.SearchOp, at, day time.Time) verdict {
	y, mo, d := at.Date()
	n := time.Date(y, mo, d, 0, 0, 0, 0, time.UTC).Compare(day)
	switch op {
	case 0:
		return verdictOf(n < 0)
	case 1:
		return verdictOf(n == 0)
	}
	return verdictOf(n >= 0)
}

// errCostly ends a search or fetch that would read too much.
var errCostly = errors.New("too much to read for one command")

// errDecoding ends a FETCH that would decode too much, between two messages.
var errDecoding = errors.New("too much to decode for one command")

// searchText is what a search reads of one message.
type searchText struct {
	body   messageBody
	head   []byte        // the fields as their reader sees them, in lower case
	fields []searchField // where they are in head; nil until they are looked for
	words  []byte        // nil until they are looked for
	left   *int64
	err    error
}

// searchField is where a field begins, where its name ends, and where it ends.
type searchField struct{ from, colon, to uint32 }

// spend takes octets from those that may still be read.
func (t *searchText) spend(n int64) bool {
	if *t.left -= n; *t.left < 0 {
		t.err = errCostly
	}
	return t.err == nil
}

func (t *searchText) holds(k *wire.SearchKey) bool {
	if !t.readFields() || !t.spend(int64(len(t.body.head))) {
		return false
	}
	text := []byte(k.Text)
	switch k.Op {
	case wire.SearchHeader:
		return t.anyField(k.Field, func(value []byte) bool { return bytes.Contains(value, text) })
	case wire.SearchSentBefore, wire.SearchSentOn, wire.SearchSentSince:
		return t.anyField("Date", func(value []byte) bool {
			value = bytes.ToUpper(value[:min(len(value), longestDate)]) // as the names of zones are
			at, err := mail.ParseDate(string(value))
			return err == nil && dateHolds(k.Op-wire.SearchSentBefore, at, k.Date) == yes
		})
	case wire.SearchText:
		if slices.ContainsFunc(t.fields, func(f searchField) bool { return bytes.Contains(t.head[f.from:f.to], text) }) {
			return true
		}
	}
	return t.bodyHas(k.Text)
}

// longestDate is where a date is cut off.
const longestDate = 200

// encodedCost is how many times as long as looking through it it takes to undo
// the encoded words of a field.
const encodedCost = 50

// readFields finds the fields of the header, once, and tells whether they are
// there.
func (t *searchText) readFields() bool {
	if t.fields != nil || t.err != nil {
		return t.err == nil
	}
	head, err := t.body.header()
	if err != nil {
		t.err = err
		return false
	}
	t.fields = []searchField{}
	eachField(head, func(_ string, field []byte) {
		if isEncoded(field) && !t.spend(encodedCost*int64(len(field))) || t.err != nil {
			return
		}
		from := len(t.head)
		t.head = append(t.head, strings.ToLower(decoded(string(field)))...)
		colon := from + max(bytes.IndexByte(t.head[from:], ':'), 0)
		t.fields = append(t.fields, searchField{uint32(from), uint32(colon), uint32(len(t.head))})
	})
	return t.err == nil
}

// anyField tells whether f holds for the value of a field of that name.
func (t *searchText) anyField(name string, f func(value []byte) bool) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(t.fields, func(at searchField) bool {
		has, value := bytes.TrimRight(t.head[at.from:at.colon], " \t"), t.head[at.colon:at.to]
		return string(has) == name && f(bytes.TrimSpace(bytes.TrimPrefix(value, []byte(":"))))
	})
}

// wordsCost is how many times as long as looking through them it takes to find
// the words of a message.
const wordsCost = 4

// bodyHas looks for text, in lower case, in the words of the message.
func (t *searchText) bodyHas(text string) bool {
	if t.words == nil {
		if !t.spend(wordsCost * min(t.body.content.Size(), searchBody)) {
			return false
		}
		words, encoded, err := t.body.words()
		if err != nil {
			t.err = err
			return false
		}
		t.words = append(words, '\n')
		if !t.spend(encodedCost * encoded) {
			return false
		}
	}
	return t.spend(int64(len(t.words))) && bytes.Contains(t.words, []byte(text))
}

// isEncoded tells whether a field may have encoded words.
func isEncoded(field []byte) bool { return bytes.Contains(field, []byte("=?")) }

var unfolder = strings.NewReplacer("\r", "", "\n", "")

// decoded undoes folding and RFC 2047. What cannot be undone stays.
func decoded(v string) string {
	v = strings.TrimSpace(unfolder.Replace(v))
	if !strings.Contains(v, "=?") {
		return v
	}
	d, err := wordDecoder.DecodeHeader(v)
	if err != nil {
		return v
	}
	return d
}
