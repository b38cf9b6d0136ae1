// Package faultfs is a disk for tests: a journal.FS in memory that can fail
// any operation and lose its power between any two.
//
// It is as unkind as a real disk may be. After a power cut, content is as it
// was at its last flush, and of each write after that any 512-octet sectors
// may be there or not; names are as at the last SyncDir of their directory or
// SyncFS, and of each later change of names any may be there or not. A flush
// that fails loses what it should have flushed for good, and a second one
// does not tell, as with Linux.
package faultfs

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"barid/internal/journal"
)

// ErrPower is what every operation fails with once the power is gone.
var ErrPower = errors.New("power cut")

// Kind names an operation that is counted: all that change the disk or flush.
type Kind string

// The kinds. Create is an OpenFile that makes or truncates a file; RemoveAll
// counts as one.
const (
	Create    Kind = "create"
	Mkdir     Kind = "mkdir"
	Rename    Kind = "rename"
	Link      Kind = "link"
	Remove    Kind = "remove"
	RemoveAll Kind = "removeall"
	Write     Kind = "write"
	Truncate  Kind = "truncate"
	Datasync  Kind = "datasync"
	SyncDir   Kind = "syncdir"
	SyncFS    Kind = "syncfs"
)

// The kinds of what only looks, and is not counted: see OnLook. Open is an
// OpenFile of what is there.
const (
	Open    Kind = "open"
	Stat    Kind = "stat"
	ReadDir Kind = "readdir"
)

// Op is one operation that was done or failed. Name is the (first) name it
// was given; for files, the name they were opened with.
type Op struct {
	Kind Kind
	Name string
}

// FS is the disk. All methods are safe for many goroutines.
type FS struct {
	mu      sync.Mutex // guards the fields below and all nodes
	root    *node
	names   []*nameChange // not flushed, oldest first
	dirty   map[*node]bool
	log     []Op
	fail    map[int]error
	stopAt  int // zero is never
	dead    bool
	octets  uint64
	inodes  uint64
	flushed func(Op)
	ignored func(Op) bool
	looked  func(Op)
	broken  func(Op) error
	size    uint64
}

// New gives an empty disk with much space.
func New() *FS { return withRoot(newDir()) }

func withRoot(root *node) *FS {
	return &FS{root: root, dirty: map[*node]bool{}, fail: map[int]error{}, octets: 1 << 40, inodes: 1 << 30}
}

// FailAt makes the n-th counted operation since New or Cut, from 1, fail once
// with err. A write that fails has written its first half; a flush that fails
// has lost the content; others have done nothing.
func (d *FS) FailAt(n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail[n] = err
}

// StopAt cuts the power during the n-th counted operation: this and all later
// ones, reads too, fail with ErrPower. Cut then tells what is left.
func (d *FS) StopAt(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopAt = n
}

// Ops gives the number of counted operations so far.
func (d *FS) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.log)
}

// Log gives the counted operations so far.
func (d *FS) Log() []Op {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.log)
}

// Count gives how many operations of a kind there were.
func (d *FS) Count(k Kind) int {
	n := 0
	for _, op := range d.Log() {
		if op.Kind == k {
			n++
		}
	}
	return n
}

// OnFlush lets f be called before each Datasync, SyncDir and SyncFS, by the
// goroutine that flushes and with no lock held: a test may block there.
func (d *FS) OnFlush(f func(Op)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flushed = f
}

// IgnoreFlush makes flushes for which f is true do nothing, though they are
// counted and succeed: as if the program had none there. f is called by the
// goroutine that flushes, with no lock held, so it sees its callers.
func (d *FS) IgnoreFlush(f func(Op) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ignored = f
}

// OnLook lets f be called for each OpenFile, Stat and ReadDir that finds what
// it looks for, by the goroutine that looks and with the lock held: f may not
// use the FS.
func (d *FS) OnLook(f func(Op)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.looked = f
}

func (d *FS) look(k Kind, name string) {
	if d.looked != nil {
		d.looked(Op{k, name})
	}
}

// Break makes each counted operation for which f gives an error fail with it,
// as often as it is tried; nil ends that. f is called with the lock held and
// may not use the FS.
func (d *FS) Break(f func(Op) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken = f
}

// SetSize sets what Size tells.
func (d *FS) SetSize(octets uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.size = octets
}

// Size implements journal.Sizer.
func (d *FS) Size() (octets uint64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.size, nil
}

// SetFree sets what Free tells. Nothing else knows of it.
func (d *FS) SetFree(octets, inodes uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.octets, d.inodes = octets, inodes
}

// Cut cuts the power now and gives one disk that may be found after it, with
// what was not flushed lost, kept or torn as random says. The old FS fails
// everything from here on, but Cut may be called again for other outcomes.
func (d *FS) Cut(random *rand.Rand) *FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	c := &cut{random: random, entries: map[*node]map[string]*node{}, copies: map[*node]*node{}}
	c.keepNames(d.names)
	return withRoot(c.copy(d.root))
}

// begin counts an operation. With do false it has no effect; with err nil it
// succeeds. The lock is held.
func (d *FS) begin(k Kind, name string) (do bool, err error) {
	if d.dead {
		return false, ErrPower
	}
	d.log = append(d.log, Op{k, name})
	n := len(d.log)
	if d.stopAt != 0 && n >= d.stopAt {
		d.dead = true
		return true, ErrPower // in the air: perhaps it reaches the disk
	}
	if err := d.fail[n]; err != nil {
		return false, err
	}
	if d.broken != nil {
		if err := d.broken(Op{k, name}); err != nil {
			return false, err
		}
	}
	return true, nil
}

// flushing calls the hooks of OnFlush and IgnoreFlush; with do false the flush
// has no effect.
func (d *FS) flushing(k Kind, name string) (do bool) {
	d.mu.Lock()
	flushed, ignored := d.flushed, d.ignored
	d.mu.Unlock()
	if flushed != nil {
		flushed(Op{k, name})
	}
	return ignored == nil || !ignored(Op{k, name})
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// find gives the node of a name, or ENOENT, ENOTDIR.
func (d *FS) find(name string) (*node, error) {
	if d.dead {
		return nil, ErrPower
	}
	if !fs.ValidPath(name) {
		return nil, syscall.EINVAL
	}
	n := d.root
	if name == "." {
		return n, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if n.entries == nil {
			return nil, syscall.ENOTDIR
		}
		if n = n.entries[part]; n == nil {
			return nil, syscall.ENOENT
		}
	}
	return n, nil
}

// parent gives the directory that holds a name, and the last part of it.
func (d *FS) parent(name string) (*node, string, error) {
	if name == "." {
		return nil, "", syscall.EBUSY
	}
	dir, err := d.find(path.Dir(name))
	if err != nil {
		return nil, "", err
	}
	if dir.entries == nil {
		return nil, "", syscall.ENOTDIR
	}
	if !fs.ValidPath(name) {
		return nil, "", syscall.EINVAL
	}
	return dir, path.Base(name), nil
}

// change changes names as one, not flushed yet.
func (d *FS) change(sets ...entrySet) {
	for _, s := range sets {
		s.apply(s.dir.entries)
		s.dir.touch()
	}
	d.names = append(d.names, &nameChange{sets})
}

// OpenFile implements journal.FS.
func (d *FS) OpenFile(name string, flag int) (journal.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.open(name, flag)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return f, nil
}

func (d *FS) open(name string, flag int) (*file, error) {
	n, err := d.find(name)
	writable := flag&(os.O_RDWR|os.O_WRONLY) != 0
	switch {
	case err == nil && flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
		return nil, syscall.EEXIST
	case err == nil && n.entries != nil && writable:
		return nil, syscall.EISDIR
	case err == nil && flag&os.O_TRUNC != 0 && len(n.data) > 0:
		do, err := d.begin(Create, name)
		if do {
			d.write(n, pending{off: -1})
		}
		return &file{d, n, name, writable, 0}, err
	case err == nil:
		d.look(Open, name)
		return &file{d, n, name, writable, 0}, nil
	case err != syscall.ENOENT || flag&os.O_CREATE == 0:
		return nil, err
	}
	dir, base, err := d.parent(name)
	if err != nil {
		return nil, err
	}
	n = newFile()
	do, err := d.begin(Create, name)
	if do {
		d.change(entrySet{dir, base, n})
	}
	return &file{d, n, name, writable, 0}, err
}

// Mkdir implements journal.FS.
func (d *FS) Mkdir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.find(name); err == nil {
		return pathError("mkdir", name, syscall.EEXIST)
	}
	dir, base, err := d.parent(name)
	if err != nil {
		return pathError("mkdir", name, err)
	}
	do, err := d.begin(Mkdir, name)
	if do {
		d.change(entrySet{dir, base, newDir()})
	}
	return pathError("mkdir", name, err)
}

// Rename implements journal.FS. Between two links of one file it does
// nothing, as on any Unix.
func (d *FS) Rename(oldname, newname string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return pathError("rename", oldname, d.rename(oldname, newname))
}

func (d *FS) rename(oldname, newname string) error {
	n, err := d.find(oldname)
	if err != nil {
		return err
	}
	oldDir, oldBase, err := d.parent(oldname)
	if err != nil {
		return err
	}
	newDir, newBase, err := d.parent(newname)
	if err != nil {
		return err
	}
	old := newDir.entries[newBase]
	switch {
	case old == n:
		_, err := d.begin(Rename, oldname)
		return err
	case old == nil:
	case old.entries == nil && n.entries != nil:
		return syscall.ENOTDIR
	case old.entries != nil && n.entries == nil:
		return syscall.EISDIR
	case len(old.entries) > 0:
		return syscall.ENOTEMPTY
	}
	if n.entries != nil && strings.HasPrefix(newname, oldname+"/") {
		return syscall.EINVAL
	}
	do, err := d.begin(Rename, oldname)
	if do {
		d.change(entrySet{newDir, newBase, n}, entrySet{oldDir, oldBase, nil})
	}
	return err
}

// Link implements journal.FS.
func (d *FS) Link(oldname, newname string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(oldname)
	if err != nil {
		return pathError("link", oldname, err)
	}
	dir, base, err := d.parent(newname)
	if err == nil && n.entries != nil {
		err = syscall.EPERM
	}
	if err == nil && dir.entries[base] != nil {
		err = syscall.EEXIST
	}
	if err != nil {
		return pathError("link", newname, err)
	}
	do, err := d.begin(Link, oldname)
	if do {
		d.change(entrySet{dir, base, n})
	}
	return pathError("link", newname, err)
}

// Remove implements journal.FS.
func (d *FS) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(name)
	if err == nil && len(n.entries) > 0 {
		err = syscall.ENOTEMPTY
	}
	if err != nil {
		return pathError("remove", name, err)
	}
	dir, base, err := d.parent(name)
	if err != nil {
		return pathError("remove", name, err)
	}
	do, err := d.begin(Remove, name)
	if do {
		d.change(entrySet{dir, base, nil})
	}
	return pathError("remove", name, err)
}

// RemoveAll implements journal.FS. Each name in the tree goes by itself, so a
// power cut may leave some.
func (d *FS) RemoveAll(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return pathError("removeall", name, err)
	}
	dir, base, err := d.parent(name)
	if err != nil {
		return pathError("removeall", name, err)
	}
	do, err := d.begin(RemoveAll, name)
	if do {
		d.empty(n)
		d.change(entrySet{dir, base, nil})
	}
	return pathError("removeall", name, err)
}

func (d *FS) empty(n *node) {
	for _, name := range slices.Sorted(maps.Keys(n.entries)) {
		d.empty(n.entries[name])
		d.change(entrySet{n, name, nil})
	}
}

// Stat implements journal.FS.
func (d *FS) Stat(name string) (fs.FileInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(name)
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	d.look(Stat, name)
	return n.info(path.Base(name)), nil
}

// ReadDir implements journal.FS.
func (d *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(name)
	if err == nil && n.entries == nil {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError("readdir", name, err)
	}
	d.look(ReadDir, name)
	var entries []fs.DirEntry
	for name, n := range n.entries {
		entries = append(entries, fs.FileInfoToDirEntry(n.info(name)))
	}
	return entries, nil
}

// SyncDir implements journal.FS.
func (d *FS) SyncDir(name string) error {
	do := d.flushing(SyncDir, name)
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(name)
	if err == nil && n.entries == nil {
		err = syscall.ENOTDIR
	}
	if err == nil {
		_, err = d.begin(SyncDir, name)
	}
	if err != nil {
		return pathError("syncdir", name, err)
	}
	if do {
		d.flushNames(n)
	}
	return nil
}

// SyncFS implements journal.FS.
func (d *FS) SyncFS() error {
	do := d.flushing(SyncFS, ".")
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := d.begin(SyncFS, ".")
	if !do {
		return pathError("syncfs", ".", err)
	}
	for n := range d.dirty {
		d.flushContent(n, err)
	}
	if err != nil {
		return pathError("syncfs", ".", err)
	}
	d.flushNames(nil)
	return nil
}

// flushNames makes the names in a directory durable, or all with nil.
func (d *FS) flushNames(dir *node) {
	for _, c := range d.names {
		c.sets = slices.DeleteFunc(c.sets, func(s entrySet) bool {
			if dir != nil && s.dir != dir {
				return false
			}
			s.apply(s.dir.durable)
			return true
		})
	}
	d.names = slices.DeleteFunc(d.names, func(c *nameChange) bool { return len(c.sets) == 0 })
}

// flushContent makes the content of a file durable, or, when that fails,
// loses what was to be flushed.
func (d *FS) flushContent(n *node, err error) {
	if errors.Is(err, ErrPower) {
		return
	}
	if err == nil {
		for _, p := range n.pending {
			n.synced = p.apply(n.synced)
		}
	}
	n.pending = nil
	delete(d.dirty, n)
}

// Free implements journal.FS.
func (d *FS) Free() (octets, inodes uint64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return 0, 0, ErrPower
	}
	return d.octets, d.inodes, nil
}

// Close implements journal.FS. The disk stays as it is.
func (d *FS) Close() error { return nil }
