package acme

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"barid/internal/wholefile"
)

// ErrNotIssued is what Renew and NewKey give in a mode whose certificates
// come from somebody else.
var ErrNotIssued = errors.New("the certificate is not issued by this relay")

// Renew asks for new certificates at once, whatever the pauses say, and
// returns when all came or one failed. The error names the certificate.
func (s *Source) Renew(ctx context.Context) error {
	if s.issue == nil {
		return ErrNotIssued
	}
	i := s.issue
	var failed []error
	for _, name := range i.names {
		err := i.attempt(ctx, func(ctx context.Context) error {
			if !i.served(name) {
				return i.magic.ObtainCertAsync(ctx, name)
			}
			return i.magic.RenewCertAsync(ctx, name, true)
		})
		switch {
		case err != nil && ctx.Err() == nil && i.attemptsFor(name).Error != "":
			failed = append(failed, fmt.Errorf("%s: %s", name, i.attemptsFor(name).Error))
		case err != nil:
			failed = append(failed, fmt.Errorf("%s: %w", name, err))
		default:
			i.load(name)
		}
	}
	return errors.Join(failed...)
}

// NewKey makes another private key and asks at once for certificates that
// carry it. It takes the place of the one before only when the domain's
// certificate has it: while no authority answers, everything stays as it is.
// The old key is kept beside it, with the ending ".old". Clients that remember
// keys will notice.
func (s *Source) NewKey(ctx context.Context) error {
	if s.cfg.Mode == Files {
		return ErrNotIssued
	}
	s.keyMu.Lock()
	defer s.keyMu.Unlock()
	path := filepath.Join(s.cfg.Dir, selfSignedKey)
	next := path + ".next"
	key, err := makeKey(next)
	if err != nil {
		return err
	}
	if s.issue == nil {
		return errors.Join(replaceKey(path, next), s.loadSelfSigned())
	}
	before := *s.issue.key.key.Load()
	s.issue.key.set(key)
	err = s.Renew(ctx)
	if !fitsKey(s.current.Load(), key) {
		s.issue.key.set(before)
		return errors.Join(err, os.Remove(next))
	}
	return errors.Join(err, replaceKey(path, next))
}

// replaceKey puts one key file in the place of another, which is kept.
func replaceKey(path, next string) error {
	// The path always has a key: without one, the next start would make another.
	old := path + ".old"
	if err := os.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the key before the last: %w", err)
	}
	if err := os.Link(path, old); err != nil {
		return fmt.Errorf("keep the key: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("put the new key in its place: %w", err)
	}
	return wholefile.SyncDir(filepath.Dir(path))
}

// fitsKey tells whether a certificate is for a key.
func fitsKey(cert *tls.Certificate, key crypto.Signer) bool {
	public, ok := cert.Leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(key.Public())
}
