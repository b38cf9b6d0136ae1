package journal

import "time"

// Toucher is an FS that can set the time of modification of a file. Not all
// can: a caller asks for it.
type Toucher interface {
	Touch(name string, mtime time.Time) error
}

// Touch implements Toucher.
func (d *osFS) Touch(name string, mtime time.Time) error { return d.root.Chtimes(name, mtime, mtime) }
