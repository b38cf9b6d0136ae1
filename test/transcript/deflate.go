package transcript

import (
	"bufio"
	"compress/flate"
	"fmt"
	"io"
	"net"
)

// deflating is a connection with DEFLATE in both directions, as RFC 4978 has
// it: one stream each way, flushed after each write.
type deflating struct {
	net.Conn
	in  io.Reader
	out *flate.Writer
}

func (d *deflating) Read(p []byte) (int, error) { return d.in.Read(p) }

func (d *deflating) Write(p []byte) (int, error) {
	n, err := d.out.Write(p)
	if err == nil {
		err = d.out.Flush()
	}
	return n, err
}

// startDeflate puts compression on the connection. What the peer said before
// and was not read yet is a fault of the dialogue.
func (p *peer) startDeflate() error {
	if err := p.flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if n := p.in.Buffered(); n > 0 {
		return fmt.Errorf("%d octets before the compression: %q", n, p.waiting())
	}
	out, err := flate.NewWriter(p.conn, flate.DefaultCompression)
	if err != nil {
		return fmt.Errorf("compress: %w", err)
	}
	p.conn = &deflating{p.conn, flate.NewReader(p.conn), out}
	p.in = bufio.NewReader(p.conn)
	return nil
}
