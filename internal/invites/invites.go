// Package invites keeps who may bring people to a relay that takes new
// accounts by invitation only.
//
// An invitation is a token that somebody passes on, good for a number of
// accounts and a number of days. Whoever has it asks for an address, which is
// reserved for a day; only reserved addresses are born. A use is taken with
// the reservation. When nobody was born by it in time, the invitation gets
// its use back. Where no use is left but somebody asks who has the token, he
// gets the use of the address that has waited longest, if for a minute at
// least: an app that failed half-way asks again, with another address.
//
//	data_dir/invites        one line that names the format and sums up the rest, then JSON
//	data_dir/invites.damaged   what could not be read, put aside
//
// Nobody reads tokens or addresses out of the file: it has keyed hashes of
// both. What was answered is on disk: each change writes the file anew.
package invites

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"barid/internal/journal"
	"barid/internal/metrics"
)

// Bounds.
const (
	MaxInvites      = 1000                 // that are there at a time
	MaxUses         = 10_000               // of one invitation
	MaxLife         = 366 * 24 * time.Hour // of one invitation
	MaxNote         = 200                  // octets
	MaxReservations = 10_000               // that are there at a time
	// Reserved is how long an address is kept for who asked for it.
	Reserved = 24 * time.Hour
	// Grace is how long an address waits before another may have its use.
	Grace = time.Minute
	// maxToken bounds what is looked at of a token.
	maxToken = 64
)

// Why there is no address for a token, or no change of the book.
var (
	// ErrUnknown: there is no such invitation, or no longer.
	ErrUnknown = errors.New("no such invitation")
	// ErrUsedUp: as many people came by it as may.
	ErrUsedUp = errors.New("the invitation is used up")
	// ErrBusy: all uses that are left were taken a moment ago, and may come back.
	ErrBusy = errors.New("the invitation is just being used")
	// ErrExpired: its time is over.
	ErrExpired = errors.New("the invitation has expired")
	// ErrFull: there are as many invitations, or reservations, as may be.
	ErrFull = errors.New("no room for more")
	// ErrBad: an invitation cannot have such a number, time or note.
	ErrBad = errors.New("bad invitation")
)

// Config of a Book.
type Config struct {
	// FS has the file, in its root. Required. The Book does not close it.
	FS journal.FS
	// NoSync leaves flushes out.
	NoSync  bool
	Logger  *slog.Logger      // nil is silence
	Metrics *metrics.Registry // nil is fine
	Now     func() time.Time  // nil is time.Now
}

// Invite is what an operator sees of an invitation. Its token is shown once,
// when it is made.
type Invite struct {
	ID       string    // short, to name it by
	Note     string    // the operator's own words
	Uses     int       // how many accounts it is good for
	Born     int       // of these were born
	Reserved int       // and these addresses wait for their first login
	Made     time.Time // to the second
	Expires  time.Time
}

// Left is how many more people may come by it.
func (i Invite) Left() int { return max(i.Uses-i.Born-i.Reserved, 0) }

// Book has the invitations of one relay. It is safe for many goroutines.
type Book struct {
	cfg   Config
	log   *slog.Logger
	state atomic.Pointer[state] // never changes; a change puts another in its place

	writing sync.Mutex // held while a change is made and written

	reserved prometheus.Counter
	refused  *prometheus.CounterVec
}

type (
	tokenHash   [32]byte
	addressHash [16]byte
)

// state is the content of the file.
type state struct {
	key      [32]byte
	invites  []invite // in the order of their making
	reserved map[addressHash]reservation
}

type invite struct {
	id            string
	token         tokenHash
	note          string
	uses, born    int
	made, expires int64 // Unix seconds
}

type reservation struct {
	invite string // ID
	until  int64  // Unix seconds
	taken  bool   // the account is born, or just about to be
}

// Open reads the book. A file that cannot be understood is put aside: all
// invitations are gone then, and the log says so.
func Open(cfg Config) (*Book, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Book{cfg: cfg, log: cfg.Logger}
	st, err := b.read()
	if errors.Is(err, errDamaged) {
		b.log.Error("the invitations cannot be read, all are gone: make new ones", "part", "invites", "kept", damagedName, "error", err)
		if err = b.putAside(); err == nil {
			st = nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open invitations: %w", err)
	}
	if st == nil {
		st = &state{reserved: map[addressHash]reservation{}}
		rand.Read(st.key[:]) // never fails
	}
	b.state.Store(st)
	b.reserved = cfg.Metrics.Counter("invites_reserved", "Addresses that were reserved by an invitation.")
	b.refused = cfg.Metrics.Counters("invites_refused", "Requests whose invitation was not good.", "reason")
	cfg.Metrics.Limit(metrics.Limit{Name: "invites", Help: "invitations", Max: MaxInvites, Use: func() int64 { return int64(len(b.state.Load().invites)) }})
	cfg.Metrics.Limit(metrics.Limit{Name: "invite_reservations", Help: "addresses reserved by invitations", Max: MaxReservations,
		Use: func() int64 { return int64(len(b.state.Load().reserved)) }})
	return b, nil
}

// hash is a keyed hash; what tells apart what is hashed.
func (st *state) hash(what, text string) [32]byte {
	m := hmac.New(sha256.New, st.key[:])
	m.Write([]byte(what + "\x00" + text))
	return [32]byte(m.Sum(nil))
}

func (st *state) address(a string) addressHash {
	h := st.hash("address", a)
	return addressHash(h[:16])
}

// find gives the invitation of a token, nil when there is none. It looks at
// all of them alike.
func (st *state) find(token string) *invite {
	if len(token) > maxToken {
		return nil
	}
	h := tokenHash(st.hash("token", token))
	found := -1
	for i := range st.invites {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(h[:], st.invites[i].token[:]), i, found)
	}
	if found < 0 {
		return nil
	}
	return &st.invites[found]
}

func (st *state) byID(id string) *invite {
	i := slices.IndexFunc(st.invites, func(in invite) bool { return in.id == id })
	if i < 0 {
		return nil
	}
	return &st.invites[i]
}

// waiting counts, by invitation, the addresses whose use is not certain yet.
func (st *state) waiting(now int64) map[string]int {
	n := map[string]int{}
	for _, r := range st.reserved {
		if r.until > now && !r.taken {
			n[r.invite]++
		}
	}
	return n
}

// good tells why a token gives no address, or whose use it takes, if not a
// free one.
func (st *state) good(token string, now int64) (in *invite, instead *addressHash, err error) {
	in = st.find(token)
	switch {
	case in == nil:
		return nil, nil, ErrUnknown
	case in.expires <= now:
		return nil, nil, ErrExpired
	case in.born >= in.uses:
		return nil, nil, ErrUsedUp
	case in.born+st.waiting(now)[in.id] < in.uses:
		return in, nil, nil
	}
	var until int64
	for h, r := range st.reserved {
		if r.invite == in.id && !r.taken && r.until > now && (instead == nil || r.until < until) {
			instead, until = &h, r.until
		}
	}
	if instead == nil || now < until-int64((Reserved-Grace)/time.Second) {
		return nil, nil, ErrBusy
	}
	return in, instead, nil
}

// Valid tells whether a token would get an address now: nil, ErrUnknown,
// ErrExpired, ErrUsedUp or ErrBusy.
func (b *Book) Valid(token string) error {
	_, _, err := b.state.Load().good(token, b.cfg.Now().Unix())
	return err
}

// Make makes an invitation that is good for so many accounts and so long, and
// gives it with its token, which is kept nowhere. ErrBad when it cannot be
// such, ErrFull when there are too many.
func (b *Book) Make(uses int, life time.Duration, note string) (token string, made Invite, err error) {
	switch {
	case uses < 1 || uses > MaxUses:
		err = fmt.Errorf("%w: uses must be from 1 to %d", ErrBad, MaxUses)
	case life < time.Minute || life > MaxLife:
		err = fmt.Errorf("%w: it must last from a minute to %d days", ErrBad, MaxLife/(24*time.Hour))
	case len(note) > MaxNote || !utf8.ValidString(note) || strings.ContainsFunc(note, func(r rune) bool { return r < ' ' || r == 0x7f }):
		err = fmt.Errorf("%w: the note must be one line of at most %d octets", ErrBad, MaxNote)
	}
	if err != nil {
		return "", Invite{}, err
	}
	token = rand.Text() // 130 bits, upper case: short in a QR code
	now := b.cfg.Now()
	err = b.change(func(st *state) error {
		if len(st.invites) >= MaxInvites {
			return fmt.Errorf("%w: there are %d invitations; revoke some", ErrFull, MaxInvites)
		}
		in := invite{token: st.hash("token", token), note: note, uses: uses, made: now.Unix(), expires: now.Add(life).Unix()}
		for in.id == "" || st.byID(in.id) != nil {
			in.id = strings.ToLower(rand.Text()[:6])
		}
		st.invites = append(st.invites, in)
		made = in.shown(0)
		return nil
	})
	if err != nil {
		return "", Invite{}, fmt.Errorf("make an invitation: %w", err)
	}
	return token, made, nil
}

func (in *invite) shown(waiting int) Invite {
	return Invite{
		ID: in.id, Note: in.note, Uses: in.uses, Born: in.born, Reserved: waiting,
		Made: time.Unix(in.made, 0).UTC(), Expires: time.Unix(in.expires, 0).UTC(),
	}
}

// List gives the invitations in the order of their making. What has expired
// is among them until the next change.
func (b *Book) List() []Invite {
	st := b.state.Load()
	waiting := st.waiting(b.cfg.Now().Unix())
	list := make([]Invite, len(st.invites))
	for i := range st.invites {
		list[i] = st.invites[i].shown(waiting[st.invites[i].id])
	}
	return list
}

// Revoke ends an invitation, and the addresses that wait by it: who is born
// stays. ErrUnknown when there is none of that ID.
func (b *Book) Revoke(id string) error {
	err := b.change(func(st *state) error {
		if st.byID(id) == nil {
			return ErrUnknown
		}
		st.invites = slices.DeleteFunc(st.invites, func(in invite) bool { return in.id == id })
		for a, r := range st.reserved {
			if r.invite == id {
				delete(st.reserved, a)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("revoke an invitation: %w", err)
	}
	return nil
}

// Reserve takes a use of the token's invitation for an address, which may be
// born within Reserved. ErrUnknown, ErrExpired, ErrUsedUp or ErrBusy when the
// token is not good, ErrFull when too many wait; any other error is the disk's,
// and nothing was taken.
func (b *Book) Reserve(token, address string) error {
	now := b.cfg.Now()
	if err := b.Valid(token); err != nil { // spares who guesses the disk
		return b.refuse(err)
	}
	err := b.change(func(st *state) error {
		in, instead, err := st.good(token, now.Unix())
		if err != nil {
			return err
		}
		if instead != nil {
			delete(st.reserved, *instead)
		}
		if len(st.reserved) >= MaxReservations {
			return ErrFull
		}
		st.reserved[st.address(address)] = reservation{invite: in.id, until: now.Add(Reserved).Unix()}
		return nil
	})
	if err != nil {
		return b.refuse(err)
	}
	b.reserved.Inc()
	return nil
}

func (b *Book) refuse(err error) error {
	reason := "fault"
	for word, known := range map[string]error{"unknown": ErrUnknown, "expired": ErrExpired, "used": ErrUsedUp, "busy": ErrBusy, "full": ErrFull} {
		if errors.Is(err, known) {
			reason = word
		}
	}
	b.refused.WithLabelValues(reason).Inc()
	return fmt.Errorf("reserve an address: %w", err)
}

// Invited tells whether an address may be born now.
func (b *Book) Invited(address string) bool {
	st := b.state.Load()
	r, ok := st.reserved[st.address(address)]
	return ok && r.until > b.cfg.Now().Unix()
}

// Take makes a use final, because the address is being born: it does not come
// back when its time is over. Until then the address may try again. Doing it
// twice is doing it once. ErrUnknown when nothing is reserved for the address.
func (b *Book) Take(address string) error {
	now := b.cfg.Now().Unix()
	st := b.state.Load()
	if r := st.reserved[st.address(address)]; r.taken && r.until > now {
		return nil
	}
	err := b.change(func(st *state) error {
		h := st.address(address)
		r, ok := st.reserved[h]
		if !ok || r.until <= now {
			return ErrUnknown
		}
		if in := st.byID(r.invite); in != nil && !r.taken {
			in.born++
		}
		r.taken = true
		st.reserved[h] = r
		return nil
	})
	if err != nil {
		return fmt.Errorf("take a reserved address: %w", err)
	}
	return nil
}

// change lets f change the book, and returns when that is on disk. After an
// error nothing changed.
func (b *Book) change(f func(*state) error) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	old := b.state.Load()
	st := &state{key: old.key, invites: slices.Clone(old.invites), reserved: make(map[addressHash]reservation, len(old.reserved)+1)}
	now := b.cfg.Now().Unix()
	used := map[string]bool{}
	for h, r := range old.reserved {
		r.until = min(r.until, now+int64(Reserved/time.Second)) // the clock may have been ahead
		if r.until > now {
			st.reserved[h], used[r.invite] = r, true
		}
	}
	if err := f(st); err != nil {
		return err
	}
	for _, r := range st.reserved {
		used[r.invite] = true
	}
	st.invites = slices.DeleteFunc(st.invites, func(in invite) bool { return in.expires <= now && !used[in.id] })
	if err := b.write(st); err != nil {
		return err
	}
	b.state.Store(st)
	return nil
}

// Damaged tells whether a file that could not be read lies aside.
func (b *Book) Damaged() bool {
	_, err := b.cfg.FS.Stat(damagedName)
	return !errors.Is(err, fs.ErrNotExist)
}
