package relay

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"barid/relay/wire"
)

// What breaks the protocol ends the connection that did so, and no other.
func TestBrokenFramesEndTheirConnection(t *testing.T) {
	s := newSite(t, Config{})
	other := s.join(how{dialect: wire.V2, private: seed(9)})
	for name, v := range map[string]struct {
		h   how
		raw []byte
	}{
		"P3, a packet without a key":     {how{dialect: wire.P3}, make31(4)},
		"P3, a long ping":                {how{dialect: wire.P3}, make31(12)},
		"P3, health from a client":       {how{dialect: wire.P3}, []byte{14, 'x'}},
		"P3 websocket, an empty message": {how{dialect: wire.P3, websocket: true}, nil},
		"V2, an unknown type":            {how{dialect: wire.V2}, []byte{42}},
		"V2, a second login":             {how{dialect: wire.V2}, wire.AppendClientAuth(nil, seed(1), wire.Challenge{})},
		"V2, a packet of the relay":      {how{dialect: wire.V2}, wire.V2.Append(nil, wire.Frame{Kind: wire.Datagrams, Key: other.key, Data: []byte("x")}, wire.FromRelay)},
		"V1, a short batch":              {how{dialect: wire.V1}, make31(5)},
		"V1, an empty message":           {how{dialect: wire.V1}, nil},
	} {
		v.h.private = seed(1)
		p := s.join(v.h)
		p.sync()
		if v.raw == nil {
			p.conn.Write([]byte{0x82, 0x80, 1, 2, 3, 4})
		} else {
			p.sendRaw(v.raw)
		}
		if err := p.closed(); !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "StatusProtocolError") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := other.sync(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	until(t, "all are counted as failed", func() bool { return s.value("relayserver_http_connections_closed_total") == 9 })
	if n := s.value("relayserver_http_connections_errored_total"); n != 9 {
		t.Errorf("%v connections failed", n)
	}
	unknown := s.join(how{dialect: wire.P3, private: seed(1)})
	for _, number := range []byte{1, 2, 3, 9, 10, 11, 99} {
		unknown.sendRaw([]byte{number, 1})
	}
	unknown.sync()
	if n := s.value("relayserver_unknown_frames_total"); n != 7 {
		t.Errorf("%v unknown frames", n)
	}
}

func make31(number byte) []byte { return append([]byte{number}, make([]byte, 31)...) }

// Octets that are no websocket, or no P3, end the connection; how many more
// come does not matter.
func TestGarbageEndsTheConnection(t *testing.T) {
	s := newSite(t, Config{})
	for name, h := range all() {
		for _, after := range []bool{false, true} {
			h.private = seed(1)
			p, err := s.knock(s.dial(h), h)
			if err != nil {
				t.Fatal(name, err)
			}
			if after {
				if err := p.login(h); err != nil {
					t.Fatal(name, err)
				}
			}
			garbage := make([]byte, 1<<20)
			rand.Read(garbage)
			garbage[0] |= 0x70 // no first octet of anything
			go p.conn.Write(garbage)
			p.closed()
		}
	}
	until(t, "all are gone", func() bool { return s.value("iroh_clients_use") == 0 })
}

// Who does not log in is let go, whatever he sends instead.
func TestFramesBeforeLogin(t *testing.T) {
	s := newSite(t, Config{})
	victim := s.join(how{dialect: wire.V2, private: seed(1)})
	packet := func(d wire.Dialect) []byte {
		return d.Append(nil, wire.Frame{Kind: wire.Datagrams, Key: victim.key, Data: []byte("x")}, wire.FromClient)
	}
	info := wire.AppendClientInfo(nil, seed(2))
	forged := bytes.Clone(info)
	forged[60] ^= 1
	for name, v := range map[string]struct {
		h   how
		raw []byte
	}{
		"P3, a packet":          {how{dialect: wire.P3}, packet(wire.P3)},
		"P3, a wrong signature": {how{dialect: wire.P3}, forged},
		"P3, cut off":           {how{dialect: wire.P3, websocket: true}, info[:50]},
		"V2, a packet":          {how{dialect: wire.V2}, packet(wire.V2)},
		"V2, a ping":            {how{dialect: wire.V2}, wire.V2.Append(nil, wire.Frame{Kind: wire.Ping}, wire.FromClient)},
		"V1, a login of P3":     {how{dialect: wire.V1}, info},
	} {
		v.h.private = seed(2)
		p, err := s.knock(s.dial(v.h), v.h)
		if err != nil {
			t.Fatal(name, err)
		}
		p.sendRaw(v.raw)
		p.closed()
	}
	if got := victim.sync(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if n := s.value("relayserver_accepts_total"); n != 1 {
		t.Errorf("%v logins", n)
	}
	until(t, "all are counted as failed", func() bool { return s.value("relayserver_http_connections_errored_total") == 6 })
	for name, want := range map[string]float64{"http_connections": 7, "http_connections_closed": 6} {
		if n := s.value("relayserver_" + name + "_total"); n != want {
			t.Errorf("%s: %v, not %v", name, n, want)
		}
	}
}

// The login of P3 can be used again by whoever saw it: that is how the protocol
// is. The newest connection wins, and the owner of the key hears of it.
func TestALoginOfP3CanBeReplayed(t *testing.T) {
	s := newSite(t, Config{})
	login := wire.AppendClientInfo(nil, seed(1))
	owner := s.join(how{dialect: wire.P3, private: seed(1)})
	owner.sync()
	thief, err := s.knock(s.dial(how{}), how{dialect: wire.P3, private: seed(9)})
	if err != nil {
		t.Fatal(err)
	}
	thief.sendRaw(login)
	thief.sync()
	if f := owner.recv(); f.Kind != wire.Health {
		t.Errorf("%+v", f)
	}
}

// A client that reads nothing loses packets and then its connection; those
// beside it, and who sends to it, lose nothing and never wait.
func TestAClientThatReadsNothing(t *testing.T) {
	const stall = 200 * time.Millisecond
	for name, h := range map[string]how{
		"P3": {dialect: wire.P3}, "P3 TLS": {dialect: wire.P3, tls: true}, "V2": {dialect: wire.V2}, "V2 TLS": {dialect: wire.V2, tls: true},
	} {
		s := newSite(t, Config{Stall: stall, QueueBytes: 256 << 10}) // full before it is cut, on a slow machine too
		began := time.Now()
		h.private = seed(1)
		deaf := s.join(h)
		if h.dialect == wire.P3 {
			deaf.sync()
		}
		deaf.small()
		h.private = seed(2)
		sender := s.join(h)
		h.private = seed(3)
		third := s.join(h)
		third.sync()
		none := `relayserver_send_packets_dropped_total{reason="queue full"} 0`
		data := strings.Repeat("x", 60_000)
		for s.line(none) || s.s.hub.find(deaf.key) != nil {
			sender.packet(deaf.key, data)
			sender.packet(third.key, "alive")
			third.expect(sender.key, "alive")
			if held := s.s.memory.held.Load(); held > s.s.cfg.QueueBytes+1<<20 {
				t.Fatalf("%s: %d octets wait", name, held)
			}
			if time.Since(began) > 10*time.Second {
				t.Fatal("nothing is dropped, or it is not cut")
			}
		}
		if took := time.Since(began); took > time.Second+4*stall {
			t.Errorf("%s: it took %v", name, took)
		}
		sender.packet(third.key, "still alive")
		for f := third.recv(); f.Kind != wire.Datagrams; f = third.recv() {
		}
	}
}

// small makes the buffers of a connection small, so that they are full soon.
func (p *peer) small() {
	c := p.conn
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = t.NetConn()
	}
	c.(*net.TCPConn).SetReadBuffer(4096)
}

// The queue of a client has a last place, and what comes later is what is
// dropped.
func TestTheNewestPacketIsDropped(t *testing.T) {
	s := New(Config{QueueBytes: 64 << 10, Memory: 1 << 20})
	c := &client{s: s, dialect: wire.V2, carriage: wire.WebSocket}
	c.hold()
	for i := range queueFrames + 1 {
		o, start := c.push(wire.Frame{Kind: wire.Datagrams, Data: []byte{byte(i)}})
		if start {
			t.Fatal("a writer starts although it shall wait")
		}
		if want := i < queueFrames; (o == taken) != want {
			t.Fatalf("packet %d: %v", i, o)
		}
	}
	c.forget()
	if n := s.memory.held.Load(); n != 0 {
		t.Errorf("%d octets are held by nobody", n)
	}
	if o, _ := c.push(wire.Frame{Kind: wire.Datagrams, Data: []byte{1}}); o != gone {
		t.Error("a packet for a connection that ended:", o)
	}

	c = &client{s: s, dialect: wire.V2, carriage: wire.WebSocket}
	c.hold()
	n := 0
	for {
		if o, _ := c.push(wire.Frame{Kind: wire.Datagrams, Data: make([]byte, 10_000)}); o != taken {
			break
		}
		n++
	}
	if n != 4 {
		t.Errorf("%d packets of 10,000 octets fit in 64 KiB, a record of 16 KiB for each", n)
	}
	c.forget()
}

// All queues together have a bound too.
func TestMemoryIsBounded(t *testing.T) {
	s := New(Config{QueueBytes: 1 << 20, Memory: 100 << 10})
	var all []*client
	outcomes := map[outcome]int{}
	for range 10 {
		c := &client{s: s, dialect: wire.P3}
		c.hold()
		all = append(all, c)
		o, _ := c.push(wire.Frame{Kind: wire.Datagrams, Data: make([]byte, 100)})
		outcomes[o]++
	}
	if outcomes[taken] != 6 || outcomes[noSpace] != 4 {
		t.Error(outcomes)
	}
	for _, c := range all {
		c.forget()
	}
	if n := s.memory.held.Load(); n != 0 {
		t.Errorf("%d octets are held by nobody", n)
	}
}

// Whoever lets as much wait as he may leaves the others what they need: those
// who read at once get their packets.
func TestSlowReadersLeaveMemoryToOthers(t *testing.T) {
	for _, size := range []int{100, 10_000, 60_000} {
		s := New(Config{QueueBytes: 256 << 10, Memory: 1 << 20})
		var all []*client
		push := func(c *client, size int) outcome {
			o, _ := c.push(wire.Frame{Kind: wire.Datagrams, Data: make([]byte, size)})
			return o
		}
		join := func() *client {
			c := &client{s: s, dialect: wire.P3}
			c.hold()
			all = append(all, c)
			return c
		}
		for range 10 {
			for c := join(); push(c, size) == taken; {
			}
		}
		for range 5 {
			if o := push(join(), 1400); o != taken {
				t.Errorf("packets of %d octets wait for others: a first packet is not taken (%d)", size, o)
			}
		}
		for _, c := range all {
			c.forget()
		}
	}
}

// Connections are counted in all and by network.
func TestConnectionsAreBounded(t *testing.T) {
	refused := func(s *site, want string) {
		t.Helper()
		h := how{dialect: wire.V2, private: seed(9)}
		if _, err := s.knock(s.dial(h), h); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, not %s", err, want)
		}
	}
	s := newSite(t, Config{MaxClients: 2})
	s.join(how{dialect: wire.P3, private: seed(1)}).sync()
	p := s.join(how{dialect: wire.V2, private: seed(2)})
	refused(s, "status 503")
	p.conn.Close()
	until(t, "a place is free", func() bool { return s.value("iroh_clients_use") == 1 })
	s.join(how{dialect: wire.V2, private: seed(2)})

	s = newSite(t, Config{PerClient: 1, Client: from("192.0.2.1")})
	s.join(how{dialect: wire.V2, private: seed(2)})
	refused(s, "status 429")
	if n := s.value("relayserver_http_connections_closed_total"); n != 1 {
		t.Errorf("%v requests are over, not the refused one", n)
	}
	s = newSite(t, Config{PerClient: 1, Client: from("127.0.0.1")})
	s.join(how{dialect: wire.V2, private: seed(1)})
	s.join(how{dialect: wire.V2, private: seed(2)})
}

// An IPv6 customer has a /64 and is one client.
func TestPlaces(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "127.0.0.1": "invalid IP", "::1": "invalid IP",
	} {
		if got := placeOf(netip.MustParseAddr(text)).String(); got != want {
			t.Errorf("%s counts as %s", text, got)
		}
	}
	if placeOf(netip.Addr{}).IsValid() {
		t.Error("an unknown address is no place")
	}
}

// What is asked for over HTTP, and what is answered.
func TestRequests(t *testing.T) {
	s := newSite(t, Config{})
	ws := func(change ...string) http.Header {
		h := http.Header{
			"Upgrade": {"websocket"}, "Connection": {"keep-alive, Upgrade"}, "Sec-Websocket-Version": {"13"},
			"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Protocol": {"iroh-relay-v2, iroh-relay-v1"},
		}
		for i := 0; i < len(change); i += 2 {
			h[change[i]] = []string{change[i+1]}
		}
		return h
	}
	for _, v := range []struct {
		request string
		header  http.Header
		status  int
		answer  string // a header and its value
	}{
		{"GET /ping", nil, 200, "Access-Control-Allow-Origin: *"},
		{"HEAD /ping", nil, 200, ""},
		{"POST /ping", nil, 405, "Allow: GET, HEAD"},
		{"GET /relay", nil, 400, ""},
		{"POST /relay", nil, 404, ""},
		{"GET /relay/probe", nil, 404, ""},
		{"GET /derp", nil, 404, ""},
		{"GET /derp", http.Header{"Upgrade": {"DERP"}}, 404, ""},
		{"GET /derp", http.Header{"Upgrade": {"iroh derp http"}}, 101, "Upgrade: iroh derp http"},
		{"GET /relay?token=t", http.Header{"Upgrade": {"iroh derp http"}}, 101, "Upgrade: iroh derp http"},
		{"GET /relay", http.Header{"Upgrade": {"Iroh Derp Http"}}, 400, ""},
		{"GET /relay?token=t", ws(), 101, "Sec-Websocket-Protocol: iroh-relay-v2"},
		{"GET /relay", ws("Sec-Websocket-Protocol", "x,iroh-relay-v1"), 101, "Sec-Websocket-Protocol: iroh-relay-v1"},
		{"GET /relay", ws("Sec-Websocket-Protocol", ""), 101, "Sec-Websocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
		{"GET /relay", ws("Sec-Websocket-Protocol", "iroh-relay-v9"), 400, ""},
		{"GET /relay", ws("Sec-Websocket-Version", "8"), 400, "Sec-Websocket-Version: 13"},
		{"GET /relay", ws("Sec-Websocket-Key", "x"), 400, ""},
		{"GET /relay", ws("Connection", "keep-alive"), 400, ""},
	} {
		method, path, _ := strings.Cut(v.request, " ")
		r, err := http.NewRequest(method, "http://"+s.clear+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.Header = v.header; r.Header == nil {
			r.Header = http.Header{}
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Errorf("%s: %v", v.request, err)
			continue
		}
		resp.Body.Close()
		name, value, _ := strings.Cut(v.answer, ": ")
		if resp.StatusCode != v.status || v.answer != "" && resp.Header.Get(name) != value {
			t.Errorf("%s %v: %s, %s is %q", v.request, v.header, resp.Status, name, resp.Header.Get(name))
		}
		if resp.Header.Get("Sec-Websocket-Extensions") != "" {
			t.Error("an extension was agreed on")
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	// 5 upgrades that break off, 6 refusals.
	until(t, "all ends are counted", func() bool { return s.value("relayserver_http_connections_closed_total") == 11 })
	for name, want := range map[string]float64{"http_connections": 11, "http_connections_errored": 5} {
		if n := s.value("relayserver_" + name + "_total"); n != want {
			t.Errorf("%s: %v, not %v", name, n, want)
		}
	}
}

// Shutdown ends every kind of connection at once, in whatever state, and takes
// no new one.
func TestShutdown(t *testing.T) {
	s := newSite(t, Config{})
	var peers []*peer
	for _, h := range all() {
		h.private = seed(byte(len(peers) + 1))
		p := s.join(h)
		p.sync()
		h.private = seed(100)
		half, err := s.knock(s.dial(h), h)
		if err != nil {
			t.Fatal(err)
		}
		peers = append(peers, p, half)
	}
	partial := s.join(how{dialect: wire.P3, private: seed(50)})
	partial.sync()
	partial.conn.Write([]byte{4, 0, 0, 1})
	began := time.Now()
	if err := s.s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	for _, p := range append(peers, partial) {
		if err := p.closed(); p.ws != nil && p.key != wire.KeyOf(seed(100)) && !strings.Contains(err.Error(), "StatusGoingAway") {
			t.Error(err)
		}
	}
	h := how{dialect: wire.V2, private: seed(1)}
	if _, err := s.knock(s.dial(h), h); err == nil || !strings.Contains(err.Error(), "status 503") {
		t.Error(err)
	}
}
