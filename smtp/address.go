package smtp

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

	"barid/internal/pseudonym"
)

// Limits of RFC 5321 section 4.5.3.1, in octets.
const (
	MaxLocalPart = 64
	MaxDomain    = 255
	MaxPath      = 254 // 256 with the angle brackets
)

// ErrAddress is inside every error that says a string is no Mailbox.
var ErrAddress = errors.New("not a mail address")

// Address is one mail address, split at the "@" that ends its local-part.
//
// Domain is lower case: a host name or an address literal in brackets
// ("[192.0.2.7]", "[IPv6:2001:db8::1]"). LocalPart keeps the octets the peer
// sent, quoted form included, at most 64. The zero Address is no address; for
// "<>" see Path.
//
// Printed with %v or %s, or logged, it shows a pseudonym only; Wire gives the
// text that goes to a peer.
//
// Source: RFC 5321 section 4.1.2 (Mailbox), section 4.5.3.1.1.
type Address struct{ LocalPart, Domain string }

// ParseAddress reads a Mailbox without angle brackets. It is stricter than
// most: ASCII only, no control character even when quoted, no empty label.
// The error wraps ErrAddress.
func ParseAddress(s string) (Address, error) {
	bad := func(why string) (Address, error) { return Address{}, fmt.Errorf("%w: %s", ErrAddress, why) }
	if len(s) > MaxPath {
		return bad("longer than 254 octets")
	}
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return bad(`no "@"`)
	}
	local, domain := s[:at], strings.ToLower(s[at+1:])
	if why := checkLocalPart(local); why != "" {
		return bad(why)
	}
	if why := checkDomain(domain); why != "" {
		return bad(why)
	}
	return Address{local, domain}, nil
}

// checkLocalPart tells why s is neither Dot-string nor Quoted-string.
func checkLocalPart(s string) string {
	switch {
	case s == "":
		return "empty local-part"
	case len(s) > MaxLocalPart:
		return "local-part longer than 64 octets"
	case s[0] == '"':
		return checkQuoted(s)
	}
	for _, atom := range strings.Split(s, ".") {
		if atom == "" {
			return "empty atom in the local-part"
		}
		for i := range len(atom) {
			if !isAtext(atom[i]) {
				return "a character that wants quotes in the local-part"
			}
		}
	}
	return ""
}

func checkQuoted(s string) string {
	if len(s) < 2 || s[len(s)-1] != '"' {
		return "unfinished quoted local-part"
	}
	for i := 1; i < len(s)-1; i++ {
		c := s[i]
		if c == '\\' {
			i++
			if i == len(s)-1 {
				return "unfinished quoted local-part"
			}
			c = s[i]
		} else if c == '"' {
			return "a quote inside a quoted local-part"
		}
		if c < 0x20 || c > 0x7e {
			return "a control or non-ASCII character in the local-part"
		}
	}
	return ""
}

func isAtext(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// checkDomain tells why s, lower case already, is neither Domain nor
// address-literal. Labels may begin with "_": relays without a certificate
// are named so.
func checkDomain(s string) string {
	switch {
	case s == "":
		return "empty domain"
	case len(s) > MaxDomain:
		return "domain longer than 255 octets"
	case s[0] == '[':
		return checkLiteral(s)
	}
	for _, label := range strings.Split(s, ".") {
		if label == "" || len(label) > 63 {
			return "a label of the domain is empty or too long"
		}
		if label[0] == '-' || label[len(label)-1] == '-' {
			return "a label of the domain begins or ends with a hyphen"
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return "a character that no domain has"
			}
		}
	}
	return ""
}

func checkLiteral(s string) string {
	inner, ok := strings.CutSuffix(s[1:], "]")
	if !ok {
		return "unfinished address literal"
	}
	v6, isV6 := strings.CutPrefix(inner, "ipv6:")
	ip, err := netip.ParseAddr(v6)
	if err != nil || ip.Zone() != "" || ip.Is4() == isV6 {
		return "no IP address in the literal"
	}
	return ""
}

// IsZero tells whether a is no address at all.
func (a Address) IsZero() bool { return a == Address{} }

// Wire gives the address as peers read it. It must not reach a log.
func (a Address) Wire() string {
	if a.IsZero() {
		return ""
	}
	domain := a.Domain
	if rest, ok := strings.CutPrefix(domain, "[ipv6:"); ok {
		domain = "[IPv6:" + rest
	}
	return a.LocalPart + "@" + domain
}

// Fold gives the address with its local-part in lower case, the form in
// which our own accounts are compared and stored.
func (a Address) Fold() Address {
	return Address{strings.ToLower(a.LocalPart), a.Domain}
}

// WithoutTag gives the address of the account that "name+tag" belongs to. It
// leaves alone what would be no address without its tag ("name.+tag").
func (a Address) WithoutTag() Address {
	if i := strings.IndexByte(a.LocalPart, '+'); i > 0 && a.LocalPart[0] != '"' && a.LocalPart[i-1] != '.' {
		a.LocalPart = a.LocalPart[:i]
	}
	return a
}

// String gives the pseudonym, so that no log line can carry an address.
func (a Address) String() string {
	if a.IsZero() {
		return "<>"
	}
	return pseudonym.Of(strings.ToLower(a.Wire()))
}

// GoString is String: %#v hides as well.
func (a Address) GoString() string { return a.String() }

// LogValue is String: slog hides as well.
func (a Address) LogValue() slog.Value { return slog.StringValue(a.String()) }

// Path is a reverse-path or forward-path: an Address, or none for the null
// reverse-path "<>" (RFC 5321 section 4.5.5).
type Path struct{ Address }

// Wire gives the path in its angle brackets.
func (p Path) Wire() string { return "<" + p.Address.Wire() + ">" }

// IsNull tells whether p is "<>".
func (p Path) IsNull() bool { return p.IsZero() }
