package web

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// place is an operator's directory and a relay that shows it. Time passes
// between two looks.
type place struct {
	t    *testing.T
	dir  string
	now  time.Time
	site *Site
}

func newPlace(t *testing.T, files map[string]string) *place {
	p := &place{t: t, dir: t.TempDir(), now: time.Unix(1_800_000_000, 0)}
	for name, text := range files {
		p.put(name, text)
	}
	cfg := relayConfig()
	cfg.Dir, cfg.Now = p.dir, func() time.Time { return p.now }
	p.site = made(cfg)
	return p
}

func (p *place) put(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) remove(name string) {
	p.t.Helper()
	if err := os.RemoveAll(filepath.Join(p.dir, name)); err != nil {
		p.t.Fatal(err)
	}
}

// get looks a second later.
func (p *place) get(target string) *httptest.ResponseRecorder {
	p.now = p.now.Add(lookEvery)
	return get(p.site, "GET", target)
}

func (p *place) wants(target string, code int, text string) {
	p.t.Helper()
	if w := p.get(target); w.Code != code || !strings.Contains(w.Body.String(), text) {
		p.t.Errorf("%s: %d, no %q in %.300q", target, w.Code, text, w.Body)
	}
}

func (p *place) troubles(want ...string) {
	p.t.Helper()
	found := p.site.Findings()
	if len(found) != len(want) {
		p.t.Errorf("%+v, want %q", found, want)
		return
	}
	for i, f := range found {
		if f.ID != "web.page" || !strings.Contains(f.Text, want[i]) {
			p.t.Errorf("%+v, want %q", f, want[i])
		}
	}
}

// Files of the operator replace pages or stand beside them, and change while
// the relay runs.
func TestTheOperatorsFilesAreShown(t *testing.T) {
	p := newPlace(t, map[string]string{
		"index.html":   `<h1>Welcome to {{.Domain}}</h1>{{with .Card}}{{.QR}}<a href="{{.Link}}">come</a>{{end}} {{config.max_mailbox_size}}`,
		"rules.html":   `<p>{{.T "info.sealed"}} {{range .Limits}}{{.Value}} {{end}}</p>`,
		"house/a.html": "inside", "house/index.html": "the house", "logo.svg": "<svg/>", "robots.txt": "User-agent: x\n",
		".well-known/security.txt": "Contact: x", ".hidden": "secret", ".git/config": "secret", "LICENSE": "free", "x.bin": "\x00",
	})
	p.wants("/", 200, "<h1>Welcome to relay.test</h1><svg ")
	p.wants("/index.html", 200, `<a href="dcaccount:https://relay.test/new">come</a> 500M`)
	p.wants("/rules.html", 200, "<p>Only sealed letters 60 per minute 30 MB")
	p.wants("/info.html", 200, "How it works") // ours
	p.wants("/house/a.html", 200, "inside")
	p.wants("/house/", 200, "the house")
	p.wants("/robots.txt", 200, "User-agent: x")
	p.wants("/.well-known/security.txt", 200, "Contact: x")
	for _, none := range []string{"/.hidden", "/.git/config", "/house", "/rules", "/house/../.hidden", "/%2e%2e/x", "/nothing.html", "/house/a.html/"} {
		p.wants(none, 404, "")
	}
	for target, kind := range map[string]string{"/logo.svg": "image/svg+xml", "/LICENSE": "text/plain; charset=utf-8", "/x.bin": "application/octet-stream"} {
		if w := p.get(target); w.Header().Get("Content-Type") != kind || w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Content-Security-Policy") == "" {
			t.Errorf("%s: %v", target, w.Header())
		}
	}
	p.troubles()
	p.put("index.html", "another one")
	p.wants("/", 200, "another one")
	p.remove("index.html")
	p.wants("/", 200, "Chat in private")
	p.put("new.html", "mine") // what works is not replaced
	p.put(".well-known/mta-sts.txt", "mine")
	p.wants("/.well-known/mta-sts.txt", 200, "STSv1")
	if w := p.get("/new"); w.Code != 301 {
		t.Error(w.Code)
	}
	p.put("main.css", "body { color: red }")
	w := p.get("/info.html")
	if !strings.Contains(w.Body.String(), "<style>body { color: red }</style>") || !strings.Contains(w.Header().Get("Content-Security-Policy"), hashOf("body { color: red }")) {
		t.Error("the style of our pages is not the operator's")
	}
	p.wants("/main.css", 200, "color: red")
}

// A page that is broken keeps its last good form, and the operator is told.
func TestABrokenPageKeepsItsLastGoodForm(t *testing.T) {
	p := newPlace(t, map[string]string{"index.html": "one {{.Domain}}", "info.html": "{{broken"})
	p.wants("/", 200, "one relay.test")
	p.wants("/info.html", 200, "How it works")
	p.troubles("info.html")
	for _, broken := range []string{"{{.NoSuchThing}}", "{{end}}", "{{template \"x\"}}", "{{.T}}", "<a href='{{if .Domain}}\"{{end}}>", "<<<<<<< HEAD\nx\n>>>>>>> y\n", strings.Repeat("x", maxPage+1)} {
		p.put("index.html", broken)
		p.wants("/", 200, "one relay.test")
		p.troubles("index.html", "info.html")
	}
	p.put("index.html", "two")
	p.wants("/", 200, "two")
	p.put("info.html", "three")
	p.wants("/info.html", 200, "three")
	p.troubles()
	// A directory that goes away changes nothing but what is told.
	p.remove("")
	p.wants("/", 200, "two")
	p.troubles("no such file")
	p.put("index.html", "four")
	p.wants("/", 200, "four")
	p.troubles()
}

// Nothing outside of the directory is shown, and there is no end to nothing.
func TestTheDirectoryHasWalls(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret.txt")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newPlace(t, map[string]string{"a.txt": "inside"})
	for name, to := range map[string]string{"link.txt": outside, "up": "..", "loop": ".", "within.txt": "a.txt", "nowhere": "nothing"} {
		if err := os.Symlink(to, filepath.Join(p.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	p.wants("/within.txt", 200, "inside")
	for _, none := range []string{"/link.txt", "/up/", "/loop/a.txt", "/nowhere"} {
		p.wants(none, 404, "")
	}
	p.troubles()
	p.put(strings.Repeat("d/", maxDepth+1)+"deep.txt", "x")
	p.wants("/a.txt", 200, "inside")
	p.troubles("directories deep")
	p.remove("d")
	for n := range maxFiles {
		p.put(fmt.Sprintf("many/%d", n), "")
	}
	p.wants("/a.txt", 200, "inside")
	p.troubles("more than 2000 files")
	p.remove("many")
	p.put("large.bin", strings.Repeat("x", maxFile+1))
	p.wants("/large.bin", 404, "")
	p.troubles("too large")
}

func TestADirectoryThatIsNoneIsToldAtTheStart(t *testing.T) {
	for dir, want := range map[string]string{"/no/such/directory": "no such file", "overlay_test.go": "no directory"} {
		cfg := relayConfig()
		cfg.Dir = dir
		if h, err := New(cfg); err == nil || h != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// It is looked at once a second, whatever is asked.
func TestLooksAreRare(t *testing.T) {
	p := newPlace(t, map[string]string{"a.txt": "one"})
	p.wants("/a.txt", 200, "one")
	p.put("a.txt", "other")
	for range 100 {
		if w := get(p.site, "GET", "/a.txt"); w.Body.String() != "one" {
			t.Fatal("looked again")
		}
	}
	p.wants("/a.txt", 200, "other")
}

// The folder of a cmdeploy installation works as it is.
func TestAFolderOfTheReferenceIsBuilt(t *testing.T) {
	p := newPlace(t, map[string]string{
		"src/page-layout.html": "<title>{{ config.mail_domain }} {{ pagename }}</title>{% if config.webdev %}<meta>{% endif %}<body>\n{{ markdown_html }}\n</body>",
		"src/index.md": `
<img class="banner" src="collage-top.png"/>

## Dear [Delta Chat](https://get.delta.chat) users

{% if config.mail_domain != "nine.testrun.org" %}
Welcome to *instant* and **private** messaging,
see [privacy](privacy.html).
{% else %}
Default.
{% endif %}
<a class="cta-button" href="DCACCOUNT:https://{{ config.mail_domain }}/new">Get a {{config.mail_domain}} profile</a>
{% if config.tls_cert_mode == "self" %}self{% elif config.tls_cert_mode == 'acme' %}
trusted
{% endif %}{# a comment #}
`,
		"src/info.md":    "- You may send up to {{ config.max_user_send_per_minute }} per minute.\n- Gone after {{ config.delete_mails_after }} days,\n  at the latest.\n\n1. a\n2. b\n\n/// tab | Deutsch\n\ntext\n\n///\n---\n```\n<b> & *x*\n```\n",
		"src/privacy.md": "{% for x in y %}\n",
		"src/main.css":   "body {}", "src/dclogin.js": "fetch('/new')", "src/collage-top.png": "png", "README.md": "not a page",
	})
	p.wants("/", 200, "<title>relay.test home</title><body>")
	page := p.get("/").Body.String()
	for _, want := range []string{
		`<img class="banner" src="collage-top.png"/>`, `<h2>Dear <a href="https://get.delta.chat">Delta Chat</a> users</h2>`,
		"<p>Welcome to <em>instant</em> and <strong>private</strong> messaging,\nsee <a href=\"privacy.html\">privacy</a>.</p>",
		`<a class="cta-button" href="DCACCOUNT:https://relay.test/new">Get a relay.test profile</a>`, "trusted",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in\n%s", want, page)
		}
	}
	if strings.Contains(page, "Default.") || strings.Contains(page, "comment") || strings.Contains(page, "{%") {
		t.Error(page)
	}
	info := p.get("/info.html").Body.String()
	for _, want := range []string{
		"<ul>\n<li>You may send up to 60 per minute.</li>\n<li>Gone after 20 days,\nat the latest.</li>\n</ul>", "<ol>\n<li>a</li>\n<li>b</li>\n</ol>",
		"<details open><summary>Deutsch</summary>\n<p>text</p>\n</details>", "<hr>", "<pre><code>&lt;b&gt; &amp; *x*\n</code></pre>",
	} {
		if !strings.Contains(info, want) {
			t.Errorf("no %s in\n%s", want, info)
		}
	}
	p.wants("/privacy.html", 200, "Privacy") // ours: theirs has a tag that is not understood
	p.wants("/dclogin.js", 200, "fetch")
	p.wants("/src/index.md", 404, "")
	p.troubles("privacy.md")
	p.put("src/index.md", "<<<<<<< HEAD\nx")
	p.wants("/", 200, "Welcome to <em>")
	p.troubles("index.md", "privacy.md")
	p.put("src/index.md", "{{ config.no_such_key }}# Fine")
	p.wants("/", 200, "<h1>Fine</h1>")
}

// FuzzMarkdown: whatever is written, it is read to its end.
func FuzzMarkdown(f *testing.F) {
	for _, s := range []string{"# a\n\n- b\n- c\n\n1. d", "/// tab | x\n\n///\n///\n", "```\na", "<div>\n**x\n\n[a](b) ![c](d) <http://e> `f`", "{% if not a %}{{x}}{% endif %}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		out := markdown(text)
		if strings.Count(out, "<ul>") != strings.Count(out, "</ul>") && !strings.Contains(text, "ul>") {
			t.Errorf("%q became %q", text, out)
		}
		fromJinja(text)
	})
}
