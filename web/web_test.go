package web

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"testing"
)

// get plays one request without a network.
func get(h http.Handler, method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w
}

// made is New of a configuration that is right.
func made(cfg Config) *Site {
	h, err := New(cfg)
	if err != nil {
		panic(err)
	}
	return h
}

// english says what a reason is in the first language.
func english(why reason) string { return loadLanguages()[0].words[string(why)] }

func sscan(run string, x, y, n, back *int) (int, error) {
	return fmt.Sscanf(run, "%d %dh%dv1h-%d", x, y, n, back)
}

// raw plays one request as octets over a real connection.
func raw(t *testing.T, h http.Handler, request string) *http.Response {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// Cores up to 2.58 send only this form, and nothing but a host header.
func TestAbsoluteFormIsTaken(t *testing.T) {
	h := made(Config{Domain: "relay.test"})
	answer := raw(t, h, "POST https://relay.test/new HTTP/1.1\r\nhost: relay.test\r\n\r\n")
	body, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != 200 || !strings.Contains(string(body), `"email":"`) {
		t.Fatalf("%d %s", answer.StatusCode, body)
	}
	for target, want := range map[string]int{
		"https://relay.test/.well-known/autoconfig/mail/config-v1.1.xml": 200,
		"https://relay.test":             200,
		"https://relay.test/":            200,
		"https://relay.test/no":          404,
		"https://www.relay.test/a?b=%20": 301,
		"mailto:a":                       404,
		"/new":                           301,
	} {
		if answer := raw(t, h, "GET "+target+" HTTP/1.1\r\nHost: relay.test\r\n\r\n"); answer.StatusCode != want {
			t.Errorf("%s: %d", target, answer.StatusCode)
		} else if want == 301 && strings.Contains(target, "www") && answer.Header.Get("Location") != "https://relay.test/a?b=%20" {
			t.Errorf("%s: to %s", target, answer.Header.Get("Location"))
		}
	}
}

func TestOnlyTheExactPathIsARoute(t *testing.T) {
	for _, selfSigned := range []bool{false, true} {
		h := made(Config{Domain: "relay.test", SelfSigned: selfSigned})
		for _, path := range []string{"/newxyz", "/new/x", "//new", "/New", "/cgi-bin/newemail.pyx", "/cgi-bin/", "/.well-known/", "/metrics", "/page.css", "/info", "/info.html/", "/404.html", "/lang/en.json", "/templates/home.html", "/.well-known/mta-sts.txt",
			"/mxdeliv", "/index.html/", "/../new", "/new%00", "/favicon.ico"} {
			if w := get(h, "GET", path); w.Code != 404 || w.Body.Len() > 100 {
				t.Errorf("%s: %d, %d octets", path, w.Code, w.Body.Len())
			}
		}
	}
	if w := get(made(Config{Domain: "relay.test"}), "GET", "/new.html"); w.Code != 404 {
		t.Errorf("/new.html: %d", w.Code)
	}
}

func TestOtherMethodsAreRefusedWithAReason(t *testing.T) {
	h := made(Config{Domain: "_relay.test", SelfSigned: true})
	for _, path := range []string{"/new", "/", "/robots.txt", "/new.html", "/.well-known/autoconfig/mail/config-v1.1.xml", "/qr-chatmail-invite-_relay.test.png"} {
		for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "POST"} {
			if path == "/new" && method == "POST" {
				continue
			}
			w := get(h, method, "https://_relay.test"+path)
			var answer struct{ Reason string }
			if err := json.Unmarshal(w.Body.Bytes(), &answer); w.Code != 405 || err != nil || answer.Reason == "" || w.Header().Get("Allow") == "" {
				t.Errorf("%s %s: %d %v %s", method, path, w.Code, err, w.Body)
			}
		}
	}
	if answer := raw(t, h, "CONNECT relay.test:443 HTTP/1.1\r\nHost: relay.test:443\r\n\r\n"); answer.StatusCode != 405 {
		t.Errorf("CONNECT: %d", answer.StatusCode)
	}
}

func TestHeadSaysWhatGetWouldAndNoMore(t *testing.T) {
	h := made(Config{Domain: "relay.test"})
	for _, path := range []string{"/", "/robots.txt", "/qr-chatmail-invite-relay.test.png", "/no"} {
		head := raw(t, h, "HEAD "+path+" HTTP/1.1\r\nHost: relay.test\r\n\r\n")
		whole := raw(t, h, "GET "+path+" HTTP/1.1\r\nHost: relay.test\r\n\r\n")
		body, _ := io.ReadAll(head.Body)
		if len(body) > 0 || head.StatusCode != whole.StatusCode || head.ContentLength != whole.ContentLength || head.Header.Get("Content-Type") != whole.Header.Get("Content-Type") {
			t.Errorf("%s: %d %d, %d %d, %d octets", path, head.StatusCode, head.ContentLength, whole.StatusCode, whole.ContentLength, len(body))
		}
	}
}

func TestABodyIsPassedOver(t *testing.T) {
	h := made(Config{Domain: "relay.test"})
	if answer := raw(t, h, "POST /new HTTP/1.1\r\nHost: relay.test\r\nContent-Length: 5\r\n\r\nhello"); answer.StatusCode != 200 {
		t.Errorf("small: %d", answer.StatusCode)
	}
	answer := raw(t, h, "POST /new HTTP/1.1\r\nHost: relay.test\r\nContent-Length: 1000000000\r\n\r\n")
	if answer.StatusCode != 413 || !answer.Close {
		t.Errorf("large: %d", answer.StatusCode)
	}
}

func TestEveryAnswerBindsTheBrowser(t *testing.T) {
	h := made(Config{Domain: "relay.test"})
	for _, path := range []string{"/", "/new", "/no", "/robots.txt", "/generate_204"} {
		for name, want := range map[string]string{"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
			if got := get(h, "GET", path).Header().Get(name); !strings.Contains(got, want) {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
	}
}

func TestThePageNeedsNothingButItself(t *testing.T) {
	for _, c := range []struct {
		cfg     Config
		path    string
		has     []string
		scripts int
	}{
		{Config{Domain: "relay.test", Contact: "root@relay.test"}, "/", []string{`href="dcaccount:https://relay.test/new"`, "<svg class=\"qr\"", "mailto:root@relay.test"}, 0},
		{Config{Domain: "_relay.test", SelfSigned: true}, "/", []string{`href="/new.html"`}, 1},
		{Config{Domain: "[192.0.2.7]", SelfSigned: true}, "/new.html", []string{`href="dclogin:`, "@[192.0.2.7]?p=", "<svg class=\"qr\""}, 0},
	} {
		w := get(made(c.cfg), "GET", c.path)
		page, policy := w.Body.String(), w.Header().Get("Content-Security-Policy")
		if w.Code != 200 || strings.Contains(page, "Zgotmpl") {
			t.Fatalf("%d %s", w.Code, page)
		}
		for _, want := range c.has {
			if !strings.Contains(page, want) {
				t.Errorf("%s%s lacks %s", c.cfg.Domain, c.path, want)
			}
		}
		if n := strings.Count(page, "<script"); n != c.scripts {
			t.Errorf("%s%s: %d scripts", c.cfg.Domain, c.path, n)
		}
		for _, m := range regexp.MustCompile(`(?s)<(?:style|script)>(.*?)</`).FindAllStringSubmatch(page, -1) {
			sum := sha256.Sum256([]byte(m[1]))
			if !strings.Contains(policy, base64.StdEncoding.EncodeToString(sum[:])) {
				t.Errorf("%s%s: the policy forbids what is inside the page: %.40s", c.cfg.Domain, c.path, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`(?:src|<link[^>]*href|url\()=?"?([^">]*)`).FindAllStringSubmatch(page, -1) {
			if !strings.HasPrefix(m[1], "data:") {
				t.Errorf("%s%s loads %s", c.cfg.Domain, c.path, m[1])
			}
		}
		if cached := strings.Contains(w.Header().Get("Cache-Control"), "public"); cached == (c.path == "/new.html") {
			t.Errorf("%s%s: Cache-Control %s", c.cfg.Domain, c.path, w.Header().Get("Cache-Control"))
		}
	}
}

func TestWhatIsConfiguredIsEscaped(t *testing.T) {
	const evil = `"><script>&x.test`
	h := made(Config{Domain: "relay.test", Contact: evil, Services: []Service{{"imap", evil, 993, "SSL"}}})
	if page := get(h, "GET", "/").Body.String(); strings.Contains(page, "<script>") {
		t.Error("in the page")
	}
	var doc clientConfig
	body := get(h, "GET", "/.well-known/autoconfig/mail/config-v1.1.xml").Body.Bytes()
	if err := xml.Unmarshal(body, &doc); err != nil || doc.Provider.Incoming[0].Host != evil {
		t.Errorf("in the autoconfiguration: %v\n%s", err, body)
	}
}

func TestAWrongConfigNamesItsField(t *testing.T) {
	for want, cfg := range map[string]Config{
		"domain":               {},
		`domain "a b"`:         {Domain: "a b"},
		"host":                 {Domain: "relay.test", Host: strings.Repeat("a", 256)},
		"UsernameLength is 65": {Domain: "relay.test", UsernameLength: 65},
		"PasswordMin is -1":    {Domain: "relay.test", PasswordMin: -1},
		"NewPerSecond -1":      {Domain: "relay.test", NewPerSecond: -1},
		`protocol "pop3"`:      {Domain: "relay.test", Services: []Service{{"pop3", "", 1, "SSL"}}},
		`socket "ssl"`:         {Domain: "relay.test", Services: []Service{{"imap", "", 1, "ssl"}}},
		"without a port":       {Domain: "relay.test", Services: []Service{{"imap", "", 0, "SSL"}}},
	} {
		if h, err := New(cfg); err == nil || h != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s, got %v", want, err)
		}
	}
}

// The largest of everything still fits into the codes.
func TestTheLongestInvitationFits(t *testing.T) {
	domain := strings.Repeat(strings.Repeat("a", 62)+".", 4)[:252-1] + "a"
	h := made(Config{Domain: domain, Host: strings.Repeat("?", 255), SelfSigned: true, UsernameLength: 64, PasswordMin: 128, Rand: same(62),
		Services: []Service{{"imap", "", 65535, "STARTTLS"}, {"smtp", "", 65535, "STARTTLS"}}})
	if w := get(h, "GET", "/new.html"); w.Code != 200 || !strings.Contains(w.Body.String(), strings.Repeat("%21", 131)) {
		t.Fatal(w.Code)
	}
}

// same gives the same octet for ever.
type same byte

func (s same) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(s)
	}
	return len(p), nil
}

func TestAutoconfigNamesEveryWayIn(t *testing.T) {
	w := get(made(Config{Domain: "relay.test"}), "GET", "/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=a%40relay.test")
	var doc clientConfig
	if err := xml.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatalf("%v\n%s", err, w.Body)
	}
	got := []string{doc.Version, doc.Provider.ID, doc.Provider.Domain, doc.Provider.Name, doc.Provider.ShortName}
	for _, s := range append(doc.Provider.Incoming, doc.Provider.Outgoing...) {
		got = append(got, fmt.Sprint(s.Type, " ", s.Host, " ", s.Port, " ", s.Socket, " ", s.Authentication, " ", s.Username))
	}
	want := []string{"1.1", "relay.test", "relay.test", "relay.test chatmail", "relay.test"}
	for _, s := range []string{"imap relay.test 993 SSL", "imap relay.test 143 STARTTLS", "imap relay.test 443 SSL", "smtp relay.test 465 SSL", "smtp relay.test 587 STARTTLS", "smtp relay.test 443 SSL"} {
		want = append(want, s+" password-cleartext %EMAILADDRESS%")
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Fatalf("got\n%s\nwant\n%s", g, w)
	}
	if kind := w.Header().Get("Content-Type"); !strings.Contains(kind, "xml") {
		t.Error(kind)
	}
}

func TestPort80SendsAllButTheProbeToHTTPS(t *testing.T) {
	for _, c := range []struct{ domain, request, want string }{
		{"relay.test", "GET /a?b=c HTTP/1.1\r\nHost: relay.test:80\r\n\r\n", "https://relay.test/a?b=c"},
		{"relay.test", "GET http://relay.test/a HTTP/1.1\r\nHost: x\r\n\r\n", "https://relay.test/a"},
		{"relay.test", "GET / HTTP/1.1\r\nHost: MTA-STS.relay.test\r\n\r\n", "https://mta-sts.relay.test/"},
		{"relay.test", "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n", "https://relay.test/"},
		{"relay.test", "GET //evil.test/ HTTP/1.1\r\nHost: relay.test\r\n\r\n", "https://relay.test//evil.test/"},
		{"relay.test", "GET / HTTP/1.0\r\n\r\n", "https://relay.test/"},
		{"[192.0.2.7]", "GET /x HTTP/1.1\r\nHost: 192.0.2.7\r\n\r\n", "https://192.0.2.7/x"},
		{"[IPv6:2001:db8::7]", "GET /x HTTP/1.1\r\nHost: [2001:db8::7]\r\n\r\n", "https://[2001:db8::7]/x"},
	} {
		answer := raw(t, Redirect(Config{Domain: c.domain}), c.request)
		if got := answer.Header.Get("Location"); answer.StatusCode != 301 || got != c.want {
			t.Errorf("%q: %d %s", c.request, answer.StatusCode, got)
		}
	}
	for _, target := range []string{"*", "mailto:x"} {
		answer := raw(t, Redirect(Config{Domain: "relay.test"}), "GET "+target+" HTTP/1.1\r\nHost: relay.test\r\n\r\n")
		if got := answer.Header.Get("Location"); answer.StatusCode != 404 || got != "" {
			t.Errorf("%s has no path: %d %s", target, answer.StatusCode, got)
		}
	}
	for _, family := range []string{"X-Iroh", "X-Tailscale"} {
		for ask, want := range map[string]string{"ts_relay.test": "response ts_relay.test", "": "", "a b": "", strings.Repeat("a", 64): ""} {
			answer := raw(t, Redirect(Config{Domain: "relay.test"}), "GET /generate_204 HTTP/1.1\r\nHost: relay.test\r\n"+family+"-Challenge: "+ask+"\r\n\r\n")
			if got := answer.Header.Get(family + "-Response"); answer.StatusCode != 204 || got != want {
				t.Errorf("%s, challenge %q: %d %q", family, ask, answer.StatusCode, got)
			}
		}
	}
}

func TestNoLogLineHasAClientOrAPassword(t *testing.T) {
	log := &strings.Builder{}
	h := made(Config{Domain: "_relay.test", SelfSigned: true, NewBurst: 9, Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Client: func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.99") }, Rand: io.MultiReader(io.LimitReader(&counting{}, 60), failing{})})
	for range 4 {
		get(h, "POST", "/new")
	}
	if strings.Contains(log.String(), "192.0.2") || strings.Contains(log.String(), "@") || log.Len() == 0 {
		t.Fatalf("log:\n%s", log)
	}
}

// FuzzRequest: whatever is asked for, the answer is one of few, never a fault.
func FuzzRequest(f *testing.F) {
	for _, target := range []string{"/", "/new?a=b&c", "/new.html?", "https://relay.test/new", "https://www.relay.test/x", "/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=a%40b", "*", "//x", "/%2e%2e", "mailto:a", "/generate_204"} {
		f.Add("GET", target, "evil.test/.relay.test")
		f.Add("GET", target, "relay.test")
		f.Add("POST", target, "www.relay.test:443")
	}
	strict, lax := made(Config{Domain: "relay.test"}), made(Config{Domain: "relay.test", SelfSigned: true})
	plain := Redirect(Config{Domain: "relay.test"})
	f.Fuzz(func(t *testing.T, method, target, host string) {
		text := method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return
		}
		for _, h := range []http.Handler{strict, lax, plain} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			switch w.Code {
			case 200, 204, 301, 404, 405, 413, 429:
			default:
				t.Errorf("%q: %d", text, w.Code)
			}
			to := w.Header().Get("Location")
			if w.Code == 301 && to != "dcaccount:https://relay.test/new" && !regexp.MustCompile(`^https://(mta-sts\.)?relay\.test/`).MatchString(to) {
				t.Errorf("%q leads to %q", text, to)
			}
		}
	})
}
