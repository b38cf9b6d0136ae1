package dkim

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// tag is one "name=value" of a tag list, with the place of the value,
// blanks around it included.
type tag struct {
	name, value string
	start, end  int
}

// tags is a tag list (RFC 6376 section 3.2).
type tags []tag

// maxTags bounds a list; the RFCs name some fifteen tags.
const maxTags = 40

var errTags = errors.New("not a tag list")

// parseTags reads a tag list that begins at offset from of s. A name that
// stands twice makes the whole list void.
func parseTags(s string, from int) (tags, error) {
	var list tags
	for at := from; at < len(s); {
		end := at + strings.IndexByte(s[at:], ';')
		if end < at {
			end = len(s)
		}
		piece := s[at:end]
		if strings.Trim(piece, blanks) == "" {
			if end < len(s) && len(list) == 0 {
				return nil, fmt.Errorf("%w: an empty tag", errTags)
			}
			at = end + 1
			continue
		}
		name, value, ok := strings.Cut(piece, "=")
		start := at + len(name) + 1
		name = strings.Trim(name, blanks)
		switch {
		case !ok || !isTagName(name):
			return nil, fmt.Errorf("%w: a tag without a name", errTags)
		case list.has(name):
			return nil, fmt.Errorf("%w: %s= stands twice", errTags, name)
		case len(list) == maxTags:
			return nil, fmt.Errorf("%w: over %d tags", errTags, maxTags)
		}
		list = append(list, tag{name, strings.Trim(value, blanks), start, end})
		at = end + 1
	}
	return list, nil
}

// blanks is what may stand around names and values.
const blanks = " \t\r\n"

func isTagName(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (i == 0 || (s[i] < '0' || s[i] > '9') && s[i] != '_') {
			return false
		}
	}
	return s != ""
}

func (l tags) find(name string) (tag, bool) {
	for _, t := range l {
		if t.name == name {
			return t, true
		}
	}
	return tag{}, false
}

func (l tags) has(name string) bool { _, ok := l.find(name); return ok }

// get gives a value, "" for a tag that is not there.
func (l tags) get(name string) string { t, _ := l.find(name); return t.value }

// list splits a value at its colons.
func (l tags) list(name string) []string {
	parts := strings.Split(l.get(name), ":")
	for i := range parts {
		parts[i] = strings.Trim(parts[i], blanks)
	}
	return parts
}

// octets decodes a value in base64, which may be folded anywhere.
func (l tags) octets(name string) ([]byte, error) {
	return base64.StdEncoding.Strict().DecodeString(squeeze(l.get(name), blanks))
}

// squeeze removes characters.
func squeeze(s, characters string) string {
	if !strings.ContainsAny(s, characters) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(characters, r) {
			return -1
		}
		return r
	}, s)
}
