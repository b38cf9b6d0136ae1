package dkim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/emersion/go-msgauth/dkim"
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
}

// Signer signs content. It is safe for many goroutines.
type Signer struct {
	cfg    SignerConfig
	keys   atomic.Pointer[[]Key]
	signed prometheus.Counter
}

// NewSigner makes a Signer.
func NewSigner(cfg SignerConfig) (*Signer, error) {
	if cfg.Domain == "" || len(cfg.Keys) == 0 {
		return nil, errors.New("make a DKIM signer: no domain or no key")
	}
	s := &Signer{cfg: cfg, signed: cfg.Metrics.Counter("dkim_signed", "Messages signed with DKIM.")}
	s.SetKeys(cfg.Keys)
	return s, nil
}

// SetKeys changes the keys for all content from now on. At least one.
func (s *Signer) SetKeys(keys []Key) { s.keys.Store(&keys) }

// Signing is one content to be signed. It is an io.Writer for the whole of
// it, as it leaves, lines ending in CRLF. From the end of the header on a
// goroutine for each key takes part: ask for Fields, or Close it.
type Signing struct {
	s       *Signer
	keys    []Key
	head    []byte
	over    bool // the header is
	err     error
	empty   emptyLines
	signers []*dkim.Signer // one for each key
}

// The bounds of a header of our own; what it says is that of smtp/header.
const (
	maxOwnHeader = 256 << 10
	maxOwnFields = 1100
	// maxAlike bounds the fields of one name that is signed: all of them
	// stand in one line of the signature.
	maxAlike = 30
)

// Sign begins with a content.
func (s *Signer) Sign() *Signing { return &Signing{s: s, keys: *s.keys.Load()} }

// Write takes the next octets. It never fails.
func (g *Signing) Write(p []byte) (int, error) {
	n := len(p)
	switch {
	case g.err != nil:
		return n, nil
	case g.over:
		g.feed(p)
		return n, nil
	}
	from := max(len(g.head)-3, 0)
	g.head = append(g.head, p...)
	end := headEnd(g.head, from)
	switch {
	case max(end, 0) > maxOwnHeader || end < 0 && len(g.head) > maxOwnHeader:
		g.err = ErrTooBig
	case end >= 0:
		g.begin(string(g.head[:end]))
		g.feed(g.head[end+2:])
		g.head = nil
	}
	return n, nil
}

// begin starts the signatures, with the part of the header that is signed.
func (g *Signing) begin(head string) {
	g.over = true
	fields, err := splitFields(head, maxOwnFields)
	if err != nil {
		g.err = fmt.Errorf("%w: %w", ErrMalformed, err)
		return
	}
	names, err := namesOf(fields)
	if err != nil {
		g.err = err
		return
	}
	var signed strings.Builder
	for _, f := range fields {
		if slices.Contains(signedNames, f.name) {
			signed.WriteString(f.raw)
		}
	}
	signed.WriteString("\r\n")
	for _, k := range g.keys {
		signer, err := sign(g.s.cfg.Domain, k, names)
		if err != nil {
			g.err = fmt.Errorf("with %s: %w", k.Selector, err)
			return
		}
		g.signers = append(g.signers, signer)
	}
	g.give([]byte(signed.String()))
}

// feed gives a part of the body to the library.
func (g *Signing) feed(p []byte) {
	if g.empty.Write(p); g.empty.over && g.err == nil {
		g.err = EmptyLines
	}
	g.give(p)
}

func (g *Signing) give(p []byte) {
	for i, signer := range g.signers {
		if g.err != nil {
			return
		}
		if _, err := signer.Write(p); err != nil {
			g.err = fmt.Errorf("with %s: %w", g.keys[i].Selector, err)
		}
	}
}

// Fields gives the DKIM-Signature fields to put in front of the content, once
// all of it was written. Each ends in CRLF. Content that cannot be signed is
// ErrMalformed, ErrTooBig or EmptyLines.
func (g *Signing) Fields() ([]byte, error) {
	if !g.over && g.err == nil {
		g.begin(string(g.head)) // a header alone
	}
	if err := g.Close(); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	var out []byte
	for _, signer := range g.signers {
		out = append(out, fold(signer.Signature())...)
	}
	g.s.signed.Inc()
	return out, nil
}

// Close ends a Signing, wanted or not, and gives why there will be no Fields.
// It may be called again.
func (g *Signing) Close() error {
	for i, signer := range g.signers {
		if err := signer.Close(); err != nil && g.err == nil {
			g.err = fmt.Errorf("with %s: %w", g.keys[i].Selector, err)
		}
	}
	return g.err
}

// namesOf gives h=: each name as often as it is there, and once more. The
// library does not fold h=, but a name that is no field any more may have a
// blank in front, where fold can.
func namesOf(fields []field) ([]string, error) {
	have := map[string]int{}
	for _, f := range fields {
		have[f.name]++
	}
	var names []string
	for _, name := range signedNames {
		if have[name] > maxAlike {
			return nil, fmt.Errorf("%w: over %d fields %s", ErrTooBig, maxAlike, name)
		}
		for range have[name] {
			names = append(names, name)
		}
		names = append(names, " "+name)
	}
	return names, nil
}

// fold breaks a field at its blanks into lines of at most 78 octets, as far
// as there are blanks. To a relaxed signature that is the same field.
func fold(field string) string {
	var b strings.Builder
	line := 0
	for word := range strings.FieldsSeq(field) {
		switch {
		case line == 0:
		case line+1+len(word) > 78:
			b.WriteString("\r\n\t")
			line = 8
		default:
			b.WriteByte(' ')
			line++
		}
		b.WriteString(word)
		line += len(word)
	}
	return b.String() + "\r\n"
}
