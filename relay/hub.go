package relay

import (
	"slices"
	"sync"

	"barid/relay/wire"
)

// hub knows who is connected, by key. It knows no dialect.
type hub struct {
	memory *memory // of peers
	shards [64]shard
}

type shard struct {
	mu        sync.RWMutex // guards the field below, and all in it
	endpoints map[wire.Key]*endpoint
}

// endpoint is a key that is connected. Packets for it go to the newest
// connection; those before it may still send, and step in when it ends.
type endpoint struct {
	active   *client
	inactive []*client // oldest first
	peers    peers     // to whom connections that ended have sent
}

func newHub(m *memory) *hub {
	h := &hub{memory: m}
	for i := range h.shards {
		h.shards[i].endpoints = map[wire.Key]*endpoint{}
	}
	return h
}

func (h *hub) of(k wire.Key) *shard { return &h.shards[k[0]%byte(len(h.shards))] }

// find gives the connection that gets what is for k, or nil.
func (h *hub) find(k wire.Key) *client {
	s := h.of(k)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.endpoints[k]; e != nil {
		return e.active
	}
	return nil
}

// register makes c the connection of its key. It gives the one that was it
// before, and one that is too many.
func (h *hub) register(c *client) (replaced, surplus *client) {
	s := h.of(c.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.endpoints[c.key]
	if e == nil {
		s.endpoints[c.key] = &endpoint{active: c}
		return nil, nil
	}
	replaced = e.active
	e.inactive = append(e.inactive, replaced)
	e.active = c
	if len(e.inactive) > oldClients {
		surplus = e.inactive[0]
		e.inactive = slices.Delete(e.inactive, 0, 1)
	}
	return replaced, surplus
}

// unregister forgets c, which has ended. It gives the connection that steps in,
// if c was the one that got packets; or, when it was the last of its key, all
// who shall hear of that, whose memory the caller gives back.
func (h *hub) unregister(c *client) (promoted *client, wasInactive bool, bereft peers) {
	s := h.of(c.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.endpoints[c.key]
	if e == nil { // c was one too many, and all others are gone already
		c.peers.forget(h.memory)
		return nil, true, nil
	}
	if e.peers == nil {
		e.peers, c.peers = c.peers, nil
	}
	for _, k := range c.peers {
		e.peers.add(k, h.memory)
	}
	c.peers.forget(h.memory)
	if e.active != c {
		e.inactive = slices.DeleteFunc(e.inactive, func(have *client) bool { return have == c })
		return nil, true, nil
	}
	last := len(e.inactive) - 1
	if last < 0 {
		delete(s.endpoints, c.key)
		return nil, false, e.peers
	}
	e.active, e.inactive[last] = e.inactive[last], nil
	e.inactive = e.inactive[:last]
	return e.active, false, nil
}
