package netserve

import (
	"io"
	"os"
	"sync"
	"syscall"
)

// A TLS record as RFC 8446 section 5.1 has it: type, version, length, then
// that many octets, at most 16384+256.
const recordHeader = 5

// buffer holds more than one full record, so that a record costs one read.
type buffer [18 << 10]byte

// buffers keeps scratch memory; it carries nothing from one use to the next.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

// records finds the ends of TLS records in a stream, whatever way it is cut.
type records struct {
	head int // octets of the header seen so far
	left int // octets of the record that are to come after the header
}

// take tells how many octets at the start of b belong to the present record,
// and counts them as gone by.
func (r *records) take(b []byte) int {
	n := 0
	for r.head < recordHeader {
		if n == len(b) {
			return n
		}
		if r.head >= recordHeader-2 {
			r.left = r.left<<8 | int(b[n])
		}
		r.head++
		n++
	}
	k := min(r.left, len(b)-n)
	r.left -= k
	if r.left == 0 {
		r.head = 0
	}
	return n + k
}

// Read reads from the peer, below TLS. With TLS on top it never gives out
// octets of two records: what follows waits here, where Buffered sees it, and
// not inside the *tls.Conn, where nobody can.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if c.r == c.w {
		if !c.onTLS {
			return c.receive(p)
		}
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	b := c.buf[c.r:min(c.w, c.r+len(p))]
	if c.onTLS {
		b = b[:c.records.take(b)]
	}
	n := copy(p, b)
	c.r += n
	if c.r == c.w {
		c.release()
	}
	return n, nil
}

// Buffered tells whether octets from the peer wait above the socket (in a
// record buffer). When it is false and the last Read of the Stream came back
// short, WaitReadable cannot miss anything.
func (c *Conn) Buffered() bool { return c.r < c.w }

func (c *Conn) release() {
	buffers.Put(c.buf)
	c.buf, c.r, c.w = nil, 0, 0
}

// receive reads once, straight into p.
func (c *Conn) receive(p []byte) (int, error) {
	began := c.beginRead()
	n, err := c.Conn.Read(p)
	c.endRead(began, n)
	return n, private(err)
}

// fill waits for octets and puts them into the buffer, which is empty. It has
// the buffer only while there is something in it, not while it waits.
func (c *Conn) fill() error {
	c.shake.pause()
	defer c.shake.resume()
	if !c.descriptor() {
		b := buffers.Get().(*buffer)
		n, err := c.receive(b[:])
		c.buf, c.w = b, n
		if n > 0 {
			return nil
		}
		c.release()
		return err
	}
	began := c.beginRead()
	err := c.raw.Read(c.try)
	if err == nil {
		err = c.fillErr
	}
	c.endRead(began, c.w)
	return private(err)
}

// descriptor finds the connection's descriptor and tells whether it has one.
func (c *Conn) descriptor() bool {
	if c.raw != nil {
		return true
	}
	s, ok := c.Conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	c.raw, c.try = raw, c.tryFill
	return true
}

// tryFill reads what is there without waiting; false when nothing is.
func (c *Conn) tryFill(fd uintptr) bool {
	b := buffers.Get().(*buffer)
	n, err := syscall.Read(int(fd), b[:])
	for err == syscall.EINTR {
		n, err = syscall.Read(int(fd), b[:])
	}
	if n > 0 {
		c.buf, c.w, c.fillErr = b, n, nil
		return true
	}
	buffers.Put(b)
	switch err {
	case syscall.EAGAIN:
		return false
	case nil:
		c.fillErr = io.EOF
	default:
		c.fillErr = os.NewSyscallError("read", err)
	}
	return true
}
