package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"barid/relay/wire"
)

// What the relay scenario does.
const (
	relayPairs   = 8
	relayWindow  = 64     // packets of a pair that are on their way
	relayPacket  = 1200   // octets, as QUIC sends them
	relaySegment = 1452   // of a batch of the newer protocol
	relayBatch   = 10     // segments in it
	relayFrame   = 1000   // for latency
	relayIdle    = 5000   // clients
	relayTarget  = 24.576 // kB: 24 KiB for each
)

// relayed measures the iroh relay: what pairs of clients get through it, how
// long a frame takes beside a bare websocket echo, and what a client costs that
// only answers pings. All over TLS.
func relayed(ctx context.Context, o options) ([]Row, error) {
	clients := max(relayIdle, o.idle)
	if o.quick {
		clients = o.idle
	}
	if err := raiseFileLimit(2*clients + 1000); err != nil {
		return nil, err
	}
	site, addr, err := newRelaySite(o.dir)
	if err != nil {
		return nil, err
	}
	s, err := site.start(ctx, o.barid, o.serverCPU)
	if err != nil {
		return nil, err
	}
	var rows []Row
	for _, kind := range []struct {
		name    string
		d       wire.Dialect
		segment uint16
		size    int
	}{
		{"iroh 0.35, 1.2 kB packets", wire.P3, 0, relayPacket},
		{"iroh 1.x, 1.2 kB packets", wire.V2, 0, relayPacket},
		{"iroh 1.x, batches of 14.5 kB", wire.V2, relaySegment, relayBatch * relaySegment},
	} {
		more, err := throughput(ctx, o, s, addr, kind.d, wire.Frame{Kind: wire.Datagrams, Segment: kind.segment, Data: make([]byte, kind.size)}, kind.name)
		if err != nil {
			s.kill()
			return nil, fmt.Errorf("%s: %w", kind.name, err)
		}
		rows = append(rows, more...)
	}
	more, err := relayLatency(ctx, o, addr)
	if err != nil {
		s.kill()
		return nil, err
	}
	rows = append(rows, more...)
	if err := s.stop(); err != nil {
		return nil, err
	}
	o.idle = clients
	more, err = idleRelay(ctx, o, site, addr)
	return append(rows, more...), err
}

// newRelaySite is a site with nothing bounded that serves HTTPS.
func newRelaySite(parent string) (s site, addr string, err error) {
	if s, err = newSite(parent); err != nil {
		return s, "", err
	}
	if addr, err = freeAddr(); err != nil {
		return s, "", err
	}
	text, err := os.ReadFile(s.config)
	if err != nil {
		return s, "", fmt.Errorf("configuration: %w", err)
	}
	before, after, found := bytes.Cut(text, []byte("https = []"))
	if !found {
		return s, "", errors.New("configuration: HTTPS is not where it was")
	}
	text = fmt.Appendf(nil, "%shttps = [%q]%s\n[iroh]\nmax_clients = 0\nper_client = 0\nbytes_per_second = 0\n", before, addr, after)
	if err := os.WriteFile(s.config, text, 0o600); err != nil {
		return s, "", fmt.Errorf("configuration: %w", err)
	}
	return s, addr, nil
}

// relayClient is one client of the relay, as cheap as it can be.
type relayClient struct {
	conn net.Conn
	in   *bufio.Reader
	d    wire.Dialect
	key  wire.Key
	mu   sync.Mutex // guards writes
	out  []byte
	body []byte
}

func dialRelay(ctx context.Context, addr string, d wire.Dialect, buffer int) (*relayClient, error) {
	conn, err := dial(ctx, addr, coreHello())
	if err != nil {
		return nil, err
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	c := &relayClient{conn: conn, in: bufio.NewReaderSize(conn, buffer), d: d, key: wire.KeyOf(private)}
	if err := c.login(private); err != nil {
		conn.Close()
		return nil, fmt.Errorf("log in to the relay: %w", err)
	}
	conn.SetDeadline(time.Time{})
	return c, nil
}

func (c *relayClient) login(private ed25519.PrivateKey) error {
	request := "GET /relay HTTP/1.1\r\nHost: " + domain + "\r\nUpgrade: iroh derp http\r\n\r\n"
	if c.d != wire.P3 {
		request = "GET /relay HTTP/1.1\r\nHost: " + domain + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: " + c.d.String() + "\r\n\r\n"
	}
	if _, err := io.WriteString(c.conn, request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return errors.New(resp.Status)
	}
	if c.d == wire.P3 {
		if err := c.write(wire.AppendClientInfo(nil, private)); err != nil {
			return err
		}
		return c.ping()
	}
	b, err := c.read()
	if err != nil {
		return err
	}
	challenge, err := wire.ParseChallenge(b)
	if err != nil {
		return err
	}
	if err := c.write(wire.AppendClientAuth(nil, private, challenge)); err != nil {
		return err
	}
	if b, err = c.read(); err != nil {
		return err
	}
	if err := wire.ParseVerdict(b); err != nil {
		return err
	}
	return c.ping()
}

// ping sends one and waits for the answer.
func (c *relayClient) ping() error {
	if err := c.send(wire.Frame{Kind: wire.Ping}); err != nil {
		return err
	}
	for {
		if f, err := c.recv(); err != nil || f.Kind == wire.Pong {
			return err
		}
	}
}

// write sends a frame of the login.
func (c *relayClient) write(frame []byte) error {
	var b []byte
	if c.d == wire.P3 {
		b = binary.BigEndian.AppendUint32(append(b, frame[0]), uint32(len(frame)-1))
		b = append(b, frame[1:]...)
	} else {
		b = wire.AppendWSMasked(b, wire.WSBinary, [4]byte{1, 2, 3, 4}, frame)
	}
	_, err := c.conn.Write(b)
	return err
}

// send sends a frame.
func (c *relayClient) send(f wire.Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.d == wire.P3 {
		c.out = wire.AppendStream(c.out[:0], f)
	} else {
		c.body = c.d.Append(c.body[:0], f, wire.FromClient)
		c.out = wire.AppendWSMasked(c.out[:0], wire.WSBinary, [4]byte{1, 2, 3, 4}, c.body)
	}
	_, err := c.conn.Write(c.out)
	return err
}

// read reads what carries a frame, and gives the frame.
func (c *relayClient) read() ([]byte, error) {
	head, err := c.in.Peek(2)
	if err != nil {
		return nil, err
	}
	skip, length := 2, int(head[1])
	switch {
	case c.d == wire.P3:
		if head, err = c.in.Peek(5); err != nil {
			return nil, err
		}
		skip, length = 4, 1+int(binary.BigEndian.Uint32(head[1:]))
	case length == 126:
		if head, err = c.in.Peek(4); err != nil {
			return nil, err
		}
		skip, length = 4, int(binary.BigEndian.Uint16(head[2:]))
	case length == 127:
		return nil, errors.New("a frame longer than any")
	}
	number := head[0]
	if _, err := c.in.Discard(skip); err != nil {
		return nil, err
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(c.in, b); err != nil {
		return nil, err
	}
	if c.d == wire.P3 {
		b[0] = number
	}
	return b, nil
}

func (c *relayClient) recv() (wire.Frame, error) {
	b, err := c.read()
	if err != nil {
		return wire.Frame{}, err
	}
	return c.d.Parse(b, wire.FromRelay)
}

// Close hangs up.
func (c *relayClient) Close() { c.conn.Close() }

// throughput lets pairs send as fast as they can with so much on its way.
func throughput(ctx context.Context, o options, s *server, addr string, d wire.Dialect, f wire.Frame, name string) ([]Row, error) {
	var from, to [relayPairs]*relayClient
	for i := range from {
		for _, c := range []**relayClient{&from[i], &to[i]} {
			var err error
			if *c, err = dialRelay(ctx, addr, d, 64<<10); err != nil {
				return nil, err
			}
			defer (*c).Close()
		}
	}
	before, err := s.cpu()
	if err != nil {
		return nil, err
	}
	var got atomic.Int64
	began := time.Now()
	end := began.Add(o.duration)
	err = crowd(relayPairs, func(i int) error {
		f := f
		f.Key = to[i].key
		window := make(chan struct{}, relayWindow)
		received := make(chan error, 1)
		go func() {
			for {
				to[i].conn.SetReadDeadline(end.Add(5 * time.Second))
				f, err := to[i].recv()
				if err != nil {
					received <- err
					return
				}
				if f.Kind == wire.Datagrams {
					got.Add(1)
					<-window
				}
				if time.Now().After(end) {
					received <- nil
					return
				}
			}
		}()
		for {
			select {
			case window <- struct{}{}:
				if err := from[i].send(f); err != nil {
					return err
				}
			case err := <-received:
				return err
			}
		}
	})
	took := time.Since(began)
	after, cpuErr := s.cpu()
	if err := errors.Join(err, cpuErr); err != nil {
		return nil, err
	}
	n := float64(got.Load())
	return []Row{
		{"frames through the relay per second, " + name, "1/s", n / took.Seconds(), higher, 0},
		{"octets through the relay per second, " + name, "MB/s", n * float64(len(f.Data)) / took.Seconds() / 1e6, higher, 0},
		{"CPU per frame through the relay, " + name, "us", ms(after.since(before).total) * 1000 / n, lower, 0},
	}, nil
}

// relayLatency measures a frame from one client to another, and one that comes
// back from a bare echo: both are written twice and read twice.
func relayLatency(ctx context.Context, o options, addr string) ([]Row, error) {
	var rows []Row
	for _, d := range []wire.Dialect{wire.P3, wire.V2} {
		a, err := dialRelay(ctx, addr, d, 4096)
		if err != nil {
			return nil, err
		}
		defer a.Close()
		b, err := dialRelay(ctx, addr, d, 4096)
		if err != nil {
			return nil, err
		}
		defer b.Close()
		f := wire.Frame{Kind: wire.Datagrams, Key: b.key, Data: make([]byte, relayFrame)}
		took, err := timed(o, func() error {
			if err := a.send(f); err != nil {
				return err
			}
			for {
				if f, err := b.recv(); err != nil || f.Kind == wire.Datagrams {
					return err
				}
			}
		})
		if err != nil {
			return nil, fmt.Errorf("latency of the relay: %w", err)
		}
		rows = append(rows, latencyRows("1 kB through the relay, "+d.String(), took)...)
	}
	took, err := websocketEcho(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("latency of a bare echo: %w", err)
	}
	return append(rows, latencyRows("1 kB back from a bare websocket echo", took)...), nil
}

func latencyRows(name string, took []time.Duration) []Row {
	return []Row{
		{name + ", p50", "us", ms(quantile(took, 0.50)) * 1000, lower, 0},
		{name + ", p99", "us", ms(quantile(took, 0.99)) * 1000, lower, 0},
	}
}

// timed does something again and again, a millisecond apart.
func timed(o options, do func() error) (took []time.Duration, err error) {
	for end := time.Now().Add(o.duration / 2); time.Now().Before(end); {
		began := time.Now()
		if err := do(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
		time.Sleep(time.Millisecond)
	}
	return took, nil
}

// websocketEchoCommand is the argument by which this program becomes a server
// that sends websocket messages back.
const websocketEchoCommand = "websocket-echo-server"

// serveWebsocketEcho is the least a websocket server can be with a library.
func serveWebsocketEcho() error {
	cfg, err := echoTLS()
	if err != nil {
		return err
	}
	l, err := tls.Listen("tcp", os.Getenv(echoAddr), cfg)
	if err != nil {
		return err
	}
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, b, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, b) != nil {
				return
			}
		}
	}))
}

func websocketEcho(ctx context.Context, o options) ([]time.Duration, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	s, err := startProcess(ctx, []string{"env", echoAddr + "=" + addr, self, websocketEchoCommand}, o.serverCPU, addr)
	if err != nil {
		return nil, err
	}
	defer s.kill()
	conn, err := dial(ctx, addr, coreHello())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Time{})
	// The client is the one that asks the relay, so that the servers differ alone.
	c := &relayClient{conn: conn, in: bufio.NewReaderSize(conn, 4096), d: wire.V2}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"); err != nil {
		return nil, err
	}
	if _, err := http.ReadResponse(c.in, nil); err != nil {
		return nil, err
	}
	f := wire.Frame{Kind: wire.Datagrams, Data: make([]byte, relayFrame)}
	return timed(o, func() error {
		if err := c.send(f); err != nil {
			return err
		}
		_, err := c.read()
		return err
	})
}

// idleRelay measures what a client costs that is only there. It answers the
// pings of the relay, as clients do.
func idleRelay(ctx context.Context, o options, site site, addr string) ([]Row, error) {
	var rows []Row
	for _, d := range []wire.Dialect{wire.P3, wire.V2} {
		s, err := site.start(ctx, o.barid, o.serverCPU)
		if err != nil {
			return nil, err
		}
		var lost atomic.Int64
		g, err := growth(ctx, o, s, func(ctx context.Context, _ int) (closer, error) {
			c, err := dialRelay(ctx, addr, d, 512)
			if err != nil {
				return nil, err
			}
			idle := &idleClient{relayClient: c, lost: &lost}
			go idle.answer()
			return idle, nil
		})
		s.kill()
		if err != nil {
			return nil, err
		}
		if n := lost.Load(); n > 0 {
			return nil, fmt.Errorf("the relay lost %d clients", n)
		}
		rows = append(rows,
			Row{fmt.Sprintf("PSS per client of the relay, %d idle, %s", o.idle, d), "KB", g.settled / 1e3, lower, relayTarget},
			Row{"the same, when the last one came, " + d.String(), "KB", g.atOnce / 1e3, lower, 0},
			Row{"the same, the lowest, " + d.String(), "KB", g.lowest / 1e3, lower, 0})
	}
	return rows, nil
}

// idleClient answers pings, and counts itself as lost when the relay closes.
type idleClient struct {
	*relayClient
	leaving atomic.Bool
	lost    *atomic.Int64
}

func (c *idleClient) Close() {
	c.leaving.Store(true)
	c.relayClient.Close()
}

func (c *idleClient) answer() {
	for {
		f, err := c.recv()
		if err == nil && f.Kind == wire.Ping {
			err = c.send(wire.Frame{Kind: wire.Pong, Echo: f.Echo})
		}
		if err != nil {
			if !c.leaving.Load() {
				c.lost.Add(1)
			}
			return
		}
	}
}
