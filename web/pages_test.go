package web

import (
	"compress/gzip"
	"io"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// limits are the defaults of a relay.
func limits() Limits {
	return Limits{
		SendPerMinute: 60, MessageSize: 30 << 20, MailboxSize: 500 << 20, Recipients: 1000,
		KeepMessages: 480 * time.Hour, KeepLarge: 168 * time.Hour, KeepAccounts: 2160 * time.Hour, NameReuse: 8760 * time.Hour,
	}
}

func relayConfig() Config {
	return Config{Domain: "relay.test", Contact: "root@relay.test", PushHost: "push.test", Limits: limits(), Policy: "version: STSv1\r\n"}
}

// in asks for a page in a language.
func in(h *Site, accept, target string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", target, nil)
	r.Header.Set("Accept", "text/html,*/*;q=0.8")
	r.Header.Set("Accept-Language", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// alike are the words that may be the same in another language.
var alike = []string{"size.kilo", "size.mega", "size.giga"}

// Every language has every word, in words of its own, about the same values
// and with the same links.
func TestNoWordIsMissingOrLeftInEnglish(t *testing.T) {
	all := loadLanguages()
	english := all[0].words
	marks := regexp.MustCompile(`\{[a-z]+\}|\]\([a-z]+\)`)
	found := func(text string) []string { m := marks.FindAllString(text, -1); slices.Sort(m); return m }
	forms := map[string][]string{"ru": {"one", "few", "many"}, "fa": {"other"}, "zh": {"other"}}
	for _, l := range all {
		want := map[string]string{}
		for key, text := range english {
			unit, form, plural := strings.Cut(key, ".")
			if !plural || form != "one" && form != "other" {
				want[key] = text
				continue
			}
			own := forms[l.tag]
			if own == nil {
				own = []string{"one", "other"}
			}
			for _, f := range own {
				want[unit+"."+f] = text
			}
		}
		for key, text := range want {
			got, ok := l.words[key]
			switch {
			case !ok || strings.TrimSpace(got) == "":
				t.Errorf("%s lacks %s", l.tag, key)
			case l.tag != "en" && got == english[key] && !slices.Contains(alike, key):
				t.Errorf("%s has %s in English: %s", l.tag, key, got)
			case !slices.Equal(found(got), found(text)):
				t.Errorf("%s: %s has %v, not %v", l.tag, key, found(got), found(text))
			}
		}
		for key := range l.words {
			if _, known := want[key]; !known {
				t.Errorf("%s has %s, which nothing says", l.tag, key)
			}
		}
		for key, text := range l.words {
			for _, m := range regexp.MustCompile(`\]\(([a-z]+)\)`).FindAllStringSubmatch(text, -1) {
				if links[m[1]] == "" {
					t.Errorf("%s: %s leads to %s", l.tag, key, m[1])
				}
			}
		}
	}
}

// Each word is said on some page, and each that a page says is there.
func TestPagesSayWhatThereIsToSay(t *testing.T) {
	said := map[string]bool{}
	for path := range kinds {
		text, err := templateFiles.ReadFile("templates/" + kinds[path] + ".html")
		layout, layoutErr := templateFiles.ReadFile("templates/layout.html")
		if err != nil || layoutErr != nil {
			t.Fatal(err, layoutErr)
		}
		for _, m := range regexp.MustCompile(`\.(?:T|Plain) "([^"]+)"`).FindAllStringSubmatch(string(text)+string(layout), -1) {
			said[m[1]] = true
		}
	}
	english := loadLanguages()[0].words
	for key := range said {
		if english[key] == "" {
			t.Errorf("a page says %s, which nobody wrote", key)
		}
	}
	for key := range english {
		first, _, _ := strings.Cut(key, ".")
		if !said[key] && !slices.Contains([]string{"sorry", "days", "hours", "size", "rate", "forever", "language"}, first) && !strings.HasPrefix(key, "info.limits.") && key != "card.qr" {
			t.Errorf("no page says %s", key)
		}
	}
}

func TestAReaderGetsHisLanguage(t *testing.T) {
	h := made(relayConfig())
	for accept, want := range map[string]string{
		"":                                     "en",
		"de":                                   "de",
		"de-AT,de;q=0.9,en;q=0.8":              "de",
		"sv, fr-CA;q=0.5":                      "fr",
		"en;q=0.1, ru;q=0.2":                   "ru",
		"ES":                                   "es",
		"zh-Hant-TW":                           "zh",
		"fa-IR":                                "fa",
		"sv":                                   "en",
		"de;q=0":                               "en",
		"de;q=x, fr;q=2, es;q=-1":              "en",
		"*":                                    "en",
		";;,,;q=":                              "en",
		strings.Repeat("x,", 29) + "de,fr":     "de",
		strings.Repeat("x,", 30) + "fr":        "en",
		"de," + strings.Repeat("a", maxAccept): "en",
	} {
		w := in(h, accept, "/info.html")
		if got := w.Header().Get("Content-Language"); got != want || !strings.Contains(w.Body.String(), `<html lang="`+want+`"`) || w.Header().Get("Vary") != "Accept-Language, Accept-Encoding" {
			t.Errorf("%.40q: %s, want %s", accept, got, want)
		}
	}
	// Who chose one on the page keeps it.
	w := in(h, "de", "/?lang=fa")
	page := w.Body.String()
	if w.Header().Get("Content-Language") != "fa" || !strings.Contains(page, `dir="rtl"`) || !strings.Contains(page, `href="/info.html?lang=fa"`) {
		t.Errorf("chosen: %s", w.Header().Get("Content-Language"))
	}
	for _, bad := range []string{"/?lang=xx", "/?lang=", "/?lang=%3Cscript%3E", "/?lang=de&%"} {
		if got := in(h, "fr", bad).Header().Get("Content-Language"); got != "fr" && bad != "/?lang=de&%" {
			t.Errorf("%s: %s", bad, got)
		}
	}
}

// The pages tell the limits that the relay has.
func TestThePagesTellTheRealLimits(t *testing.T) {
	text := func(h *Site, accept, path string) string {
		return regexp.MustCompile(`(?s)<style>.*?</style>|<[^>]+>`).ReplaceAllString(in(h, accept, path).Body.String(), "")
	}
	h := made(relayConfig())
	for accept, want := range map[string][]string{
		"en": {"60 per minute", "30 MB", "500 MB", "1000", "20 days", "7 days", "90 days", "After 90 days without a login", "root@relay.test", "relay.test"},
		"de": {"60 in der Minute", "20 Tage"}, "ru": {"20 дней", "7 дней", "30 МБ"}, "fa": {"۲۰ روز", "۳۰ مگابایت"}, "zh": {"20 天"}, "fr": {"500 Mo"}, "es": {"90 días"},
	} {
		got := text(h, accept, "/info.html")
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: no %q in\n%s", accept, w, got)
			}
		}
	}
	if got := text(h, "en", "/privacy.html"); !strings.Contains(got, "push.test") || !strings.Contains(got, "at the latest after 20 days") || !strings.Contains(got, "For 365 days") {
		t.Error(got)
	}
	cfg := relayConfig()
	cfg.Contact, cfg.PushHost = "", ""
	cfg.Limits = Limits{SendPerMinute: 1, MessageSize: 5 << 10, MailboxSize: 3 << 30, Recipients: 2, KeepMessages: 36 * time.Hour, KeepLarge: 48 * time.Hour}
	h = made(cfg)
	got := text(h, "en", "/info.html")
	for _, w := range []string{"5 KB", "3 GB", "36 hours", "without end", "does not remove unused profiles"} {
		if !strings.Contains(got, w) {
			t.Errorf("no %q in\n%s", w, got)
		}
	}
	if strings.Contains(got, "A large message") || strings.Contains(got, "@") {
		t.Error(got)
	}
	if got := text(h, "en", "/privacy.html"); strings.Contains(got, "token") || strings.Contains(got, "hash of its password, so that") {
		t.Error(got)
	}
}

func TestTimesAreCountedAsPeopleDo(t *testing.T) {
	h := made(relayConfig())
	for tag, want := range map[string]map[time.Duration]string{
		"en": {time.Hour: "1 hour", 24 * time.Hour: "1 day", 25 * time.Hour: "25 hours", 48 * time.Hour: "2 days", 0: "without end"},
		"ru": {24 * time.Hour: "1 день", 48 * time.Hour: "2 дня", 264 * time.Hour: "11 дней", 504 * time.Hour: "21 день", 528 * time.Hour: "22 дня", 2688 * time.Hour: "112 дней"},
		"fr": {24 * time.Hour: "1 jour", 72 * time.Hour: "3 jours"},
	} {
		v := h.edition.Load().view(infoPage, tag, false, "")
		for d, text := range want {
			if got := string(v.span(d)); got != text {
				t.Errorf("%s %s: %s, want %s", tag, d, got, text)
			}
		}
	}
}

// A page and all it needs is small.
func TestPagesAreSmall(t *testing.T) {
	cfg := relayConfig()
	cfg.Domain = strings.Repeat("a.", 30) + "relay.test"
	for _, selfSigned := range []bool{false, true} {
		cfg.SelfSigned = selfSigned
		h := made(cfg)
		for _, accept := range languageTags {
			for _, path := range []string{"/", "/info.html", "/privacy.html", "/nothing"} {
				if w := in(h, accept, path); w.Body.Len() > 60_000 || w.Body.Len() < 5000 || strings.Contains(w.Body.String(), "ZgotmplZ") {
					t.Errorf("%s %s: %d octets", accept, path, w.Body.Len())
				}
			}
		}
	}
}

// Every page loads nothing, and its policy lets it have what it brings.
func TestEveryPageNeedsNothingButItself(t *testing.T) {
	cfg := relayConfig()
	cfg.SelfSigned = true
	h := made(cfg)
	for _, path := range []string{"/", "/info.html", "/privacy.html", "/new.html", "/nothing"} {
		w := in(h, "fa", path)
		page, policy := w.Body.String(), w.Header().Get("Content-Security-Policy")
		for _, m := range regexp.MustCompile(`(?s)<(?:style|script)>(.*?)</`).FindAllStringSubmatch(page, -1) {
			if !strings.Contains(policy, hashOf(m[1])) {
				t.Errorf("%s: the policy forbids %.40s", path, m[1])
			}
		}
		if m := regexp.MustCompile(`(?:src=|@import|url\(|<link[^>]*href="[^d]|<iframe|<form|style=)`).FindString(page); m != "" {
			t.Errorf("%s loads or hides something: %s", path, m)
		}
		ids := regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(page, -1)
		if len(regexp.MustCompile(`<h1`).FindAllString(page, -1)) != 1 || len(ids) > 1 {
			t.Errorf("%s: headings or ids", path)
		}
	}
}

// What many get is compressed, and not sent again to who has it; what is for
// one reader is neither.
func TestPagesTravelLight(t *testing.T) {
	cfg := relayConfig()
	cfg.SelfSigned = true
	h := made(cfg)
	r := httptest.NewRequest("GET", "/privacy.html", nil)
	r.Header.Set("Accept-Encoding", "br, GZIP;q=0.5")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	z, err := gzip.NewReader(w.Body)
	if err != nil || w.Header().Get("Content-Encoding") != "gzip" {
		t.Fatal(err, w.Header())
	}
	text, err := io.ReadAll(z)
	if plain := in(h, "", "/privacy.html"); err != nil || string(text) != plain.Body.String() || plain.Header().Get("Content-Encoding") != "" {
		t.Error(err)
	}
	r.Header.Set("If-None-Match", w.Header().Get("ETag"))
	again := httptest.NewRecorder()
	h.ServeHTTP(again, r)
	if again.Code != 304 || again.Body.Len() != 0 {
		t.Error(again.Code)
	}
	for _, no := range []string{"", "gzip;q=0", "gzip;q=0.0", "identity"} {
		r := httptest.NewRequest("GET", "/privacy.html", nil)
		r.Header.Set("Accept-Encoding", no)
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Header().Get("Content-Encoding") != "" {
			t.Errorf("%q: compressed", no)
		}
	}
	r = httptest.NewRequest("GET", "/new.html", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	w = httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Header().Get("Content-Encoding") != "" || w.Header().Get("ETag") != "" || w.Header().Get("Cache-Control") != "no-store" {
		t.Error(w.Header())
	}
}

func TestThePolicyOfMailIsServed(t *testing.T) {
	h := made(relayConfig())
	w := get(h, "GET", "https://mta-sts.relay.test/.well-known/mta-sts.txt")
	if w.Code != 200 || w.Body.String() != "version: STSv1\r\n" || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Error(w.Code, w.Body, w.Header())
	}
}

// A refusal is said in the reader's language, to apps in English.
func TestReasonsAreTranslated(t *testing.T) {
	cfg := relayConfig()
	cfg.Registration = always(Closed)
	h := made(cfg)
	if body := in(h, "de", "/new").Body.String(); body != `{"reason":"Dieses Relay nimmt keine neuen Profile an."}`+"\n" {
		t.Error(body)
	}
	if body := get(h, "POST", "/new").Body.String(); body != `{"reason":"This relay takes no new profiles."}`+"\n" {
		t.Error(body)
	}
	if w := in(h, "ru", "/"); !strings.Contains(w.Body.String(), "не принимает новые профили") || strings.Contains(w.Body.String(), "dcaccount:") {
		t.Error(w.Body)
	}
}

// An invitation survives a change of language.
func TestAnInvitationInAnotherLanguage(t *testing.T) {
	g := &guests{tokens: map[string]error{"GOOD1": nil}}
	cfg := relayConfig()
	cfg.Registration, cfg.Invites = always(ByInvitation), g
	w := in(made(cfg), "en", "/?t=GOOD1&lang=es")
	for _, want := range []string{"Tienes una invitación.", "dcaccount:https://relay.test/new?t=GOOD1", `href="?lang=zh&amp;t=GOOD1"`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %s in\n%s", want, w.Body)
		}
	}
}

// Who chose a language gets the new account in it, too.
func TestANewAccountInTheChosenLanguage(t *testing.T) {
	cfg := relayConfig()
	cfg.SelfSigned = true
	h := made(cfg)
	if page := in(h, "en", "/?lang=de").Body.String(); !strings.Contains(page, `href="/new.html?lang=de"`) {
		t.Error(page)
	}
	if page := in(h, "en", "/new.html?lang=de").Body.String(); !strings.Contains(page, `<a href="/new.html?lang=de">Noch eine</a>`) {
		t.Error(page)
	}
	g := &guests{tokens: map[string]error{"GOOD1": nil}}
	cfg.Registration, cfg.Invites = always(ByInvitation), g
	if page := in(made(cfg), "en", "/?t=GOOD1&lang=de").Body.String(); !strings.Contains(page, `href="/new.html?t=GOOD1&amp;lang=de"`) {
		t.Error(page)
	}
}

// Browsers come back over TLS where they can trust it.
func TestTLSIsRemembered(t *testing.T) {
	for _, selfSigned := range []bool{false, true} {
		cfg := relayConfig()
		cfg.SelfSigned = selfSigned
		for _, path := range []string{"/", "/new", "/nothing", "/robots.txt"} {
			if got := in(made(cfg), "", path).Header().Get("Strict-Transport-Security") != ""; got == selfSigned {
				t.Errorf("self-signed %v, %s: %v", selfSigned, path, got)
			}
		}
	}
}

func FuzzLanguage(f *testing.F) {
	for _, s := range []string{"de-AT,de;q=0.9,en;q=0.8", ";q=,*;q=1e9", "fa", "zh-Hans;q=0.5, ru"} {
		f.Add(s)
	}
	all := loadLanguages()
	f.Fuzz(func(t *testing.T, accept string) {
		if speak(all, accept) == nil {
			t.Fatal(accept)
		}
	})
}
