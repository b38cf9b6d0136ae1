package local

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"sync/atomic"

	"barid/internal/journal"
	"barid/storage"
	"barid/storage/maildir"
)

const (
	// inlineMax is the largest content that goes into the journal itself;
	// larger content lies in a staging file, flushed before its record. All
	// content of one record may have four times as much.
	inlineMax = 256 << 10

	stagingDir = "staging"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// item is one message of one mailbox: where its content lies. It is shared by
// all states that have the message. The name of its file is made from what is
// here and its Message, so it costs no memory.
type item struct {
	seq     uint64        // of the record that put it there
	n       uint32        // which of that record's messages it is
	loc     atomic.Uint32 // only the settler changes it once the item is seen
	foreign *maildir.Name // of a file that others made; else nil
	// content has the octets until the item is settled. Store.bodies guards
	// its changes.
	content atomic.Pointer[content]
}

// The bits of item.loc. Above them stand the flags that the file name has.
const (
	locSettled  = 1 << iota // it lies in its file
	locCur                  // that file is, or will be, in cur
	locDead                 // expunged, its file is gone
	locNumbered             // Message.ID is a number within its record until seal; never seen
	locBroken               // its file was found broken when it was read; in memory only, and may be forgotten

	locFlagShift = 8
)

func locOf(cur bool, flags storage.Flags) uint32 {
	loc := uint32(flags&storage.SystemFlags) << locFlagShift
	if cur || flags != 0 {
		loc |= locCur
	}
	return loc
}

func locFlags(loc uint32) storage.Flags { return storage.Flags(loc >> locFlagShift) }

// fileName gives where the file of it is when its place is loc.
func (it *item) fileName(m *storage.Message, loc uint32) (sub, name string) {
	var n maildir.Name
	if it.foreign != nil {
		n = *it.foreign
	} else {
		n = maildir.Name{Base: maildir.NewBase(m.Received.Time(), it.seq, int(it.n)), Size: m.Size, UID: uint32(m.UID)}
	}
	n.Flags = locFlags(loc)
	switch {
	case loc&locCur == 0:
		return maildir.New, n.Stem()
	case it.foreign != nil: // others leave out the flags part where there are none
		return maildir.Cur, n.String()
	}
	return maildir.Cur, n.InCur().String()
}

// content is the octets of one or more messages that have no file yet.
// Store.bodies guards all but size, crc and staged.
type content struct {
	size    int64
	crc     uint32
	mem     []byte  // nil when in a staging file, or in the file of home
	staged  string  // name in the staging directory
	ours    bool    // staged by the store itself, not by a Draft
	users   int     // items that are neither settled nor dead, and such entries of the queue
	home    *home   // an item that has a file of this content
	inQueue *queued // an entry of the queue that had one; it may have ended
	first   uint64  // the record that brought it here
	last    uint64  // the last record that names the staging file
	// waiting are the items that hold it, and such as have their file by now.
	waiting []job
}

// home is an item that has a file.
type home struct {
	a   *account
	box string
	msg storage.Message
	it  *item
}

// octets makes content in memory readable.
type octets []byte

func (o octets) Size() int64 { return int64(len(o)) }

func (o octets) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	if off >= int64(len(o)) {
		return 0, io.EOF
	}
	n := copy(p, o[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// stagedFile is content in a staging file.
type stagedFile struct {
	journal.File
	size int64
}

func (f stagedFile) Size() int64 { return f.size }

// opened is content and how to give it back.
type opened struct {
	storage.Content
	close func() error
}

func openedOctets(b []byte) opened {
	return opened{octets(b), func() error { return nil }}
}

// openItem opens the content of an item wherever it lies now. fs.ErrNotExist
// when it is gone.
func (s *Store) openItem(a *account, box string, m *storage.Message, it *item) (opened, error) {
	for range 8 { // a file may be renamed under our hands, a few times at most
		loc := it.loc.Load()
		if loc&locSettled != 0 {
			sub, name := it.fileName(m, loc)
			c, err := s.dir(a, box).Open(sub, name, maxOpen)
			if err == nil {
				return opened{c, c.Close}, nil
			}
			if errors.Is(err, fs.ErrNotExist) && s.moved(it, loc) {
				continue
			}
			return opened{}, err
		}
		if loc&locDead != 0 {
			break
		}
		o, ok, err := s.openContent(it)
		if ok && !(errors.Is(err, fs.ErrNotExist) && it.loc.Load() != loc) {
			return o, err
		}
	}
	return opened{}, fmt.Errorf("open message: %w", fs.ErrNotExist)
}

// moved tells whether the file of an item has another name than it had at
// loc. It waits for whoever is about to tell the item.
func (s *Store) moved(it *item, loc uint32) bool {
	s.naming.RLock()
	defer s.naming.RUnlock()
	return it.loc.Load() != loc
}

// maxOpen is the largest message file that is opened.
const maxOpen = 1 << 30

// openContent opens what has no file of its own yet; not ok when it got one
// meanwhile.
func (s *Store) openContent(it *item) (o opened, ok bool, err error) {
	c := it.content.Load()
	if c == nil {
		return opened{}, false, nil
	}
	s.bodies.Lock()
	mem, staged, from := c.mem, c.staged, c.home
	s.bodies.Unlock()
	switch {
	case mem != nil:
		return openedOctets(mem), true, nil
	case staged != "":
		o, err = s.openStaged(c)
		return o, true, err
	case from != nil && from.it != it:
		o, err = s.openItem(from.a, from.box, &from.msg, from.it)
		return o, true, err
	}
	return opened{}, false, nil
}

func (s *Store) openStaged(c *content) (opened, error) {
	f, err := s.fs.OpenFile(stagingDir+"/"+c.staged, os.O_RDONLY)
	if err != nil {
		return opened{}, fmt.Errorf("open staged content: %w", err)
	}
	return opened{stagedFile{f, c.size}, f.Close}, nil
}

// contentOf takes up what a caller gave: a Draft of ours is taken over,
// anything else is copied. inline is how much more the record may hold.
func (s *Store) contentOf(given storage.Content, inline int64) (*content, error) {
	if d, ok := given.(*draft); ok && d.s == s {
		return d.commit(inline)
	}
	size := given.Size()
	if size < 0 || size > s.maxContent() {
		return nil, fmt.Errorf("content of %d octets: %w", size, storage.ErrFull)
	}
	if size > min(s.inline, inline) {
		return s.stage(given)
	}
	mem := make([]byte, size)
	if n, err := given.ReadAt(mem, 0); int64(n) < size {
		return nil, fmt.Errorf("read content: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	return &content{size: size, crc: crc32.Checksum(mem, castagnoli), mem: mem}, nil
}

// stage writes content into a staging file and flushes it.
func (s *Store) stage(given storage.Content) (*content, error) {
	d := &draft{s: s}
	err := d.spill()
	if err == nil {
		var n int64
		n, err = io.Copy(d, io.NewSectionReader(given, 0, given.Size()))
		if err == nil && n != given.Size() {
			err = io.ErrUnexpectedEOF
		}
	}
	if err == nil {
		_, err = d.commit(0)
	}
	if err != nil {
		d.Discard()
		return nil, fmt.Errorf("stage content: %w", err)
	}
	if err := d.file.Close(); err != nil {
		s.log.Warn("close staging file", "part", "storage", "error", err)
	}
	d.committed.ours = true
	return d.committed, nil
}

// dropUnused removes the staging file of content that no record names.
func (s *Store) dropUnused(c *content) {
	if c.ours && !s.keeps(c) {
		s.removeStaged(c.staged)
	}
}

func (s *Store) removeStaged(name string) {
	if err := s.fs.Remove(stagingDir + "/" + name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("staging file left behind", "part", "storage", "error", err)
	}
}

// use gives content one user more, by the record of that number. Store.bodies
// is held.
func (s *Store) use(c *content, seq uint64) {
	if c.users == 0 {
		s.fresh.Add(int64(len(c.mem)))
		s.held[c] = true
	}
	if c.first == 0 {
		c.first = seq
	}
	c.users++
	if c.staged != "" {
		c.last = max(c.last, seq)
	}
}

// hold gives a new item its content, once its record has its number.
func (s *Store) hold(a *account, add *addition, seq uint64) {
	s.bodies.Lock()
	defer s.bodies.Unlock()
	c := add.from.content
	if c == nil && add.from.item != nil {
		c = s.share(add.from)
	}
	if c == nil {
		return
	}
	s.use(c, seq)
	c.waiting = append(c.waiting, job{kind: jobSettle, a: a, box: add.box, msg: add.msg, it: add.it})
	add.it.content.Store(c)
}

// share gives the content of an item that is copied. Store.bodies is held.
func (s *Store) share(from source) *content {
	if c := from.item.content.Load(); c != nil {
		return c
	}
	c := &content{size: from.home.msg.Size, home: &from.home}
	from.item.content.Store(c)
	return c
}

// wastedCheckpoints times Config.CheckpointBytes is what staging files may
// waste before a checkpoint is made for them.
const wastedCheckpoints = 4

// letGo says that an item needs its content no longer: it is settled, or
// dead. Store.bodies is held.
func (s *Store) letGo(it *item) {
	c := it.content.Load()
	if c == nil {
		return
	}
	it.content.Store(nil)
	s.unuse(c)
}

// unuse says that a user of content needs it no longer. Store.bodies is held.
func (s *Store) unuse(c *content) {
	c.users--
	if c.users > 0 {
		return
	}
	s.fresh.Add(-int64(len(c.mem)))
	delete(s.held, c)
	c.mem, c.waiting, c.inQueue = nil, nil, nil
	if c.home != nil && c.home.it.content.Load() == c {
		c.home.it.content.Store(nil)
	}
	if c.staged != "" {
		s.unneeded = append(s.unneeded, c)
		s.wasted += c.size
		s.settler.look(s.wasted / wastedCheckpoints)
	}
}

// maxHeader bounds what is taken for a header, in octets. A message without
// an empty line is adopted mail at best.
const maxHeader = 1 << 20

// headerOf gives the header of content: all up to and including the first
// empty line, or the first maxHeader octets where it does not end before.
func headerOf(c storage.Content) (storage.Content, error) {
	if o, ok := c.(octets); ok {
		o = o[:min(len(o), maxHeader)]
		return o[:headerLength(o)], nil
	}
	var head []byte
	line := 0 // where the last line begins that was looked at
	for size := min(c.Size(), maxHeader); int64(len(head)) < size; {
		more := min(size-int64(len(head)), int64(max(len(head), 8<<10)))
		at := len(head)
		head = append(head, make([]byte, more)...)
		if n, err := c.ReadAt(head[at:], int64(at)); int64(n) < more {
			return nil, fmt.Errorf("read header: %w", errors.Join(err, io.ErrUnexpectedEOF))
		}
		if n := line + headerLength(head[line:]); n < len(head) || int64(n) == c.Size() {
			return octets(head[:n]), nil
		}
		line = bytes.LastIndexByte(head, '\n') + 1
	}
	return octets(head), nil
}

// headerLength finds the end of the first empty line in b; the length of b
// when there is none. Lines end in CRLF, or LF alone in adopted mail.
func headerLength(b []byte) int {
	for at := 0; at < len(b); {
		end := bytes.IndexByte(b[at:], '\n')
		if end < 0 {
			break
		}
		line := b[at : at+end]
		at += end + 1
		if len(line) == 0 || len(line) == 1 && line[0] == '\r' {
			return at
		}
	}
	return len(b)
}
