package dkim

import (
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
	raw       string // the field
	unsigned  string // the field without the value of b=
	at        int    // its place among the fields
	algorithm string // "rsa" or "ed25519"
	head      canon
	body      canon
	domain    string   // d=, lower case
	identity  string   // the domain of i=, lower case
	selector  string   // s=, lower case
	names     []string // h=, lower case
	signed    time.Time
	expires   time.Time // zero for never
	bodyHash  []byte
	octets    []byte // b=
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
	s := &signature{
		raw:    raw,
		domain: strings.ToLower(list.get("d")), selector: strings.ToLower(list.get("s")),
	}
	for _, read := range []func(tags) error{s.readOctets, s.readAlgorithm, s.readNames, s.readIdentity, s.readTimes, s.readHashes} {
		if err := read(list); err != nil {
			return s, err
		}
	}
	return s, nil
}

// readOctets refuses what the library would read otherwise than we do. It
// trims more than blanks, so there is printable ASCII only (RFC 6376 section
// 3.2); and it takes what follows any "b=" for the signature, not in the tag
// of that name alone.
func (s *signature) readOctets(list tags) error {
	b, _ := list.find("b")
	for i := range len(s.raw) {
		switch c := s.raw[i]; {
		case c > '~' || c < ' ' && !strings.Contains(blanks, string(c)):
			return Syntax
		case c == '=' && (i < b.start-1 || i >= b.end) && strings.HasSuffix(strings.TrimRight(s.raw[:i], blanks), "b"):
			return Syntax
		}
	}
	return nil
}

// readAlgorithm takes values in lower case only, as the library does.
func (s *signature) readAlgorithm(list tags) error {
	if list.get("v") != "1" || list.has("q") && !slices.Contains(list.list("q"), "dns/txt") {
		return Algorithm
	}
	switch list.get("a") {
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
		s.head, s.body, ok = parseCanon(list.get("c"))
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

// readIdentity reads i=, whose domain is d= or below it, spelled as d= is: the
// library compares them with letter case.
func (s *signature) readIdentity(list tags) error {
	s.identity = s.domain
	if list.has("i") {
		i, d := list.get("i"), list.get("d")
		domain := i[strings.LastIndexByte(i, '@')+1:]
		if !strings.Contains(i, "@") || domain != d && !strings.HasSuffix(domain, "."+d) {
			return Identity
		}
		s.identity = strings.ToLower(domain)
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

// parseSeconds reads a time. RFC 6376 section 3.5 wants twelve digits; the
// library fails where 64 bits do not hold them.
func parseSeconds(s string) (int64, bool) {
	if len(s) > 15 {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil
}

func (s *signature) readHashes(list tags) (err error) {
	if s.bodyHash, err = list.octets("bh"); err != nil {
		return Syntax
	}
	if s.octets, err = list.octets("b"); err != nil {
		return Syntax
	}
	b, _ := list.find("b")
	s.unsigned = s.raw[:b.start] + s.raw[b.end:]
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

// reduced gives the header that the library sees: this signature first, then
// what its h= names, in order. The library looks through the whole of it for
// each name, and takes the first signature.
func (s *signature) reduced(fields []field) string {
	var b strings.Builder
	b.WriteString(s.raw)
	for i, f := range fields {
		if i != s.at && slices.Contains(s.names, f.name) {
			b.WriteString(f.raw)
		}
	}
	b.WriteString("\r\n")
	return b.String()
}
