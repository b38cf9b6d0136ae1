package wire

import "strings"

// Classes of octets, RFC 3501 section 9.

func isAtomChar(b byte) bool {
	return b > ' ' && b < 0x7f && strings.IndexByte(`(){%*"\]`, b) < 0
}

// isAStringChar allows "]" as well.
func isAStringChar(b byte) bool { return isAtomChar(b) || b == ']' }

func isTagChar(b byte) bool { return isAStringChar(b) && b != '+' }

// isListChar allows the wildcards as well.
func isListChar(b byte) bool { return isAStringChar(b) || b == '%' || b == '*' }

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

// isAString tells whether s can be written as it is where an astring stands.
func isAString(s string) bool {
	if s == "" || strings.EqualFold(s, "NIL") {
		return false
	}
	for i := range len(s) {
		if !isAStringChar(s[i]) {
			return false
		}
	}
	return true
}

// needsLiteral tells whether s cannot stand between quotes for every client:
// some do not take off backslashes, none takes control characters.
func needsLiteral(s string) bool {
	for i := range len(s) {
		if b := s[i]; b < ' ' || b > '~' || b == '"' || b == '\\' {
			return true
		}
	}
	return false
}
