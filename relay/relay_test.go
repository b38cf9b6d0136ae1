package relay

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"barid/relay/wire"
)

// Every client reaches every other one, whatever each of them speaks.
func TestEverybodyReachesEverybody(t *testing.T) {
	s := newSite(t, Config{})
	var peers []*peer
	for _, h := range all() {
		h.private = seed(byte(len(peers) + 1))
		p := s.join(h)
		p.sync()
		peers = append(peers, p)
	}
	long := strings.Repeat("x", 1400)
	for _, a := range peers {
		for _, b := range peers { // himself too
			a.packet(b.key, "hello")
			b.expect(a.key, "hello")
			a.packet(b.key, long)
			b.expect(a.key, long)
		}
	}
	if n := s.value("relayserver_send_packets_recv_total"); n != 128 {
		t.Errorf("%v packets", n)
	}
	if n := s.value("relayserver_send_packets_dropped_total"); n != 0 {
		t.Errorf("%v packets dropped", n)
	}
	for name, want := range map[string]float64{"relay_accepts": 2, "websocket_accepts": 6, "http_connections": 8, "http_connections_closed": 0, "accepts": 8} {
		if n := s.value("relayserver_" + name + "_total"); n != want {
			t.Errorf("%s: %v, not %v", name, n, want)
		}
	}
}

// Marks and batches pass unchanged among the new, one by one to the old.
func TestBatches(t *testing.T) {
	s := newSite(t, Config{})
	a := s.join(how{dialect: wire.V2, private: seed(1)})
	b := s.join(how{dialect: wire.V1, private: seed(2)})
	c := s.join(how{dialect: wire.P3, private: seed(3)})
	c.sync()
	data := bytes.Repeat([]byte("d"), 10*1452-5)
	for _, to := range []*peer{b, c} {
		a.send(wire.Frame{Kind: wire.Datagrams, Key: to.key, ECN: 2, Segment: 1452, Data: data})
	}
	if f := b.recv(); f.Key != a.key || f.ECN != 2 || f.Segment != 1452 || !bytes.Equal(f.Data, data) {
		t.Errorf("%+v", f)
	}
	var parts []int
	for f := range readList(c.recv().Data) {
		parts = append(parts, len(f))
	}
	if len(parts) != 10 || parts[0] != 1452 || parts[9] != 1447 {
		t.Errorf("parts of %v octets", parts)
	}
	c.send(wire.Frame{Kind: wire.Datagrams, Key: a.key, Data: append(list("one"), list("two")...)})
	a.expect(c.key, "one")
	a.expect(c.key, "two")
}

func readList(b []byte) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) >= 2 {
			n := int(b[0]) | int(b[1])<<8
			if !yield(b[2 : 2+n]) {
				return
			}
			b = b[2+n:]
		}
	}
}

// The largest packet of each dialect passes, a larger one ends the connection
// of who sent it, and an empty one hurts nobody.
func TestSizes(t *testing.T) {
	s := newSite(t, Config{})
	for name, h := range all() {
		h.private = seed(1)
		a := s.join(h)
		h.private = seed(2)
		b := s.join(h)
		b.sync()
		room := h.dialect.Max() - len(h.dialect.Append(nil, wire.Frame{Kind: wire.Datagrams}, wire.FromClient))
		a.send(wire.Frame{Kind: wire.Datagrams, Key: b.key})
		a.send(wire.Frame{Kind: wire.Datagrams, Key: b.key, Data: make([]byte, room)})
		if f := b.recv(); len(f.Data) != room {
			t.Errorf("%s: %d octets arrived, not %d", name, len(f.Data), room)
		}
		a.sendRaw(h.dialect.Append(nil, wire.Frame{Kind: wire.Datagrams, Key: b.key, Data: make([]byte, room+1)}, wire.FromClient))
		a.closed()
		if got := b.sync(); len(got) > 1 || len(got) == 1 && got[0].Kind != wire.Gone {
			t.Errorf("%s: the other one got %d frames", name, len(got))
		}
		b.conn.Close()
		until(t, "both have left", func() bool { return s.value("iroh_clients_use") == 0 })
	}
}

// A packet for nobody vanishes.
func TestNobodyIsTold(t *testing.T) {
	s := newSite(t, Config{})
	a := s.join(how{dialect: wire.V2, private: seed(1)})
	a.packet(wire.Key{1}, "x")
	if got := a.sync(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if n := s.value("relayserver_send_packets_dropped_total"); n != 1 {
		t.Errorf("%v dropped", n)
	}
}

// A client of 1.x that reaches the end of our TLS itself needs no challenge,
// with either version of TLS; behind somebody else's TLS it gets one.
func TestLoginByKeyMaterial(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := newSite(t, Config{})
		login := func(change func(material []byte)) *peer {
			h := how{tls: true, dialect: wire.V2, private: seed(2), version: version}
			conn := s.dial(h)
			key := wire.KeyOf(h.private)
			state := conn.(*tls.Conn).ConnectionState()
			material, err := state.ExportKeyingMaterial(wire.ExporterLabel, key[:], wire.MaterialSize)
			if err != nil {
				t.Fatal(err)
			}
			change(material)
			h.header = http.Header{wire.AuthHeader: {wire.KeyAuthValue(h.private, material)}}
			return s.joinOver(conn, h)
		}
		count := func(want int) {
			t.Helper()
			if want := fmt.Sprintf(`relayserver_logins_total{login="key material",protocol="iroh-relay-v2"} %d`, want); !s.line(want) {
				t.Errorf("TLS %x: not %s", version, want)
			}
		}
		login(func([]byte) {}).sync()
		count(1)
		login(func(m []byte) { m[wire.MaterialSize-1]++ }).sync()
		count(1)
	}
	s := newSite(t, Config{})
	for _, bad := range []string{"x", wire.KeyAuthValue(seed(1), make([]byte, wire.MaterialSize))} {
		s.join(how{dialect: wire.V1, private: seed(1), header: http.Header{wire.AuthHeader: {bad}}}).sync()
	}
}

// A client that says all at once, in one record of TLS, is heard to its end:
// neither what the HTTP server has read nor what TLS holds back is forgotten.
func TestWhatComesWithTheRequest(t *testing.T) {
	s := newSite(t, Config{})
	const head = 5 + wire.KeySize
	for _, first := range []int{100, 5000, 4096, 4097} { // the HTTP server reads 4096 octets at a time, and one ahead
		conn := s.dial(how{tls: true})
		p := &peer{t: t, key: wire.KeyOf(seed(1)), dialect: wire.P3, conn: conn, in: bufio.NewReader(conn)}
		all := []byte("GET /relay HTTP/1.1\r\nupgrade: iroh derp http\r\nhost: relay.test\r\n\r\n")
		all = wire.AppendClientInfoStream(all, seed(1))
		size := max(first-len(all)-head, 1)
		for range 2 {
			all = wire.AppendStream(all, wire.Frame{Kind: wire.Datagrams, Key: p.key, Data: make([]byte, size)})
		}
		if _, err := conn.Write(all); err != nil {
			t.Fatal(err)
		}
		if _, err := http.ReadResponse(p.in, nil); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if f := p.recv(); f.Kind != wire.Datagrams || len(f.Data) != size {
				t.Errorf("%d octets came as %+v", size, f.Kind)
			}
		}
	}
}

// The confirmation of a login comes before any packet, however many wait for
// the key, and before the answer to a websocket ping that came early.
func TestTheConfirmationComesFirst(t *testing.T) {
	s := newSite(t, Config{})
	sender := s.join(how{dialect: wire.V2, private: seed(2)})
	to := wire.KeyOf(seed(1))
	stop := make(chan struct{})
	var flood sync.WaitGroup
	flood.Go(func() {
		f := wire.V2.Append(nil, wire.Frame{Kind: wire.Datagrams, Key: to, Data: []byte("x")}, wire.FromClient)
		for {
			select {
			case <-stop:
				return
			default:
				if sender.sendRaw(f) != nil {
					return
				}
			}
		}
	})
	for range 200 {
		p := s.join(how{dialect: wire.V2, private: seed(1)})
		p.ws.CloseNow()
	}
	close(stop)
	flood.Wait()

	h := how{dialect: wire.V2, private: seed(3)}
	p, c := s.challenged(h)
	// The relay takes the ping and sees half a frame; only then comes the rest.
	mask := [4]byte{1, 2, 3, 4}
	answer := wire.AppendWSMasked(nil, wire.WSBinary, mask, wire.AppendClientAuth(nil, seed(3), c))
	before := s.value("relayserver_other_packets_sent_total")
	p.conn.Write(append(wire.AppendWSMasked(nil, wire.WSPing, mask, []byte("early")), answer[:20]...))
	until(t, "the ping is taken", func() bool { return s.value("relayserver_other_packets_sent_total") > before })
	p.conn.Write(answer[20:])
	raw := make([]byte, 3)
	if _, err := io.ReadFull(p.conn, raw); err != nil || !bytes.Equal(raw, wire.AppendWSMessage(nil, wire.WSBinary, wire.AppendConfirms(nil))) {
		t.Errorf("the first message is %x, %v", raw, err)
	}
}

// Nobody gets packets for a key that is not his.
func TestNobodyReceivesForAnotherKey(t *testing.T) {
	s := newSite(t, Config{})
	victim := s.join(how{dialect: wire.V2, private: seed(1)})
	sender := s.join(how{dialect: wire.V2, private: seed(2)})
	for name, forge := range map[string]func(c wire.Challenge) []byte{
		"another key's signature": func(c wire.Challenge) []byte {
			b := wire.AppendClientAuth(nil, seed(3), c)
			copy(b[1:], victim.key[:])
			return b
		},
		"an answer to another challenge": func(wire.Challenge) []byte { return wire.AppendClientAuth(nil, seed(1), wire.Challenge{}) },
	} {
		h := how{dialect: wire.V2, private: seed(3)}
		p, c := s.challenged(h)
		p.sendRaw(forge(c))
		b, err := p.recvRaw()
		if err != nil {
			t.Fatal(err)
		}
		if err := wire.ParseVerdict(b); err == nil || !strings.Contains(err.Error(), "signature invalid") {
			t.Errorf("%s: %v", name, err)
		}
		p.closed()
	}
	sender.packet(victim.key, "for one alone")
	victim.expect(sender.key, "for one alone")
	if got := victim.sync(); len(got) != 0 {
		t.Errorf("the owner of the key heard of it: %+v", got)
	}
}

// Two connections of one key: the newest gets the packets, the one before is
// told, may still send, and steps in when the newest ends.
func TestTheSameKeyTwice(t *testing.T) {
	for name, h := range all() {
		s := newSite(t, Config{})
		h.private = seed(1)
		other := s.join(how{dialect: wire.V2, private: seed(2)})
		first := s.join(h)
		first.sync()
		second := s.join(h)
		second.sync()
		if f := first.recv(); h.dialect == wire.V2 && (f.Kind != wire.Status || f.Code != wire.KeyElsewhere) || h.dialect != wire.V2 && (f.Kind != wire.Health || len(f.Text) == 0) {
			t.Errorf("%s: the first one is told %+v", name, f)
		}
		other.packet(first.key, "to the second")
		second.expect(other.key, "to the second")
		if n := s.value("relayserver_clients_inactive_added_total"); n != 1 {
			t.Errorf("%s: %v connections were replaced", name, n)
		}
		first.packet(other.key, "from the first")
		other.expect(first.key, "from the first")
		second.conn.Close()
		until(t, "the first one steps in", func() bool { return s.value("relayserver_clients_inactive_removed_total") == 1 })
		if h.dialect == wire.V2 {
			if f := first.recv(); f.Kind != wire.Status || f.Code != wire.Healthy {
				t.Errorf("%s: the first one is told %+v", name, f)
			}
		}
		other.packet(first.key, "to the first again")
		first.expect(other.key, "to the first again")
		if got := other.sync(); len(got) != 0 {
			t.Errorf("%s: the peer heard %+v", name, got)
		}
	}
}

// A thousand connections of one key are as many as some.
func TestAThousandReconnectsWithOneKey(t *testing.T) {
	s := newSite(t, Config{})
	other := s.join(how{dialect: wire.V2, private: seed(2)})
	var newest *peer
	for range 1000 {
		newest = s.join(how{dialect: wire.P3, private: seed(1)})
		newest.sync()
	}
	until(t, "the oldest are gone", func() bool { return s.value("iroh_clients_use") <= oldClients+2 })
	other.packet(newest.key, "you")
	newest.expect(other.key, "you")
}

// Who has had packets from somebody hears when he is gone, and nobody else.
func TestPeersHearWhoIsGone(t *testing.T) {
	for name, h := range all() {
		s := newSite(t, Config{})
		h.private = seed(1)
		a := s.join(h)
		h.private = seed(2)
		b := s.join(h)
		h.private = seed(3)
		stranger := s.join(h)
		b.sync()
		stranger.sync()
		a.packet(b.key, "x")
		b.expect(a.key, "x")
		if n := s.value("iroh_peers_bytes_use"); n != firstPeers*wire.KeySize {
			t.Errorf("%s: one peer costs %v octets", name, n)
		}
		a.conn.Close()
		if f := b.recv(); f.Kind != wire.Gone || f.Key != a.key {
			t.Errorf("%s: %+v", name, f)
		}
		if got := stranger.sync(); len(got) != 0 {
			t.Errorf("%s: a stranger heard %+v", name, got)
		}
	}
}

// The probe sees whether a relay works, and what is wrong with one that does
// not.
func TestProbe(t *testing.T) {
	s := newSite(t, Config{MaxClients: 1})
	for _, h := range []how{{}, {tls: true}} {
		if err := Probe(t.Context(), s.dial(h), "relay.test"); err != nil {
			t.Error(err)
		}
		until(t, "it is gone", func() bool { return s.value("iroh_clients_use") == 0 })
	}
	s.join(how{dialect: wire.V2, private: seed(1)})
	if err := Probe(t.Context(), s.dial(how{}), "relay.test"); err == nil || !strings.Contains(err.Error(), "503") {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	if err := Probe(ctx, ours, "relay.test"); err == nil {
		t.Error("nobody answered, and all is well")
	}
}
