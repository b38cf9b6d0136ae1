package acme

import (
	"crypto/rand"
	"crypto/tls"
	"sync"
	"time"
)

const (
	ticketEvery = 12 * time.Hour // how long new tickets are made with one key
	ticketKeys  = 3              // that are known; so a ticket works for a day and more
)

// tickets seals session tickets (RFC 8446 section 4.6.1) with keys that
// rotate and are the same for all listeners. The zero value makes its first
// key when it is used.
type tickets struct {
	now func() time.Time

	mu    sync.Mutex // guards the fields below
	keys  [][32]byte // the newest first
	since time.Time
	box   *tls.Config // knows the keys; replaced with them
}

// wrap is a tls.Config.WrapSession.
func (t *tickets) wrap(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
	return t.sealer().EncryptTicket(cs, ss)
}

// unwrap is a tls.Config.UnwrapSession. A ticket of a key that is gone is no
// error: the handshake is then a full one.
func (t *tickets) unwrap(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
	return t.sealer().DecryptTicket(identity, cs)
}

// sealer gives the configuration with the keys of now.
func (t *tickets) sealer() *tls.Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if age := now.Sub(t.since); t.box == nil || age >= ticketEvery || age < -ticketEvery {
		var key [32]byte
		rand.Read(key[:]) // never fails
		t.set(append([][32]byte{key}, t.keys...), now)
	}
	return t.box
}

// set takes keys over; t.mu is held.
func (t *tickets) set(keys [][32]byte, since time.Time) {
	t.keys, t.since = keys[:min(len(keys), ticketKeys)], since
	t.box = &tls.Config{}
	t.box.SetSessionTicketKeys(t.keys)
}

// TicketKeys gives the keys of session tickets, the newest first, and since
// when it is in use, for a process that takes over from this one. They open
// recorded connections of TLS 1.2 and must not be written to a disk.
func (s *Source) TicketKeys() (keys [][32]byte, since time.Time) {
	s.tickets.sealer()
	s.tickets.mu.Lock()
	defer s.tickets.mu.Unlock()
	return append([][32]byte(nil), s.tickets.keys...), s.tickets.since
}

// SetTicketKeys takes over keys that TicketKeys gave. None is none.
func (s *Source) SetTicketKeys(keys [][32]byte, since time.Time) {
	if len(keys) == 0 {
		return
	}
	s.tickets.mu.Lock()
	defer s.tickets.mu.Unlock()
	s.tickets.set(append([][32]byte(nil), keys...), since)
}
