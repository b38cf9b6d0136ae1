package web

import (
	"fmt"
	"html"
	"regexp"
	"strings"
)

// markdown turns what pages of relays are written in into HTML: headings,
// paragraphs, lists, rules, quoted code, links, pictures, emphasis, and HTML in
// between, which is left as it is: the operator wrote it. Blocks between
// "/// tab | Title" and "///" open and close.
func markdown(text string) string {
	var b strings.Builder
	m := &marker{out: &b}
	for line := range strings.Lines(strings.ReplaceAll(text, "\r\n", "\n")) {
		m.line(strings.TrimRight(line, "\n"))
	}
	m.end()
	if m.fenced {
		b.WriteString("</code></pre>\n")
	}
	for range m.tabs {
		b.WriteString("</details>\n")
	}
	return b.String()
}

// marker is where the reading of a text stands.
type marker struct {
	out       *strings.Builder
	paragraph []string
	list      string // "ul", "ol", or "" outside
	raw       bool   // inside a block of HTML, which ends with an empty line
	fenced    bool   // inside quoted code
	tabs      int
}

var (
	mdHeading = regexp.MustCompile(`^(#{1,6})\s+(.*?)\s*#*$`)
	mdItem    = regexp.MustCompile(`^\s{0,3}(?:[-*+]|([0-9]{1,9})[.)])\s+(.*)$`)
	mdRule    = regexp.MustCompile(`^\s{0,3}(?:-\s*){3,}$|^\s{0,3}(?:\*\s*){3,}$|^\s{0,3}(?:_\s*){3,}$`)
	mdHTML    = regexp.MustCompile(`^\s{0,3}</?(?:a|article|aside|audio|blockquote|center|details|div|dl|figure|footer|form|h[1-6]|header|hr|iframe|img|link|main|nav|ol|p|pre|script|section|style|table|ul|video|!--)\b?`)
	mdTab     = regexp.MustCompile(`^///\s*\S+\s*\|\s*(.*)$`)
)

func (m *marker) line(line string) {
	switch {
	case strings.HasPrefix(strings.TrimSpace(line), "```"):
		m.fence()
	case m.fenced:
		m.out.WriteString(html.EscapeString(line) + "\n")
	case strings.TrimSpace(line) == "":
		m.flush()
		m.raw = false
	case m.raw:
		m.out.WriteString(line + "\n")
	case strings.HasPrefix(line, "///"):
		m.tab(line)
	case mdHeading.MatchString(line):
		m.end()
		h := mdHeading.FindStringSubmatch(line)
		fmt.Fprintf(m.out, "<h%d>%s</h%d>\n", len(h[1]), inline(h[2]), len(h[1]))
	case mdRule.MatchString(line):
		m.end()
		m.out.WriteString("<hr>\n")
	case mdItem.MatchString(line):
		m.item(mdItem.FindStringSubmatch(line))
	case len(m.paragraph) == 0 && mdHTML.MatchString(line):
		m.end()
		m.raw = true
		m.out.WriteString(line + "\n")
	default:
		if m.list != "" && len(m.paragraph) == 0 && !strings.HasPrefix(line, " ") {
			m.endList()
		}
		m.paragraph = append(m.paragraph, strings.TrimSpace(line))
	}
}

func (m *marker) fence() {
	if m.fenced = !m.fenced; m.fenced {
		m.end()
		m.out.WriteString("<pre><code>")
	} else {
		m.out.WriteString("</code></pre>\n")
	}
}

func (m *marker) tab(line string) {
	m.end()
	if t := mdTab.FindStringSubmatch(line); t != nil {
		m.tabs++
		fmt.Fprintf(m.out, "<details open><summary>%s</summary>\n", html.EscapeString(t[1]))
	} else if m.tabs > 0 {
		m.tabs--
		m.out.WriteString("</details>\n")
	}
}

func (m *marker) item(parts []string) {
	kind := "ul"
	if parts[1] != "" {
		kind = "ol"
	}
	m.flush()
	if m.list != kind {
		m.endList()
		m.list = kind
		m.out.WriteString("<" + kind + ">\n")
	}
	m.paragraph = []string{parts[2]}
}

// flush writes the paragraph or the item that was read.
func (m *marker) flush() {
	if len(m.paragraph) == 0 {
		return
	}
	tag := "p"
	if m.list != "" {
		tag = "li"
	}
	fmt.Fprintf(m.out, "<%s>%s</%s>\n", tag, inline(strings.Join(m.paragraph, "\n")), tag)
	m.paragraph = nil
}

func (m *marker) endList() {
	if m.list != "" {
		m.out.WriteString("</" + m.list + ">\n")
		m.list = ""
	}
}

func (m *marker) end() {
	m.flush()
	m.endList()
}

var (
	mdImage  = regexp.MustCompile(`!\[([^\]\n]*)\]\(([^()\s]+)\)`)
	mdLink   = regexp.MustCompile(`\[([^\]\n]+)\]\(([^()\s]+)\)`)
	mdAuto   = regexp.MustCompile(`<((?:https?|mailto):[^<>\s]+)>`)
	mdCode   = regexp.MustCompile("`([^`\n]+)`")
	mdStrong = regexp.MustCompile(`\*\*([^*\n]+)\*\*|__([^_\n]+)__`)
	mdEm     = regexp.MustCompile(`\*([^*\s][^*\n]*)\*`)
)

// inline writes what is inside a line.
func inline(text string) string {
	text = mdCode.ReplaceAllString(text, "<code>$1</code>")
	text = mdImage.ReplaceAllString(text, `<img src="$2" alt="$1">`)
	text = mdLink.ReplaceAllString(text, `<a href="$2">$1</a>`)
	text = mdAuto.ReplaceAllString(text, `<a href="$1">$1</a>`)
	text = mdStrong.ReplaceAllString(text, "<strong>$1$2</strong>")
	return mdEm.ReplaceAllString(text, "<em>$1</em>")
}
