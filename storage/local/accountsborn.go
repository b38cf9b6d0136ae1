package local

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"barid/smtp"
	"barid/storage"
)

// Why accounts are not born, as it is counted.
const (
	reasonClosed   = "closed"
	reasonInvite   = "invite"
	reasonPassword = "password"
	reasonName     = "name"
	reasonFull     = "full"
)

// noHash is not one of them, but logged as seldom.
const noHash = "no hash"

// refusalsEvery is how often a reason is logged: whoever is refused tries
// again, and there may be thousands.
const refusalsEvery = time.Minute

func refusal(reason, format string, args ...any) *storage.Refusal {
	return &storage.Refusal{Reason: reason, Text: fmt.Sprintf(format, args...)}
}

// mayBeBorn tells why no account of that name and password may come to be.
// The order is the reference's.
func (s *Store) mayBeBorn(ctx context.Context, a smtp.Address, p storage.Password) error {
	policy := &s.cfg.Policy
	if open, err := s.Registration(ctx); err != nil {
		return refusal(reasonClosed, "cannot tell whether the %s file is there", noCreate)
	} else if !open {
		return refusal(reasonClosed, "the %s file is there", noCreate)
	}
	if policy.Closed != nil && policy.Closed() {
		return refusal(reasonClosed, "registration is closed")
	}
	if policy.Invited != nil && !policy.Invited(a) {
		return refusal(reasonInvite, "no invitation reserved this address")
	}
	if utf8.RuneCountInString(p.Wire()) < policy.PasswordMin {
		return refusal(reasonPassword, "the password is too short")
	}
	if n := len(a.LocalPart); n < policy.UsernameMin || n > policy.UsernameMax {
		return refusal(reasonName, "local-part of %d octets", n)
	}
	for i := range len(a.LocalPart) {
		if !birthCharacter(a.LocalPart[i]) {
			return refusal(reasonName, "a character that no new account has")
		}
	}
	return nil
}

// admit asks those outside who have a word in it.
func (s *Store) admit(ctx context.Context, a smtp.Address, from storage.Origin) error {
	if s.cfg.Policy.Admit == nil {
		return nil
	}
	return s.cfg.Policy.Admit(ctx, a, from)
}

// refuseBirth gives what the peer gets for err, which kept an account from
// being born: a refusal, of which the peer learns nothing, or a fault. A full
// disk is a refusal, as a limit on free space is.
func (s *Store) refuseBirth(a smtp.Address, err error) error {
	var why *storage.Refusal
	switch {
	case errors.As(err, &why):
	case errors.Is(err, storage.ErrFull):
		why = refusal(reasonFull, "no space is left: %v", err)
	default:
		return fmt.Errorf("create account %s: %w", a, err)
	}
	s.refused.WithLabelValues(why.Reason).Inc()
	if ok, _ := s.refusals.Allow(why.Reason); ok {
		s.log.Info("registration rejected: "+why.Text, "part", "storage", "reason", why.Reason, "account", a)
	}
	return storage.ErrRefused
}
