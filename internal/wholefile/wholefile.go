// Package wholefile writes small files that are there whole, after a power cut
// too, or as they were before: keys, certificates, what a part remembers.
// What the store keeps goes through the seam to the disk (internal/journal).
package wholefile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Write puts text at path, readable by us alone (mode 0600). When it returns
// nil, both the content and the name are on disk. A failure leaves nothing of
// its own behind. While it is written the file has a name that begins with
// ".new-", which is what a power cut may leave.
func Write(path string, text []byte) error {
	if err := write(path, text); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func write(path string, text []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return SyncDir(dir)
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
