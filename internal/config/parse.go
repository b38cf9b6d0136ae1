package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// MaxSize is the largest configuration read, in octets.
const MaxSize = 1 << 20

// ErrNotFound is inside the error of Find when there is no configuration.
var ErrNotFound = errors.New("no configuration found")

// byteOrderMark is what some editors put before UTF-8; it means nothing.
var byteOrderMark = []byte("\xef\xbb\xbf")

// Find tells which file is the configuration: flag (the value of --config)
// when it is not empty, else $BARID_CONFIG, else ./barid.toml, else
// /etc/barid/barid.toml. What was named is not looked for; Load tells when it
// is not there.
func Find(flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	if env := os.Getenv("BARID_CONFIG"); env != "" {
		return env, nil
	}
	places := []string{"barid.toml", "/etc/barid/barid.toml"}
	for _, path := range places {
		// Anything but "not there" is for Load to tell.
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: looked for --config, $BARID_CONFIG, ./%s", ErrNotFound, strings.Join(places, " and "))
}

// Load reads a configuration file. Relative paths in it start at the
// directory of the file. The error is *Errors when the file was read and is
// wrong.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	c, err := Parse(path, text)
	if err != nil {
		return nil, err
	}
	paths := []*string{
		&c.DataDir, &c.TLS.Cert, &c.TLS.Key, &c.TLS.Roots, &c.DKIM.Key, &c.Web.Dir,
		&c.ACME.Roots, &c.ACME.EABKeyFile, &c.ACME.SecondEABKeyFile, &c.ACME.DNSKeyFile,
	}
	if c.IMAP.AppVersions != AppVersionsShipped {
		paths = append(paths, &c.IMAP.AppVersions)
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(path), *p)
		}
	}
	return c, nil
}

// Parse reads a configuration; name is what errors call it. A relative path
// in it stays relative. The error is always *Errors and tells every problem,
// or the first hundred.
func Parse(name string, text []byte) (*Config, error) {
	if len(text) > MaxSize {
		return nil, &Errors{name, []Problem{{Text: fmt.Sprintf("larger than %d octets", MaxSize)}}}
	}
	r := newReader(bytes.TrimPrefix(text, byteOrderMark))
	r.read()
	r.grammar()
	if r.at["tls.mode"] == nil {
		r.config.TLS.Mode = defaultTLSMode(r.config.Domain)
	}
	r.judge()
	if err := (&Errors{name, r.problems}).orNil(); err != nil {
		return nil, err
	}
	return r.config, nil
}
