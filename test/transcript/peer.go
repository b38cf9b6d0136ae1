package transcript

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// maxLine bounds a line of the peer, in octets.
const maxLine = 16 << 20

// peer is one connection: reads in order, writes from a goroutine of its own
// while a dialogue is played.
type peer struct {
	conn net.Conn
	in   *bufio.Reader
	gone bool // the peer hung up, or we did

	queue    chan []byte   // nil when no writer runs
	idle     chan struct{} // closed when the writer is done
	writeErr error         // of the writer; read after idle
}

func newPeer(conn net.Conn) *peer {
	return &peer{conn: conn, in: bufio.NewReader(conn)}
}

// send queues octets. room is the most that will ever be queued in a play.
func (p *peer) send(octets []byte, room int, patience time.Duration) {
	if p.queue == nil {
		p.queue, p.idle, p.writeErr = make(chan []byte, room), make(chan struct{}), nil
		go p.write(p.conn, p.queue, p.idle, patience)
	}
	p.queue <- octets
}

func (p *peer) write(conn net.Conn, queue <-chan []byte, idle chan<- struct{}, patience time.Duration) {
	defer close(idle)
	for octets := range queue {
		if p.writeErr != nil {
			continue
		}
		conn.SetWriteDeadline(time.Now().Add(patience))
		_, p.writeErr = conn.Write(octets)
	}
}

// flush waits until everything queued is written and gives the writer's error.
func (p *peer) flush() error {
	if p.queue == nil {
		return nil
	}
	close(p.queue)
	<-p.idle
	p.queue = nil
	return p.writeErr
}

// line reads one line without its end. lax lets a bare LF end it.
func (p *peer) line(patience time.Duration, lax bool) (string, error) {
	p.conn.SetReadDeadline(time.Now().Add(patience))
	var line []byte
	for {
		part, err := p.in.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			break
		}
		if errors.Is(err, bufio.ErrBufferFull) && len(line) < maxLine {
			continue
		}
		return string(line), p.fault(err, patience)
	}
	if body, ok := bytes.CutSuffix(line, []byte("\r\n")); ok {
		return string(body), nil
	}
	line = line[:len(line)-1]
	if !lax {
		return string(line), errors.New("the line ends in a bare LF")
	}
	return string(line), nil
}

// octets reads exactly n octets.
func (p *peer) octets(n int, patience time.Duration) ([]byte, error) {
	p.conn.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, n)
	got, err := io.ReadFull(p.in, buf)
	if err != nil {
		err = p.fault(err, patience)
	}
	return buf[:got], err
}

// silence fails when an octet comes within d; a peer that hung up is silent
// in the wrong way.
func (p *peer) silence(d time.Duration) (string, error) {
	p.conn.SetReadDeadline(time.Now().Add(d))
	_, err := p.in.Peek(1)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "", nil
	}
	if err != nil {
		return "", p.fault(err, d)
	}
	return p.waiting(), errors.New("the peer was not silent")
}

// end fails unless the peer hangs up without another octet.
func (p *peer) end(patience time.Duration) (string, error) {
	p.conn.SetReadDeadline(time.Now().Add(patience))
	_, err := p.in.Peek(1)
	switch {
	case err == nil:
		return p.waiting(), errors.New("the peer said something instead of hanging up")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "", fmt.Errorf("the peer did not hang up within %v", patience)
	}
	p.gone = true // however it ended: FIN, RST, TLS alert
	return "", nil
}

// waiting shows what came and was not read.
func (p *peer) waiting() string {
	buf, _ := p.in.Peek(min(p.in.Buffered(), 200))
	return string(buf)
}

func (p *peer) fault(err error, patience time.Duration) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("nothing more came within %v", patience)
	case errors.Is(err, bufio.ErrBufferFull):
		return fmt.Errorf("a line longer than %d octets", maxLine)
	}
	p.gone = true
	return fmt.Errorf("the peer hung up: %w", err)
}

func (p *peer) close() {
	p.gone = true
	p.conn.Close()
}

// startTLS puts TLS on the connection. What the peer said in the clear and
// was not read yet is a fault of the dialogue.
func (p *peer) startTLS(cfg *tls.Config, server bool, patience time.Duration) error {
	if err := p.flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if n := p.in.Buffered(); n > 0 {
		return fmt.Errorf("%d octets in the clear before the handshake: %q", n, p.waiting())
	}
	p.conn.SetDeadline(time.Now().Add(patience))
	layer := tls.Client
	if server {
		layer = tls.Server
	}
	t := layer(p.conn, cfg)
	if err := t.HandshakeContext(context.Background()); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	p.conn.SetDeadline(time.Time{})
	p.conn, p.in = t, bufio.NewReader(t)
	return nil
}
