package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
)

const (
	segmentPrefix = "seg-"
	fillChunk     = 1 << 20 // zeros written at a time
)

// segment is one file of the log.
type segment struct {
	file  File
	name  string
	index int
	size  int64 // of the file

	// Of a segment in use:
	generation  uint64
	first, last Seq
	end         int64 // where the next record goes
}

func segmentName(index int) string { return fmt.Sprintf("%s%08d", segmentPrefix, index) }

func segmentIndex(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, segmentPrefix)
	if !ok || len(digits) != 8 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	return int(n), err == nil
}

// makeSegment makes a file full of zeros that is durable with its name. Once
// it is there, writing to it changes nothing of the file system's own.
func makeSegment(cfg *Config, index int) (*segment, error) {
	name := path.Join(cfg.Dir, segmentName(index))
	octets, _, err := cfg.FS.Free()
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	if octets < uint64(cfg.SegmentSize) {
		return nil, fmt.Errorf("make %s: %w", name, ErrNoSpace)
	}
	f, err := cfg.FS.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) { // of inodes
		err = fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	if err := fill(cfg, f); err != nil {
		// What is left would be found and removed at the next Open, too.
		return nil, errors.Join(fmt.Errorf("make %s: %w", name, err), f.Close(), cfg.FS.Remove(name))
	}
	return &segment{file: f, name: name, index: index, size: cfg.SegmentSize}, nil
}

// errWriting marks errors after which the disk is not to be trusted.
type errWriting struct{ error }

func (e errWriting) Unwrap() error { return e.error }

func fill(cfg *Config, f File) error {
	zeros := make([]byte, min(fillChunk, cfg.SegmentSize))
	for off := int64(0); off < cfg.SegmentSize; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), cfg.SegmentSize-off)], off); err != nil {
			return asNoSpace(err)
		}
	}
	if err := cfg.datasync(f); err != nil {
		return asNoSpace(err)
	}
	if err := cfg.syncDir(cfg.Dir); err != nil {
		return asNoSpace(err)
	}
	return nil
}

// asNoSpace tells a full disk, which passes, from one that fails.
func asNoSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return errWriting{err}
}

// openSegments opens all segments of the log's directory.
func openSegments(cfg *Config) ([]*segment, error) {
	entries, err := cfg.FS.ReadDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", cfg.Dir, err)
	}
	var segments []*segment
	for _, e := range entries {
		index, ok := segmentIndex(e.Name())
		if !ok {
			continue
		}
		s, err := openSegment(cfg, index)
		if err != nil {
			closeAll(segments)
			return nil, err
		}
		segments = append(segments, s)
	}
	return segments, nil
}

func openSegment(cfg *Config, index int) (*segment, error) {
	name := path.Join(cfg.Dir, segmentName(index))
	f, err := cfg.FS.OpenFile(name, os.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", name, err), f.Close())
	}
	return &segment{file: f, name: name, index: index, size: info.Size()}, nil
}

func closeAll(segments []*segment) error {
	var errs []error
	for _, s := range segments {
		errs = append(errs, s.file.Close())
	}
	return errors.Join(errs...)
}

func (cfg *Config) datasync(f File) error {
	if cfg.NoSync {
		return nil
	}
	return f.Datasync()
}

func (cfg *Config) syncDir(name string) error {
	if cfg.NoSync {
		return nil
	}
	return cfg.FS.SyncDir(name)
}

// makeDir makes the log's directory; its name is durable afterwards.
func (cfg *Config) makeDir() error {
	err := cfg.FS.Mkdir(cfg.Dir)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make %s: %w", cfg.Dir, err)
	}
	if err := cfg.syncDir(path.Dir(cfg.Dir)); err != nil {
		return fmt.Errorf("make %s: %w", cfg.Dir, err)
	}
	return nil
}
