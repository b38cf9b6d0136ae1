package turn

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
)

// credit keeps, by sender, how many octets of its requests were not answered
// yet. A datagram may have a forged sender, who gets the answer; so a stranger
// is answered when what it sent is at least as long as the answer. Its client
// does not hear anything until then and repeats its request, as every client
// over UDP does (RFC 8489 section 6.2.1).
//
// There is a fixed number of cells, found by a hash that nobody outside can
// foresee. Two senders who share one take it from each other, and repeat once
// more: octets get lost, none are given away.
type credit struct {
	seed maphash.Seed
	// The upper 48 bits are those of the sender's hash, the lower 16 are octets.
	cells [1 << 16]atomic.Uint64
}

const creditOctets = 1<<16 - 1

func newCredit() *credit { return &credit{seed: maphash.MakeSeed()} }

// pay adds the octets of a request to what its sender has left, and takes those
// of the answer from it if there are enough. It tells whether there were. Safe
// for many goroutines.
func (c *credit) pay(sender netip.AddrPort, request, answer int) bool {
	hash := maphash.Comparable(c.seed, sender)
	cell := &c.cells[hash&creditOctets]
	mark := hash &^ creditOctets
	for {
		old := cell.Load()
		left := request
		if old&^creditOctets == mark {
			left += int(old & creditOctets)
		}
		enough := left >= answer
		if enough {
			left -= answer
		}
		if cell.CompareAndSwap(old, mark|uint64(min(left, maxMessage))) {
			return enough
		}
	}
}
