package imap

import (
	"hash/maphash"
	"net/netip"
	"sync"

	"barid/smtp"
)

// perClient counts the sessions of each account from each client, which is an
// IPv4 address or an IPv6 /64. It keeps hashes, not addresses.
type perClient struct {
	max  int
	seed maphash.Seed

	mu sync.Mutex // guards the field below
	n  map[uint64]uint16
}

func (p *perClient) init(max int) {
	p.max, p.seed, p.n = max, maphash.MakeSeed(), map[uint64]uint16{}
}

// enter counts a session and gives its key, zero where nothing is counted.
func (p *perClient) enter(a smtp.Address, client netip.Addr) (key uint64, ok bool) {
	if p.max == 0 || !client.IsValid() {
		return 0, true
	}
	type pair struct {
		a      smtp.Address
		client netip.Prefix
	}
	key = maphash.Comparable(p.seed, pair{a, network(client, 32, 64)}) | 1
	p.mu.Lock()
	defer p.mu.Unlock()
	if int(p.n[key]) >= p.max {
		return 0, false
	}
	p.n[key]++
	return key, true
}

func (p *perClient) leave(key uint64) {
	if key == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n[key]--; p.n[key] == 0 {
		delete(p.n, key)
	}
}

// fullest gives the highest count.
func (p *perClient) fullest() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var top uint16
	for _, n := range p.n {
		top = max(top, n)
	}
	return int64(top)
}
