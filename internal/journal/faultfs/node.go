package faultfs

import (
	"io"
	"io/fs"
	"maps"
	"math/rand"
	"path"
	"slices"
	"syscall"
	"time"
)

// sector is what a disk writes as a whole, in octets.
const sector = 512

// node is a directory or a file.
type node struct {
	changed time.Time

	entries, durable map[string]*node // of a directory: seen, and flushed

	data, synced []byte    // of a file: seen, and flushed
	pending      []pending // written since the flush, oldest first
}

func newDir() *node {
	return &node{changed: time.Now(), entries: map[string]*node{}, durable: map[string]*node{}}
}

func newFile() *node { return &node{changed: time.Now()} }

func (n *node) touch() { n.changed = time.Now() }

// entrySet gives an entry of a directory a node, or removes it with nil.
type entrySet struct {
	dir  *node
	name string
	node *node
}

func (s entrySet) apply(entries map[string]*node) {
	if s.node == nil {
		delete(entries, s.name)
	} else {
		entries[s.name] = s.node
	}
}

// nameChange is what one operation does to names.
type nameChange struct{ sets []entrySet }

// pending is one write, or with off below zero a truncation to size.
type pending struct {
	off  int64
	data []byte
	size int64
}

func (p pending) apply(to []byte) []byte {
	if p.off < 0 {
		return resize(to, p.size)
	}
	to = resize(to, max(int64(len(to)), p.off+int64(len(p.data))))
	copy(to[p.off:], p.data)
	return to
}

func resize(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

// torn applies those sectors of a write that random says.
func (p pending) torn(to []byte, random *rand.Rand) []byte {
	end := p.off + int64(len(p.data))
	for from := p.off; from < end; {
		next := min(from-from%sector+sector, end)
		if random.Intn(2) == 0 {
			to = pending{off: from, data: p.data[from-p.off : next-p.off]}.apply(to)
		}
		from = next
	}
	return to
}

// write changes a file, not flushed yet.
func (d *FS) write(n *node, p pending) {
	n.data = p.apply(n.data)
	n.pending = append(n.pending, p)
	n.touch()
	d.dirty[n] = true
}

// cut copies what a power cut leaves.
type cut struct {
	random  *rand.Rand
	entries map[*node]map[string]*node // of directories with changes that stay
	copies  map[*node]*node
}

// keepNames chooses the changes of names that reached the disk: those up to
// some moment, or any.
func (c *cut) keepNames(changes []*nameChange) {
	ordered := c.random.Intn(2) == 0
	upTo := c.random.Intn(len(changes) + 1)
	for i, change := range changes {
		keep := i < upTo
		if !ordered {
			keep = c.random.Intn(2) == 0
		}
		if !keep {
			continue
		}
		for _, s := range change.sets {
			if c.entries[s.dir] == nil {
				c.entries[s.dir] = maps.Clone(s.dir.durable)
			}
			s.apply(c.entries[s.dir])
		}
	}
}

func (c *cut) copy(n *node) *node {
	if done := c.copies[n]; done != nil {
		return done
	}
	if n.entries == nil {
		f := &node{changed: n.changed, data: c.content(n)}
		f.synced = append([]byte(nil), f.data...)
		c.copies[n] = f
		return f
	}
	dir := &node{changed: n.changed, entries: map[string]*node{}}
	c.copies[n] = dir
	entries := c.entries[n]
	if entries == nil {
		entries = n.durable
	}
	for _, name := range sortedNames(entries) {
		dir.entries[name] = c.copy(entries[name])
	}
	dir.durable = maps.Clone(dir.entries)
	return dir
}

// content chooses what of a file's writes reached the disk.
func (c *cut) content(n *node) []byte {
	data := append([]byte(nil), n.synced...)
	all := c.random.Intn(4) // 0: none, 1: all, else each for itself
	for _, p := range n.pending {
		one := all
		if one > 1 {
			one = c.random.Intn(4)
		}
		switch {
		case one == 0:
		case one == 1 || p.off < 0:
			data = p.apply(data)
		case one == 2:
			data = p.torn(data, c.random)
		default: // the size, but not the octets
			data = resize(data, max(int64(len(data)), p.off+int64(len(p.data))))
		}
	}
	return data
}

// file is an open file.
type file struct {
	fs       *FS
	node     *node
	name     string
	writable bool
	pos      int64 // of Read and Write
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.readAt(p, off)
}

func (f *file) readAt(p []byte, off int64) (int, error) {
	switch {
	case f.fs.dead:
		return 0, pathError("read", f.name, ErrPower)
	case f.node.entries != nil:
		return 0, pathError("read", f.name, syscall.EISDIR)
	case off < 0:
		return 0, pathError("read", f.name, syscall.EINVAL)
	case off >= int64(len(f.node.data)):
		return 0, io.EOF
	}
	n := copy(p, f.node.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) Read(p []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	n, err := f.readAt(p, f.pos)
	f.pos += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.writeAt(p, off)
}

func (f *file) Write(p []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	n, err := f.writeAt(p, f.pos)
	f.pos += int64(n)
	return n, err
}

func (f *file) writeAt(p []byte, off int64) (int, error) {
	if !f.writable {
		return 0, pathError("write", f.name, syscall.EBADF)
	}
	if off < 0 {
		return 0, pathError("write", f.name, syscall.EINVAL)
	}
	do, err := f.fs.begin(Write, f.name)
	n := len(p)
	if !do {
		if n /= 2; f.fs.dead {
			n = 0
		}
	}
	if n > 0 {
		f.fs.write(f.node, pending{off: off, data: append([]byte(nil), p[:n]...)})
	}
	return n, pathError("write", f.name, err)
}

func (f *file) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if !f.writable || size < 0 {
		return pathError("truncate", f.name, syscall.EINVAL)
	}
	do, err := f.fs.begin(Truncate, f.name)
	if do {
		f.fs.write(f.node, pending{off: -1, size: size})
	}
	return pathError("truncate", f.name, err)
}

func (f *file) Datasync() error {
	do := f.fs.flushing(Datasync, f.name)
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	_, err := f.fs.begin(Datasync, f.name)
	if do {
		f.fs.flushContent(f.node, err)
	}
	return pathError("datasync", f.name, err)
}

func (f *file) Stat() (fs.FileInfo, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.dead {
		return nil, pathError("stat", f.name, ErrPower)
	}
	return f.node.info(path.Base(f.name)), nil
}

func (f *file) Close() error { return nil }

// info describes a node as it is now.
func (n *node) info(name string) fs.FileInfo {
	i := info{name: name, size: int64(len(n.data)), mode: 0o600, changed: n.changed}
	if n.entries != nil {
		i.mode = fs.ModeDir | 0o700
	}
	return i
}

type info struct {
	name    string
	size    int64
	mode    fs.FileMode
	changed time.Time
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return i.changed }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }

func sortedNames(entries map[string]*node) []string { return slices.Sorted(maps.Keys(entries)) }
