package imap

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"barid/smtp"
)

// Bounds of what failed logins cost a network.
const (
	longestDelay = 30 * time.Second
	forgiveAfter = time.Minute // for one failed login
	freeFailures = 10          // clients try several names and servers before they ask their user
	maxWaiting   = 50          // refused logins of one network that wait for their answer
	maxNetworks  = 20000       // that are remembered
	maxWelcome   = 50000       // accounts that logged in well from a network, remembered for it
)

// failures slows down networks from which many logins fail: the answer to
// each comes later than the one before, and when many of them wait
// for theirs, no more passwords are looked at, but for accounts that have
// logged in from there before and not failed since. Good logins are answered
// at once, so that who shares a network with a guesser can come in.
//
// It is in memory only, and keeps hashes, not addresses.
type failures struct {
	seed maphash.Seed

	mu      sync.Mutex // guards the fields below
	of      map[uint64]*failing
	welcome map[uint64]struct{} // accounts with networks
}

// failing is what is known of one network.
type failing struct {
	count   int // failed logins that are not forgiven yet
	since   time.Time
	waiting int
}

func (f *failures) init() {
	f.seed, f.of, f.welcome = maphash.MakeSeed(), map[uint64]*failing{}, map[uint64]struct{}{}
}

// key is zero for clients that are not slowed down further.
func (f *failures) key(client netip.Addr) uint64 {
	if !client.IsValid() || client.IsLoopback() {
		return 0
	}
	return maphash.Comparable(f.seed, network(client, 24, 64)) | 1
}

// network gives the network of so many bits that an address belongs to.
func network(a netip.Addr, bits4, bits6 int) netip.Prefix {
	bits := bits4
	if a.Is6() {
		bits = bits6
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil { // cannot happen: both fit
		return netip.Prefix{}
	}
	return p
}

// guest is the key of an account in a network.
func (f *failures) guest(key uint64, a smtp.Address) uint64 {
	type pair struct {
		network uint64
		account smtp.Address
	}
	return maphash.Comparable(f.seed, pair{key, a})
}

// busy tells whether no password of the account is to be looked at for now.
func (f *failures) busy(key uint64, a smtp.Address) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.of[key]; n == nil || n.waiting < maxWaiting {
		return false
	}
	_, welcome := f.welcome[f.guest(key, a)]
	return !welcome
}

// judged remembers whether the last password of an account was good.
func (f *failures) judged(key uint64, a smtp.Address, good bool) {
	if key == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !good {
		delete(f.welcome, f.guest(key, a))
		return
	}
	if len(f.welcome) >= maxWelcome {
		for any := range f.welcome {
			delete(f.welcome, any)
			break
		}
	}
	f.welcome[f.guest(key, a)] = struct{}{}
}

// failed counts a failed login and gives how long its answer must wait. The
// caller calls answered then.
func (f *failures) failed(key uint64) time.Duration {
	if key == 0 {
		return refusalDelay
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.of[key]
	now := time.Now()
	if n == nil {
		f.makeRoom(now)
		n = &failing{since: now}
		f.of[key] = n
	}
	n.forgive(now)
	delay := min(refusalDelay<<min(max(n.count-freeFailures, 0), 10), longestDelay)
	n.count++
	n.waiting++
	return delay
}

func (f *failures) answered(key uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.of[key]; n != nil && n.waiting > 0 {
		n.waiting--
	}
}

// forgive forgets one failed login a minute.
func (n *failing) forgive(now time.Time) {
	old := int(now.Sub(n.since) / forgiveAfter)
	n.count = max(n.count-old, 0)
	n.since = n.since.Add(time.Duration(old) * forgiveAfter)
	if n.count == 0 {
		n.since = now
	}
}

// makeRoom looks at a few networks, forgets those that are forgiven, and when
// there are too many, the best of the few.
func (f *failures) makeRoom(now time.Time) {
	var best uint64
	looked := 0
	for key, n := range f.of { // in random order
		n.forgive(now)
		if n.count == 0 && n.waiting == 0 {
			delete(f.of, key)
		} else if b := f.of[best]; b == nil || n.count < b.count {
			best = key
		}
		if looked++; looked == 8 {
			break
		}
	}
	if len(f.of) >= maxNetworks {
		delete(f.of, best)
	}
}
