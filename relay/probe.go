package relay

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"barid/relay/wire"
)

// Probe does over a fresh connection what the Delta Chat core does: it asks
// the relay of that host for the upgrade, logs in with a new key, and waits for
// the answer to a ping. The connection is closed. It ends with ctx.
func Probe(ctx context.Context, conn net.Conn, host string) error {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	if _, err := fmt.Fprintf(conn, "GET /relay HTTP/1.1\r\nUpgrade: %s\r\nHost: %s\r\n\r\n", rawUpgrade, host); err != nil {
		return fmt.Errorf("ask for the upgrade: %w", err)
	}
	in := bufio.NewReader(io.LimitReader(conn, 64<<10))
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return fmt.Errorf("read the answer to the upgrade: %w", err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("the upgrade is answered with %d", resp.StatusCode)
	}
	ping := wire.Frame{Kind: wire.Ping}
	rand.Read(ping.Echo[:]) // never fails, see crypto/rand
	if _, err := conn.Write(wire.AppendStream(wire.AppendClientInfoStream(nil, private), ping)); err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	for {
		f, err := readFrame(in)
		if err != nil {
			return fmt.Errorf("wait for the answer to a ping: %w", err)
		}
		if f.Kind == wire.Health {
			return fmt.Errorf("the relay says %.100q", f.Text)
		}
		if f.Kind == wire.Pong && f.Echo == ping.Echo {
			return nil
		}
	}
}

// readFrame reads a frame of a P3 stream.
func readFrame(in *bufio.Reader) (wire.Frame, error) {
	head, err := in.Peek(5)
	if err != nil {
		return wire.Frame{}, err
	}
	length := binary.BigEndian.Uint32(head[1:])
	if int64(length) >= int64(wire.P3.Max()) {
		return wire.Frame{}, fmt.Errorf("%w: %d octets", wire.ErrFrame, length)
	}
	b := make([]byte, 5+length)
	if _, err := io.ReadFull(in, b); err != nil {
		return wire.Frame{}, err
	}
	frame, _, _, err := wire.CutStream(b)
	if err != nil {
		return wire.Frame{}, err
	}
	return wire.P3.Parse(frame, wire.FromRelay)
}
