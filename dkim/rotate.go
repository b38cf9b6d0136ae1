package dkim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Errors of a change of keys.
var (
	// ErrNotOlder: the keys that sign are of today, so that one made now would
	// have no later selector.
	ErrNotOlder = errors.New("the key that signs is not older than today")
	// ErrNoNext: no key with that selector waits.
	ErrNoNext = errors.New("no such key was made ready")
)

// nextDir is where keys lie that do not sign yet, below the directory of
// OpenKeys: their records have to be known to others first.
const nextDir = "next"

// MakeNext makes the keys ready that will sign after those of a directory:
// one of each of the algorithms, dated now, unless one waits already.
func MakeNext(dir string, now time.Time, algorithms ...string) error {
	next := filepath.Join(dir, nextDir)
	if err := os.MkdirAll(next, 0o700); err != nil {
		return fmt.Errorf("directory of DKIM keys: %w", err)
	}
	signing, err := newest(dir)
	if err != nil {
		return err
	}
	waiting, err := newest(next)
	if err != nil {
		return err
	}
	for _, algorithm := range algorithms {
		kind := map[string]string{"rsa": "rsa", "ed25519": "ed"}[algorithm]
		name := kind + now.UTC().Format("20060102") + ".pem"
		switch {
		case waiting[kind] > signing[kind]:
			continue
		case name <= signing[kind]:
			return fmt.Errorf("make a DKIM key after %s: %w", signing[kind], ErrNotOlder)
		}
		if err := makeKey(kind, filepath.Join(next, name)); err != nil {
			return fmt.Errorf("make DKIM key %s: %w", name, err)
		}
	}
	return nil
}

// FindNext gives the keys that wait to sign.
func FindNext(dir string) ([]Key, error) {
	return FindKeys(filepath.Join(dir, nextDir))
}

// UseNext lets a key that waits sign, from the next OpenKeys on. After a power
// cut it is there once, here or there.
func UseNext(dir, selector string) error {
	keys, err := FindNext(dir)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(keys, func(k Key) bool { return k.Selector == selector }) {
		return fmt.Errorf("use DKIM key %q: %w", selector, ErrNoNext)
	}
	name := selector + ".pem"
	if err := os.Rename(filepath.Join(dir, nextDir, name), filepath.Join(dir, name)); err != nil {
		return fmt.Errorf("use DKIM key %s: %w", selector, err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("use DKIM key %s: %w", selector, err)
	}
	return errors.Join(d.Sync(), d.Close())
}
