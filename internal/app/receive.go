package app

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"barid/dkim"
	"barid/internal/config"
	"barid/internal/resolver"
	"barid/smtp"
	"barid/smtp/receive"
)

// makeResolver makes what all look-ups go through.
func (a *App) makeResolver() error {
	cfg := resolver.Config{Trusted: a.cfg.DNS.Trusted, Logger: a.log, Metrics: a.metrics}
	if a.cfg.DNS.Resolver != "" {
		cfg.Servers = []string{a.cfg.DNS.Resolver}
	}
	r, err := resolver.New(cfg)
	if err != nil {
		return err
	}
	a.resolver = r
	a.onStop("resolver", func(context.Context) error { r.Close(); return nil })
	return nil
}

// makeSigner opens the keys that sign what leaves, and makes them where there
// are none. A relay at an address has no name to publish them under, and no
// signer.
func (a *App) makeSigner() error {
	if strings.HasPrefix(a.names.mail, "[") {
		return nil
	}
	keys, err := a.openKeys()
	if err != nil {
		return err
	}
	a.signer, err = dkim.NewSigner(dkim.SignerConfig{Domain: a.names.mail, Keys: keys, Metrics: a.metrics})
	a.dkimKeys = keys
	return err
}

// openKeys gives the keys of the data directory, with the one that the
// configuration adopts in the place of its like.
func (a *App) openKeys() ([]dkim.Key, error) {
	keys, err := dkim.OpenKeys(a.dataPath("dkim"), time.Now())
	if err != nil {
		return nil, err
	}
	if adopt := a.cfg.DKIM; adopt.Selector != "" {
		k, err := dkim.ReadKey(adopt.Key, adopt.Selector)
		if err != nil {
			return nil, fmt.Errorf("dkim.key: %w", err)
		}
		keys = dkim.Adopt(keys, k)
	}
	return keys, nil
}

// signingKeys are the keys that sign now.
func (a *App) signingKeys() []dkim.Key {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dkimKeys
}

// DKIMRecords are the TXT records to publish below the mail domain: one for
// each key that signs, none for a relay at an address.
func (a *App) DKIMRecords() []dkim.Record {
	var records []dkim.Record
	for _, k := range a.signingKeys() {
		records = append(records, k.Record())
	}
	return records
}

func (a *App) makeReceive() error {
	cfg := receive.Config{
		Store:          a.store,
		Verifier:       dkim.NewVerifier(dkim.VerifierConfig{Keys: a.resolver, Metrics: a.metrics}),
		Domain:         a.names.mail,
		Hostname:       a.names.host,
		TLS:            a.webTLS(), // 1.2 too, unlike clients
		MaxMessageSize: int64(a.cfg.Limits.MaxMessageSize),
		MaxRecipients:  a.cfg.Limits.MaxSMTPRecipients,
		RatePerMinute:  a.cfg.Limits.ReceivePerMinute,
		RateBurst:      a.cfg.Limits.ReceiveBurst,
		NoUnderscores:  !a.cfg.Federation.UnderscoreDomains,
		Wake:           a.waker(),
		Logger:         a.log,
		Metrics:        a.metrics,
	}
	switch a.cfg.Federation.AddressLiterals {
	case config.LiteralsAny:
		cfg.Literals = receive.AnyLiterals
	case config.LiteralsOff:
		cfg.Literals = receive.NoLiterals
	}
	if contact := a.cfg.Contact.Admin; contact != "" {
		var err error
		if cfg.Contact, err = smtp.ParseAddress(contact); err != nil {
			return fmt.Errorf("contact.admin: %w", err)
		}
	}
	if a.outbox != nil {
		cfg.Outbox = a.outbox
	}
	a.receive = receive.New(cfg)
	return nil
}

// withDelivery serves /mxdeliv before the pages.
func (a *App) withDelivery(pages http.Handler) http.Handler {
	deliver := a.receive.Deliver(clientOf)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/mxdeliv" || r.URL.Path == "/mxdeliv/" {
			deliver.ServeHTTP(w, r)
			return
		}
		pages.ServeHTTP(w, r)
	})
}
