package netserve

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// segments is a connection that keeps what is written until it is flushed, so
// that several TLS records travel in one segment.
type segments struct {
	net.Conn
	held bytes.Buffer
	hold bool
}

func (s *segments) Write(p []byte) (int, error) {
	if s.hold {
		return s.held.Write(p)
	}
	return s.Conn.Write(p)
}

func (s *segments) flush() error {
	_, err := s.Conn.Write(s.held.Bytes())
	s.held.Reset()
	return err
}

// idleThenDone sends two commands as two records in one segment.
func idleThenDone(raw net.Conn) error {
	s := &segments{Conn: raw}
	c := tls.Client(s, coreTLS())
	if err := c.Handshake(); err != nil {
		return err
	}
	s.hold = true
	io.WriteString(c, "a IDLE\r\n")
	io.WriteString(c, "DONE\r\n")
	return s.flush()
}

// A client that ends IDLE in the same segment that began it must not wait for
// its answer until the next octet comes.
func TestSecondRecordOfASegmentIsNotSleptThrough(t *testing.T) {
	c, client := pair(t)
	sent := make(chan error, 1)
	go func() { sent <- idleThenDone(client) }()
	if err := c.StartTLS(t.Context(), serverTLS(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	c.SetPace(Pace{Silence: 10 * time.Second})
	b := make([]byte, 100)
	n, err := c.Stream().Read(b)
	if err != nil || string(b[:n]) != "a IDLE\r\n" {
		t.Fatalf("%q, %v", b[:n], err)
	}
	if !c.Buffered() {
		t.Fatal("the second record is not seen")
	}
	if err := c.WaitReadable(); err != nil {
		t.Fatal(err)
	}
	n, err = c.Stream().Read(b)
	if err != nil || string(b[:n]) != "DONE\r\n" {
		t.Fatalf("%q, %v", b[:n], err)
	}
	if c.Buffered() || c.buf != nil {
		t.Fatal("the buffer was not given back")
	}
}

// Why this package cuts records: crypto/tls on the bare socket takes both
// records at once, and a wait on the socket sleeps.
func TestBareSocketSleepsThroughTheSecondRecord(t *testing.T) {
	c, client := pair(t)
	sent := make(chan error, 1)
	go func() { sent <- idleThenDone(client) }()
	naive := tls.Server(c.Conn, serverTLS(t))
	b := make([]byte, 100)
	n, err := naive.Read(b)
	if err != nil || string(b[:n]) != "a IDLE\r\n" {
		t.Fatalf("%q, %v", b[:n], err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	c.SetPace(Pace{Silence: 50 * time.Millisecond})
	if err := c.WaitReadable(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the naive way woke up (%v): the cutting of records is not needed any more", err)
	}
}

func TestStartTLSRefusesOctetsSentInTheClear(t *testing.T) {
	t.Run("still in the socket", func(t *testing.T) {
		c, client := pair(t)
		io.WriteString(client, "a NOOP\r\n")
		if err := c.StartTLS(t.Context(), serverTLS(t)); err == nil {
			t.Fatal("clear octets went into TLS")
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("not closed: %v", err)
		}
	})
	t.Run("buffered", func(t *testing.T) {
		c, client := pair(t)
		io.WriteString(client, "a NOOP\r\n")
		if err := c.fill(); err != nil {
			t.Fatal(err)
		}
		if err := c.StartTLS(t.Context(), serverTLS(t)); !errors.Is(err, ErrBuffered) {
			t.Fatal(err)
		}
	})
}

func TestStartTLSEndsWithItsContext(t *testing.T) {
	c, _ := pair(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.StartTLS(ctx, serverTLS(t)); err == nil {
		t.Fatal("handshake with nobody")
	}
}

// Megabytes in records of every size come through whole, over a connection
// with a descriptor and over one without.
func TestContentOfManyRecordsComesThrough(t *testing.T) {
	cfg := serverTLS(t)
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for _, name := range []string{"socket", "pipe"} {
		t.Run(name, func(t *testing.T) {
			var c *Conn
			var client net.Conn
			if name == "socket" {
				c, client = pair(t)
			} else {
				a, b := net.Pipe()
				c, client = NewConn(a, netip.Addr{}), b
			}
			defer client.Close()
			defer c.Close()
			go func() {
				s := tls.Client(client, coreTLS())
				for i, rest := 1, content; len(rest) > 0; i = i*7%40000 + 1 {
					n := min(i, len(rest))
					if _, err := s.Write(rest[:n]); err != nil {
						t.Error(err)
						return
					}
					rest = rest[n:]
				}
			}()
			if err := c.StartTLS(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(content))
			if _, err := io.ReadFull(c.Stream(), got); err != nil || !bytes.Equal(got, content) {
				t.Fatalf("content differs: %v", err)
			}
		})
	}
}

// chunks is a connection that gives out what it has in pieces of given sizes.
type chunks struct {
	net.Conn
	rest []byte
	cuts []byte
	i    int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := len(c.rest)
	if len(c.cuts) > 0 {
		n = int(c.cuts[c.i%len(c.cuts)])*97 + 1
		c.i++
	}
	n = copy(p, c.rest[:min(n, len(c.rest))])
	c.rest = c.rest[n:]
	return n, nil
}

func (c *chunks) Close() error { return nil }

// Whatever comes, however it is cut, goes through unchanged, and no Read
// gives out octets of two records.
func FuzzRecords(f *testing.F) {
	f.Add([]byte("\x16\x03\x01\x00\x02hi\x17\x03\x03\x00\x00\x17\x03\x03\x00\x01x\x17\x03"), []byte{0, 3}, uint16(7))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), []byte{}, uint16(1))
	f.Add(bytes.Repeat([]byte{0xff}, 70000), []byte{255}, uint16(0))
	f.Fuzz(func(t *testing.T, stream, cuts []byte, size uint16) {
		if len(stream) > 1<<17 { // longer says nothing new
			return
		}
		c := NewConn(&chunks{rest: stream, cuts: cuts}, netip.Addr{})
		c.onTLS = true
		ends := recordEnds(stream)
		var got []byte
		p := make([]byte, int(size)+1)
		for {
			n, err := c.Read(p)
			for len(ends) > 0 && ends[0] <= len(got) {
				ends = ends[1:]
			}
			if len(ends) > 0 && len(got)+n > ends[0] {
				t.Fatalf("a read from %d to %d goes over the end of a record at %d", len(got), len(got)+n, ends[0])
			}
			got = append(got, p[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil || n == 0 {
				t.Fatalf("read %d, %v", n, err)
			}
		}
		if !bytes.Equal(got, stream) {
			t.Fatalf("%d octets became %d others", len(stream), len(got))
		}
		if c.Buffered() || c.buf != nil {
			t.Fatal("a buffer is left")
		}
	})
}

// recordEnds walks a whole stream, the simple way.
func recordEnds(b []byte) (ends []int) {
	for at := 0; at+recordHeader <= len(b); {
		at += recordHeader + int(b[at+3])<<8 + int(b[at+4])
		ends = append(ends, at)
	}
	return ends
}
