package receive

import (
	"context"
	"errors"

	"barid/smtp"
	"barid/smtp/filter"
	"barid/smtp/intake"
	"barid/storage"
)

// judgeClear counts what a message is and, of one in the clear, gives the
// recipients that do not take such. When none does it is refused, before
// anybody asks who signed it. An address without account counts as one that
// does not, as all new accounts: so who does not sign cannot tell them apart.
func (t *transaction) judgeClear(ctx context.Context, v filter.Verdict) (map[smtp.Address]bool, error) {
	s := t.srv
	switch v.Kind {
	case filter.Encrypted, filter.Handshake:
		s.encrypted.Inc()
	case filter.Report:
		s.mailerDaemon.Inc()
	default:
		s.unencrypted.Inc()
	}
	if v.Pass() {
		return nil, nil
	}
	not := map[smtp.Address]bool{}
	for _, to := range t.recipients {
		only, err := s.encryptedOnly(ctx, to)
		if err != nil {
			return nil, err
		}
		if only {
			not[to] = true
		}
	}
	if len(not) == len(t.recipients) {
		s.rejected.WithLabelValues(v.Why.String()).Inc()
		return nil, s.refuse("cleartext", intake.NeedEncryption)
	}
	return not, nil
}

func (s *Server) encryptedOnly(ctx context.Context, to smtp.Address) (bool, error) {
	account, err := s.cfg.Store.Lookup(ctx, to)
	if err == nil {
		var only bool
		if only, err = s.cfg.Store.EncryptedOnly(ctx, account); err == nil {
			return only, nil
		}
	}
	if errors.Is(err, storage.ErrNoAccount) {
		return true, nil
	}
	return true, intake.StoreReply("ask for a recipient's account", err)
}
