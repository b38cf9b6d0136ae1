package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"barid/internal/metrics"
)

// signedNames are the fields that are signed where they are, each of them, and
// of which one more is signed than there is, so that none can be added
// (RFC 6376 section 8.15).
//
// The first group is the reference's; it does not guard Content-Type against
// a second one. The second is ours: how the body is read, what a reply names,
// and what clients act on.
var signedNames = []string{
	"from", "reply-to", "subject", "date", "to", "cc",
	"resent-date", "resent-from", "resent-sender", "resent-to", "resent-cc", "in-reply-to", "references",
	"list-id", "list-help", "list-unsubscribe", "list-subscribe", "list-post", "list-owner", "list-archive",
	"autocrypt", "content-type",

	"mime-version", "content-transfer-encoding", "message-id", "auto-submitted", "sender",
	"chat-version", "chat-group-id", "secure-join", "secure-join-invitenumber", "secure-join-auth",
	"secure-join-fingerprint", "secure-join-group",
}

// SignerConfig of a Signer.
type SignerConfig struct {
	// Domain is d=: the mail domain, a name.
	Domain string
	// Keys that sign, one signature each. At least one.
	Keys    []Key
	Metrics *metrics.Registry
	// Now is the clock of t=. Default time.Now.
	Now func() time.Time
}

// Signer signs content. It is safe for many goroutines.
type Signer struct {
	cfg    SignerConfig
	signed prometheus.Counter
}

// NewSigner makes a Signer.
func NewSigner(cfg SignerConfig) (*Signer, error) {
	if cfg.Domain == "" || len(cfg.Keys) == 0 {
		return nil, errors.New("make a DKIM signer: no domain or no key")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Signer{cfg, cfg.Metrics.Counter("dkim_signed", "Messages signed with DKIM.")}, nil
}

// Signing is one content to be signed. It is an io.Writer for the whole of
// it, as it leaves, lines ending in CRLF.
type Signing struct {
	s    *Signer
	head []byte
	over bool
	big  bool
	body body
}

// The bounds of a header of our own; what it says is that of smtp/header.
const (
	maxOwnHeader = 256 << 10
	maxOwnFields = 1100
)

// Sign begins with a content.
func (s *Signer) Sign() *Signing {
	return &Signing{s: s, body: body{canon: simple, hash: sha256.New()}}
}

// Write takes the next octets. It never fails.
func (g *Signing) Write(p []byte) (int, error) {
	n := len(p)
	if g.over {
		return g.body.Write(p)
	}
	if g.big {
		return n, nil
	}
	from := max(len(g.head)-3, 0)
	g.head = append(g.head, p...)
	if end := headEnd(g.head, from); end >= 0 {
		g.over = true
		g.body.Write(g.head[end+2:])
		g.head = g.head[:end]
	}
	g.big = len(g.head) > maxOwnHeader
	return n, nil
}

// Fields gives the DKIM-Signature fields to put in front of the content, once
// all of it was written. Each ends in CRLF.
func (g *Signing) Fields() ([]byte, error) {
	if g.big {
		return nil, fmt.Errorf("sign: %w", ErrTooBig)
	}
	fields, err := splitFields(string(g.head), maxOwnFields)
	if err != nil {
		return nil, fmt.Errorf("sign: %w: %w", ErrMalformed, err)
	}
	names := namesOf(fields)
	bodyHash := g.body.end()
	var out []byte
	for _, k := range g.s.cfg.Keys {
		field, err := g.s.field(k, names, fields, bodyHash)
		if err != nil {
			return nil, fmt.Errorf("sign with %s: %w", k.Selector, err)
		}
		out = append(out, field...)
	}
	g.s.signed.Inc()
	return out, nil
}

// namesOf gives h=: each name as often as it is there, and once more.
func namesOf(fields []field) []string {
	have := map[string]int{}
	for _, f := range fields {
		have[f.name]++
	}
	var names []string
	for _, name := range signedNames {
		for range have[name] + 1 {
			names = append(names, name)
		}
	}
	return names
}

// field makes one DKIM-Signature.
func (s *Signer) field(k Key, names []string, fields []field, bodyHash []byte) (string, error) {
	unsigned := fmt.Sprintf("DKIM-Signature: v=1; a=%s-sha256; c=relaxed/simple; d=%s;\r\n\ts=%s; t=%d;\r\n\th=%s;\r\n\tbh=%s;\r\n\tb=",
		k.Algorithm(), s.cfg.Domain, k.Selector, s.cfg.Now().Unix(), fold(names), base64.StdEncoding.EncodeToString(bodyHash))
	sum := sha256.Sum256(signingInput(relaxed, names, fields, unsigned))
	opts := crypto.SignerOpts(crypto.SHA256)
	if _, ok := k.private.(ed25519.PrivateKey); ok {
		opts = crypto.Hash(0) // the hash is the message (RFC 8463 section 3)
	}
	octets, err := k.private.Sign(rand.Reader, sum[:], opts)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(unsigned)
	for text := base64.StdEncoding.EncodeToString(octets); text != ""; {
		n := min(70, len(text))
		b.WriteString(text[:n])
		if text = text[n:]; text != "" {
			b.WriteString("\r\n\t ")
		}
	}
	b.WriteString("\r\n")
	return b.String(), nil
}

// fold joins names with colons, in lines of about 76 characters.
func fold(names []string) string {
	var b strings.Builder
	line := 4
	for i, name := range names {
		if i > 0 {
			b.WriteByte(':')
		}
		if line+len(name) > 75 {
			b.WriteString("\r\n\t ")
			line = 2
		}
		b.WriteString(name)
		line += len(name) + 1
	}
	return b.String()
}
