package turn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	pion "github.com/pion/turn/v4"
)

// Probe makes two allocations at a TURN server, as two clients do who call each
// other, and sends a packet from one through both to the other. network is
// "udp", "tcp" or "tls"; with "tls" the certificate is not looked at.
func Probe(ctx context.Context, network, addr string, c Credentials) error {
	var ends [2]*end
	for i := range ends {
		e, err := newEnd(ctx, network, addr, c)
		if err != nil {
			return err
		}
		defer e.close()
		ends[i] = e
	}
	for i, e := range ends {
		if err := e.client.CreatePermission(ends[1-i].relayed.LocalAddr()); err != nil {
			return fmt.Errorf("ask for a permission: %w", quiet(err))
		}
	}
	got := make(chan error, 1)
	go func() { got <- ends[1].receive() }()
	defer func() { <-got; got <- nil }()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		if _, err := ends[0].relayed.WriteTo([]byte(probeText), ends[1].relayed.LocalAddr()); err != nil {
			ends[1].relayed.SetReadDeadline(time.Now())
			return fmt.Errorf("send a packet: %w", quiet(err))
		}
		select {
		case err := <-got:
			got <- nil
			return err
		case <-again.C:
		case <-ctx.Done():
			ends[1].relayed.SetReadDeadline(time.Now())
			return errors.New("no packet comes through")
		}
	}
}

const probeText = "is anybody there?"

// end is one client of a probe.
type end struct {
	conn    net.PacketConn
	client  *pion.Client
	relayed net.PacketConn
}

func newEnd(ctx context.Context, network, addr string, c Credentials) (*end, error) {
	conn, err := dial(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", quiet(err))
	}
	e := &end{conn: conn}
	e.client, err = pion.NewClient(&pion.ClientConfig{
		STUNServerAddr: addr, TURNServerAddr: addr, Username: c.Username, Password: c.Password, Conn: conn, LoggerFactory: silence{},
	})
	if err == nil {
		err = e.client.Listen()
	}
	if err != nil {
		e.close()
		return nil, fmt.Errorf("begin: %w", quiet(err))
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if e.relayed, err = e.client.Allocate(); err != nil {
		e.close()
		return nil, fmt.Errorf("ask for an allocation: %w", quiet(err))
	}
	return e, nil
}

func dial(ctx context.Context, network, addr string) (net.PacketConn, error) {
	if network == "udp" {
		family := "0.0.0.0:0"
		if host, _, err := net.SplitHostPort(addr); err == nil && net.ParseIP(host).To4() == nil && net.ParseIP(host) != nil {
			family = "[::]:0"
		}
		var lc net.ListenConfig
		return lc.ListenPacket(ctx, "udp", family)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if network == "tls" {
		t := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
		if err := t.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		conn = t
	}
	return &stream{Conn: conn, frames: newFrames(conn)}, nil
}

// stream is a client's connection. The library's own keeps short data of
// channels back until more comes.
type stream struct {
	net.Conn
	frames *frames
}

// ReadFrom implements net.PacketConn.
func (s *stream) ReadFrom(p []byte) (int, net.Addr, error) {
	b, err := s.frames.next()
	return copy(p, b), s.RemoteAddr(), err
}

// WriteTo implements net.PacketConn.
func (s *stream) WriteTo(p []byte, _ net.Addr) (int, error) { return s.Write(p) }

func (e *end) receive() error {
	b := make([]byte, 64)
	n, _, err := e.relayed.ReadFrom(b)
	if err == nil && string(b[:n]) != probeText {
		err = errors.New("another packet came through")
	}
	return err
}

func (e *end) close() {
	if e.relayed != nil {
		e.relayed.Close()
	}
	if e.client != nil {
		e.client.Close()
	}
	e.conn.Close()
}
