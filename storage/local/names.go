package local

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"time"

	"barid/smtp"
	"barid/storage"
)

// Names of accounts that are gone, so that nobody takes the place of somebody
// whom others still write to. Who has the password of old may come back.
//
//	removed-names
//	  barid-names 1
//	  <time of the removal> <keyed hash of the address> <password hash>
//	removed-names.key   the key, 32 octets in hexadecimal
//
// The hash is the first 16 octets of HMAC-SHA-256 (RFC 2104). A line is
// written when the files of the account go: its record is in the journal until
// the line is durable.
const (
	namesFile  = "removed-names"
	namesTitle = "barid-names 1"
	keyFile    = namesFile + ".key"
	// maxNames bounds the names that are kept; the oldest go first.
	maxNames = 1_000_000
)

// reasonTaken is why a birth is refused here, see refusal.
const reasonTaken = "taken"

// nameTag stands for an address.
type nameTag [16]byte

func (t nameTag) short() uint64 { return binary.BigEndian.Uint64(t[:]) }

// nameList finds names that are gone. In memory are, once somebody wants to
// be born, 8 octets of hash and where the line is, some 40 octets for each.
type nameList struct {
	s *Store

	mu   sync.Mutex // guards the fields below; held across I/O
	file lineFile
	read bool
	key  []byte           // nil while there is none
	at   map[uint64]int64 // by nameTag.short: where the last line of that begins
}

func newNameList(s *Store) *nameList {
	return &nameList{s: s, file: lineFile{s: s, name: namesFile, title: namesTitle}}
}

// removedName is a line.
type removedName struct {
	when time.Time
	tag  nameTag
	hash string
}

func (n removedName) text() string {
	return fmt.Sprintf("%d %x %s", max(n.when.Unix(), 0), n.tag[:], n.hash)
}

func parseRemovedName(text string) (n removedName, ok bool) {
	when, rest, _ := strings.Cut(text, " ")
	tag, hash, ok := strings.Cut(rest, " ")
	seconds, err := strconv.ParseUint(when, 10, 40)
	b, err2 := hex.DecodeString(tag)
	if !ok || err != nil || err2 != nil || len(b) != len(n.tag) {
		return removedName{}, false
	}
	copy(n.tag[:], b)
	n.when, n.hash = time.Unix(int64(seconds), 0), hash
	return n, true
}

// open reads the key and where the lines are, once. The lock is held.
func (l *nameList) open() error {
	if l.read {
		return nil
	}
	key, err := l.s.readFile(keyFile, 1<<10)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if l.key = nil; err == nil {
		if k, err := hex.DecodeString(strings.TrimSpace(string(key))); err == nil && len(k) == sha256.Size {
			l.key = k
		} else {
			l.s.log.Error("the key of removed names is not readable: those names are free again", "part", "storage")
		}
	}
	at := map[uint64]int64{}
	bad, err := l.file.read(0, func(where int64, text string) {
		if n, ok := parseRemovedName(text); ok {
			at[n.tag.short()] = where
		}
	})
	if err != nil {
		return err
	}
	if bad > 0 {
		l.s.log.Warn("the list of removed names has lines that are not whole, they are passed over", "part", "storage", "lines", bad)
	}
	l.at, l.read = at, true
	return nil
}

// tag gives the hash of an address.
func (l *nameList) tag(a smtp.Address) (t nameTag) {
	m := hmac.New(sha256.New, l.key)
	m.Write([]byte(a.LocalPart + "@" + a.Domain))
	copy(t[:], m.Sum(nil))
	return t
}

// last gives what is known of an address, false when there is nothing.
func (l *nameList) last(a smtp.Address) (n removedName, ok bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(); err != nil {
		return n, false, fmt.Errorf("look for a removed name: %w", err)
	}
	if l.key == nil {
		return n, false, nil
	}
	tag := l.tag(a)
	at, ok := l.at[tag.short()]
	if !ok {
		return n, false, nil
	}
	text, err := l.file.line(at)
	if err != nil {
		return n, false, fmt.Errorf("look for a removed name: %w", err)
	}
	n, ok = parseRemovedName(text)
	return n, ok && n.tag == tag, nil
}

// add keeps the name of an account that is gone. It is durable with the next
// flush of the file system. Store.disk is held.
func (l *nameList) add(a smtp.Address, hash string) error {
	if l.s.cfg.Policy.NameReuseAfter <= 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(); err != nil {
		return fmt.Errorf("keep a removed name: %w", err)
	}
	if l.key == nil {
		if err := l.makeKey(); err != nil {
			return fmt.Errorf("keep a removed name: %w", err)
		}
	}
	if strings.ContainsAny(hash, "\r\n\x00") || len(hash) > maxHash {
		hash = "" // what is no hash fits no password, here as there
	}
	n := removedName{l.s.clock.now(), l.tag(a), hash}
	at, err := l.file.append(n.text())
	if err != nil {
		return fmt.Errorf("keep a removed name: %w", err)
	}
	l.at[n.tag.short()] = at
	return nil
}

// makeKey makes the key. It is durable with the lines: when a crash takes it,
// the records that asked for them are still there, and there will be another.
func (l *nameList) makeKey() error {
	key := make([]byte, sha256.Size)
	rand.Read(key) // never fails
	if err := l.s.replaceFile(keyFile, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%x\n", key)
		return err
	}); err != nil {
		return err
	}
	l.key = key
	return nil
}

// pack leaves out the names whose time is over, when they are a quarter of
// all, and what was removed again later. Store.disk is held.
func (l *nameList) pack() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(); err != nil {
		return err
	}
	before := l.s.clock.now().Add(-l.s.cfg.Policy.NameReuseAfter)
	all := 0
	var keep []int64
	if _, err := l.file.read(0, func(at int64, text string) {
		all++
		if n, ok := parseRemovedName(text); ok && l.at[n.tag.short()] == at && n.when.After(before) {
			keep = append(keep, at)
		}
	}); err != nil {
		return err
	}
	if len(keep) > maxNames {
		keep = keep[len(keep)-maxNames:] // they are in the order of time
	}
	if 4*(all-len(keep)) < all || all == len(keep) {
		return nil
	}
	if err := l.file.rewrite(func(write func(string)) {
		_, _ = l.file.read(0, func(at int64, text string) { // a name that cannot be read any more is lost in any case
			if len(keep) > 0 && keep[0] == at {
				keep = keep[1:]
				write(text)
			}
		})
	}); err != nil {
		return err
	}
	l.read = false
	return nil
}

// nameIsFree tells why a may not be born with that password.
func (s *Store) nameIsFree(ctx context.Context, a *account, p storage.Password) error {
	if s.cfg.Policy.NameReuseAfter <= 0 {
		return nil
	}
	// Who died a moment ago is not on the list before he is buried.
	if err := s.bury(a); err != nil {
		return err
	}
	n, ok, err := s.names.last(a.addr)
	if err != nil || !ok || s.clock.now().Sub(n.when) >= s.cfg.Policy.NameReuseAfter {
		return err
	}
	if ok, err := s.check(ctx, a.addr, p, n.hash); err != nil || ok {
		return err
	}
	return refusal(reasonTaken, "the name was another account's not long ago")
}
