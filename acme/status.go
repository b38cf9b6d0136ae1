package acme

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"barid/internal/finding"
)

// Served is one certificate in service and what is known of the next one.
type Served struct {
	Name  string    `json:"name"`
	Names []string  `json:"names"` // that the certificate carries
	From  string    `json:"issuer"`
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	// Key is the SHA-256 of the public key (SubjectPublicKeyInfo), in hex:
	// what "3 1 1" of a TLSA record holds (RFC 6698).
	Key        string `json:"key"`
	SelfSigned bool   `json:"self_signed"`

	Failures  int       `json:"failures,omitempty"` // since the last success
	LastError string    `json:"last_error,omitempty"`
	LastTry   time.Time `json:"last_try,omitzero"`
	NextTry   time.Time `json:"next_try,omitzero"`
}

// Status gives the certificates in service, the domain's first.
func (s *Source) Status() []Served {
	s.look()
	others := *s.others.Load()
	all := make([]Served, 0, len(s.names))
	for n, name := range s.names {
		cert := s.current.Load()
		if n > 0 {
			if s.issue == nil {
				break // one certificate has all names
			}
			if own := others[name.String()]; own != nil {
				cert = own
			}
		}
		key := sha256.Sum256(cert.Leaf.RawSubjectPublicKeyInfo)
		one := Served{
			Name: name.String(), Names: append(slices.Clone(cert.Leaf.DNSNames), ips(cert.Leaf.IPAddresses)...),
			From: cert.Leaf.Issuer.CommonName, Since: cert.Leaf.NotBefore, Until: cert.Leaf.NotAfter,
			Key: hex.EncodeToString(key[:]), SelfSigned: string(cert.Leaf.RawIssuer) == string(cert.Leaf.RawSubject),
		}
		if s.issue != nil {
			a := s.issue.attemptsFor(one.Name)
			one.Failures, one.LastError, one.LastTry, one.NextTry = a.Failures, a.Error, a.Last, a.Next
		}
		all = append(all, one)
	}
	return all
}

func ips[T interface{ String() string }](list []T) (out []string) {
	for _, ip := range list {
		out = append(out, ip.String())
	}
	return out
}

func (i *issuance) attemptsFor(name string) attempts {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.history.Names[name]
}

// findings tells what certificates are missing, and why.
func (i *issuance) findings() (found []finding.Finding) {
	for n, name := range i.names {
		if i.served(name) {
			found = append(found, i.aboutRenewal(n, name)...)
			continue
		}
		severity := finding.Warning
		if n == 0 {
			severity = finding.Fault
		}
		a := i.attemptsFor(name)
		if a.Failures == 0 {
			found = append(found, finding.Finding{ID: "tls.waiting", Severity: finding.Info,
				Text:   "The first certificate for " + name + " is being asked for; until then a self-signed one is served.",
				Remedy: "Wait a minute."})
			continue
		}
		found = append(found, finding.Finding{ID: "tls.not-issued", Severity: severity,
			Text: "No authority gave a certificate for " + name + ": " + a.Error +
				" Next try at " + a.Next.UTC().Format(time.DateTime) + " UTC.",
			Remedy: "Check that the name's A and AAAA records point here and that ports 80 and 443 are reachable, then run barid tls --renew."})
	}
	return found
}

// aboutRenewal tells why a certificate in service, of the n-th name, is not
// renewed, and when another than the domain's, which Findings looks at, runs out.
func (i *issuance) aboutRenewal(n int, name string) (found []finding.Finding) {
	if cert := (*i.s.others.Load())[name]; n > 0 && cert != nil {
		found = i.s.aboutTime(cert.Leaf, "The certificate for "+name)
	}
	if a := i.attemptsFor(name); a.Failures > 0 {
		found = append(found, finding.Finding{ID: "tls.not-renewed", Severity: finding.Warning,
			Text:   "The certificate for " + name + " is in service, but getting the next one failed: " + a.Error,
			Remedy: "Check that the name's A and AAAA records point here and that ports 80 and 443 are reachable, then run barid tls --renew."})
	}
	return found
}

// Accounts gives the URLs of our accounts at the authorities, which a CAA
// record can name (RFC 8657); none before the first certificate.
func (s *Source) Accounts() (urls []string) {
	if s.issue == nil {
		return nil
	}
	return AccountsIn(s.cfg.Dir)
}

// AccountsIn is Source.Accounts of what lies in Config.Dir, whether a relay
// runs or not.
func AccountsIn(dir string) (urls []string) {
	files, _ := filepath.Glob(filepath.Join(dir, "acme", "acme", "*", "users", "*", "*.json"))
	for _, file := range files {
		text, err := readFile(file)
		var account struct {
			Location string `json:"location"`
		}
		if err == nil && json.Unmarshal(text, &account) == nil && strings.HasPrefix(account.Location, "https://") {
			urls = append(urls, account.Location)
		}
	}
	slices.Sort(urls)
	return slices.Compact(urls)
}

// KeyIn gives the SHA-256 of the public key that the self-signed and acme
// modes serve, in hex, from what lies in Config.Dir: Served.Key, whether a
// relay runs or not. An error wraps fs.ErrNotExist where there is none yet.
func KeyIn(dir string) (string, error) {
	key, err := readKey(filepath.Join(dir, selfSignedKey))
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", fmt.Errorf("private key in %s: %w", dir, err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}
