package acme

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

const (
	// lookEvery bounds how often handshakes look at the files.
	lookEvery = time.Second
	// settled is the age from which a file's times tell whether it changed: a
	// younger one may be written again within one tick of the clock.
	settled = 2 * time.Second
)

// stamp tells one state of a file from another.
type stamp struct {
	modified time.Time
	size     int64
	file     fs.FileInfo // for os.SameFile: renewal often swaps a link
}

// pairStamp is the state of both files.
type pairStamp struct{ cert, key stamp }

func (a stamp) same(b stamp) bool {
	return a.file != nil && b.file != nil && a.size == b.size && a.modified.Equal(b.modified) && os.SameFile(a.file, b.file)
}

func stampOf(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	return stamp{info.ModTime(), info.Size(), info}, nil
}

// stamps looks at both files.
func (s *Source) stamps() (p pairStamp, err error) {
	if p.cert, err = stampOf(s.cfg.CertFile); err != nil {
		return p, fmt.Errorf("certificate file: %w", err)
	}
	if p.key, err = stampOf(s.cfg.KeyFile); err != nil {
		return p, fmt.Errorf("key file: %w", err)
	}
	return p, nil
}

// loadFiles loads the pair for the first time.
func (s *Source) loadFiles() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cfg.CertFile == "" || s.cfg.KeyFile == "" {
		return errors.New("the files mode needs a certificate file and a key file")
	}
	seen, err := s.stamps()
	if err != nil {
		return err
	}
	pair, err := readPair(s.cfg.CertFile, s.cfg.KeyFile)
	if err != nil {
		return err
	}
	s.note(seen)
	s.current.Store(pair)
	return nil
}

// readPair reads a chain and its key, which must belong together.
func readPair(certFile, keyFile string) (*tls.Certificate, error) {
	cert, err := readFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("certificate file: %w", err)
	}
	key, err := readFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", certFile, keyFile, err)
	}
	return &pair, nil
}

// note remembers what was read. Called under the lock.
func (s *Source) note(seen pairStamp) {
	now := s.cfg.Now()
	s.seen = seen
	s.fresh = now.Sub(seen.cert.modified) < settled || now.Sub(seen.key.modified) < settled
}

// look takes changed files over. It costs two stat calls at most once a
// second, and nobody waits for somebody else's look.
func (s *Source) look() {
	if s.cfg.Mode != Files {
		return
	}
	now, last := s.cfg.Now().UnixNano(), s.checked.Load()
	if d := now - last; d >= 0 && d < int64(lookEvery) || !s.checked.CompareAndSwap(last, now) {
		return
	}
	if !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	seen, err := s.stamps()
	if err == nil && s.broken == nil && !s.fresh && seen.cert.same(s.seen.cert) && seen.key.same(s.seen.key) {
		return
	}
	var pair *tls.Certificate
	if err == nil {
		s.note(seen)
		pair, err = readPair(s.cfg.CertFile, s.cfg.KeyFile)
	}
	if err != nil {
		if s.broken == nil || s.broken.Error() != err.Error() {
			s.log.Error("new certificate is not usable, the one before stays", "error", err)
		}
		s.broken = err
		return
	}
	s.broken = nil
	if sameChain(pair, s.current.Load()) {
		return
	}
	s.current.Store(pair)
	s.reloads.Inc()
	s.log.Info("certificate renewed", "until", pair.Leaf.NotAfter)
}

// sameChain tells whether two pairs have the same certificates.
func sameChain(a, b *tls.Certificate) bool {
	if len(a.Certificate) != len(b.Certificate) {
		return false
	}
	for i := range a.Certificate {
		if string(a.Certificate[i]) != string(b.Certificate[i]) {
			return false
		}
	}
	return true
}
