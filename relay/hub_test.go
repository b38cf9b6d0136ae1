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
	h := newHub()
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
	all[7].peers.add(wire.Key{7})
	all[20].peers.add(wire.Key{20})
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
	}
	for i := range 4 {
		if promoted, _, bereft := h.unregister(all[i]); promoted != nil || bereft != nil {
			t.Fatalf("connection %d: %p, %v", i, promoted, bereft)
		}
	}
}

// Peers that are remembered are so many at most.
func TestPeersAreBounded(t *testing.T) {
	var p peers
	for i := range 2 * remembered {
		p.add(wire.Key{byte(i), byte(i >> 8)})
	}
	if len(p) != remembered {
		t.Error(len(p))
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
