package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // for the three files of the page
	"encoding/base64"
	"html/template"
	"net/http"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string

	pageTemplate = template.Must(template.New("page").Parse(pageHTML))
)

// pages writes the relay's page, which needs nothing but itself: style,
// script and pictures are inside, so the policy can name each by its hash.
type pages struct {
	cfg    Config
	policy string
}

// view is what the template shows.
type view struct {
	Domain  string
	Contact string
	Style   template.CSS
	Script  template.JS // empty for none
	Ask     bool        // there is no invitation yet; a button asks for one
	New     string      // where that button leads
	Closed  bool        // there is none for this reader
	Fresh   bool        // the invitation was made for this reader
	Link    template.URL
	QR      template.HTML
	Sorry   string // why there is no invitation
}

func newPages(cfg Config) *pages {
	policy := "default-src 'none'; style-src " + hashOf(pageCSS) + "; img-src data:; "
	if cfg.SelfSigned {
		policy += "script-src " + hashOf(pageJS) + "; connect-src 'self'; "
	}
	return &pages{cfg, policy + "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"}
}

// hashOf names an inline style or script (CSP level 2).
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// landingAge is how long a cache may keep the page, in seconds: who may come
// changes while the relay runs.
const landingAge = 10

// landing is the page at "/". A self-signed relay has no link that serves
// everybody: there a script asks for one, or without script the reader does.
func (p *pages) landing(who Registration) document {
	switch {
	case who == Closed:
		return p.write(view{Closed: true, Sorry: closed}, http.StatusOK, landingAge)
	case who == ByInvitation:
		return p.write(view{Closed: true, Sorry: byInvitation}, http.StatusOK, landingAge)
	case p.cfg.SelfSigned:
		return p.write(view{Ask: true, New: newPage, Script: template.JS(pageJS)}, http.StatusOK, landingAge)
	}
	return p.write(view{
		Link: template.URL(accountLink(p.cfg.Domain, "")),
		QR:   template.HTML(qrSVG(AccountURI(p.cfg.Domain))),
	}, http.StatusOK, landingAge)
}

// newPage is where a page with an offer is.
const newPage = "/new.html"

// invited is the page for who has a good token. No script asks for an account
// by itself: it would take a use each time that the page is looked at.
func (p *pages) invited(token string) document {
	if p.cfg.SelfSigned {
		return p.write(view{Ask: true, New: newPage + tokenQuery(token)}, http.StatusOK, 0)
	}
	return p.write(view{
		Link: template.URL(accountLink(p.cfg.Domain, token)),
		QR:   template.HTML(qrSVG(InviteURI(p.cfg.Domain, token))),
	}, http.StatusOK, 0)
}

// fresh is the page with an offer, or with why there is none.
func (p *pages) fresh(o offer, who Registration, status int, reason string) document {
	again := newPage
	if who != Open {
		again = ""
	}
	if status != http.StatusOK {
		return p.write(view{Ask: who == Open, New: again, Closed: who != Open, Sorry: reason}, status, 0)
	}
	return p.write(view{
		Fresh: true,
		New:   again,
		Link:  template.URL(o.LoginURI),
		QR:    template.HTML(qrSVG(o.LoginURI)),
	}, status, 0)
}

func (p *pages) write(v view, status, age int) document {
	v.Domain, v.Contact, v.Style = p.cfg.Domain, p.cfg.Contact, template.CSS(pageCSS)
	b := &bytes.Buffer{}
	if err := pageTemplate.Execute(b, v); err != nil {
		panic("web: the template and its view are both ours: " + err.Error())
	}
	return document{kind: "text/html; charset=utf-8", body: b.Bytes(), age: age, policy: p.policy, status: status}
}
