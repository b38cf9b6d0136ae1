package relay

import (
	"bytes"
	"slices"

	"barid/relay/wire"
)

// firstPeers is how many peers there is room for at first; it doubles, up to
// remembered.
const firstPeers = 4

// peers are keys that have had a packet from somebody, and hear when he is
// gone. They lie in order: a table would cost ten times as much for the few
// that most clients have.
type peers []wire.Key

// size is what they cost, in octets.
func (p peers) size() int64 { return int64(cap(p)) * wire.KeySize }

// add remembers a key, while there is memory for it. The last quarter of that
// is for the first few of each client.
func (p *peers) add(k wire.Key, m *memory) {
	at, have := slices.BinarySearchFunc(*p, k, func(a, b wire.Key) int { return bytes.Compare(a[:], b[:]) })
	if have {
		return
	}
	if room := cap(*p); len(*p) == room {
		more, most := max(room, firstPeers), m.forPeers()
		if room > 0 {
			most -= most / 4
		}
		if room+more > remembered || !m.takePeers(int64(more)*wire.KeySize, most) {
			m.forgotten.Add(1)
			return
		}
		*p = append(make(peers, 0, room+more), *p...)
	}
	*p = slices.Insert(*p, at, k)
}

// forget gives their memory back.
func (p *peers) forget(m *memory) {
	m.givePeers(p.size())
	*p = nil
}
