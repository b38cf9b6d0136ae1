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
	Closed  bool        // there never is one
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

// landing is the page at "/". A self-signed relay has no link that serves
// everybody: there a script asks for one, or without script the reader does.
func (p *pages) landing() document {
	if p.cfg.Closed {
		return p.write(view{Sorry: closed}, http.StatusOK, 300)
	}
	if p.cfg.SelfSigned {
		return p.write(view{Ask: true, Script: template.JS(pageJS)}, http.StatusOK, 300)
	}
	return p.write(view{
		Link: template.URL(accountLink(p.cfg.Domain)),
		QR:   template.HTML(qrSVG(AccountURI(p.cfg.Domain))),
	}, http.StatusOK, 300)
}

// fresh is the page with an offer, or with why there is none.
func (p *pages) fresh(o offer, status int, reason string) document {
	if status != http.StatusOK {
		return p.write(view{Ask: !p.cfg.Closed, Sorry: reason}, status, 0)
	}
	return p.write(view{
		Fresh: true,
		Link:  template.URL(o.LoginURI),
		QR:    template.HTML(qrSVG(o.LoginURI)),
	}, status, 0)
}

func (p *pages) write(v view, status, age int) document {
	v.Domain, v.Contact, v.Closed, v.Style = p.cfg.Domain, p.cfg.Contact, p.cfg.Closed, template.CSS(pageCSS)
	b := &bytes.Buffer{}
	if err := pageTemplate.Execute(b, v); err != nil {
		panic("web: the template and its view are both ours: " + err.Error())
	}
	return document{kind: "text/html; charset=utf-8", body: b.Bytes(), age: age, policy: p.policy, status: status}
}
