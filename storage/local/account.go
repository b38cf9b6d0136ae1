package local

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"barid/smtp"
	"barid/storage"
	"barid/storage/maildir"
)

// account is an address of ours in memory: its states, and what is known of
// its files. It may have no life at present (accountState.alive).
//
// Locks are taken in this order: account.mu of several accounts by address,
// then account.pub, then any other; none of them is held across I/O.
type account struct {
	addr smtp.Address // folded, without tag

	refs int           // guarded by Store.mu: who uses it; it stays in memory while there are any
	used time.Duration // guarded by Store.mu: when the last user left, by Config.Elapsed

	loading sync.Mutex // held while it is read from disk
	// unfinished is what was found on disk and is not all in records yet;
	// guarded by loading.
	unfinished *loading
	loaded     bool        // guarded by loading
	partly     atomic.Bool // there are more files than its state has

	mu    sync.Mutex    // guards the fields below; held from the checks of a write until its record has a place
	next  *accountState // the newest
	birth gate          // see birthGate; nil until somebody wants to bear the account

	pub     sync.Mutex     // guards pending; held while bells ring
	pending []pendingState // not durable yet, ascending

	now     atomic.Pointer[accountState] // the newest that is durable
	trouble atomic.Pointer[trouble]      // why nobody writes to it; nil while all is well. Set with mu held
	dirty   atomic.Bool                  // has changes that no snapshot has; Store.dirty has it then
	died    atomic.Uint64                // the last record that ended the account or a mailbox of it

	pw       passwordFile
	disabled disabledFlag

	// The rest belongs to the settler.
	failures  int32                  // rounds that could not do its jobs, in a row or nearly
	carried   bool                   // its records are in the journal behind those that checkpoints trim
	unnamed   [][2]string            // files of a checkpoint that did not get their name yet: what they have, what they shall have
	leftovers []string               // of checkpoints that failed for it, below the root of the FS
	made      map[string]bool        // mailboxes whose directories were made; nil while there are none
	found     map[*item]maildir.File // files that an earlier run made of items not settled in this one; nil likewise
	written   writtenFiles
	noted     *standing // its row in the table of accounts; nil is not known

	replay *replayed // while the journal is read; nil after
}

// pendingState waits for its record to be durable.
type pendingState struct {
	st   *accountState
	rung []*box
	jobs []job
}

// acquire gives the account of that address, read from disk when it is not in
// memory. The caller releases it.
func (s *Store) acquire(addr smtp.Address) (*account, error) {
	a, err := s.hook(addr)
	if err != nil {
		return nil, err
	}
	a.loading.Lock()
	defer a.loading.Unlock()
	if t := a.trouble.Load(); t != nil && t.closed {
		s.release(a)
		return nil, fmt.Errorf("open account %s: %w", addr, errTrouble)
	}
	if a.loaded {
		return a, nil
	}
	if err := s.load(a); err != nil {
		s.release(a)
		return nil, fmt.Errorf("open account %s: %w", addr, err)
	}
	a.loaded = true
	return a, nil
}

// hook is acquire without reading.
func (s *Store) hook(addr smtp.Address) (*account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, storage.ErrClosed
	}
	a := s.accounts[addr]
	if a == nil {
		a = &account{addr: addr}
		s.accounts[addr] = a
	}
	a.refs++
	return a, nil
}

// birthGate lets one at a time bear the account. Most accounts are never born
// while they are in memory, so it is made when it is asked for.
func (a *account) birthGate() gate {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.birth == nil {
		a.birth = make(gate, 1)
	}
	return a.birth
}

// release undoes acquire.
func (s *Store) release(a *account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.refs--
	a.used = s.cfg.Elapsed()
	if st := a.now.Load(); a.refs == 0 && (st == nil || !st.alive) {
		delete(s.accounts, a.addr) // nobody's address, and nothing to remember
	}
}

// sweep forgets accounts that nobody used for idle.
func (s *Store) sweep(idle time.Duration) {
	now := s.cfg.Elapsed()
	s.mu.Lock()
	defer s.mu.Unlock()
	for addr, a := range s.accounts {
		if a.refs == 0 && now-a.used >= idle {
			delete(s.accounts, addr)
		}
	}
}

// markDirty keeps an account in memory until a snapshot has all of it. Once
// the store is open, account.mu is held.
func (s *Store) markDirty(a *account) {
	if a.dirty.Swap(true) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a.refs++
	s.dirty[a] = true
}

// publish shows every state of the account that is durable, in order, and
// rings the bells of what changed. When it returns, they rang, whoever did it.
func (s *Store) publish(a *account) {
	a.pub.Lock()
	defer a.pub.Unlock()
	durable := uint64(s.journal.Durable())
	n := 0
	for n < len(a.pending) && a.pending[n].st.seq <= durable {
		n++
	}
	if n == 0 {
		return
	}
	for i := range a.pending[:n] {
		p := &a.pending[i]
		if p.st.hashFresh {
			a.pw.set(p.st.hash, !a.now.Load().alive)
		}
		a.now.Store(p.st)
		s.settler.take(a, p.jobs)
	}
	ring(a.pending[:n])
	a.pending = slices.Delete(a.pending, 0, n)
}

// ring rings each mailbox once.
func ring(states []pendingState) {
	if len(states) == 1 {
		for _, id := range states[0].rung {
			id.ring()
		}
		return
	}
	rung := map[*box]bool{}
	for _, p := range states {
		for _, id := range p.rung {
			if !rung[id] {
				rung[id] = true
				id.ring()
			}
		}
	}
}

// ours gives the address under which an account of ours is kept: folded, and
// such as a directory can be named after. Not ok when it cannot be ours.
func (s *Store) ours(a smtp.Address) (smtp.Address, bool) {
	a = a.Fold()
	if !strings.EqualFold(a.Domain, s.cfg.Domain) || a.LocalPart == "" || len(a.LocalPart) > smtp.MaxLocalPart {
		return smtp.Address{}, false
	}
	for i := range len(a.LocalPart) {
		if !loginCharacter(a.LocalPart[i]) {
			return smtp.Address{}, false
		}
	}
	return smtp.Address{LocalPart: a.LocalPart, Domain: s.cfg.Domain}, true
}

// loginCharacter tells what may stand in the local-part of an existing
// account. "@" is not among it: there is one, and it ends the local-part.
func loginCharacter(c byte) bool {
	return birthCharacter(c) || c == '[' || c == ']'
}

// birthCharacter tells what may stand in the local-part of a new account.
func birthCharacter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}

// dir is where the files of the account are, below the root of the FS.
func (a *account) dir() string { return accountDir(a.addr) }

// accountDir is where the files of an account are. The address was checked
// by ours, so the name stays within its directory.
func accountDir(a smtp.Address) string {
	return mailDir(a.Domain) + "/" + a.LocalPart + "@" + a.Domain
}

// mailDir has the accounts of a domain.
func mailDir(domain string) string { return "mail/" + strings.Trim(domain, "[]") }
