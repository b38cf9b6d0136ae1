package local

import (
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"barid/storage"
	"barid/storage/metadata"
)

// accountState is an account at one moment. It never changes once it is
// account.next; a writer derives the following one with a builder.
type accountState struct {
	seq   uint64 // of the last record that is part of it
	alive bool
	hash  string // what a record last set as password
	// hashFresh tells that the record of this state set hash: the password file
	// wants to be written.
	hashFresh bool
	boxes     []*boxState        // INBOX first, the rest by name
	subs      []string           // ascending
	meta      *metadata.Metadata // never written to, see cloneMetadata; nil is empty
}

// boxState is a mailbox at one moment. Its slices share their memory with
// earlier states: what an earlier state can see is never written to, only the
// space behind it.
type boxState struct {
	id    *box
	view  storage.View
	items []*item // where view.Messages[i] lies
	// gone has the expunged UIDs with the ModSeq of their end, ascending by
	// ModSeq; what went at floor or before is not in it.
	gone   []goneUID
	floor  storage.ModSeq
	octets int64
	oldest storage.Time // of Message.Saved, while there are messages
	large  storage.Time // the same of content above storage.LargeSize; zero when there is none
	seq    uint64       // of the last record that changed it, or applied in its snapshot

	adopting adoption
}

// adoption is how far a mailbox is that is made of its files: with many of them
// it takes several records, between two changeRebuilt.
type adoption uint8

const (
	adoptionEnded  adoption = iota // or there was none
	adoptionBegins                 // the next changeRebuilt is the first
	adoptionGoesOn                 // the next changeRebuilt is the last
)

type goneUID struct {
	modseq storage.ModSeq
	uid    storage.UID
}

// maxGone bounds the memory of expunged UIDs per mailbox.
const maxGone = 4096

// box is one life of a mailbox: the same for all of its states.
type box struct {
	snapped uint64 // the last record in its snapshot; the settler's own

	mu    sync.Mutex    // guards the list and what is in it; held while bells ring
	first *subscription // in no order
}

func (b *box) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := b.first; s != nil; s = s.next {
		s.bell.Ring()
	}
}

// find gives the state of the mailbox of that name, nil when there is none.
func (st *accountState) find(name string) *boxState {
	for _, bs := range st.boxes {
		if bs.view.Name == name {
			return bs
		}
	}
	return nil
}

// of gives the state of that life of a mailbox, nil when it is over.
func (st *accountState) of(id *box) *boxState {
	for _, bs := range st.boxes {
		if bs.id == id {
			return bs
		}
	}
	return nil
}

func (st *accountState) usage() (u storage.Usage) {
	for _, bs := range st.boxes {
		u.Octets += bs.octets
		u.Messages += int64(len(bs.view.Messages))
	}
	return u
}

// index finds the position of uid.
func (bs *boxState) index(uid storage.UID) (int, bool) {
	m := bs.view.Messages
	// The newest messages are the ones most asked for.
	if n := len(m); n > 0 && m[n-1].UID == uid {
		return n - 1, true
	}
	i := sort.Search(len(m), func(i int) bool { return m[i].UID >= uid })
	return i, i < len(m) && m[i].UID == uid
}

// changedSince lists the messages whose ModSeq is higher than m.
func (bs *boxState) changedSince(m storage.ModSeq) []storage.UID {
	var uids []storage.UID
	if m >= bs.view.HighestModSeq {
		return nil
	}
	for i := range bs.view.Messages {
		if bs.view.Messages[i].ModSeq > m {
			uids = append(uids, bs.view.Messages[i].UID)
		}
	}
	return uids
}

// goneSince lists the UIDs expunged after m, ascending.
func (bs *boxState) goneSince(m storage.ModSeq) []storage.UID {
	i := sort.Search(len(bs.gone), func(i int) bool { return bs.gone[i].modseq > m })
	var uids []storage.UID
	for _, g := range bs.gone[i:] {
		uids = append(uids, g.uid)
	}
	slices.Sort(uids)
	return uids
}

// builder derives the next state of one account from its newest.
type builder struct {
	a       *account
	st      *accountState
	edited  []*boxState // own copies, part of st
	added   []addition  // want the number of their record, and content
	rung    []*box
	jobs    []job
	changed bool
	died    bool     // the account, or a mailbox of it
	dropped []string // mailboxes that end here
}

func newBuilder(a *account, from *accountState) *builder {
	st := *from
	st.hashFresh = false
	st.boxes = slices.Clone(from.boxes)
	return &builder{a: a, st: &st}
}

// edit gives the builder's own copy of a mailbox's state, nil when there is
// no such mailbox.
func (b *builder) edit(name string) *boxState {
	for i, bs := range b.st.boxes {
		if bs.view.Name != name {
			continue
		}
		if !slices.Contains(b.edited, bs) {
			own := *bs
			bs = &own
			b.st.boxes[i] = bs
			b.edited = append(b.edited, bs)
		}
		b.ringLater(bs.id)
		b.changed = true
		return bs
	}
	return nil
}

func (b *builder) ringLater(id *box) {
	if !slices.Contains(b.rung, id) {
		b.rung = append(b.rung, id)
	}
}

// makeBox adds an empty mailbox.
func (b *builder) makeBox(name string, validity storage.UIDValidity, id storage.MailboxID) *boxState {
	bs := &boxState{id: &box{}, view: storage.View{Name: name, ID: id, UIDValidity: validity, UIDNext: 1}}
	b.insertBox(bs)
	return bs
}

func (b *builder) insertBox(bs *boxState) {
	b.st.boxes = append(b.st.boxes, bs)
	slices.SortFunc(b.st.boxes, func(x, y *boxState) int { return compareNames(x.view.Name, y.view.Name) })
	b.edited = append(b.edited, bs)
	b.ringLater(bs.id)
	b.changed = true
}

// compareNames orders mailboxes as they are listed: INBOX first.
func compareNames(x, y string) int {
	switch {
	case x == y:
		return 0
	case x == storage.InboxName:
		return -1
	case y == storage.InboxName:
		return 1
	}
	return strings.Compare(x, y)
}

// dropBox removes a mailbox and all it holds.
func (b *builder) dropBox(name string) {
	bs := b.edit(name)
	if bs == nil {
		return
	}
	for i := range bs.items {
		b.jobs = append(b.jobs, job{kind: jobUnlink, box: name, msg: bs.view.Messages[i], it: bs.items[i]})
	}
	b.jobs = append(b.jobs, job{kind: jobDropBox, box: name})
	b.died, b.dropped = true, append(b.dropped, name)
	b.st.boxes = slices.DeleteFunc(b.st.boxes, func(x *boxState) bool { return x == bs })
	if b.st.meta != nil {
		b.st.meta = cloneMetadata(b.st.meta)
		b.st.meta.Forget(name)
	}
}

// die ends the account, whose hash that was.
func (b *builder) die(hash string) {
	b.forget()
	b.st.alive, b.st.hash = false, ""
	b.jobs = append(b.jobs, job{kind: jobWipe, box: hash})
	b.died, b.changed = true, true
}

// forget drops all that an account has. One that is born has something only
// when its password file was removed behind our back.
func (b *builder) forget() {
	for _, bs := range slices.Clone(b.st.boxes) {
		b.dropBox(bs.view.Name)
	}
	b.st.subs, b.st.meta = nil, nil
}

// add appends a message; its UID must be UIDNext or higher.
func (b *builder) add(bs *boxState, m storage.Message, it *item, from source) {
	bs.view.Messages = append(bs.view.Messages, m)
	bs.items = append(bs.items, it)
	bs.octets += m.Size
	bs.age(&m, len(bs.items) == 1)
	bs.view.UIDNext = max(bs.view.UIDNext, m.UID+1)
	bs.view.HighestModSeq = max(bs.view.HighestModSeq, m.ModSeq)
	b.added = append(b.added, addition{it, bs.view.Name, m, from})
	b.jobs = append(b.jobs, job{kind: jobSettle, box: bs.view.Name, msg: m, it: it})
}

// setFlags gives messages their flags and one ModSeq.
func (b *builder) setFlags(bs *boxState, c *change) {
	list := slices.Grow(slices.Clone(bs.view.Messages), 1)
	for _, m := range c.list {
		if at, ok := bs.index(m.uid); ok {
			list[at].Flags, list[at].ModSeq = m.flags, c.modseq
		}
	}
	bs.view.Messages = list
	bs.view.HighestModSeq = max(bs.view.HighestModSeq, c.modseq)
}

// expunge removes the messages. The lists are made anew: to cut and append
// would write where earlier states still look.
func (b *builder) expunge(bs *boxState, uids []storage.UID, modseq storage.ModSeq) {
	keep := make([]storage.Message, 0, len(bs.view.Messages)+1)
	items := make([]*item, 0, cap(keep))
	next := 0
	for i, m := range bs.view.Messages {
		for next < len(uids) && uids[next] < m.UID {
			next++
		}
		if next == len(uids) || uids[next] != m.UID {
			keep, items = append(keep, m), append(items, bs.items[i])
			continue
		}
		bs.octets -= m.Size
		bs.gone = append(bs.gone, goneUID{modseq, m.UID})
		b.jobs = append(b.jobs, job{kind: jobUnlink, box: bs.view.Name, msg: m, it: bs.items[i]})
	}
	bs.view.Messages, bs.items = keep, items
	bs.setOldest()
	bs.view.HighestModSeq = max(bs.view.HighestModSeq, modseq)
	if len(bs.gone) > maxGone {
		cut := len(bs.gone) - maxGone/2
		// A ModSeq is forgotten as a whole.
		for cut < len(bs.gone) && bs.gone[cut].modseq == bs.gone[cut-1].modseq {
			cut++
		}
		bs.floor = bs.gone[cut-1].modseq
		bs.gone = slices.Clone(bs.gone[cut:])
	}
}

// setOldest looks for the oldest messages.
func (bs *boxState) setOldest() {
	bs.large = 0
	for i := range bs.view.Messages {
		bs.age(&bs.view.Messages[i], i == 0)
	}
}

// age takes a message into account for the oldest ones.
func (bs *boxState) age(m *storage.Message, first bool) {
	if first || m.Saved < bs.oldest {
		bs.oldest = m.Saved
	}
	if saved := max(m.Saved, 1); m.Size > storage.LargeSize && (bs.large == 0 || saved < bs.large) {
		bs.large = saved
	}
}

// setEntry sets or removes an entry of a mailbox. The bounds were checked
// when its record was made.
func (b *builder) setEntry(mailbox, name string, value []byte, at time.Time) {
	meta := cloneMetadata(b.st.meta)
	var err error
	switch {
	case name != deviceToken:
		err = meta.Set(mailbox, name, value)
	case value != nil:
		err = meta.AddToken(string(value), at)
	}
	if err != nil {
		return
	}
	b.st.meta = meta
	b.changed = true
}

// cloneMetadata copies, because a Metadata changes even when it is read.
func cloneMetadata(m *metadata.Metadata) *metadata.Metadata {
	if m == nil {
		return new(metadata.Metadata)
	}
	return m.Clone()
}

// subscribe sets or removes a subscription.
func (b *builder) subscribe(name string, remove bool) {
	i, have := slices.BinarySearch(b.st.subs, name)
	if have != remove {
		return
	}
	subs := slices.Clone(b.st.subs)
	if remove {
		b.st.subs = slices.Delete(subs, i, i+1)
	} else {
		b.st.subs = slices.Insert(subs, i, name)
	}
	b.changed = true
}
