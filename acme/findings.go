package acme

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"time"

	"barid/internal/finding"
)

// Findings tells what is wrong with the certificate in service: expiry, names
// it lacks, a chain that peers will not follow, files that cannot be used.
func (s *Source) Findings() []finding.Finding {
	s.look()
	pair := s.current.Load()
	found := s.aboutTime(pair.Leaf, "The certificate")
	switch {
	case s.cfg.Mode == SelfSigned:
		return append(found, s.aboutTrust()...)
	case s.issue != nil:
		return append(found, s.issue.findings()...)
	}
	found = append(found, s.aboutNames(pair.Leaf)...)
	found = append(found, aboutChain(pair)...)
	return append(found, s.aboutFiles()...)
}

// aboutTime looks at the validity. "Soon" is two weeks, or the last sixth of
// a short-lived certificate. What begins the sentences.
func (s *Source) aboutTime(leaf *x509.Certificate, what string) []finding.Finding {
	now := s.cfg.Now()
	soon := min(14*24*time.Hour, leaf.NotAfter.Sub(leaf.NotBefore)/6)
	renew := "Renew the certificate and check why nothing renewed it."
	until := leaf.NotAfter.UTC().Format(time.DateTime)
	switch {
	case now.After(leaf.NotAfter):
		return []finding.Finding{{ID: "tls.expired", Severity: finding.Fault,
			Text: what + " expired on " + until + " UTC.", Remedy: renew}}
	case now.Add(soon).After(leaf.NotAfter):
		return []finding.Finding{{ID: "tls.expires-soon", Severity: finding.Warning,
			Text: what + " expires on " + until + " UTC.", Remedy: renew}}
	case now.Before(leaf.NotBefore):
		return []finding.Finding{{ID: "tls.not-yet-valid", Severity: finding.Fault,
			Text:   what + " is valid only from " + leaf.NotBefore.UTC().Format(time.DateTime) + " UTC.",
			Remedy: "Check the clock of this machine, or wait."}}
	}
	return nil
}

// aboutTrust warns of a self-signed certificate where clients check chains.
func (s *Source) aboutTrust() []finding.Finding {
	domain := s.names[0]
	if domain.unchecked() {
		return nil
	}
	return []finding.Finding{{ID: "tls.self-signed", Severity: finding.Warning,
		Text:   fmt.Sprintf("The certificate of %s is self-signed: clients and other relays refuse it.", domain),
		Remedy: `Use certificate files, or a domain that begins with "_".`}}
}

// aboutNames compares the certificate with what clients call us.
func (s *Source) aboutNames(leaf *x509.Certificate) []finding.Finding {
	if !covers(leaf, s.names[0]) {
		return []finding.Finding{{ID: "tls.name-mismatch", Severity: finding.Fault,
			Text:   fmt.Sprintf("The certificate does not carry the name %s.", s.names[0]),
			Remedy: "Get a certificate for this name; clients refuse any other."}}
	}
	var missing []string
	for _, n := range s.names[1:] {
		if !covers(leaf, n) {
			missing = append(missing, n.String())
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return []finding.Finding{{ID: "tls.name-missing", Severity: finding.Warning,
		Text:   fmt.Sprintf("The certificate does not carry %s.", strings.Join(missing, ", ")),
		Remedy: "Add these names to the certificate; MTA-STS and the web pages need them."}}
}

// aboutChain checks that each certificate is signed by the next.
func aboutChain(pair *tls.Certificate) []finding.Finding {
	below := pair.Leaf
	for i, der := range pair.Certificate[1:] {
		above, err := x509.ParseCertificate(der)
		if err == nil {
			err = below.CheckSignatureFrom(above)
		}
		if err != nil {
			return []finding.Finding{{ID: "tls.chain-broken", Severity: finding.Fault,
				Text:   fmt.Sprintf("Certificate %d of the chain did not sign the one before it.", i+2),
				Remedy: "Put the leaf first in the certificate file, then each issuer in turn."}}
		}
		below = above
	}
	if len(pair.Certificate) == 1 && string(below.RawIssuer) != string(below.RawSubject) {
		return []finding.Finding{{ID: "tls.chain-short", Severity: finding.Info,
			Text:   "The certificate file has no intermediate certificate.",
			Remedy: `If the authority uses intermediates, use its "full chain" file; strict peers refuse an incomplete chain.`}}
	}
	return nil
}

// aboutFiles tells of new files that cannot be used, and of a key that others
// may read.
func (s *Source) aboutFiles() (found []finding.Finding) {
	s.mu.Lock()
	broken := s.broken
	s.mu.Unlock()
	if broken != nil {
		found = append(found, finding.Finding{ID: "tls.files-broken", Severity: finding.Fault,
			Text:   "The certificate files changed and cannot be used; the certificate before them is still in service: " + broken.Error() + ".",
			Remedy: "Repair the two files; they are taken over without a restart."})
	}
	if info, err := os.Stat(s.cfg.KeyFile); err == nil && info.Mode().Perm()&0o004 != 0 {
		found = append(found, finding.Finding{ID: "tls.key-readable", Severity: finding.Warning,
			Text:   "Everybody on this machine may read the key file " + s.cfg.KeyFile + ".",
			Remedy: "Take the right to read it from others: chmod o-r."})
	}
	return found
}
