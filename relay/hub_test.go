package relay

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"barid/relay/wire"
)

// However many connections a key has and in whatever order they end, there is
// one that gets packets until the last is gone.
func TestHubKeepsOneConnectionOfAKey(t *testing.T) {
	m := &memory{max: 1 << 20}
	h := newHub(m)
	k := wire.Key{1}
	var all []*client
	for range oldClients + 5 {
		c := &client{key: k, dialect: wire.V2}
		replaced, surplus := h.register(c)
		if n := len(all); n > 0 && replaced != all[n-1] || n == 0 && replaced != nil {
			t.Fatalf("connection %d replaced another than the one before", n)
		}
		if n := len(all); (surplus != nil) != (n > oldClients) || surplus != nil && surplus != all[n-oldClients-1] {
			t.Fatalf("connection %d: surplus %p", n, surplus)
		}
		all = append(all, c)
		if h.find(k) != c {
			t.Fatal("the newest gets no packets")
		}
	}
	all[2].peers.add(wire.Key{2}, m)
	all[7].peers.add(wire.Key{7}, m)
	all[20].peers.add(wire.Key{20}, m)
	// One of the middle, then the newest ones; those that were too many last.
	h.unregister(all[7])
	for i := len(all) - 1; i >= 4; i-- {
		if i == 7 {
			continue
		}
		_, wasInactive, bereft := h.unregister(all[i])
		if last := i == 4; wasInactive || last != (bereft != nil) || last != (h.find(k) == nil) {
			t.Fatalf("connection %d: %v, %v, %p", i, wasInactive, bereft, h.find(k))
		}
		if i == 4 && len(bereft) != 2 {
			t.Errorf("%d peers hear of the end", len(bereft))
		}
		bereft.forget(m)
	}
	for i := range 4 {
		if promoted, _, bereft := h.unregister(all[i]); promoted != nil || bereft != nil {
			t.Fatalf("connection %d: %p, %v", i, promoted, bereft)
		}
	}
	if held := m.held.Load(); held != 0 {
		t.Errorf("%d octets of peers are held by nobody", held)
	}
}

// Peers that are remembered are so many at most.
func TestPeersAreBounded(t *testing.T) {
	var p peers
	m := &memory{max: 1 << 20}
	for i := range 2 * remembered {
		p.add(wire.Key{byte(i), byte(i >> 8)}, m)
		p.add(wire.Key{byte(i), byte(i >> 8)}, m)
	}
	if len(p) != remembered {
		t.Error(len(p))
	}
	if held := m.held.Load(); held != int64(remembered*wire.KeySize) || m.peers.Load() != held {
		t.Errorf("%d octets are counted", held)
	}
	p.forget(m)
	if m.held.Load() != 0 || m.peers.Load() != 0 {
		t.Error("they keep memory when they are forgotten")
	}
}

// Peers of all clients together have a share of the memory, and those with many
// leave room to those with few.
func TestPeersHaveAShareOfTheMemory(t *testing.T) {
	const max = 64 << 10 // room for 256 peers, 64 of them for those with few
	m := &memory{max: max}
	var all []peers
	for range 10 {
		var p peers
		for i := range 100 {
			p.add(wire.Key{byte(i)}, m)
		}
		all = append(all, p)
	}
	if held := m.peers.Load(); held > max/8 || held <= max/8*3/4 {
		t.Errorf("%d octets are held", held)
	}
	for i, p := range all {
		if len(p) < firstPeers {
			t.Errorf("client %d has %d peers", i, len(p))
		}
	}
	if m.forgotten.Load() == 0 {
		t.Error("nobody counted those that are not remembered")
	}
	for _, p := range all {
		p.forget(m)
	}
	if m.held.Load() != 0 || m.peers.Load() != 0 {
		t.Errorf("%d octets are held by nobody", m.held.Load())
	}

	// Packets that wait take memory first; peers get nothing beyond it.
	m.take(max, max)
	var p peers
	if p.add(wire.Key{1}, m); len(p) != 0 || m.peers.Load() != 0 || m.held.Load() != max {
		t.Errorf("%d peers, %d octets", len(p), m.held.Load())
	}
}

// A key reaches no log, in neither of its forms.
func TestLogsHaveNoKeys(t *testing.T) {
	var out bytes.Buffer
	k := wire.KeyOf(seed(1))
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "peer", k)
	}
	if s := out.String(); strings.Contains(s, k.Hex()[:8]) || strings.Contains(s, "138,136") || strings.Count(s, k.String()) != 2 {
		t.Error(s)
	}
}
