package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// disk is a file system that a scenario of the store is measured on.
type disk struct {
	name string // as the figures have it
	dir  string // for data directories
}

// imageSize of a file system in a file, in octets. The file is sparse.
const imageSize = 12 << 30

// onDisks measures on ext4 with and without a journal, each new and in an image
// file of its own on a loop device, where root may mount such; else on the file
// system of o.dir. A new file system knows nothing of what an earlier run
// deleted, and the two differ by the journal alone. Both are unmounted and
// removed in the end.
func onDisks(ctx context.Context, o options, measure func(disk) ([]Row, error)) (rows []Row, err error) {
	for _, kind := range []struct{ name, features string }{
		{"ext4 with journal", "has_journal"}, {"ext4 without journal", "^has_journal"},
	} {
		d, undo, err := mountImage(ctx, o.dir, kind.name, kind.features)
		if errors.Is(err, errNoImages) {
			fmt.Fprintf(os.Stderr, "  %v: measured on the disk of %s\n", err, o.dir)
			return measure(disk{"the given disk", o.dir})
		}
		if err != nil {
			return nil, err
		}
		more, err := flushed(d, measure)
		if err = errors.Join(err, undo()); err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// flushed measures, after the flush latency of the disk.
func flushed(d disk, measure func(disk) ([]Row, error)) ([]Row, error) {
	p50, err := flushTime(d.dir)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "  %s, in an image on a loop device at %s: fdatasync p50 %.2f ms\n", d.name, d.dir, ms(p50))
	return measure(d)
}

// errNoImages says that no image can be mounted here.
var errNoImages = errors.New("no file system can be mounted from an image")

// mountImage makes a file system in a file below parent and mounts it there.
func mountImage(ctx context.Context, parent, name, features string) (d disk, undo func() error, err error) {
	if os.Geteuid() != 0 {
		return d, nil, fmt.Errorf("%w: that needs root", errNoImages)
	}
	dir, err := os.MkdirTemp(parent, "disk-")
	if err != nil {
		return d, nil, fmt.Errorf("image: %w", err)
	}
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "mount")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, imageSize), os.Mkdir(at, 0o700)); err != nil {
		return d, nil, fmt.Errorf("image: %w", err)
	}
	for _, command := range [][]string{
		// No work in the background that a figure would have in it.
		{"mkfs.ext4", "-q", "-F", "-O", features, "-E", "lazy_itable_init=0,lazy_journal_init=0", image},
		{"mount", "-o", "loop", image, at},
	} {
		if out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput(); err != nil {
			os.RemoveAll(dir)
			if ctx.Err() != nil {
				return d, nil, ctx.Err()
			}
			return d, nil, fmt.Errorf("%w: %s: %v: %s", errNoImages, command[0], err, strings.TrimSpace(string(out)))
		}
	}
	return disk{name, at}, func() error { return unmountImage(dir, at) }, nil
}

// unmountImage takes the file system away, whether the run was cut short or
// not.
func unmountImage(dir, at string) error {
	var out []byte
	var err error
	for range 20 { // what was just closed may be busy for a moment
		if out, err = exec.Command("umount", at).CombinedOutput(); err == nil {
			return os.RemoveAll(dir)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("unmount %s: %w: %s", at, err, strings.TrimSpace(string(out)))
}
