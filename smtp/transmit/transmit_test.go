package transmit

import (
	"crypto/sha256"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"barid/internal/resolver"
)

func TestMailGoesToTheHostOfTheDomain(t *testing.T) {
	w := newWorld(t)
	m := w.mail("mx.peer.test", &mta{after: "250 2.0.0 taken", offers: []string{"PIPELINING", "SIZE 1000000"}})
	w.exchangers("peer.test", "mx.peer.test")
	tr := w.transmitter(nil)
	for range 3 {
		out := tr.Deliver(t.Context(), "peer.test", letter("peer.test", "a", "b"))
		if outcome(out) != "250 2.0.0, 250 2.0.0" || !out.Reached || out.Channel != SMTP || out.Host != "mx.peer.test" || out.Took <= 0 {
			t.Fatalf("%s, %+v", outcome(out), out)
		}
	}
	if got := m.taken(); len(got) != 3 || got[0] != wholeLetter {
		t.Errorf("the host has %q", got)
	}
	if m.count() != 1 {
		t.Errorf("%d connections for three messages", m.count())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range m.hellos {
		if name != "relay.test" {
			t.Errorf("EHLO %s", name)
		}
	}
	if m.froms[0] != "FROM:<us@relay.test> SIZE=46" {
		t.Errorf("MAIL %s", m.froms[0])
	}
}

func TestEachRecipientOfAHostHasItsOwnReply(t *testing.T) {
	w := newWorld(t)
	m := w.mail("peer.test", &mta{after: "250 2.0.0 taken", rcpt: func(to string) string {
		switch {
		case strings.Contains(to, "full"):
			return "452 4.2.2 no room"
		case strings.Contains(to, "gone"):
			return "550 5.1.1 nobody"
		}
		return "250 fine"
	}})
	tr := w.transmitter(nil)
	out := tr.Deliver(t.Context(), "peer.test", letter("peer.test", "good", "full", "gone"))
	if outcome(out) != "250 2.0.0, 452 4.2.2, 550 5.1.1" || len(m.taken()) != 1 {
		t.Errorf("%s", outcome(out))
	}
	if text := out.Per[2].Text; !strings.HasPrefix(text, "nobody (forwarded from peer.test[127.0.0.") {
		t.Errorf("text %q", text)
	}
}

// What peers do wrong, and what becomes of the mail. Nothing counts as
// delivered without a 250 to the content.
func TestEveryTroubleEndsInAKnownState(t *testing.T) {
	for what, c := range map[string]struct {
		dest    string
		m       *mta
		strange bool
		change  func(*Config)
		want    string
		reached bool
		got     int
	}{
		"no STARTTLS":                        {m: &mta{noTLS: true, after: "250 x"}, want: "421 4.4.1"},
		"no STARTTLS, where that is allowed": {m: &mta{noTLS: true, after: "250 2.0.0 x"}, change: func(c *Config) { c.Cleartext = []string{"peer.test"} }, want: "250 2.0.0", reached: true, got: 1},
		"a strange certificate":              {m: &mta{after: "250 x"}, strange: true, want: "421 4.4.1"},
		"a strange one, where TLS is no must": {m: &mta{after: "250 2.0.0 x"}, strange: true, change: func(c *Config) { c.Cleartext = []string{"peer.test"} },
			want: "250 2.0.0", reached: true, got: 1},
		"a strange one of a _ domain": {dest: "_peer.test", m: &mta{after: "250 2.0.0 x"}, strange: true, want: "250 2.0.0", reached: true, got: 1},
		"a _ domain, when refused":    {dest: "_peer.test", m: &mta{after: "250 x"}, change: func(c *Config) { c.NoLiterals = true }, want: "550 5.7.1"},
		"refused at the door":         {m: &mta{banner: "554 5.7.1 go away"}, want: "554 5.7.1", reached: true},
		"busy at the door":            {m: &mta{banner: "421 4.3.2 busy"}, want: "421 4.3.2"},
		"garbage":                     {m: &mta{garbage: "what is SMTP?\r\n"}, want: "421 4.4.1"},
		"a line of 10 MB":             {m: &mta{garbage: "220 " + strings.Repeat("x", 10<<20) + "\r\n"}, want: "421 4.4.1"},
		"hangs up at once":            {m: &mta{garbage: "\r\n"}, want: "421 4.4.1"},
		"hangs up after the content":  {m: &mta{}, want: "451 4.4.2", reached: true},
		"refuses the content":         {m: &mta{after: "554 5.6.0 no"}, want: "554 5.6.0", reached: true},
		"defers the content":          {m: &mta{after: "451 4.6.0 later"}, want: "451 4.6.0", reached: true},
		"answers nonsense":            {m: &mta{after: "354 what?"}, want: "451 4.5.0", reached: true},
		"takes small mail only":       {m: &mta{after: "250 x", offers: []string{"SIZE 10"}}, want: "552 5.3.4", reached: true},
		"says nothing":                {m: &mta{stall: true}, change: func(c *Config) { c.Session = 300 * time.Millisecond }, want: "421 4.4.1"},
		"not there":                   {want: "421 4.4.1"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			dest := c.dest
			if dest == "" {
				dest = "peer.test"
			}
			if c.m != nil {
				if c.strange {
					c.m.cert = w.certificate(dest, true)
				}
				w.mail(dest, c.m)
			} else {
				w.newHost(dest)
			}
			out := w.transmitter(c.change).Deliver(t.Context(), dest, letter(dest, "a"))
			if outcome(out) != c.want || out.Reached != c.reached {
				t.Errorf("%s, reached %v, want %s: %s", outcome(out), out.Reached, c.want, out.Per[0].Text)
			}
			if c.m != nil && len(c.m.taken()) != c.got {
				t.Errorf("the host has %d messages", len(c.m.taken()))
			}
		})
	}
}

func TestWhatTheDNSSays(t *testing.T) {
	w := newWorld(t)
	w.exchangers("null.test", "")
	w.fail["nowhere.test"] = resolver.ErrNoName
	w.fail["later.test"] = resolver.ErrTemporary
	w.fail["huge.test"] = resolver.ErrTooLarge
	tr := w.transmitter(nil)
	for dest, want := range map[string]string{
		"null.test": "556 5.1.10", "nowhere.test": "512 5.1.2", "later.test": "421 4.4.3", "huge.test": "501 5.1.2",
		"[300.1.1.1]": "501 5.1.2", "[IPv6:zz]": "501 5.1.2",
	} {
		if out := tr.Deliver(t.Context(), dest, letter(dest, "a")); outcome(out) != want || out.Reached {
			t.Errorf("%s: %s, want %s", dest, outcome(out), want)
		}
	}
}

func TestHostsAreTriedByPreferenceUntilOneAnswers(t *testing.T) {
	w := newWorld(t)
	w.newHost("dead.peer.test")
	broken := w.mail("broken.peer.test", &mta{noTLS: true})
	strange := w.mail("strange.peer.test", &mta{after: "250 2.0.0 x", cert: w.certificate("strange.peer.test", true)})
	good := w.mail("good.peer.test", &mta{after: "250 2.0.0 x"})
	last := w.mail("last.peer.test", &mta{after: "250 2.0.0 x"})
	w.exchangers("peer.test", "dead.peer.test", "broken.peer.test", "strange.peer.test", "good.peer.test", "last.peer.test")
	out := w.transmitter(nil).Deliver(t.Context(), "peer.test", letter("peer.test", "a"))
	if outcome(out) != "250 2.0.0" || out.Host != "good.peer.test" || broken.count() == 0 || strange.count() == 0 || len(strange.taken()) != 0 || len(good.taken()) != 1 || last.count() != 0 {
		t.Errorf("%s by %s", outcome(out), out.Host)
	}
	same := []resolver.MX{{Preference: 1, Host: "a"}, {Preference: 1, Host: "b"}}
	first := map[string]bool{}
	for range 200 {
		first[inOrder(same)[0].name] = true
	}
	if len(first) != 2 {
		t.Error("equals are not tried at random")
	}
}

func TestALiteralIsSpokenToUnderAnyCertificate(t *testing.T) {
	w := newWorld(t)
	m := w.mailAt("whoever", "127.0.0.77", &mta{after: "250 2.0.0 x", cert: w.certificate("whoever", true)})
	out := w.transmitter(nil).Deliver(t.Context(), "[127.0.0.77]", letter("[127.0.0.77]", "a"))
	if outcome(out) != "250 2.0.0" || len(m.taken()) != 1 {
		t.Errorf("%s %s", outcome(out), out.Per[0].Text)
	}
}

// A connection that died while it waited costs nobody anything.
func TestAConnectionThatDiedIdleIsReplaced(t *testing.T) {
	w := newWorld(t)
	m := w.mail("peer.test", &mta{after: "250 2.0.0 x", hangUp: true})
	tr := w.transmitter(nil)
	for range 3 {
		if out := tr.Deliver(t.Context(), "peer.test", letter("peer.test", "a")); outcome(out) != "250 2.0.0" {
			t.Fatalf("%s %s", outcome(out), out.Per[0].Text)
		}
	}
	if got := len(m.taken()); got != 3 {
		t.Errorf("%d messages", got)
	}
}

func TestRelaysTakeMailByHTTPS(t *testing.T) {
	w := newWorld(t)
	r := &relay{status: http.StatusOK, answer: "250 OK"}
	w.web("peer.test", false, r.ServeHTTP)
	tr := w.transmitter(nil)
	for range 2 {
		out := tr.Deliver(t.Context(), "peer.test", letter("peer.test", "a", "b"))
		if outcome(out) != "250 2.0.0, 250 2.0.0" || out.Channel != HTTPS {
			t.Fatalf("%s by %q: %s", outcome(out), out.Channel, out.Per[0].Text)
		}
	}
	want := "us@relay.test > a@peer.test,b@peer.test: " + strings.Replace(wholeLetter, "\r\n.", "\r\n..", 1)
	if got := r.taken(); len(got) != 2 || got[0] != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
	large := letter("peer.test", "a")
	large.Content = content("Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("x", 76)+"\r\n", 10000))
	if out := tr.Deliver(t.Context(), "peer.test", large); outcome(out) != "250 2.0.0" {
		t.Errorf("a large one: %s %s", outcome(out), out.Per[0].Text)
	}
}

// Both ways are open; what a web server answers decides which is used.
func TestSMTPTakesOverWhereHTTPSIsNoHelp(t *testing.T) {
	for what, c := range map[string]struct {
		status  int
		answer  string
		to      []string
		strange bool
		want    string
		channel string
		got     int
	}{
		"no relay":                {404, "", []string{"a"}, false, "250 2.0.0", SMTP, 1},
		"a redirect":              {302, "", []string{"a"}, false, "250 2.0.0", SMTP, 1},
		"too large for it":        {413, "<html>", []string{"a"}, false, "250 2.0.0", SMTP, 1},
		"broken":                  {502, "", []string{"a"}, false, "250 2.0.0", SMTP, 1},
		"a strange certificate":   {200, "250 OK", []string{"a"}, true, "250 2.0.0", SMTP, 1},
		"refuses one of two":      {400, "550 5.1.1 nobody", []string{"a", "b"}, false, "250 2.0.0, 250 2.0.0", SMTP, 1},
		"refuses the only one":    {400, "523 5.7.1 Encryption Needed", []string{"a"}, false, "523 5.7.1", HTTPS, 0},
		"success without meaning": {204, "", []string{"a"}, false, "250 2.0.0", SMTP, 1},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := w.mail("peer.test", &mta{after: "250 2.0.0 x"})
			r := &relay{status: c.status, answer: c.answer}
			w.web("peer.test", c.strange, r.ServeHTTP)
			tr := w.transmitter(nil)
			// HTTPS is known to work, so it is tried first.
			tr.known.note("peer.test", HTTPS, true, time.Millisecond)
			out := tr.Deliver(t.Context(), "peer.test", letter("peer.test", c.to...))
			if outcome(out) != c.want || out.Channel != c.channel || len(m.taken()) != c.got {
				t.Errorf("%s by %q, %d by SMTP: %s", outcome(out), out.Channel, len(m.taken()), out.Per[0].Text)
			}
		})
	}
}

// Whichever is ready first takes it, and the message goes out once.
func TestARaceDeliversOnce(t *testing.T) {
	w := newWorld(t)
	m := w.mail("peer.test", &mta{after: "250 2.0.0 x"})
	r := &relay{status: http.StatusOK, answer: "250 OK"}
	w.web("peer.test", false, r.ServeHTTP)
	for range 20 {
		tr := w.transmitter(nil)
		if out := tr.Deliver(t.Context(), "peer.test", letter("peer.test", "a")); outcome(out) != "250 2.0.0" {
			t.Fatalf("%s %s", outcome(out), out.Per[0].Text)
		}
		tr.Close()
	}
	if n := len(m.taken()) + len(r.taken()); n != 20 {
		t.Errorf("20 messages became %d", n)
	}
}

func TestWithoutPort25OnlyRelaysAreReached(t *testing.T) {
	w := newWorld(t)
	m := w.mail("plain.test", &mta{after: "250 2.0.0 x"})
	w.web("plain.test", false, http.NotFound)
	r := &relay{status: http.StatusOK, answer: "250 OK"}
	w.web("relay2.test", false, r.ServeHTTP)
	tr := w.transmitter(func(c *Config) { c.HTTPSOnly = true })
	if out := tr.Deliver(t.Context(), "plain.test", letter("plain.test", "a")); outcome(out) != "550 5.4.4" || m.count() != 0 {
		t.Errorf("no relay: %s", outcome(out))
	}
	if out := tr.Deliver(t.Context(), "relay2.test", letter("relay2.test", "a")); outcome(out) != "250 2.0.0" {
		t.Errorf("a relay: %s", outcome(out))
	}
	w.newHost("dead.test")
	if out := tr.Deliver(t.Context(), "dead.test", letter("dead.test", "a")); outcome(out) != "421 4.4.1" {
		t.Errorf("nobody: %s", outcome(out))
	}
}

func TestDANEVouchesAndDemands(t *testing.T) {
	w := newWorld(t)
	strange := w.certificate("mx.peer.test", true)
	m := w.mail("mx.peer.test", &mta{after: "250 2.0.0 x", cert: strange})
	w.exchangers("peer.test", "mx.peer.test")
	a := w.mx["peer.test"]
	a.Authentic = true
	w.mx["peer.test"] = a
	name := "_" + strconv.Itoa(int(w.smtp)) + "._tcp.mx.peer.test"
	sum := sha256.Sum256(strange.Leaf.RawSubjectPublicKeyInfo)
	good := resolver.TLSA{Usage: 3, Selector: 1, Matching: 1, Data: sum[:]}
	bad := good
	bad.Data = make([]byte, 32)
	for what, c := range map[string]struct {
		records []resolver.TLSA
		secure  bool
		fail    error
		want    string
	}{
		"one that fits":           {[]resolver.TLSA{bad, good}, true, nil, "250 2.0.0"},
		"none that fits":          {[]resolver.TLSA{bad}, true, nil, "421 4.4.1"},
		"none that can be used":   {[]resolver.TLSA{{Usage: 1, Selector: 1, Matching: 1, Data: sum[:]}}, true, nil, "421 4.4.1"},
		"nobody vouches for them": {[]resolver.TLSA{good}, false, nil, "421 4.4.1"},
		"no answer":               {nil, true, resolver.ErrTemporary, "421 4.4.1"},
	} {
		w.fail[name] = c.fail
		delete(w.tlsa, name)
		if c.records != nil {
			w.tlsa[name] = resolver.Answer[resolver.TLSA]{Records: c.records, Authentic: c.secure}
		}
		tr := w.transmitter(nil)
		if out := tr.Deliver(t.Context(), "peer.test", letter("peer.test", "a")); outcome(out) != c.want {
			t.Errorf("%s: %s, want %s: %s", what, outcome(out), c.want, out.Per[0].Text)
		}
		tr.Close()
	}
	if len(m.taken()) != 1 {
		t.Errorf("%d messages", len(m.taken()))
	}
}

func TestAPolicyChoosesTheHosts(t *testing.T) {
	w := newWorld(t)
	rogue := w.mail("rogue.test", &mta{after: "250 2.0.0 x"})
	mine := w.mail("mx.peer.test", &mta{after: "250 2.0.0 x"})
	w.exchangers("peer.test", "rogue.test", "mx.peer.test")
	w.txt["_mta-sts.peer.test"] = []string{"v=STSv1; id=1"}
	policy := "version: STSv1\r\nmode: enforce\r\nmx: *.peer.test\r\nmax_age: 86400\r\n"
	var asked atomic.Int32
	var text atomic.Value
	text.Store(policy)
	w.web("mta-sts.peer.test", false, func(rw http.ResponseWriter, q *http.Request) {
		asked.Add(1)
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(rw, text.Load().(string))
	})
	tr := w.transmitter(nil)
	for range 2 {
		if out := tr.Deliver(t.Context(), "peer.test", letter("peer.test", "a")); outcome(out) != "250 2.0.0" || out.Host != "mx.peer.test" {
			t.Errorf("%s by %s", outcome(out), out.Host)
		}
	}
	if asked.Load() != 1 || rogue.count() != 0 || len(mine.taken()) != 2 {
		t.Errorf("asked %d times, %d sessions of the other", asked.Load(), rogue.count())
	}
	policy = strings.Replace(policy, "*.peer.test", "elsewhere.test", 1)
	text.Store(policy)
	w.txt["_mta-sts.peer.test"] = []string{"v=STSv1; id=2"}
	if out := tr.Deliver(t.Context(), "peer.test", letter("peer.test", "a")); outcome(out) != "421 4.7.0" {
		t.Errorf("no host is allowed: %s", outcome(out))
	}
	policy = strings.Replace(policy, "enforce", "testing", 1)
	text.Store(policy)
	w.txt["_mta-sts.peer.test"] = []string{"v=STSv1; id=3"}
	if out := tr.Deliver(t.Context(), "peer.test", letter("peer.test", "a")); outcome(out) != "250 2.0.0" || out.Host != "rogue.test" {
		t.Errorf("testing: %s by %s", outcome(out), out.Host)
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add("version: STSv1\nmode: enforce\nmx: mail.peer.test\nmx: *.peer.test\nmax_age: 604800\n")
	f.Add("version:STSv1\r\nmode:none\r\nmax_age:0\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePolicy([]byte(text), time.Unix(0, 0))
		if err == nil && p.enforce && (len(p.mx) == 0 || p.until.After(time.Unix(maxPolicyAge, 0))) {
			t.Errorf("%+v", p)
		}
	})
}

func TestFamiliesTakeTurns(t *testing.T) {
	var in []netip.Addr
	for _, a := range []string{"192.0.2.1", "192.0.2.2", "::ffff:192.0.2.3", "2001:db8::1"} {
		in = append(in, netip.MustParseAddr(a))
	}
	var got []string
	for _, a := range takeTurns(in) {
		got = append(got, a.String())
	}
	if want := []string{"2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}
