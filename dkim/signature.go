package dkim

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The bounds of a signature.
const (
	maxSignature = 8 << 10 // octets of the field
	maxNames     = 100     // in h=
)

// signatureField is the name of the field, lower case.
const signatureField = "dkim-signature"

// signature is one DKIM-Signature field as read.
type signature struct {
	raw        string // the field
	start, end int    // of the value of b= in it
	algorithm  string // "rsa" or "ed25519"
	head, body canon
	domain     string   // d=, lower case
	identity   string   // the domain of i=, lower case
	selector   string   // s=, lower case
	names      []string // h=, lower case
	signed     time.Time
	expires    time.Time // zero for never
	bodyHash   []byte
	octets     []byte
}

// readSignature reads a field by RFC 6376 section 3.5. What is wrong with it
// is a Reason.
func readSignature(raw string) (*signature, error) {
	if len(raw) > maxSignature {
		return nil, TooBig
	}
	list, err := parseTags(raw, strings.IndexByte(raw, ':')+1)
	if err != nil {
		return nil, Syntax
	}
	for _, name := range []string{"v", "a", "b", "bh", "d", "h", "s"} {
		if list.get(name) == "" {
			return nil, Syntax
		}
	}
	b, _ := list.find("b")
	s := &signature{
		raw: raw, start: b.start, end: b.end,
		domain: strings.ToLower(list.get("d")), selector: strings.ToLower(list.get("s")),
	}
	for _, read := range []func(tags) error{s.readAlgorithm, s.readNames, s.readIdentity, s.readTimes, s.readHashes} {
		if err := read(list); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *signature) readAlgorithm(list tags) error {
	if list.get("v") != "1" || list.has("q") && !slices.Contains(list.list("q"), "dns/txt") {
		return Algorithm
	}
	switch strings.ToLower(list.get("a")) {
	case "rsa-sha256":
		s.algorithm = "rsa"
	case "ed25519-sha256":
		s.algorithm = "ed25519"
	default: // rsa-sha1 among them: RFC 8301 section 3.1
		return Algorithm
	}
	if list.has("l") {
		return BodyLength
	}
	ok := true
	if list.has("c") {
		s.head, s.body, ok = parseCanon(strings.ToLower(list.get("c")))
	}
	if !ok {
		return Algorithm
	}
	return nil
}

func (s *signature) readNames(list tags) error {
	s.names = list.list("h")
	if len(s.names) > maxNames {
		return TooBig
	}
	for i, name := range s.names {
		s.names[i] = strings.ToLower(name)
		if !isFieldName(s.names[i]) {
			return Syntax
		}
	}
	return nil
}

// readIdentity reads i=, whose domain is d= or below it.
func (s *signature) readIdentity(list tags) error {
	s.identity = s.domain
	if list.has("i") {
		i := strings.ToLower(list.get("i"))
		s.identity = i[strings.LastIndexByte(i, '@')+1:]
		if !strings.Contains(i, "@") || s.identity != s.domain && !strings.HasSuffix(s.identity, "."+s.domain) {
			return Identity
		}
	}
	return nil
}

func (s *signature) readTimes(list tags) error {
	for _, t := range []struct {
		name string
		to   *time.Time
	}{{"t", &s.signed}, {"x", &s.expires}} {
		if !list.has(t.name) {
			continue
		}
		n, ok := parseSeconds(list.get(t.name))
		if !ok {
			return Syntax
		}
		*t.to = time.Unix(n, 0)
	}
	if list.has("t") && list.has("x") && !s.expires.After(s.signed) {
		return Expired
	}
	return nil
}

// parseSeconds reads a time. One with more digits than RFC 6376 section 3.5
// has is later than anything.
func parseSeconds(s string) (int64, bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return min(n, math.MaxInt32*1000), true
	}
	return math.MaxInt32 * 1000, s != ""
}

func (s *signature) readHashes(list tags) (err error) {
	if s.bodyHash, err = list.octets("bh"); err != nil {
		return Syntax
	}
	if s.octets, err = list.octets("b"); err != nil {
		return Syntax
	}
	return nil
}

// covers tells whether h= names From as often as the header has it.
func (s *signature) covers(fields []field) bool {
	have, signed := 0, 0
	for _, f := range fields {
		if f.name == "from" {
			have++
		}
	}
	for _, name := range s.names {
		if name == "from" {
			signed++
		}
	}
	return signed > 0 && signed >= have
}

// input gives the octets that are hashed and signed: the fields of h= and,
// last, this field without the value of b= and without a line end.
func (s *signature) input(fields []field) []byte {
	return signingInput(s.head, s.names, fields, s.raw[:s.start]+s.raw[s.end:])
}

func signingInput(c canon, names []string, fields []field, own string) []byte {
	var b []byte
	p := newPicker(fields)
	for _, name := range names {
		if raw := p.pick(name); raw != "" {
			b = c.field(b, raw)
		}
	}
	b = c.field(b, own)
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b
}
