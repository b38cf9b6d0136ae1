package web

import (
	"html/template"
	"math"
	"strings"
	"time"
)

// Limits are what the pages tell of the relay.
type Limits struct {
	SendPerMinute int           // messages that an account may send
	MessageSize   int64         // octets
	MailboxSize   int64         // octets
	Recipients    int           // of a message
	KeepMessages  time.Duration // 0 means for ever
	KeepLarge     time.Duration // of those that were fetched; likewise
	KeepAccounts  time.Duration // that nobody uses; likewise
	NameReuse     time.Duration // how long the name of a removed account waits
}

// view is what the templates show. Its methods are what a template of an
// operator may use, too.
type view struct {
	site *Site
	lang *language

	Page      string // "home", "info", "privacy" or "missing"
	Style     template.CSS
	Script    template.JS // empty for none
	Query     string      // "?lang=de" where the reader chose the language, else ""
	Languages []languageLink

	Card card
}

// card is the place where a new account is offered.
type card struct {
	Ask     bool // there is no invitation yet; a button asks for one
	New     string
	Closed  bool // there is none for this reader
	Fresh   bool // the invitation was made for this reader
	Invited bool // who reads has a good token
	Link    template.URL
	QR      template.HTML
	Sorry   reason // why there is no invitation
}

// languageLink leads to the same page in another language.
type languageLink struct {
	Tag, Name, Dir, Link string
	Now                  bool
}

func (v *view) Domain() string  { return v.site.cfg.Domain }
func (v *view) Host() string    { return v.site.cfg.Host }
func (v *view) Contact() string { return v.site.cfg.Contact }
func (v *view) Lang() string    { return v.lang.tag }
func (v *view) Dir() string     { return v.lang.dir }

// Services are the ways in, for those who ask.
func (v *view) Services() []Service { return v.site.cfg.Services }

// Push is the host of the service that wakes devices, or "".
func (v *view) Push() string { return v.site.cfg.PushHost }

// T says something in the reader's language.
func (v *view) T(key string) template.HTML {
	l := v.site.cfg.Limits
	values := map[string]template.HTML{
		"domain":  isolated(v.site.cfg.Domain),
		"gateway": isolated(v.site.cfg.PushHost),
		"contact": v.mail(),
		"age":     v.span(l.KeepMessages),
		"idle":    v.span(l.KeepAccounts),
		"reuse":   v.span(l.NameReuse),
	}
	return v.lang.say(key, values)
}

// Plain is T for where no markup can be: a title, an attribute.
func (v *view) Plain(key string) string { return v.lang.words[key] }

// isolated keeps a name from left to right in a text that goes the other way.
func isolated(text string) template.HTML {
	return template.HTML(`<bdi dir="ltr">` + template.HTMLEscapeString(text) + `</bdi>`)
}

func (v *view) mail() template.HTML {
	a := template.HTMLEscapeString(v.site.cfg.Contact)
	return template.HTML(`<a href="mailto:` + a + `" dir="ltr">` + a + `</a>`)
}

// span writes a time in days, or in hours where that is shorter than two.
func (v *view) span(d time.Duration) template.HTML {
	const day = 24 * time.Hour
	switch {
	case d <= 0:
		return v.bare("forever")
	case d < 2*day && d != day:
		return v.lang.counted("hours", int64(math.Round(d.Hours())))
	}
	return v.lang.counted("days", int64(math.Round(float64(d)/float64(day))))
}

// bare says something without values.
func (v *view) bare(key string) template.HTML { return v.lang.say(key, nil) }

func (v *view) size(octets int64) template.HTML {
	units := []string{"size.kilo", "size.mega", "size.giga"}
	n, unit := octets>>10, 0
	for ; n >= 1024 && n%1024 == 0 && unit < 2; unit++ {
		n >>= 10
	}
	return v.lang.say(units[unit], map[string]template.HTML{"n": template.HTML(v.lang.number(n))})
}

// limit is a row of the table of limits.
type limit struct{ Name, Value template.HTML }

// Limits are the rows of that table.
func (v *view) Limits() []limit {
	l := v.site.cfg.Limits
	row := func(key string, value template.HTML) limit { return limit{v.bare("info.limits." + key), value} }
	perMinute := v.lang.say("rate.minute", map[string]template.HTML{"n": template.HTML(v.lang.number(int64(l.SendPerMinute)))})
	rows := []limit{
		row("send", perMinute),
		row("size", v.size(l.MessageSize)),
		row("recipients", template.HTML(v.lang.number(int64(l.Recipients)))),
		row("mailbox", v.size(l.MailboxSize)),
		row("age", v.span(l.KeepMessages)),
	}
	if l.KeepLarge > 0 && (l.KeepMessages <= 0 || l.KeepLarge < l.KeepMessages) {
		rows = append(rows, row("large", v.span(l.KeepLarge)))
	}
	return append(rows, row("idle", v.span(l.KeepAccounts)))
}

// Forgets, Leaves and Remembers tell which of the times are bounded.
func (v *view) Forgets() bool   { return v.site.cfg.Limits.KeepMessages > 0 }
func (v *view) Leaves() bool    { return v.site.cfg.Limits.KeepAccounts > 0 }
func (v *view) Remembers() bool { return v.site.cfg.Limits.NameReuse > 0 }

// Sorry says why there is no invitation.
func (v *view) Sorry() template.HTML { return v.bare(string(v.Card.Sorry)) }

// HasServices tells whether there is anything for the table of settings.
func (v *view) HasServices() bool { return len(v.site.cfg.Services) > 0 }

// Upper writes the name of a protocol.
func (v *view) Upper(s string) string { return strings.ToUpper(s) }
