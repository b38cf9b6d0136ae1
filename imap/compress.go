package imap

import (
	"bytes"
	"compress/flate"
	"io"
	"net"

	"barid/imap/wire"
)

// maxCompressed bounds the sessions that compress: each keeps up to 32 KiB of
// what its client has sent, for its client may refer to it.
const maxCompressed = 2000

// compressed is a stream with DEFLATE in both directions (RFC 4978).
//
// A compressor is big, so nobody keeps one: each write takes one from a pool,
// begins anew, without reference to what was written before, ends with a
// flush, and gives it back before the network is waited for. Several such
// pieces behind one another are one DEFLATE stream.
type compressed struct {
	*wire.Inflater
	conn net.Conn
	sv   *Server
}

// compressor is what the pool has.
type compressor struct {
	out bytes.Buffer
	*flate.Writer
}

func newCompressor() any {
	c := new(compressor)
	c.Writer, _ = flate.NewWriter(&c.out, flate.BestSpeed) // no error: the level is one
	return c
}

// Write compresses p and writes it at once. Only one may write at a time.
func (z *compressed) Write(p []byte) (int, error) {
	if err := z.write(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (z *compressed) write(p []byte) error {
	c := z.sv.compressors.Get().(*compressor)
	c.out.Reset()
	c.Reset(&c.out)
	c.Writer.Write(p) // into memory, which takes everything
	c.Flush()
	data := bytes.Clone(c.out.Bytes())
	z.sv.compressors.Put(c)
	z.sv.plainOctets.Add(float64(len(p)))
	z.sv.deflatedOctets.Add(float64(len(data)))
	_, err := z.conn.Write(data)
	return err
}

// stream is what is read from and written to.
func (s *session) stream() io.ReadWriter {
	if s.comp != nil {
		return s.comp
	}
	return s.conn.Stream()
}

// compress answers COMPRESS.
func (s *session) compress(c *wire.Command) (string, error) {
	mechanism := c.Word()
	if err := c.End(); err != nil {
		return noReply, err
	}
	switch {
	case !s.sv.cfg.Compress:
		return noReply, wire.SyntaxError("COMPRESS not available")
	case mechanism != "DEFLATE":
		return noReply, refusal("[CANNOT] Unknown mechanism")
	case s.comp != nil:
		return noReply, refusal("[COMPRESSIONACTIVE] DEFLATE is active already")
	case s.sv.compressed.Add(1) > maxCompressed:
		s.sv.compressed.Add(-1)
		s.sv.compressRefused.Add(1)
		return noReply, refusal("[LIMIT] Too many sessions compress")
	}
	if s.in.Buffered() > 0 {
		s.sv.compressed.Add(-1)
		s.bye("Nothing may follow COMPRESS before its answer")
		return noReply, nil
	}
	out := s.writer()
	out.Raw(c.Tag)
	out.Raw(" OK DEFLATE active\r\n")
	s.flush()
	s.comp = &compressed{wire.NewInflater(s.conn.Stream()), s.conn.Stream(), s.sv}
	s.dropReader() // it is taken again, above the new stream
	return noReply, nil
}
