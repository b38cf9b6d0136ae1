package local

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"

	"barid/internal/journal"
	"barid/storage"
)

// headerRoom is what a draft may be larger than Config.MaxMessage, for the
// header fields that a server adds on the way.
const headerRoom = 64 << 10

func (s *Store) maxContent() int64 { return s.cfg.MaxMessage + headerRoom }

// draftBuffers are buffers of discarded drafts. The pool only saves their
// making; what a buffer held is overwritten before it is seen again.
var draftBuffers = sync.Pool{New: func() any { return new([]byte) }}

// draft is content on its way in: in memory up to inlineMax, then in a
// staging file.
type draft struct {
	s   *Store
	mem []byte
	crc uint32

	size   int64
	file   journal.File // nil while in memory
	name   string       // of file
	failed error

	committed *content // what Commit took over
}

// Draft implements storage.Store.
func (s *Store) Draft(ctx context.Context, size int64) (storage.Draft, error) {
	if err := s.writable(ctx); err != nil {
		return nil, fmt.Errorf("begin a draft: %w", err)
	}
	if size > s.maxContent() {
		return nil, fmt.Errorf("begin a draft of %d octets: %w", size, storage.ErrFull)
	}
	if err := s.space(max(size, 0)); err != nil {
		return nil, fmt.Errorf("begin a draft: %w", err)
	}
	d := &draft{s: s, mem: (*draftBuffers.Get().(*[]byte))[:0]}
	if want := int(min(max(size, 0), s.inline)); cap(d.mem) < want {
		d.mem = make([]byte, 0, want)
	}
	return d, nil
}

func (d *draft) Write(p []byte) (int, error) {
	switch {
	case d.failed != nil:
		return 0, d.failed
	case d.committed != nil:
		return 0, errors.New("write to a draft after its commit")
	case d.size+int64(len(p)) > d.s.maxContent():
		d.failed = fmt.Errorf("draft beyond %d octets: %w", d.s.maxContent(), storage.ErrFull)
		return 0, d.failed
	case d.file == nil && d.size+int64(len(p)) > d.s.inline:
		if d.failed = d.spill(); d.failed != nil {
			return 0, d.failed
		}
	}
	if d.file == nil {
		d.mem = append(d.mem, p...)
	} else if err := d.append(p); err != nil {
		return 0, err
	}
	d.size += int64(len(p))
	d.crc = crc32.Update(d.crc, castagnoli, p)
	return len(p), nil
}

// append writes at the end of the staging file.
func (d *draft) append(p []byte) error {
	if _, err := d.file.WriteAt(p, d.size); err != nil {
		d.failed = fmt.Errorf("write draft: %w", errors.Join(storage.ErrFull, err))
	}
	return d.failed
}

// spill moves the draft from memory to a staging file.
func (d *draft) spill() error {
	if err := d.s.space(inlineMax); err != nil {
		return fmt.Errorf("spill draft: %w", err)
	}
	var random [12]byte
	rand.Read(random[:]) // never fails, see crypto/rand
	name := hex.EncodeToString(random[:])
	f, err := d.s.fs.OpenFile(stagingDir+"/"+name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return fmt.Errorf("spill draft: %w", errors.Join(storage.ErrFull, err))
	}
	d.file, d.name = f, name
	if len(d.mem) > 0 {
		if _, err := f.WriteAt(d.mem, 0); err != nil {
			return fmt.Errorf("spill draft: %w", errors.Join(storage.ErrFull, err))
		}
	}
	d.dropMemory()
	return nil
}

func (d *draft) dropMemory() {
	if cap(d.mem) > 0 && cap(d.mem) <= inlineMax {
		b := d.mem[:0]
		draftBuffers.Put(&b)
	}
	d.mem = nil
}

func (d *draft) Size() int64 { return d.size }

func (d *draft) ReadAt(p []byte, off int64) (int, error) {
	switch {
	case d.committed != nil && d.committed.staged == "":
		d.s.bodies.Lock()
		mem := d.committed.mem
		d.s.bodies.Unlock()
		if mem == nil && d.size > 0 {
			return 0, errors.New("read a draft after its content settled")
		}
		return octets(mem).ReadAt(p, off)
	case d.file == nil:
		return octets(d.mem).ReadAt(p, off)
	case off >= d.size:
		return 0, io.EOF
	}
	return d.file.ReadAt(p, off)
}

// commit makes the draft's content fit for a record, without a copy where
// there is not much slack. It is flushed when it lies in a staging file.
func (d *draft) commit(inline int64) (*content, error) {
	if d.failed != nil {
		return nil, d.failed
	}
	if c := d.committed; c != nil {
		return d.again(c)
	}
	if d.file == nil && d.size > min(inline, d.s.inline) {
		if d.failed = d.spill(); d.failed != nil {
			return nil, d.failed
		}
	}
	if d.file == nil {
		mem := d.mem
		if cap(mem) > len(mem)+len(mem)/4+64 {
			mem = append(make([]byte, 0, len(mem)), mem...)
			d.dropMemory()
		}
		d.mem = nil
		if mem == nil {
			mem = []byte{}
		}
		d.committed = &content{size: d.size, crc: d.crc, mem: mem}
		return d.committed, nil
	}
	if err := d.flush(); err != nil {
		return nil, err
	}
	d.committed = &content{size: d.size, crc: d.crc, staged: d.name}
	return d.committed, nil
}

// flush makes the staging file and its name durable.
func (d *draft) flush() error {
	if d.s.cfg.NoSync {
		return nil
	}
	err := d.file.Datasync()
	if err == nil {
		err = d.s.fs.SyncDir(stagingDir)
	}
	if err != nil {
		// What a failed flush lost must not be believed a second time.
		d.failed = fmt.Errorf("flush draft: %w", err)
	}
	return d.failed
}

// again gives the content of an earlier commit to another.
func (d *draft) again(c *content) (*content, error) {
	d.s.bodies.Lock()
	defer d.s.bodies.Unlock()
	switch {
	case c.staged != "":
		return c, nil
	case c.mem != nil:
		return &content{size: c.size, crc: c.crc, mem: c.mem}, nil
	}
	return nil, errors.New("a draft whose content settled already cannot be committed again")
}

// Discard implements storage.Draft.
func (d *draft) Discard() {
	d.dropMemory()
	if d.file == nil {
		return
	}
	_ = d.file.Close() // nothing can be lost: it was flushed, or is not wanted
	d.file = nil
	if d.committed != nil && d.s.keeps(d.committed) {
		return
	}
	d.s.removeStaged(d.name)
}

// keeps tells whether a record names the staging file of c.
func (s *Store) keeps(c *content) bool {
	s.bodies.Lock()
	defer s.bodies.Unlock()
	return c.last > 0
}
