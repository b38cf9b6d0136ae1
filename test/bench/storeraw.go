package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"barid/test/letter"
)

// rawDisk measures what the disk gives to programs that do nothing else, with
// 5 kB each: the floor under the store's figures.
func rawDisk(ctx context.Context, o options, d disk) ([]Row, error) {
	var rows []Row
	_, content := letter.New("raw", "s00000000@"+domain, letter.Size).Next()
	for _, way := range []struct {
		name string
		open func(dir string) (writer, error)
	}{
		{"pwrite and fdatasync, one for each that waits", openLog(false)},
		{"pwrite and fdatasync, grouped", openLog(true)},
		{"Maildir without a flush", openMaildir(false, false)},
		{"Maildir, fsync of the file", openMaildir(true, false)},
		{"Maildir, fsync of the file and the directory", openMaildir(true, true)},
	} {
		for _, writers := range []int{1, manyWriters} {
			dir, err := os.MkdirTemp(d.dir, "raw-")
			if err != nil {
				return nil, fmt.Errorf("raw disk: %w", err)
			}
			w, err := way.open(dir)
			if err != nil {
				return nil, fmt.Errorf("raw disk: %w", err)
			}
			took, n, err := hammer(ctx, o.duration/10, writers, func(worker, turn int) error {
				return w.write(fmt.Sprintf("%d.%d", worker, turn), content)
			})
			if err = errors.Join(err, w.Close()); err != nil {
				return nil, fmt.Errorf("raw disk: %s: %w", way.name, err)
			}
			name := fmt.Sprintf("raw: %s, %s, %s", way.name, plural(writers, "writer"), d.name)
			rows = append(rows, Row{name, "1/s", float64(n) / took.Seconds(), higher, 0})
		}
	}
	return rows, nil
}

// hammer lets workers do the same again and again for a while, and gives how
// often it was done.
func hammer(ctx context.Context, spell time.Duration, workers int, do func(worker, turn int) error) (time.Duration, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, spell)
	defer cancel()
	var n atomic.Int64
	began := time.Now()
	err := crowd(workers, func(worker int) error {
		for turn := 0; ctx.Err() == nil; turn++ {
			if err := do(worker, turn); err != nil {
				return err
			}
			n.Add(1)
		}
		return nil
	})
	return time.Since(began), n.Load(), err
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// writer makes octets durable, or does as if.
type writer interface {
	write(name string, content []byte) error
	Close() error
}

// rawLog overwrites a file that was written before, in turns.
type rawLog struct {
	file  *os.File
	group bool

	mu      sync.Mutex // guards the fields below
	turned  sync.Cond
	next    int64 // where the next record goes
	written int64 // records that are in the file
	flushed int64 // and durable
	leading bool  // somebody flushes
}

const rawLogSize = 4 << 20

func openLog(group bool) func(string) (writer, error) {
	return func(dir string) (writer, error) {
		f, err := os.Create(filepath.Join(dir, "log"))
		if err != nil {
			return nil, err
		}
		if _, err := f.Write(make([]byte, rawLogSize)); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		l := &rawLog{file: f, group: group}
		l.turned.L = &l.mu
		return l, f.Sync()
	}
}

func (l *rawLog) write(_ string, content []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.next
	if l.next += int64(len(content)); l.next > rawLogSize-int64(len(content)) {
		l.next = 0
	}
	if _, err := l.file.WriteAt(content, at); err != nil {
		return err
	}
	if !l.group {
		return unix.Fdatasync(int(l.file.Fd()))
	}
	l.written++
	return l.wait(l.written)
}

// wait returns when record n is durable: the first one who waits flushes for
// all that are written.
func (l *rawLog) wait(n int64) error {
	for l.flushed < n {
		if l.leading {
			l.turned.Wait()
			continue
		}
		l.leading = true
		upTo := l.written
		l.mu.Unlock()
		err := unix.Fdatasync(int(l.file.Fd()))
		l.mu.Lock()
		l.leading = false
		if err != nil {
			return err
		}
		l.flushed = upTo
		l.turned.Broadcast()
	}
	return nil
}

func (l *rawLog) Close() error { return l.file.Close() }

// rawMaildir writes each message to tmp and renames it to new.
type rawMaildir struct {
	dir               string
	syncFile, syncNew bool
}

func openMaildir(syncFile, syncNew bool) func(string) (writer, error) {
	return func(dir string) (writer, error) {
		return rawMaildir{dir, syncFile, syncNew},
			errors.Join(os.Mkdir(filepath.Join(dir, "tmp"), 0o700), os.Mkdir(filepath.Join(dir, "new"), 0o700))
	}
}

func (m rawMaildir) write(name string, content []byte) error {
	f, err := os.Create(filepath.Join(m.dir, "tmp", name))
	if err != nil {
		return err
	}
	if _, err = f.Write(content); err == nil && m.syncFile {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(m.dir, "new", name)); err != nil || !m.syncNew {
		return err
	}
	d, err := os.Open(filepath.Join(m.dir, "new"))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (m rawMaildir) Close() error { return nil }
