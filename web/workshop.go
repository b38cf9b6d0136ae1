package web

import (
	"bytes"
	"fmt"
	"html/template"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A workshop is the folder "www" of a cmdeploy installation: pages in Markdown
// below src/, with tags of Jinja, and one layout around them.
const (
	workshopSign   = "/src/index.md"
	workshopLayout = "/src/page-layout.html"
)

func isWorkshop(sources []source) bool {
	for _, f := range sources {
		if f.path == workshopSign {
			return true
		}
	}
	return false
}

// build makes pages of a workshop. A page that cannot be made stays as it was.
func (e *edition) build(sources []source, before *edition) (troubles []string) {
	layout := source{workshopLayout, []byte("{{ markdown_html }}")}
	for _, f := range sources {
		if f.path == workshopLayout {
			layout = f
		}
	}
	for _, f := range sources {
		rest, inside := strings.CutPrefix(f.path, "/src/")
		if !inside || f.path == workshopLayout {
			continue
		}
		name, page := strings.CutSuffix(rest, ".md")
		if !page {
			f.path = "/" + rest
			troubles = append(troubles, e.takeFile(f, before)...)
			continue
		}
		path := "/" + name + ".html"
		d, err := e.assemble(name, f, layout)
		if err != nil {
			troubles = append(troubles, err.Error())
			if d = before.files[path]; d == nil {
				continue
			}
		}
		e.files[path] = d
	}
	return troubles
}

// assemble makes one page: the tags first, then the Markdown, then the layout
// around it.
func (e *edition) assemble(name string, page, layout source) (*document, error) {
	inner, err := e.fill(page, name, "")
	if err != nil {
		return nil, err
	}
	outer, err := e.fill(layout, name, template.HTML(markdown(inner)))
	if err != nil {
		return nil, err
	}
	d := &document{kind: "text/html; charset=utf-8", body: []byte(outer), age: landingAge, policy: operatorPolicy}
	d.squeeze()
	return d, nil
}

// fill puts values into a text.
func (e *edition) fill(f source, page string, content template.HTML) (string, error) {
	switch {
	case len(f.text) > maxPage:
		return "", fmt.Errorf("%s: more than %d octets", f.path, maxPage)
	case conflicted(f.text):
		return "", fmt.Errorf("%s: has the marks of a merge conflict", f.path)
	}
	text, err := fromJinja(string(f.text))
	if err != nil {
		return "", fmt.Errorf("%s: %w", f.path, err)
	}
	funcs := e.site.words(page)
	funcs["markdown_html"] = func() template.HTML { return content }
	t, err := template.New(f.path).Funcs(funcs).Option("missingkey=zero").Parse(text)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, nil); err != nil {
		return "", err
	}
	return b.String(), nil
}

// words are what the reference's templates know, by its names, for templates
// of operators: {{ config.mail_domain }}.
func (s *Site) words(page string) template.FuncMap {
	l := s.cfg.Limits
	days := func(d time.Duration) string { return strconv.Itoa(int(d / (24 * time.Hour))) }
	mebi := func(n int64) string { return strconv.FormatInt(n>>20, 10) + "M" }
	mode := "acme"
	if s.cfg.SelfSigned {
		mode = "self"
	}
	config := map[string]string{
		"mail_domain":                 s.cfg.Domain,
		"max_user_send_per_minute":    strconv.Itoa(l.SendPerMinute),
		"max_mailbox_size":            mebi(l.MailboxSize),
		"max_message_size":            strconv.FormatInt(l.MessageSize, 10),
		"delete_mails_after":          days(l.KeepMessages),
		"delete_large_after":          days(l.KeepLarge),
		"delete_inactive_users_after": days(l.KeepAccounts),
		"username_min_length":         inWords(s.cfg.UsernameLength),
		"username_max_length":         inWords(s.cfg.UsernameLength),
		"password_min_length":         inWords(s.cfg.PasswordMin),
		"privacy_mail":                s.cfg.Contact,
		"privacy_postal":              "",
		"privacy_pdo":                 "",
		"privacy_supervisor":          "",
		"tls_cert_mode":               mode,
	}
	return template.FuncMap{
		"config": func() map[string]string { return config },
		"pagename": func() string {
			return map[string]string{"index": "home"}[page] + map[bool]string{true: page}[page != "index"]
		},
		"markdown_html": func() template.HTML { return "" },
	}
}

// inWords writes small numbers as the reference's pages do.
func inWords(n int) string {
	names := []string{"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"}
	switch {
	case n < len(names):
		return names[max(n, 0)]
	case n <= 50:
		return strconv.Itoa(n)
	}
	return "more"
}

var (
	jinjaTag     = regexp.MustCompile(`(?s)\{%-?\s*(.*?)\s*-?%\}`)
	jinjaComment = regexp.MustCompile(`(?s)\{#.*?#\}`)
	jinjaCompare = regexp.MustCompile(`^(\S+)\s*(==|!=)\s*(\S.*)$`)
	jinjaString  = regexp.MustCompile(`^'([^'"\\]*)'$`)
)

// fromJinja turns the tags that such pages have into ours: if, elif, else,
// endif with a name, a "not", or one comparison. Anything else is an error.
func fromJinja(text string) (string, error) {
	var bad error
	text = jinjaComment.ReplaceAllString(text, "")
	text = jinjaTag.ReplaceAllStringFunc(text, func(tag string) string {
		inner := jinjaTag.FindStringSubmatch(tag)[1]
		word, rest, _ := strings.Cut(inner, " ")
		switch word {
		case "else":
			return "{{else}}"
		case "endif":
			return "{{end}}"
		case "if":
			return "{{if " + condition(rest) + "}}"
		case "elif":
			return "{{else if " + condition(rest) + "}}"
		}
		bad = fmt.Errorf("the tag %.60q is not understood here", tag)
		return ""
	})
	return text, bad
}

func condition(text string) string {
	text = strings.TrimSpace(text)
	if rest, ok := strings.CutPrefix(text, "not "); ok {
		return "not " + operand(rest)
	}
	if m := jinjaCompare.FindStringSubmatch(text); m != nil {
		return map[string]string{"==": "eq ", "!=": "ne "}[m[2]] + operand(m[1]) + " " + operand(m[3])
	}
	return operand(text)
}

func operand(text string) string {
	text = strings.TrimSpace(text)
	if m := jinjaString.FindStringSubmatch(text); m != nil {
		return strconv.Quote(m[1])
	}
	return text
}
