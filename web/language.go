package web

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"slices"
	"strconv"
	"strings"
)

//go:embed lang/*.json
var languageFiles embed.FS

// languages are those of the pages, the one for everybody else first.
var languageTags = [...]string{"en", "de", "fr", "es", "ru", "fa", "zh"}

// language is the words of the pages in one language.
type language struct {
	tag   string // BCP 47
	dir   string // "ltr" or "rtl"
	words map[string]string
}

// loadLanguages reads what was compiled in.
func loadLanguages() []*language {
	var all []*language
	for _, tag := range languageTags {
		text, err := languageFiles.ReadFile("lang/" + tag + ".json")
		l := &language{tag: tag, dir: "ltr"}
		if err == nil {
			err = json.Unmarshal(text, &l.words)
		}
		if err != nil {
			panic("web: the words of a language are ours: " + err.Error())
		}
		if tag == "fa" {
			l.dir = "rtl"
		}
		all = append(all, l)
	}
	return all
}

// Bounds of what is read of an Accept-Language header.
const (
	maxAccept = 1000 // octets
	maxRanges = 30
)

// speak finds the language that a reader wants most (RFC 9110 section
// 12.5.4), by the first subtag; without one that we have, the first of all.
func speak(all []*language, accept string) *language {
	best, quality := all[0], 0.0
	if len(accept) > maxAccept {
		return best
	}
	for n, part := range strings.Split(accept, ",") {
		if n == maxRanges {
			break
		}
		tag, weight, weighted := strings.Cut(part, ";")
		q := 1.0
		if weighted {
			_, value, _ := strings.Cut(weight, "=")
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || !(v >= 0 && v <= 1) {
				continue
			}
			q = v
		}
		primary, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		if l := byTag(all, primary); l != nil && q > quality {
			best, quality = l, q
		}
	}
	return best
}

func byTag(all []*language, tag string) *language {
	if i := slices.IndexFunc(all, func(l *language) bool { return l.tag == tag }); i >= 0 {
		return all[i]
	}
	return nil
}

// links are where the names in the words lead.
var links = map[string]string{
	"deltachat":    "https://delta.chat/",
	"getdeltachat": "https://get.delta.chat/",
	"chatmail":     "https://chatmail.at/",
	"home":         "/",
}

// say gives a text as HTML: "{name}" stands for one of the values, which are
// HTML already, and "[words](name)" for a link.
func (l *language) say(key string, values map[string]template.HTML) template.HTML {
	text, known := l.words[key]
	if !known {
		return template.HTML(template.HTMLEscapeString(key))
	}
	var b strings.Builder
	for text != "" {
		i := strings.IndexAny(text, "{[")
		if i < 0 {
			break
		}
		b.WriteString(template.HTMLEscapeString(text[:i]))
		text = text[i:]
		if text[0] == '{' {
			name, rest, ok := strings.Cut(text[1:], "}")
			if !ok {
				break
			}
			b.WriteString(string(values[name]))
			text = rest
			continue
		}
		label, rest, _ := strings.Cut(text[1:], "](")
		name, rest, ok := strings.Cut(rest, ")")
		if !ok {
			break
		}
		fmt.Fprintf(&b, `<a href="%s">%s</a>`, links[name], template.HTMLEscapeString(label))
		text = rest
	}
	b.WriteString(template.HTMLEscapeString(text))
	return template.HTML(b.String())
}

// number writes a number in the digits of the language.
func (l *language) number(n int64) string {
	text := strconv.FormatInt(n, 10)
	if l.tag != "fa" {
		return text
	}
	return strings.Map(func(c rune) rune { return '۰' + c - '0' }, text)
}

// plural picks the form of a word for a number, by the rules of CLDR for whole
// numbers.
func (l *language) plural(n int64) string {
	switch l.tag {
	case "fa", "zh":
		return "other"
	case "ru":
		switch {
		case n%10 == 1 && n%100 != 11:
			return "one"
		case n%10 >= 2 && n%10 <= 4 && (n%100 < 12 || n%100 > 14):
			return "few"
		}
		return "many"
	case "fr":
		if n < 2 {
			return "one"
		}
	}
	if n == 1 {
		return "one"
	}
	return "other"
}

// counted writes a number with its word: "20 days".
func (l *language) counted(unit string, n int64) template.HTML {
	return l.say(unit+"."+l.plural(n), map[string]template.HTML{"n": template.HTML(l.number(n))})
}
