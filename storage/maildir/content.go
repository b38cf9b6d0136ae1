package maildir

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"barid/internal/journal"
)

const (
	block = 4096 // octets that the disk gives at a time
	// inflateWhole is the largest compressed content that Open inflates into
	// memory at once; larger ones are inflated as they are read.
	inflateWhole = 256 << 10
)

// Errors of Open.
var (
	// ErrTooLarge: the content is larger than the caller takes, or than the
	// ",S=" of its name.
	ErrTooLarge = errors.New("content is too large")
	// ErrBroken: a compressed file is broken, or shorter than its name says.
	ErrBroken = errors.New("content is broken")
)

// Lasting tells whether an error of reading content is about what lies in the
// file, so that the next try would meet it again, and not about a disk that
// could not read it.
func Lasting(err error) bool {
	_, disk := errors.AsType[syscall.Errno](err)
	return !disk && (errors.Is(err, ErrBroken) || errors.Is(err, ErrTooLarge))
}

// gzipMagic begins every gzip file (RFC 1952 section 2.3.1).
const gzipMagic = "\x1f\x8b"

// Compressors are large and cost more to make than to use for one message.
// The pool only saves that; nothing is told from one use to the next.
var compressors = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	if err != nil {
		panic("maildir: the level is a constant that exists: " + err.Error())
	}
	return w
}}

// store writes content into an empty file, compressed where wanted and worth
// it. Content that looks compressed itself always is, so that a reader which
// goes by the first octets gets back what was written.
func store(f journal.File, c Source, compress bool) error {
	must, err := looksCompressed(c)
	if err != nil {
		return err
	}
	if must || compress && c.Size() > block {
		size, err := storeCompressed(f, c)
		if err != nil {
			return err
		}
		if must || blocks(size) < blocks(c.Size()) {
			return nil
		}
		if err := f.Truncate(0); err != nil {
			return err
		}
	}
	w := bufio.NewWriterSize(&writerAt{f: f}, int(min(max(c.Size(), 16), 64<<10)))
	if err := copyAll(w, c); err != nil {
		return err
	}
	return w.Flush()
}

func storeCompressed(f journal.File, c Source) (size int64, err error) {
	out := &writerAt{f: f}
	buffer := bufio.NewWriterSize(out, int(min(max(c.Size(), 16), 64<<10)))
	z := compressors.Get().(*gzip.Writer)
	defer compressors.Put(z)
	z.Reset(buffer)
	if err := copyAll(z, c); err != nil {
		return 0, err
	}
	if err := z.Close(); err != nil {
		return 0, err
	}
	if err := buffer.Flush(); err != nil {
		return 0, err
	}
	return out.off, nil
}

func copyAll(w io.Writer, c Source) error {
	n, err := io.Copy(w, io.NewSectionReader(c, 0, c.Size()))
	if err == nil && n != c.Size() {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func blocks(size int64) int64 { return (size + block - 1) / block }

func looksCompressed(c Source) (bool, error) {
	var head [len(gzipMagic)]byte
	n, err := c.ReadAt(head[:], 0)
	if err != nil && err != io.EOF {
		return false, err
	}
	return string(head[:n]) == gzipMagic, nil
}

// writerAt writes one after the other from the beginning.
type writerAt struct {
	f   io.WriterAt
	off int64
}

func (w *writerAt) Write(p []byte) (int, error) {
	n, err := w.f.WriteAt(p, w.off)
	w.off += int64(n)
	return n, err
}

// inflater reads a compressed file. It has some 50 KB of tables and windows,
// more than most messages, so it is used again.
type inflater struct {
	in *bufio.Reader
	gzip.Reader
}

var inflaters = sync.Pool{New: func() any { return &inflater{in: bufio.NewReaderSize(nil, 8<<10)} }}

func (i *inflater) start(r io.Reader) error {
	i.in.Reset(r)
	return i.Reset(i.in)
}

// Content is the content of one message file as a client sees it, inflated
// when the file is compressed. It is used by one goroutine at a time; the
// caller closes it.
type Content struct {
	f      journal.File
	size   int64
	stored int64 // octets in the file

	whole []byte  // all of it, or nil
	loan  *buffer // that whole lies in, or nil

	inflate *inflater // at position at, or nil
	at      int64
	zipped  bool
	broken  error // what ReadAt met that no second try would heal
}

// Open opens a message file. Content larger than max octets is ErrTooLarge,
// and a compressed file is never inflated beyond the ",S=" of its name.
func (d Dir) Open(sub, name string, max int64) (*Content, error) {
	f, err := d.fs.OpenFile(d.name(sub, name), os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("open message file: %w", err)
	}
	c := &Content{f: f}
	if err := c.begin(name, max); err != nil {
		return nil, fmt.Errorf("open message file: %w", errors.Join(err, c.Close()))
	}
	return c, nil
}

func (c *Content) begin(name string, max int64) error {
	info, err := c.f.Stat()
	if err != nil {
		return err
	}
	c.size, c.stored = info.Size(), info.Size()
	if done, err := c.beginSmall(name, max); done || err != nil {
		return err
	}
	if c.zipped, err = looksCompressed(struct {
		io.ReaderAt
		sized
	}{c.f, sized(c.size)}); err != nil {
		return err
	}
	if c.zipped {
		return c.beginZipped(name, max)
	}
	if c.size > max {
		return ErrTooLarge
	}
	return nil
}

// beginSmall takes a small file into memory in one piece, and inflates it
// there. It is false when that is for others to do.
func (c *Content) beginSmall(name string, max int64) (done bool, err error) {
	if c.stored > inflateWhole || c.stored > max {
		return false, nil
	}
	if c.stored > pooled-padding {
		// Perhaps only the header is wanted. Of compressed content that takes no
		// less than all.
		zipped, err := looksCompressed(struct {
			io.ReaderAt
			sized
		}{c.f, sized(c.stored)})
		if !zipped || err != nil {
			return false, err
		}
	}
	file := borrow(int(c.stored) + padding)
	n, err := c.f.ReadAt(file.octets[:c.stored], 0)
	if int64(n) < c.stored {
		file.giveBack()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return false, err
	}
	if !bytes.HasPrefix(file.octets[:n], []byte(gzipMagic)) {
		c.whole, c.loan = file.octets[:n], file
		return true, nil
	}
	defer file.giveBack()
	told, ok := ParseName(name)
	if !ok || told.Size < 0 || told.Size > min(max, inflateWhole) {
		return false, nil
	}
	content := borrow(int(told.Size))
	u := unzippers.Get().(*unzipper)
	defer unzippers.Put(u)
	if !u.unzip(content.octets[:told.Size], file.octets, n) {
		content.giveBack()
		return false, nil
	}
	c.zipped, c.size = true, told.Size
	c.whole, c.loan = content.octets[:told.Size], content
	return true, nil
}

var unzippers = sync.Pool{New: func() any { return new(unzipper) }}

// buffer is memory on loan, from the pool when it is no larger than most
// messages are.
type buffer struct{ octets []byte }

const pooled = 64 << 10

var buffers = sync.Pool{New: func() any { return &buffer{make([]byte, pooled)} }}

func borrow(size int) *buffer {
	if size > pooled {
		return &buffer{make([]byte, size)}
	}
	return buffers.Get().(*buffer)
}

func (b *buffer) giveBack() {
	if len(b.octets) == pooled {
		buffers.Put(b)
	}
}

type sized int64

func (s sized) Size() int64 { return int64(s) }

func (c *Content) beginZipped(name string, max int64) error {
	told := int64(-1)
	if n, ok := ParseName(name); ok {
		told = n.Size
	}
	if told > max {
		return ErrTooLarge
	}
	if told >= 0 {
		max = told
	}
	if err := c.rewind(); err != nil {
		return err
	}
	// Small content is kept; of large content we only learn the size here,
	// and not even that when the name tells it.
	c.size = told
	if told > inflateWhole {
		return nil
	}
	head, err := c.readHead(told, min(max, inflateWhole)+1)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	c.at = int64(len(head))
	if c.at > max {
		return ErrTooLarge
	}
	if c.at <= inflateWhole {
		if told >= 0 && c.at != told {
			return fmt.Errorf("%w: %d octets, its name says %d", ErrBroken, c.at, told)
		}
		c.whole, c.size = head, c.at
		c.release()
		return nil
	}
	n, err := io.Copy(io.Discard, io.LimitReader(c.inflate, max-c.at+1))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	c.at += n
	if c.at > max {
		return ErrTooLarge
	}
	c.size = c.at
	return nil
}

// readHead reads up to limit octets from the start, which are told when the
// name is right.
func (c *Content) readHead(told, limit int64) ([]byte, error) {
	var head bytes.Buffer
	if told >= 0 {
		head.Grow(int(min(told, limit)) + bytes.MinRead) // in one piece
	}
	_, err := head.ReadFrom(io.LimitReader(c.inflate, limit))
	return head.Bytes(), err
}

// release gives the inflater back.
func (c *Content) release() {
	if c.inflate == nil {
		return
	}
	c.inflate.in.Reset(nil)
	inflaters.Put(c.inflate)
	c.inflate = nil
}

// rewind begins to inflate from the start.
func (c *Content) rewind() error {
	if c.inflate == nil {
		c.inflate = inflaters.Get().(*inflater)
	}
	c.at = 0
	if err := c.inflate.start(io.NewSectionReader(c.f, 0, c.stored)); err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return nil
}

// Broken gives the error of a ReadAt that found the compressed file broken, nil
// when none did: of large content only reading tells. What the disk could not
// read may be there the next time, and is not meant.
func (c *Content) Broken() error { return c.broken }

// Size is the number of octets of the content.
func (c *Content) Size() int64 { return c.size }

// ReadAt reads as io.ReaderAt. Large compressed content is cheap to read
// forward only: going back inflates it from the start.
func (c *Content) ReadAt(p []byte, off int64) (int, error) {
	switch {
	case off < 0:
		return 0, errors.New("read message file: negative offset")
	case off >= c.size:
		return 0, io.EOF
	}
	var short error
	if int64(len(p)) > c.size-off {
		p, short = p[:c.size-off], io.EOF
	}
	n, err := c.readFull(p, off)
	if err == nil {
		err = short
	}
	return n, err
}

// readFull reads all of p, which lies within the content.
func (c *Content) readFull(p []byte, off int64) (int, error) {
	if c.whole != nil {
		return copy(p, c.whole[off:]), nil
	}
	if !c.zipped {
		return c.f.ReadAt(p, off)
	}
	n, err := c.inflateAt(p, off)
	if Lasting(err) {
		c.broken = err
	}
	return n, err
}

func (c *Content) inflateAt(p []byte, off int64) (int, error) {
	if c.inflate == nil || off < c.at {
		if err := c.rewind(); err != nil {
			return 0, err
		}
	}
	skipped, err := io.CopyN(io.Discard, c.inflate, off-c.at)
	c.at += skipped
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	n, err := io.ReadFull(c.inflate, p)
	c.at += int64(n)
	if err != nil {
		return n, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return n, nil
}

// Close closes the file.
func (c *Content) Close() error {
	c.release()
	if c.loan != nil {
		c.loan.giveBack()
		c.whole, c.loan, c.size = nil, nil, 0 // to read on is a mistake, and gives nothing of others
	}
	return c.f.Close()
}
