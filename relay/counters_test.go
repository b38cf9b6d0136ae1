package relay

import (
	"strings"
	"testing"

	"barid/internal/metrics"
	"barid/relay/wire"
)

const disco = "TS\xf0\x9f\x92\xac"

// Whoever watched a relay of iroh finds the counters of both generations under
// their names.
func TestTheReferencesCountersAreThere(t *testing.T) {
	m := metrics.New()
	New(Config{Metrics: m})
	all, err := m.Values()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(`
		bytes_sent bytes_recv send_packets_sent send_packets_recv send_packets_dropped
		other_packets_sent other_packets_recv other_packets_dropped got_ping sent_pong unknown_frames
		accepts disconnects unique_client_keys conns_rx_ratelimited_total
		disco_packets_sent disco_packets_recv disco_packets_dropped frames_rx_ratelimited_total websocket_accepts relay_accepts
		bytes_rx_ratelimited_total clients_inactive_added clients_inactive_removed
		http_connections http_connections_closed http_connections_errored`) {
		if _, ok := all["relayserver_"+name+"_total"]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
}

// Packets by which clients look for a direct way are counted beside the others,
// of whichever generation the clients are, and also when they are dropped.
func TestDiscoIsCounted(t *testing.T) {
	const look = disco + " and what follows"
	s := newSite(t, Config{})
	old := s.join(how{dialect: wire.P3, private: seed(1)})
	old.sync()
	fresh := s.join(how{dialect: wire.V2, private: seed(2)})
	for _, way := range [][2]*peer{{old, old}, {old, fresh}, {fresh, old}, {fresh, fresh}} {
		for _, data := range []string{look, "TS", "TS\xf0\x9f\x92\xad and something else"} {
			way[0].packet(way[1].key, data)
			way[1].expect(way[0].key, data)
		}
		way[0].packet(wire.Key{1}, look)
		way[0].sync()
	}
	for name, want := range map[string]float64{
		"disco_packets_recv": 8, "disco_packets_sent": 4, "disco_packets_dropped": 4,
		"send_packets_recv": 16, "send_packets_sent": 12, "send_packets_dropped": 4,
	} {
		if n := s.value("relayserver_" + name + "_total"); n != want {
			t.Errorf("%s: %v, not %v", name, n, want)
		}
	}
}

// What waits for a client that leaves is dropped, and counted as that.
func TestWhatWaitsForSomebodyWhoLeavesIsCounted(t *testing.T) {
	m := metrics.New()
	s := &site{t: t, m: m, s: New(Config{Metrics: m})}
	to := &client{s: s.s, key: wire.Key{1}, dialect: wire.V2, carriage: wire.WebSocket}
	to.hold()
	s.s.hub.register(to)
	from := &client{s: s.s, key: wire.Key{2}, dialect: wire.V2, carriage: wire.WebSocket}
	forward := func(data string) {
		from.forward(wire.Frame{Kind: wire.Datagrams, Key: to.key, Data: []byte(data)})
	}
	forward(disco)
	forward("x")
	to.forget()
	forward(disco)
	if want := `relayserver_send_packets_dropped_total{reason="peer left"} 3`; !s.line(want) {
		t.Error("not " + want)
	}
	if n := s.value("relayserver_disco_packets_dropped_total"); n != 2 {
		t.Errorf("%v packets that look for a direct way", n)
	}
	if n := s.value("relayserver_send_packets_sent_total"); n != 0 {
		t.Errorf("%v packets sent to somebody who left", n)
	}
}
