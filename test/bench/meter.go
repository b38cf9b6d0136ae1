package main

import (
	"os"
	"strings"
	"sync/atomic"
	"time"

	"barid/internal/journal"
)

// meter is a disk that counts what a store does to it.
type meter struct {
	journal.FS
	counts
}

// counts are operations since the meter began.
type counts struct {
	operations atomic.Int64
	created    atomic.Int64
	messages   atomic.Int64
	written    atomic.Int64
	flushes    atomic.Int64
}

// work is what counts say at one moment, or between two.
type work struct {
	operations int64 // of any kind
	created    int64 // files and links outside the journal
	messages   int64 // of them in directories of messages
	written    int64 // octets, all files
	flushes    int64 // of files, directories and file systems
}

func (c *counts) now() work {
	return work{c.operations.Load(), c.created.Load(), c.messages.Load(), c.written.Load(), c.flushes.Load()}
}

func (w work) since(before work) work {
	return work{
		w.operations - before.operations, w.created - before.created, w.messages - before.messages,
		w.written - before.written, w.flushes - before.flushes,
	}
}

// made counts a file that came to be.
func (m *meter) made(name string) {
	if strings.HasPrefix(name, "journal/") {
		return
	}
	m.created.Add(1)
	for _, dir := range []string{"/cur/", "/new/", "/tmp/"} {
		if strings.Contains(name, dir) {
			m.messages.Add(1)
			return
		}
	}
}

func (m *meter) OpenFile(name string, flag int) (journal.File, error) {
	m.operations.Add(1)
	f, err := m.FS.OpenFile(name, flag)
	if err != nil {
		return nil, err
	}
	if flag&os.O_CREATE != 0 {
		m.made(name)
	}
	return meteredFile{f, &m.counts}, nil
}

func (m *meter) Link(from, to string) error {
	m.operations.Add(1)
	m.made(to)
	return m.FS.Link(from, to)
}

func (m *meter) Mkdir(name string) error { m.operations.Add(1); return m.FS.Mkdir(name) }
func (m *meter) Remove(name string) error {
	m.operations.Add(1)
	return m.FS.Remove(name)
}
func (m *meter) RemoveAll(name string) error {
	m.operations.Add(1)
	return m.FS.RemoveAll(name)
}
func (m *meter) Rename(from, to string) error {
	m.operations.Add(1)
	return m.FS.Rename(from, to)
}
func (m *meter) Stat(name string) (os.FileInfo, error) {
	m.operations.Add(1)
	return m.FS.Stat(name)
}
func (m *meter) ReadDir(name string) ([]os.DirEntry, error) {
	m.operations.Add(1)
	return m.FS.ReadDir(name)
}

func (m *meter) SyncDir(name string) error {
	m.operations.Add(1)
	m.flushes.Add(1)
	return m.FS.SyncDir(name)
}

func (m *meter) SyncFS() error {
	m.operations.Add(1)
	m.flushes.Add(1)
	return m.FS.SyncFS()
}

// Touch implements journal.Toucher, as the disk below does.
func (m *meter) Touch(name string, t time.Time) error {
	m.operations.Add(1)
	return m.FS.(journal.Toucher).Touch(name, t)
}

type meteredFile struct {
	journal.File
	counts *counts
}

func (f meteredFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.counts.operations.Add(1)
	f.counts.written.Add(int64(n))
	return n, err
}

func (f meteredFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	f.counts.operations.Add(1)
	f.counts.written.Add(int64(n))
	return n, err
}

func (f meteredFile) Read(p []byte) (int, error) {
	f.counts.operations.Add(1)
	return f.File.Read(p)
}

func (f meteredFile) ReadAt(p []byte, off int64) (int, error) {
	f.counts.operations.Add(1)
	return f.File.ReadAt(p, off)
}

func (f meteredFile) Datasync() error {
	f.counts.operations.Add(1)
	f.counts.flushes.Add(1)
	return f.File.Datasync()
}
