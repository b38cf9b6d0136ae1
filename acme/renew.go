package acme

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
		err := i.attempt(name, func(inner context.Context) error {
			stop := context.AfterFunc(ctx, func() { i.stopAttempt(name) })
			defer stop()
			if !i.served(name) {
				return i.magic.ObtainCertAsync(inner, name)
			}
			return i.magic.RenewCertAsync(inner, name, true)
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

func (i *issuance) stopAttempt(name string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if stop := i.stop[name]; stop != nil {
		stop()
	}
}

// NewKey makes another private key, which the next certificates carry, and
// asks for those at once. The key before it is kept beside it, with the
// ending ".old". Clients that remember keys will notice.
func (s *Source) NewKey(ctx context.Context) error {
	if s.cfg.Mode == Files {
		return ErrNotIssued
	}
	path := filepath.Join(s.cfg.Dir, selfSignedKey)
	if err := os.Rename(path, path+".old"); err != nil {
		return fmt.Errorf("put the key aside: %w", err)
	}
	key, err := makeKey(path)
	if err != nil {
		return errors.Join(err, os.Rename(path+".old", path))
	}
	if s.issue == nil {
		return s.loadSelfSigned()
	}
	s.issue.key.set(key)
	return s.Renew(ctx)
}
