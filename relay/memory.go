package relay

import "sync/atomic"

// memory bounds what the relay holds for its clients beside their connections:
// packets that wait, and peers that it remembers.
type memory struct {
	max   int64
	held  atomic.Int64 // octets in all
	peers atomic.Int64 // of them for peers

	full      atomic.Int64 // packets dropped because there is no more
	forgotten atomic.Int64 // peers not remembered because there is no more
}

// forPeers is the part of it that peers may have, in octets.
func (m *memory) forPeers() int64 { return m.max / 8 }

// take takes n octets, unless more than most would then be held.
func (m *memory) take(n, most int64) bool {
	if m.held.Add(n) > most {
		m.held.Add(-n)
		return false
	}
	return true
}

// takePeers takes n octets for peers.
func (m *memory) takePeers(n, most int64) bool {
	if m.peers.Add(n) <= most {
		if m.take(n, m.max) {
			return true
		}
	}
	m.peers.Add(-n)
	return false
}

// give gives back what take gave out.
func (m *memory) give(n int64) { m.held.Add(-n) }

// givePeers gives back what takePeers gave out.
func (m *memory) givePeers(n int64) {
	m.peers.Add(-n)
	m.give(n)
}
