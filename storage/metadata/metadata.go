package metadata

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// FileName is the file of a Metadata in an account's directory.
const FileName = "metadata.json"

// The bounds of one account.
const (
	MaxTokens     = 32       // the one set longest ago goes when one more comes
	MaxTokenSize  = 4096     // octets
	MaxEntries    = 64       // over all mailboxes
	MaxValueSize  = 64 << 10 // octets
	MaxNameSize   = 1024     // octets of an entry's name, and of a mailbox's
	maxFileSize   = 8 << 20  // octets; above what the bounds allow
	maxOtherSize  = 64 << 10 // octets of all members that are not ours
	tokenLifetime = 90 * 24 * time.Hour
	tokenFuture   = 60 * time.Second // a stamp so far ahead is no time of setting
)

// Errors of this package.
var (
	// ErrCorrupt: the file is not as it should be. What was not readable is
	// gone; the Metadata that comes with this error is empty and usable.
	ErrCorrupt = errors.New("metadata.json is corrupt")
	// ErrToken: empty, longer than MaxTokenSize, or with anything but visible
	// ASCII characters, or with a quote or backslash.
	ErrToken = errors.New("bad device token")
	// ErrTooLarge: a name or value is longer than its bound.
	ErrTooLarge = errors.New("metadata entry is too large")
	// ErrTooMany: the account has as many entries as it may.
	ErrTooMany = errors.New("too many metadata entries")
)

// Metadata is the content of one file. The zero Metadata is empty and ready.
// It is used by one goroutine at a time.
type Metadata struct {
	tokens  []Token // in the order they first came
	entries []entry // in the order they were first set
	other   []member
}

// Token is one device token and when it was last set, in whole seconds.
type Token struct {
	Value string
	Set   time.Time
}

// Entry is one metadata entry of a mailbox.
type Entry struct {
	Name  string
	Value []byte
}

type entry struct {
	mailbox string
	Entry
}

// AddToken adds a token, or refreshes the time of one that is there, which
// then keeps its place. Tokens that are no longer valid go; when there are
// still too many, the one set longest ago goes. ErrToken.
func (m *Metadata) AddToken(token string, now time.Time) error {
	if !ValidToken(token) {
		return ErrToken
	}
	m.dropInvalid(now)
	set := now.Truncate(time.Second)
	if i := m.token(token); i >= 0 {
		m.tokens[i].Set = set
		return nil
	}
	m.tokens = append(m.tokens, Token{token, set})
	m.dropOldest()
	return nil
}

// RemoveToken removes a token and tells whether it was there.
func (m *Metadata) RemoveToken(token string) bool {
	i := m.token(token)
	if i < 0 {
		return false
	}
	m.tokens = slices.Delete(m.tokens, i, i+1)
	return true
}

// Tokens gives the tokens that are valid now, in the order they first came:
// set less than 90 days ago, and not 60 seconds or more in the future. The
// others are dropped.
func (m *Metadata) Tokens(now time.Time) []Token {
	m.dropInvalid(now)
	return slices.Clone(m.tokens)
}

func (m *Metadata) token(value string) int {
	return slices.IndexFunc(m.tokens, func(t Token) bool { return t.Value == value })
}

func (m *Metadata) dropInvalid(now time.Time) {
	m.tokens = slices.DeleteFunc(m.tokens, func(t Token) bool {
		age := now.Sub(t.Set)
		return age >= tokenLifetime || age <= -tokenFuture
	})
}

// dropOldest makes room. Of tokens set in the same second the first to come
// is the first to go.
func (m *Metadata) dropOldest() {
	for len(m.tokens) > MaxTokens {
		oldest := 0
		for i, t := range m.tokens {
			if t.Set.Before(m.tokens[oldest].Set) {
				oldest = i
			}
		}
		m.tokens = slices.Delete(m.tokens, oldest, oldest+1)
	}
}

// ValidToken tells whether a device may set such a token: all that clients
// ever made of them is visible ASCII without quotes and backslashes.
func ValidToken(token string) bool {
	if token == "" || len(token) > MaxTokenSize {
		return false
	}
	for i := range len(token) {
		if c := token[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// readableToken is ValidToken for what a file has: the reference takes spaces
// and other text, too.
func readableToken(token string) bool {
	if token == "" || len(token) > MaxTokenSize || !utf8.ValidString(token) {
		return false
	}
	for i := range len(token) {
		if token[i] < ' ' || token[i] == 0x7f {
			return false
		}
	}
	return true
}

// Set sets an entry of a mailbox ("" is the account); nil removes it. The
// value is copied. ErrTooLarge, ErrTooMany.
func (m *Metadata) Set(mailbox, name string, value []byte) error {
	i := m.entry(mailbox, name)
	switch {
	case value == nil && i < 0:
		return nil
	case value == nil:
		m.entries = slices.Delete(m.entries, i, i+1)
		return nil
	case len(value) > MaxValueSize || len(name) > MaxNameSize || len(mailbox) > MaxNameSize:
		return ErrTooLarge
	case !utf8.ValidString(name) || !utf8.ValidString(mailbox):
		return fmt.Errorf("%w: its name is not UTF-8", ErrTooLarge)
	}
	value = append([]byte{}, value...)
	if i >= 0 {
		m.entries[i].Value = value
		return nil
	}
	if len(m.entries) >= MaxEntries {
		return ErrTooMany
	}
	m.entries = append(m.entries, entry{mailbox, Entry{name, value}})
	return nil
}

// Get gives the value of an entry. Nobody changes it.
func (m *Metadata) Get(mailbox, name string) ([]byte, bool) {
	i := m.entry(mailbox, name)
	if i < 0 {
		return nil, false
	}
	return m.entries[i].Value, true
}

// Entries gives the entries of a mailbox in the order they were first set.
// Nobody changes their values.
func (m *Metadata) Entries(mailbox string) []Entry {
	var entries []Entry
	for _, e := range m.entries {
		if e.mailbox == mailbox {
			entries = append(entries, e.Entry)
		}
	}
	return entries
}

// Rename moves the entries of one mailbox to another name, where they replace
// what is there.
func (m *Metadata) Rename(from, to string) {
	if from == to || !slices.ContainsFunc(m.entries, func(e entry) bool { return e.mailbox == from }) {
		return
	}
	m.Forget(to)
	for i := range m.entries {
		if m.entries[i].mailbox == from {
			m.entries[i].mailbox = to
		}
	}
}

// Forget removes all entries of a mailbox.
func (m *Metadata) Forget(mailbox string) {
	m.entries = slices.DeleteFunc(m.entries, func(e entry) bool { return e.mailbox == mailbox })
}

// Clone gives a Metadata that is equal and changes by itself. Values are
// shared, as nobody changes them.
func (m *Metadata) Clone() *Metadata {
	return &Metadata{slices.Clone(m.tokens), slices.Clone(m.entries), slices.Clone(m.other)}
}

// Empty tells that there is nothing to write.
func (m *Metadata) Empty() bool {
	return len(m.tokens) == 0 && len(m.entries) == 0 && len(m.other) == 0
}

func (m *Metadata) entry(mailbox, name string) int {
	return slices.IndexFunc(m.entries, func(e entry) bool { return e.mailbox == mailbox && e.Name == name })
}
