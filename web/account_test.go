package web

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"barid/internal/metrics"
	"barid/internal/ratelimit"
	"barid/smtp"
)

// ask sends one POST for a new account.
func ask(t *testing.T, h http.Handler) map[string]string {
	t.Helper()
	w := get(h, "POST", "https://relay.test/new")
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	var members map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &members); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return members
}

func TestEachNewAccountIsAnother(t *testing.T) {
	h := made(Config{Domain: "relay.test", PasswordMin: 9, UsernameLength: 9})
	a, b := ask(t, h), ask(t, h)
	if a["email"] == b["email"] || a["password"] == b["password"] {
		t.Fatalf("%v and %v", a, b)
	}
	for _, o := range []map[string]string{a, b} {
		name, domain, _ := strings.Cut(o["email"], "@")
		if len(name) != 9 || strings.Trim(name, nameLetters) != "" || domain != "relay.test" {
			t.Errorf("email %q", o["email"])
		}
		if len(o["password"]) != 12 {
			t.Errorf("password %q", o["password"])
		}
		if _, err := smtp.ParseAddress(o["email"]); err != nil {
			t.Error(err)
		}
	}
}

func TestAnAddressLiteralKeepsItsBrackets(t *testing.T) {
	if o := ask(t, made(Config{Domain: "[192.0.2.7]"})); !strings.HasSuffix(o["email"], "@[192.0.2.7]") {
		t.Fatalf("%v", o)
	}
}

func TestOnlyASelfSignedRelayGivesALoginLink(t *testing.T) {
	if o := ask(t, made(Config{Domain: "relay.test"})); len(o) != 2 {
		t.Errorf("%v", o)
	}
	o := ask(t, made(Config{Domain: "_relay.test", SelfSigned: true}))
	want := LoginURI(o["email"], o["password"], LoginOptions{AcceptInvalid: true})
	if o["dclogin_url"] != want || !strings.HasPrefix(want, "dclogin:"+o["email"]) || !strings.HasSuffix(want, "&ic=3") {
		t.Errorf("%v", o)
	}
}

func TestALoginLinkNamesWhatClientsCannotFind(t *testing.T) {
	for want, cfg := range map[string]Config{
		"&v=1&ih=192.0.2.7&sh=192.0.2.7&ic=3":                                        {Domain: "[192.0.2.7]"},
		"&v=1&ih=2001%3Adb8%3A%3A7&sh=2001%3Adb8%3A%3A7&ic=3":                        {Domain: "[IPv6:2001:db8::7]"},
		"&v=1&ih=mail.relay.test&sh=mail.relay.test&ic=3":                            {Domain: "_relay.test", Host: "mail.relay.test"},
		"&v=1&ih=127.0.0.1&ip=10143&is=starttls&sh=127.0.0.1&sp=10587&ss=plain&ic=3": {Domain: "_relay.test", Host: "127.0.0.1", Services: []Service{{"smtp", "", 10587, "plain"}, {"imap", "", 10143, "STARTTLS"}, {"imap", "", 993, "SSL"}}},
		"&v=1&ih=_relay.test&ip=993&is=ssl&sh=_relay.test&sp=10465&ss=ssl&ic=3":      {Domain: "_relay.test", Services: []Service{{"imap", "", 993, "SSL"}, {"smtp", "", 10465, "SSL"}}},
	} {
		cfg.SelfSigned = true
		if link := ask(t, made(cfg))["dclogin_url"]; !strings.HasSuffix(link, want) {
			t.Errorf("got %s\nwant %s", link, want)
		}
	}
}

func TestABrowserIsSentToItsAppWithAGet(t *testing.T) {
	h := made(Config{Domain: "relay.test"})
	for _, path := range []string{"/new", "/new/", "/cgi-bin/newemail.py", "/new?x=1"} {
		for _, method := range []string{"GET", "HEAD"} {
			w := get(h, method, path)
			if w.Code != 301 || w.Header().Get("Location") != "dcaccount:https://relay.test/new" {
				t.Errorf("%s %s: %d %v", method, path, w.Code, w.Header())
			}
		}
	}
	if w := get(made(Config{Domain: "_relay.test", SelfSigned: true}), "GET", "/new"); w.Code != 200 || !strings.Contains(w.Body.String(), `"dclogin_url":"dclogin:`) {
		t.Errorf("self-signed: %d %s", w.Code, w.Body)
	}
}

func TestANetworkOverItsRateIsToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var client netip.Addr
		counters := metrics.New()
		h := made(Config{Domain: "_relay.test", SelfSigned: true, NewBurst: 3, NewPerSecond: 0.5, Metrics: counters,
			Client: func(*http.Request) netip.Addr { return client }})
		from := func(ip, method, path string) int { client = netip.MustParseAddr(ip); return get(h, method, path).Code }
		for i, want := range []int{200, 200, 200, 429} {
			if code := from("192.0.2.1", "POST", "/new"); code != want {
				t.Fatalf("request %d: %d", i+1, code)
			}
		}
		w := get(h, "POST", "/new")
		var answer struct{ Reason string }
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Reason == "" || w.Header().Get("Retry-After") != "2" {
			t.Fatalf("%v %v %s", err, w.Header(), w.Body)
		}
		for _, c := range []struct {
			ip   string
			want int
		}{
			{"192.0.2.200", 429}, {"::ffff:192.0.2.2", 429}, // the same network
			{"192.0.3.1", 200}, {"2001:db8:1::1", 200}, // others
		} {
			if code := from(c.ip, "POST", "/new"); code != c.want {
				t.Errorf("%s: %d", c.ip, code)
			}
		}
		if code := from("192.0.2.1", "GET", "/new.html"); code != 429 {
			t.Errorf("the page: %d", code)
		}
		if code := from("192.0.2.1", "GET", "/"); code != 200 {
			t.Errorf("the rate is not for other pages: %d", code)
		}
		time.Sleep(2 * time.Second)
		if a, b := from("192.0.2.1", "POST", "/new"), from("192.0.2.1", "POST", "/new"); a != 200 || b != 429 {
			t.Errorf("after a pause: %d %d", a, b)
		}
		if v, _ := counters.Values(); v["web_new_offered"] != 6 || v["web_new_refused"] != 6 {
			t.Errorf("counted %v and %v", v["web_new_offered"], v["web_new_refused"])
		}
	})
}

func TestTheLimiterStaysSmall(t *testing.T) {
	counters := metrics.New()
	l := newLimiter(0.001, 1, counters)
	for i := range 5 * maxNetworks {
		l.Allow(ratelimit.Network(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})))
	}
	if v, _ := counters.Values(); v["web_new_networks_use"] > maxNetworks || v["web_new_networks_limit"] != maxNetworks {
		t.Fatalf("%v networks are known of %v", v["web_new_networks_use"], v["web_new_networks_limit"])
	}
}

func TestClientsWithoutAnAddressShareABucket(t *testing.T) {
	h := made(Config{Domain: "relay.test", NewBurst: 1, Client: func(*http.Request) netip.Addr { return netip.Addr{} }})
	if a, b := get(h, "POST", "/new").Code, get(h, "POST", "/new").Code; a != 200 || b != 429 {
		t.Fatal("no bucket, or more than one")
	}
}

// counting gives 0, 1, 2 ... 255, 0 ...
type counting struct{ next byte }

func (c *counting) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = c.next
		c.next++
	}
	return len(p), nil
}

func TestEveryLetterIsAsLikely(t *testing.T) {
	for _, letters := range []string{nameLetters, passwordLetters, "ab"} {
		fair := 256 - 256%len(letters)
		text, err := draw(&counting{}, letters, fair)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range letters {
			if n := strings.Count(text, string(c)); n != fair/len(letters) {
				t.Errorf("%q came %d times of %d", c, n, fair)
			}
		}
	}
	if len(passwordLetters) != 94 {
		t.Errorf("%d letters", len(passwordLetters))
	}
}

func TestNoRandomnessNoAccount(t *testing.T) {
	h := made(Config{Domain: "relay.test", Rand: io.MultiReader(strings.NewReader("123456789"), failing{})})
	if w := get(h, "POST", "/new"); w.Code != 500 || !strings.Contains(w.Body.String(), `{"reason":"`) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("no more") }

func always(r Registration) func() Registration { return func() Registration { return r } }

// Where no account is born, nobody is given one that could not log in.
func TestAClosedRelayOffersNothing(t *testing.T) {
	for _, selfSigned := range []bool{false, true} {
		h := made(Config{Domain: "relay.test", SelfSigned: selfSigned, Registration: always(Closed)})
		for _, method := range []string{"GET", "POST"} {
			w := get(h, method, "/new")
			if w.Code != 403 || w.Body.String() != `{"reason":"This relay takes no new profiles."}`+"\n" {
				t.Errorf("%s: %d %s", method, w.Code, w.Body)
			}
		}
		for target, code := range map[string]int{"/": 200, "/new.html": map[bool]int{true: 403, false: 404}[selfSigned], "/qr-chatmail-invite-relay.test.png": 404} {
			w := get(h, "GET", target)
			page := w.Body.String()
			if w.Code != code || strings.Contains(page, "dcaccount:") || strings.Contains(page, "dclogin:") || strings.Contains(page, `class="button"`) {
				t.Errorf("%s: %d\n%s", target, w.Code, page)
			}
			if code != 404 && !strings.Contains(page, english(closed)) {
				t.Errorf("%s does not say why", target)
			}
		}
	}
}
