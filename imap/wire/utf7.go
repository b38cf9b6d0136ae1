package wire

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Mailbox names are kept as RFC 3501 has them, in modified UTF-7. Clients of
// RFC 9051 say and hear them in UTF-8.

// utf7 is the base64 of RFC 3501 section 5.1.3.
var utf7 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)

// ToUTF7 gives a name in modified UTF-7. It is false for what is no UTF-8.
func ToUTF7(name string) (string, bool) {
	if !utf8.ValidString(name) {
		return "", false
	}
	var b strings.Builder
	var units []uint16 // that wait to be encoded together
	flush := func() {
		if len(units) == 0 {
			return
		}
		octets := make([]byte, 0, 2*len(units))
		for _, u := range units {
			octets = append(octets, byte(u>>8), byte(u))
		}
		b.WriteByte('&')
		b.WriteString(utf7.EncodeToString(octets))
		b.WriteByte('-')
		units = units[:0]
	}
	for _, r := range name {
		if r < ' ' || r > '~' {
			units = utf16.AppendRune(units, r)
			continue
		}
		flush()
		if b.WriteByte(byte(r)); r == '&' {
			b.WriteByte('-')
		}
	}
	flush()
	return b.String(), true
}

// FromUTF7 gives a name in UTF-8. It is false for what ToUTF7 makes of no
// name.
func FromUTF7(name string) (string, bool) {
	if strings.IndexByte(name, '&') < 0 {
		again, ok := ToUTF7(name)
		return name, ok && again == name
	}
	var b strings.Builder
	for rest := name; rest != ""; {
		plain, coded, found := strings.Cut(rest, "&")
		b.WriteString(plain)
		if !found {
			break
		}
		var code string
		if code, rest, found = strings.Cut(coded, "-"); !found {
			return "", false
		}
		if code == "" {
			b.WriteByte('&')
			continue
		}
		octets, err := utf7.DecodeString(code)
		if err != nil || len(octets)%2 != 0 {
			return "", false
		}
		units := make([]uint16, len(octets)/2)
		for i := range units {
			units[i] = uint16(octets[2*i])<<8 | uint16(octets[2*i+1])
		}
		b.WriteString(string(utf16.Decode(units)))
	}
	// There is one spelling of each name, and no half of a character.
	again, ok := ToUTF7(b.String())
	return b.String(), ok && again == name
}
