package journal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path"
)

const (
	markName   = "mark"
	markMagic  = "barid journal 1\n"
	markNoSync = 1    // flag
	markSize   = 4096 // of one slot, so that a torn write never hurts both
	markUsed   = len(markMagic) + 5*8 + 4
)

// mark is the file that says what of the log is not needed any more. It has
// two slots that are written in turn; the one with the higher count holds.
type mark struct {
	file  File
	count uint64

	salt    uint64 // see header
	runs    uint64 // how often the log was opened
	trimmed Seq
	noSync  bool // since this is set, what was acknowledged may be lost
}

// openMark opens the mark of a log, or makes it when the log is new.
func openMark(cfg *Config, isNew bool) (*mark, error) {
	name := path.Join(cfg.Dir, markName)
	f, err := cfg.FS.OpenFile(name, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		if !isNew {
			return nil, fmt.Errorf("%w: %s is missing, but segments are there", ErrCorrupt, name)
		}
		return newMark(cfg, name)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	m := &mark{file: f}
	if err := m.read(name); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return m, nil
}

// newMark makes the file under another name first, so that it is complete
// when it is there. It is flushed without sync, too: no log is readable
// without it.
func newMark(cfg *Config, name string) (*mark, error) {
	var salt [8]byte
	rand.Read(salt[:]) // never fails
	f, err := cfg.FS.OpenFile(name+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	m := &mark{file: f, salt: binary.LittleEndian.Uint64(salt[:])}
	_, err = f.WriteAt(make([]byte, 2*markSize), 0)
	if err == nil {
		err = m.write(File.Datasync)
	}
	if err == nil {
		err = cfg.FS.Rename(name+".new", name)
	}
	if err == nil {
		err = cfg.FS.SyncDir(cfg.Dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make %s: %w", name, err), f.Close())
	}
	return m, nil
}

// write writes the other slot and flushes it.
func (m *mark) write(datasync func(File) error) error {
	m.count++
	le := binary.LittleEndian
	b := append(make([]byte, 0, markUsed), markMagic...)
	b = le.AppendUint64(b, m.count)
	b = le.AppendUint64(b, m.salt)
	b = le.AppendUint64(b, m.runs)
	b = le.AppendUint64(b, uint64(m.trimmed))
	var flags uint64
	if m.noSync {
		flags = markNoSync
	}
	b = le.AppendUint64(b, flags)
	b = le.AppendUint32(b, crc32.Checksum(b, castagnoli))
	if _, err := m.file.WriteAt(b, int64(m.count%2)*markSize); err != nil {
		return err
	}
	return datasync(m.file)
}

func (m *mark) read(name string) error {
	b := make([]byte, markSize+markUsed)
	n, err := m.file.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return fmt.Errorf("read %s: %w", name, err)
	}
	b = b[:n]
	m.readSlot(b)
	m.readSlot(b[min(n, markSize):])
	if m.count == 0 {
		return fmt.Errorf("%w: %s has no whole slot", ErrCorrupt, name)
	}
	return nil
}

// readSlot takes over what a slot says when it is whole and newer.
func (m *mark) readSlot(b []byte) {
	if len(b) < markUsed || string(b[:len(markMagic)]) != markMagic {
		return
	}
	le := binary.LittleEndian
	b, sum := b[:markUsed-4], le.Uint32(b[markUsed-4:])
	if crc32.Checksum(b, castagnoli) != sum {
		return
	}
	v := b[len(markMagic):]
	if count := le.Uint64(v); count > m.count {
		m.count, m.salt, m.runs, m.trimmed = count, le.Uint64(v[8:]), le.Uint64(v[16:]), Seq(le.Uint64(v[24:]))
		m.noSync = le.Uint64(v[32:])&markNoSync != 0
	}
}
