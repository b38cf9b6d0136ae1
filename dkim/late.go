package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"io"
	"strings"
)

// holdsLate checks a signature that the library does not look at, since x= has
// passed by the clock of the machine: it has neither another clock nor a
// tolerance. That is its only use. All that the library would look at besides
// has been judged: the tags, the key, and that the body is the one of bh=.
//
// header is what the library was given, this signature first. The tests hold
// the two against each other where nothing has passed.
//
// Source: RFC 6376 section 3.7 (what is hashed), 5.4.2 (which of several
// fields of one name).
func holdsLate(s *signature, k *key, header string) bool {
	fields, err := splitFields(strings.TrimSuffix(header, "\r\n"), MaxFields)
	if err != nil {
		return false
	}
	hash := sha256.New()
	last := map[string]int{} // by name: those from here on are hashed
	for _, name := range s.names {
		i, ok := last[name]
		if !ok {
			i = len(fields)
		}
		for i--; i >= 0 && fields[i].name != name; i-- {
		}
		if last[name] = i; i >= 0 {
			io.WriteString(hash, s.head.field(fields[i].raw))
		}
	}
	io.WriteString(hash, strings.TrimRight(s.head.field(s.unsigned), "\r\n"))
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, hash.Sum(nil), s.octets) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(public, hash.Sum(nil), s.octets)
	}
	return false
}

// field puts a header field in order (RFC 6376 section 3.4.1, 3.4.2).
func (c canon) field(raw string) string {
	if c == simple {
		return raw
	}
	name, value, _ := strings.Cut(raw, ":")
	words := strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(blanks, r) })
	return strings.ToLower(strings.TrimRight(name, blanks)) + ":" + strings.Join(words, " ") + "\r\n"
}
