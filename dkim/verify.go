package dkim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"barid/internal/metrics"
	"barid/internal/resolver"
)

// What Check.Verdict ends with beside a signature that holds.
var (
	// ErrMalformed: the content has no empty line behind the header, or a line
	// in the header is no field.
	ErrMalformed = errors.New("malformed header")
	// ErrTooBig: the header has more octets or fields than are looked into.
	ErrTooBig = errors.New("header is too big to verify")
	// ErrUnsigned: there is no DKIM-Signature field.
	ErrUnsigned = errors.New("no DKIM signature")
	// ErrInvalid: no signature of the domain holds. It wraps the Reason of the
	// last one that was tried, where there was one.
	ErrInvalid = errors.New("no valid DKIM signature of the domain")
	// ErrTemporary: one might hold, but the DNS could not say which key there is.
	ErrTemporary = errors.New("DKIM key not available for now")
	// ErrContent: the content that was written could not be read again. It says
	// nothing about the content.
	ErrContent = errors.New("read content again")
)

// Bounds of the work for one content.
const (
	maxTried   = 5 // signatures of the author's domain
	maxRecords = 3 // TXT records at one name
	// maxReadings of the body, whatever the signatures and their keys: all keys
	// of one signature, remembered and looked up anew.
	maxReadings = 2 * maxRecords
	// tolerance is how far the clock of a signer may be from ours: how long t=
	// may be still to come, and how long x= may have passed.
	tolerance = 5 * time.Minute
	// freshEnough is the age up to which a key counts as looked up just now.
	freshEnough = 10 * time.Second
)

// Keys looks up TXT records; *resolver.Resolver does. FreshTXT believes only
// what was asked for within maxAge.
type Keys interface {
	TXT(ctx context.Context, name string) (resolver.Answer[string], error)
	FreshTXT(ctx context.Context, name string, maxAge time.Duration) (resolver.Answer[string], error)
}

// VerifierConfig of a Verifier.
type VerifierConfig struct {
	Keys Keys
	// LookUpTime bounds the look-ups for one content. Default 30s.
	LookUpTime time.Duration
	Metrics    *metrics.Registry
	// Now is the clock that t= and x= are held against. Default time.Now.
	Now func() time.Time
}

// Verifier verifies content. It is safe for many goroutines.
type Verifier struct {
	cfg    VerifierConfig
	held   *prometheus.CounterVec // by algorithm
	failed *prometheus.CounterVec // by reason
	anew   prometheus.Counter
}

// NewVerifier makes a Verifier.
func NewVerifier(cfg VerifierConfig) *Verifier {
	if cfg.LookUpTime == 0 {
		cfg.LookUpTime = 30 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Verifier{
		cfg:    cfg,
		held:   cfg.Metrics.Counters("dkim_verified", "DKIM signatures that hold, by algorithm.", "algorithm"),
		failed: cfg.Metrics.Counters("dkim_failed", "DKIM signatures of the author's domain that do not count, by reason.", "reason"),
		anew:   cfg.Metrics.Counter("dkim_keys_anew", "DKIM keys looked up anew because the one remembered did not fit."),
	}
}

// Content is where content lies that was written to a Check: *strings.Reader,
// a storage.Content.
type Content interface {
	io.ReaderAt
	Size() int64
}

// Check is one content on its way in. It is an io.Writer for the whole of it:
// as received, dots undone, lines ending in CRLF.
//
// It holds the header and a hash and nothing that runs, so that one that is
// not wanted any more can be dropped.
type Check struct {
	v          *Verifier
	head       []byte
	over       bool // the header is, and its fields are read
	tooBig     bool
	malformed  bool
	fields     []field
	signatures []candidate
	bodies     [2]*body // by canon; nil where no signature asks for it
	empty      emptyLines
	size       int64 // of the body
	readings   int   // of the body, by the library
}

// candidate is a signature field: read, or why not. One that could be read so
// far that its domain is known has a signature all the same.
type candidate struct {
	*signature
	err error
}

// Check begins with a content.
func (v *Verifier) Check() *Check { return &Check{v: v} }

// Write takes the next octets. It never fails.
func (c *Check) Write(p []byte) (int, error) {
	n := len(p)
	if c.tooBig || c.malformed {
		return n, nil
	}
	if c.over {
		c.body(p)
		return n, nil
	}
	from := max(len(c.head)-3, 0)
	taken := min(n, MaxHeader+4-len(c.head))
	c.head = append(c.head, p[:taken]...)
	end := headEnd(c.head, from)
	if end < 0 {
		c.tooBig = len(c.head) > MaxHeader
		return n, nil
	}
	c.begin(string(c.head[:end]))
	c.body(c.head[end+2:])
	c.head = nil
	c.body(p[taken:])
	return n, nil
}

// begin reads the header and makes ready for the body.
func (c *Check) begin(head string) {
	c.over = true
	var err error
	if c.fields, err = splitFields(head, MaxFields); err != nil {
		c.tooBig, c.malformed = errors.Is(err, errManyFields), true
		return
	}
	for i, f := range c.fields {
		if f.name != signatureField {
			continue
		}
		s, err := readSignature(f.raw)
		if s != nil {
			s.at = i
		}
		c.signatures = append(c.signatures, candidate{s, err})
		if err == nil && c.bodies[s.body] == nil {
			c.bodies[s.body] = &body{canon: s.body, hash: sha256.New()}
		}
	}
}

func (c *Check) body(p []byte) {
	c.size += int64(len(p))
	c.empty.Write(p)
	for _, b := range c.bodies {
		if b != nil {
			b.Write(p)
		}
	}
}

// Verdict tells whether the domain of the author signed the content, once all
// of it was written: at least one signature that holds has d= equal to
// domain. Signatures of others are not looked at.
//
// The body is read again from where the content lies now, once for each
// signature and key that the library is asked about, six times at most. Its header may have been
// edited there, the body must be what was written.
func (c *Check) Verdict(ctx context.Context, domain string, content Content) error {
	switch {
	case c.tooBig:
		return ErrTooBig
	case !c.over || c.malformed:
		return ErrMalformed
	case len(c.signatures) == 0:
		return ErrUnsigned
	}
	ctx, cancel := context.WithTimeout(ctx, c.v.cfg.LookUpTime)
	defer cancel()
	var last, temporary error
	tried := 0
	for _, s := range c.signatures {
		if s.signature == nil || s.domain != domain {
			continue
		}
		if tried++; tried > maxTried {
			break
		}
		err := s.err
		if err == nil {
			err = c.try(ctx, s.signature, content)
		}
		if err == nil {
			c.v.held.WithLabelValues(s.algorithm).Inc()
			return nil
		}
		if errors.Is(err, ErrContent) {
			return err
		}
		reason, _ := errors.AsType[Reason](err)
		c.v.failed.WithLabelValues(string(reason)).Inc()
		if reason == Trouble {
			temporary = err
		}
		last = err
	}
	switch {
	case temporary != nil:
		return fmt.Errorf("%w: %w", ErrTemporary, temporary)
	case last != nil:
		return fmt.Errorf("%w: %w", ErrInvalid, last)
	}
	return ErrInvalid
}

// try checks one signature of the right domain. What needs no key comes
// first, so that nobody looks a key up for nothing.
func (c *Check) try(ctx context.Context, s *signature, content Content) error {
	now := c.v.cfg.Now()
	switch {
	case !s.covers(c.fields):
		return Author
	case s.signed.After(now.Add(tolerance)):
		return Future
	case !s.expires.IsZero() && s.expires.Before(now.Add(-tolerance)):
		return Expired
	case c.empty.over:
		return EmptyLines
	case !bytes.Equal(c.bodies[s.body].end(), s.bodyHash):
		return BodyHash
	case c.readings == maxReadings:
		return TooMany
	}
	name := s.selector + "._domainkey." + s.domain
	answer, err := c.v.cfg.Keys.TXT(ctx, name)
	failure := c.tryKeys(s, name, content, answer.Records, err)
	if failure == nil || answer.Age <= freshEnough || errors.Is(failure, ErrContent) || c.readings == maxReadings {
		return failure
	}
	// It was remembered, and may have been changed since.
	c.v.anew.Inc()
	fresh, err := c.v.cfg.Keys.FreshTXT(ctx, name, freshEnough)
	if err == nil && slices.Equal(fresh.Records, answer.Records) {
		return failure
	}
	return c.tryKeys(s, name, content, fresh.Records, err)
}

// tryKeys checks a signature with what the DNS said. Of several reasons the
// one of the first real key is told.
func (c *Check) tryKeys(s *signature, name string, content Content, texts []string, err error) error {
	switch {
	case errors.Is(err, resolver.ErrTemporary):
		return fmt.Errorf("%w: %w", Trouble, err)
	case err != nil:
		return NoKey
	}
	header := s.reduced(c.fields)
	failure := error(NoKey)
	for _, text := range texts[:min(len(texts), maxRecords)] {
		k, err := readKey(text)
		if err == nil {
			err = k.admits(s)
		}
		if err == nil && c.readings == maxReadings {
			err = TooMany
		}
		if err == nil {
			c.readings++
			err = verify(s, name, k, header, io.NewSectionReader(content, content.Size()-c.size, c.size))
		}
		if err == nil || errors.Is(err, ErrContent) {
			return err
		}
		if failure == error(NoKey) {
			failure = err
		}
	}
	return failure
}
