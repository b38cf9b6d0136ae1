package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"sync"
)

var (
	//go:embed main.css
	ownStyle string
	//go:embed new.js
	ownScript string
	//go:embed templates/*.html
	templateFiles embed.FS
)

// The pages, by the names of their files.
const (
	homePage    = "/index.html"
	infoPage    = "/info.html"
	privacyPage = "/privacy.html"
	missingPage = "/404.html"
	newPage     = "/new.html" // a home page with an offer
)

// kinds says what view.Page calls them.
var kinds = map[string]string{homePage: "home", infoPage: "info", privacyPage: "privacy", missingPage: "missing"}

// ownPages reads the templates that were compiled in.
func ownPages() map[string]*template.Template {
	layout := template.Must(template.ParseFS(templateFiles, "templates/layout.html"))
	own := map[string]*template.Template{}
	for path, kind := range kinds {
		own[path] = template.Must(template.Must(layout.Clone()).ParseFS(templateFiles, "templates/"+kind+".html"))
	}
	return own
}

// edition is what is served between two changes of the operator's directory.
// Pages are written when somebody first asks for them, and kept: there are as
// many as languages and states, not more.
type edition struct {
	site  *Site
	style string
	own   map[string]*template.Template // our pages
	pages map[string]*template.Template // the operator's, by path
	files map[string]*document          // likewise

	ready sync.Map // pageKey to *document
}

// pageKey is all that a page depends on.
type pageKey struct {
	path   string
	lang   string
	chosen bool // the reader chose the language, so links carry it on
	who    Registration
}

func (s *Site) newEdition() *edition {
	return &edition{site: s, style: ownStyle, own: s.own, pages: map[string]*template.Template{}, files: map[string]*document{}}
}

// has tells whether a path is a page.
func (e *edition) has(path string) bool { return kinds[path] != "" || e.pages[path] != nil }

// landingAge is how long a cache may keep the page with the invitation, in
// seconds: who may come changes while the relay runs.
const landingAge = 10

// page gives a page that is the same for everybody who speaks a language.
func (e *edition) page(k pageKey) *document {
	if d, ok := e.ready.Load(k); ok {
		return d.(*document)
	}
	v := e.view(k.path, k.lang, k.chosen, "")
	v.Card = e.site.offerOf(v.lang, k.who)
	v.Card.New = withLanguage(v.Card.New, v)
	if e.site.cfg.SelfSigned && k.who == Open {
		v.Script = template.JS(ownScript)
	}
	d := e.write(k.path, v)
	d.age = landingAge
	if k.path == missingPage {
		d.status = http.StatusNotFound
	}
	d.squeeze()
	e.ready.Store(k, d)
	return d
}

// withLanguage carries a language that the reader chose on to another page.
func withLanguage(link string, v *view) string {
	switch {
	case v.Query == "" || link == "":
		return link
	case strings.Contains(link, "?"):
		return link + "&" + v.Query[1:]
	}
	return link + v.Query
}

// view is what a page in a language is made of. Token is carried on by the
// links to other languages.
func (e *edition) view(path, lang string, chosen bool, token string) *view {
	l := byTag(e.site.languages, lang)
	v := &view{site: e.site, lang: l, Page: kinds[path], Style: template.CSS(e.style)}
	if chosen {
		v.Query = "?lang=" + l.tag
	}
	also := ""
	if token != "" {
		also = "&t=" + token
	}
	for _, other := range e.site.languages {
		v.Languages = append(v.Languages, languageLink{other.tag, other.words["language"], other.dir, "?lang=" + other.tag + also, other == l})
	}
	return v
}

// offerOf is the card for who has no token. A self-signed relay has no link
// that serves everybody: there a script asks for one, or without script the
// reader does.
func (s *Site) offerOf(l *language, who Registration) card {
	switch {
	case who == Closed:
		return card{Closed: true, Sorry: closed}
	case who == ByInvitation:
		return card{Closed: true, Sorry: byInvitation}
	case s.cfg.SelfSigned:
		return card{Ask: true, New: newPage}
	}
	return card{Link: template.URL(accountLink(s.cfg.Domain, "")), QR: qrSVG(AccountURI(s.cfg.Domain), l.words["card.qr"])}
}

// invitedCard is for who has a good token. No script asks for an account by
// itself: it would take a use each time that the page is looked at.
func (s *Site) invitedCard(l *language, token string) card {
	if s.cfg.SelfSigned {
		return card{Invited: true, Ask: true, New: newPage + tokenQuery(token)}
	}
	return card{Invited: true, Link: template.URL(accountLink(s.cfg.Domain, token)), QR: qrSVG(InviteURI(s.cfg.Domain, token), l.words["card.qr"])}
}

// freshCard is an offer, or why there is none.
func freshCard(l *language, o offer, who Registration, why reason) card {
	again := newPage
	if who != Open {
		again = ""
	}
	if why != "" {
		return card{Ask: who == Open, New: again, Closed: who != Open, Sorry: why}
	}
	return card{Fresh: true, New: again, Link: template.URL(o.LoginURI), QR: qrSVG(o.LoginURI, l.words["card.qr"])}
}

// forOne writes a home page for one reader alone.
func (s *Site) forOne(r *http.Request, show func(*language) card, status int, token string) *document {
	e := s.edition.Load()
	lang, chosen := s.languageOf(r)
	v := e.view(homePage, lang.tag, chosen, token)
	v.Card = show(lang)
	v.Card.New = withLanguage(v.Card.New, v)
	d := e.write(homePage, v)
	d.status = status
	return d
}

// write makes a document of a page: the operator's, else ours.
func (e *edition) write(path string, v *view) *document {
	d := &document{kind: "text/html; charset=utf-8", language: v.lang.tag}
	var b bytes.Buffer
	if t := e.pages[path]; t != nil {
		// It worked when it was read; what it does with other words may still fail.
		if err := t.Execute(&b, v); err == nil {
			d.body, d.policy = b.Bytes(), operatorPolicy
			return d
		}
		b.Reset()
	}
	t := e.own[path]
	if t == nil {
		t = e.own[missingPage]
	}
	if err := t.Execute(&b, v); err != nil {
		panic("web: the template and its view are both ours: " + err.Error())
	}
	d.body, d.policy = b.Bytes(), pagePolicy(e.style, string(v.Script))
	return d
}

// pagePolicy lets a page have its own style and script, and nothing else.
func pagePolicy(style, script string) string {
	policy := "default-src 'none'; style-src " + hashOf(style) + "; img-src data:; "
	if script != "" {
		policy += "script-src " + hashOf(script) + "; connect-src 'self'; "
	}
	return policy + "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
}

// operatorPolicy is for pages of the operator: whatever is on this relay, and
// styles inside the page.
const operatorPolicy = "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"font-src 'self'; media-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

// hashOf names an inline style or script (CSP level 2).
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// squeeze compresses a document that many get, and names its content. Pages
// for one reader are left as they are: a secret beside text that somebody else
// chose must not be compressed with it.
func (d *document) squeeze() {
	sum := sha256.Sum256(d.body)
	d.tag = hex.EncodeToString(sum[:8])
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is a right one
	z.Write(d.body)
	z.Close()
	if b.Len() < len(d.body)*9/10 {
		d.gzip = b.Bytes()
	}
}

// languageOf tells in which language a reader wants a page, and whether he
// chose it on a page before.
func (s *Site) languageOf(r *http.Request) (l *language, chosen bool) {
	if r.URL.RawQuery != "" {
		if l := byTag(s.languages, r.URL.Query().Get("lang")); l != nil {
			return l, true
		}
	}
	return speak(s.languages, r.Header.Get("Accept-Language")), false
}

// notFound says so, on a page to browsers.
func (s *Site) notFound(w http.ResponseWriter, r *http.Request) {
	if !accepts(r, "text/html") || r.Method != http.MethodGet {
		notFound(w)
		return
	}
	l, chosen := s.languageOf(r)
	s.edition.Load().page(pageKey{missingPage, l.tag, chosen, Closed}).serve(w, r)
}

func notFound(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	fmt.Fprintln(w, "There is nothing here.")
}
