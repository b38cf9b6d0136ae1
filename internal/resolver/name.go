package resolver

import (
	"fmt"
	"strings"
)

// canonical gives a name as it is asked for: lower case, a dot at its end. It
// takes host names and names with "_", nothing else; the error wraps ErrName.
func canonical(name string) (string, error) {
	bad := func(why string) (string, error) { return "", fmt.Errorf("%w: %s", ErrName, why) }
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == "" || len(name) > 253 {
		return bad("empty, or longer than 253 octets")
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return bad("a label that is empty or longer than 63 octets")
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return bad("a character that no name has")
			}
		}
	}
	return name + ".", nil
}
