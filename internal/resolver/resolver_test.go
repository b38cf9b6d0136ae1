package resolver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"barid/internal/metrics"
)

func TestRecordsOfEachKind(t *testing.T) {
	s := serve(t,
		`relay.test. 60 IN MX 20 b.relay.test.`, `relay.test. 60 IN MX 10 Z.relay.test.`, `relay.test. 60 IN MX 10 a.relay.test.`,
		`none.test. 60 IN MX 0 .`, `a.relay.test. 60 IN A 192.0.2.1`, `a.relay.test. 60 IN AAAA 2001:db8::1`,
		`four.test. 60 IN A 192.0.2.4`, `key.test. 60 IN TXT "v=DKIM1; " "p=AA"`, `_25._tcp.a.relay.test. 60 IN TLSA 3 1 1 00ff`,
	)
	r, _ := s.resolver(t, nil)
	mx, err := r.MX(t.Context(), "Relay.TEST.")
	if want := []MX{{10, "a.relay.test"}, {10, "z.relay.test"}, {20, "b.relay.test"}}; err != nil || !slices.Equal(mx.Records, want) {
		t.Errorf("MX %v, %v", mx, err)
	}
	if mx, err := r.MX(t.Context(), "none.test"); err != nil || len(mx.Records) != 1 || mx.Records[0].Host != "" {
		t.Errorf("null MX %v, %v", mx, err)
	}
	both, err := r.Addrs(t.Context(), "a.relay.test")
	if want := []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")}; err != nil || !slices.Equal(both.Records, want) {
		t.Errorf("addresses %v, %v", both, err)
	}
	if four, err := r.Addrs(t.Context(), "four.test"); err != nil || len(four.Records) != 1 {
		t.Errorf("address %v, %v", four, err)
	}
	if txt, err := r.TXT(t.Context(), "key.test"); err != nil || !slices.Equal(txt.Records, []string{"v=DKIM1; p=AA"}) {
		t.Errorf("TXT %v, %v", txt, err)
	}
	if tlsa, err := r.TLSA(t.Context(), "_25._tcp.a.relay.test"); err != nil || string(tlsa.Records[0].Data) != "\x00\xff" {
		t.Errorf("TLSA %v, %v", tlsa, err)
	}
}

func TestNoneIsToldFromTrouble(t *testing.T) {
	s := serve(t, `relay.test. 60 IN A 192.0.2.1`)
	r, _ := s.resolver(t, nil)
	for _, c := range []struct {
		name string
		say  func(string, *dns.Msg, *dns.Msg) bool
		want error
	}{
		{"gone.test", nil, ErrNoName},
		{"relay.test", nil, ErrNoRecord},
		{"servfail.test", func(_ string, _, a *dns.Msg) bool { a.Rcode = dns.RcodeServerFailure; return true }, ErrTemporary},
		{"refused.test", func(_ string, _, a *dns.Msg) bool { a.Rcode = dns.RcodeRefused; return true }, ErrTemporary},
		{"silent.test", func(string, *dns.Msg, *dns.Msg) bool { return false }, ErrTemporary},
		{"other.test", func(_ string, _, a *dns.Msg) bool { a.Question[0].Name = "evil.test."; return true }, ErrTemporary},
	} {
		if c.say != nil {
			s.say(c.say)
		}
		_, err := r.TXT(t.Context(), c.name)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, not %v", c.name, err, c.want)
		}
		if _, again := r.TXT(t.Context(), c.name); again == nil || again.Error() != err.Error() {
			t.Errorf("%s: remembered as %v", c.name, again)
		}
	}
	if n := s.times("TXT gone.test. udp"); n != 1 {
		t.Errorf("asked %d times for what is not there", n)
	}
	for _, name := range []string{"", ".", "a..b", strings.Repeat("a", 64) + ".test", strings.Repeat("a.", 130), "a b.test", "a\x00.test", "é.test", `a\.b.test`} {
		if _, err := r.TXT(t.Context(), name); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestAServerThatIsDownIsPassedOver(t *testing.T) {
	s := serve(t, `relay.test. 60 IN TXT "x"`)
	r, _ := s.resolver(t, func(c *Config) { c.Servers = []string{"127.0.0.1:1", s.addr} })
	if _, err := r.TXT(t.Context(), "relay.test"); err != nil {
		t.Error(err)
	}
}

func TestCNAMEsAreFollowed(t *testing.T) {
	s := serve(t,
		`a.test. 60 IN CNAME b.test.`, `b.test. 50 IN CNAME c.test.`, `c.test. 40 IN TXT "here"`, `short.test. 30 IN CNAME c.test.`,
		`empty.test. 60 IN CNAME c.test.`, `nowhere.test. 60 IN CNAME gone.test.`,
		`loop.test. 60 IN CNAME pool.test.`, `pool.test. 60 IN CNAME loop.test.`, `self.test. 60 IN CNAME self.test.`,
	)
	r, clock := s.resolver(t, nil)
	a, err := r.TXT(t.Context(), "a.test")
	if err != nil || a.Records[0] != "here" || a.Name != "c.test" {
		t.Fatalf("%+v, %v", a, err)
	}
	r.TXT(t.Context(), "short.test")
	clock.turn(31 * time.Second) // the shortest TTL of the chain counts
	if r.TXT(t.Context(), "short.test"); s.times("TXT short.test. udp") != 2 {
		t.Error("the TTL of a CNAME does not count")
	}
	clock.turn(10 * time.Second)
	if _, err := r.TXT(t.Context(), "a.test"); err != nil || s.times("TXT a.test. udp") != 2 {
		t.Errorf("asked %d times, %v", s.times("TXT a.test. udp"), err)
	}
	if c, err := r.CNAME(t.Context(), "a.test"); err != nil || c.Records[0] != "b.test" {
		t.Errorf("CNAME %v, %v", c, err)
	}
	for name, want := range map[string]error{"nowhere.test": ErrNoName, "loop.test": ErrTemporary, "self.test": ErrTemporary} {
		if _, err := r.TXT(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("%s: %v, not %v", name, err, want)
		}
	}
	if _, err := r.MX(t.Context(), "empty.test"); !errors.Is(err, ErrNoRecord) {
		t.Errorf("records of another type behind a CNAME: %v", err)
	}
	s.say(func(_ string, q, a *dns.Msg) bool { // without end, each name another
		rr, _ := dns.NewRR(fmt.Sprintf("%s 60 IN CNAME x%s", q.Question[0].Name, q.Question[0].Name))
		a.Answer = append(a.Answer, rr)
		return true
	})
	if _, err := r.TXT(t.Context(), "endless.test"); !errors.Is(err, ErrTemporary) {
		t.Errorf("endless CNAMEs: %v", err)
	}
}

// A whole chain in one answer, as recursive resolvers give it, out of order
// and with what nobody asked for.
func TestAChainInOneAnswer(t *testing.T) {
	s := serve(t)
	s.say(func(_ string, q, a *dns.Msg) bool {
		for _, text := range []string{
			`c.test. 60 IN TXT "here"`, `evil.test. 60 IN TXT "evil"`, `b.test. 60 IN CNAME C.test.`, `A.test. 60 IN CNAME b.test.`,
		} {
			rr, _ := dns.NewRR(text)
			a.Answer = append(a.Answer, rr)
		}
		return true
	})
	r, _ := s.resolver(t, nil)
	if a, err := r.TXT(t.Context(), "a.test"); err != nil || !slices.Equal(a.Records, []string{"here"}) || s.times("TXT a.test. udp") != 1 {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestWhatDoesNotFitComesOverTCP(t *testing.T) {
	s := serve(t)
	text := strings.Repeat("k", 250)
	s.say(func(network string, q, a *dns.Msg) bool {
		n := 20
		if strings.HasPrefix(q.Question[0].Name, "huge") {
			n = 90
		}
		txt := &dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}}
		for range n {
			txt.Txt = append(txt.Txt, text)
		}
		a.Answer = []dns.RR{txt}
		if network == "udp" {
			a.Answer, a.Truncated = nil, true
		}
		return true
	})
	r, _ := s.resolver(t, nil)
	a, err := r.TXT(t.Context(), "long.test")
	if err != nil || len(a.Records[0]) != 5000 || s.times("TXT long.test. tcp") != 1 {
		t.Errorf("%v, %d times over TCP", err, s.times("TXT long.test. tcp"))
	}
	if _, err := r.TXT(t.Context(), "huge.test"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("22 KB of text: %v", err)
	}
	s.say(func(_ string, _, a *dns.Msg) bool { a.Truncated = true; return true })
	if _, err := r.TXT(t.Context(), "cut.test"); !errors.Is(err, ErrTemporary) {
		t.Errorf("cut even over TCP: %v", err)
	}
}

func TestAServerWithoutEDNSIsAskedAgain(t *testing.T) {
	s := serve(t)
	s.say(func(_ string, q, a *dns.Msg) bool {
		if q.IsEdns0() != nil {
			a.Rcode = dns.RcodeFormatError
			return true
		}
		rr, _ := dns.NewRR(q.Question[0].Name + ` 60 IN TXT "old"`)
		a.Answer = []dns.RR{rr}
		return true
	})
	r, _ := s.resolver(t, nil)
	if a, err := r.TXT(t.Context(), "relay.test"); err != nil || a.Records[0] != "old" {
		t.Errorf("%v, %v", a, err)
	}
}

func TestAnswersAreBelievedForTheirTime(t *testing.T) {
	s := serve(t)
	ttl := map[string]uint32{"zero.test.": 0, "minute.test.": 60, "week.test.": 604800, "odd.test.": 1 << 31}
	s.say(func(_ string, q, a *dns.Msg) bool {
		name := q.Question[0].Name
		if at, ok := ttl[name]; ok {
			rr, _ := dns.NewRR(fmt.Sprintf(`%s %d IN TXT "x"`, name, at))
			a.Answer = []dns.RR{rr}
			return true
		}
		a.Rcode = dns.RcodeNameError
		rr, _ := dns.NewRR(`test. 86400 IN SOA ns.test. root.test. 1 2 3 4 20`)
		a.Ns = []dns.RR{rr}
		return true
	})
	r, clock := s.resolver(t, nil)
	for name, want := range map[string]time.Duration{
		"zero.test.": 5 * time.Second, "odd.test.": 5 * time.Second, "minute.test.": time.Minute, "week.test.": time.Hour, "gone.test.": 20 * time.Second,
	} {
		r.TXT(t.Context(), name)
		clock.turn(want - time.Second)
		r.TXT(t.Context(), name)
		if n := s.times("TXT " + name + " udp"); n != 1 {
			t.Errorf("%s: forgotten before %v", name, want)
		}
		clock.turn(time.Second)
		r.TXT(t.Context(), name)
		if n := s.times("TXT " + name + " udp"); n != 2 {
			t.Errorf("%s: believed after %v", name, want)
		}
	}
}

func TestFreshAsksUnlessItWasAskedJustNow(t *testing.T) {
	s := serve(t, `relay.test. 600 IN TXT "old"`)
	r, clock := s.resolver(t, nil)
	r.TXT(t.Context(), "relay.test")
	clock.turn(30 * time.Second)
	s.zone(t, `relay.test. 600 IN TXT "new"`)
	if a, _ := r.TXT(t.Context(), "relay.test"); a.Records[0] != "old" || a.Age != 30*time.Second {
		t.Errorf("%+v", a)
	}
	if a, _ := r.FreshTXT(t.Context(), "relay.test", 40*time.Second); a.Records[0] != "old" {
		t.Errorf("%+v", a)
	}
	if a, _ := r.FreshTXT(t.Context(), "relay.test", 10*time.Second); a.Records[0] != "new" || a.Age != 0 {
		t.Errorf("%+v", a)
	}
	if a, _ := r.TXT(t.Context(), "relay.test"); a.Records[0] != "new" {
		t.Errorf("%+v", a)
	}
}

func TestADCountsFromATrustedResolverOnly(t *testing.T) {
	s := serve(t)
	s.say(func(_ string, q, a *dns.Msg) bool {
		a.AuthenticatedData = q.AuthenticatedData && !strings.HasPrefix(q.Question[0].Name, "plain")
		text := ` 60 IN TXT "x"`
		switch {
		case strings.HasPrefix(q.Question[0].Name, "half"):
			text = ` 60 IN CNAME plain.test.`
		case strings.HasPrefix(q.Question[0].Name, "plain-half"):
			text = ` 60 IN CNAME signed.test.`
		case strings.HasPrefix(q.Question[0].Name, "gone"):
			a.Rcode = dns.RcodeNameError
			return true
		}
		rr, _ := dns.NewRR(q.Question[0].Name + text)
		a.Answer = []dns.RR{rr}
		return true
	})
	untrusted, _ := s.resolver(t, nil)
	if a, err := untrusted.TXT(t.Context(), "signed.test"); err != nil || a.Authentic {
		t.Errorf("%+v, %v", a, err)
	}
	trusted, _ := s.resolver(t, func(c *Config) { c.Trusted = true })
	for name, want := range map[string]bool{"signed.test": true, "plain.test": false, "half.test": false, "plain-half.test": false, "gone.test": true} {
		if a, _ := trusted.TXT(t.Context(), name); a.Authentic != want {
			t.Errorf("%s: authentic %v", name, a.Authentic)
		}
	}
}

func TestTheSameQuestionIsAskedOnce(t *testing.T) {
	s := serve(t)
	hold := make(chan struct{})
	s.say(func(_ string, q, a *dns.Msg) bool {
		<-hold
		rr, _ := dns.NewRR(q.Question[0].Name + ` 60 IN TXT "x"`)
		a.Answer = []dns.RR{rr}
		return true
	})
	r, _ := s.resolver(t, func(c *Config) { c.TryTime = 10 * time.Second })
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := r.TXT(t.Context(), "relay.test"); err != nil {
				t.Error(err)
			}
		})
	}
	// Who leaves takes nobody along.
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := r.TXT(gone, "relay.test"); !errors.Is(err, ErrTemporary) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(hold)
	all.Wait()
	if n := s.times("TXT relay.test. udp"); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestQuestionsAndMemoryAreBounded(t *testing.T) {
	s := serve(t)
	s.say(func(_ string, q, a *dns.Msg) bool {
		if strings.HasPrefix(q.Question[0].Name, "silent") {
			return false
		}
		rr, _ := dns.NewRR(fmt.Sprintf(`%s 60 IN TXT "%s"`, q.Question[0].Name, strings.Repeat("x", 200)))
		a.Answer = []dns.RR{rr}
		return true
	})
	m := metrics.New()
	r, _ := s.resolver(t, func(c *Config) { c.MaxQuestions, c.MaxOctets, c.Metrics, c.TryTime = 2, 10_000, m, 5*time.Second })
	for i := range 100 {
		if _, err := r.TXT(t.Context(), fmt.Sprintf("n%d.test", i)); err != nil {
			t.Fatal(err)
		}
	}
	if r.cache.octets > 10_000 || r.cache.recent.Len() < 5 || len(r.cache.byKey) != r.cache.recent.Len() {
		t.Errorf("%d octets in %d entries", r.cache.octets, r.cache.recent.Len())
	}
	if r.TXT(t.Context(), "n99.test"); s.times("TXT n99.test. udp") != 1 {
		t.Error("the newest was forgotten")
	}
	for _, name := range []string{"silent1.test.", "silent2.test."} {
		r.recall(question{name, dns.TypeTXT}, always)
	}
	if _, err := r.TXT(t.Context(), "late.test"); !errors.Is(err, ErrTemporary) {
		t.Errorf("a third question: %v", err)
	}
	values, err := m.Values()
	if err != nil || values["dns_look_ups_use"] != 2 || values["dns_remembered"] != 1 {
		t.Errorf("%v, %v", values, err)
	}
}

// Close ends what is under way.
func TestCloseWaitsForNoServer(t *testing.T) {
	s := serve(t)
	heard := make(chan struct{}, 10)
	s.say(func(string, *dns.Msg, *dns.Msg) bool { heard <- struct{}{}; return false })
	r, _ := s.resolver(t, func(c *Config) { c.TryTime = time.Hour })
	told := make(chan error)
	go func() { _, err := r.TXT(context.Background(), "relay.test"); told <- err }()
	<-heard
	r.Close()
	if err := <-told; !errors.Is(err, ErrTemporary) {
		t.Error(err)
	}
	if _, err := r.TXT(t.Context(), "relay.test"); !errors.Is(err, ErrTemporary) {
		t.Error(err)
	}
}

func TestNewNamesTheWrongServer(t *testing.T) {
	if _, err := New(Config{Servers: []string{"resolver"}}); err == nil || !strings.Contains(err.Error(), `"resolver"`) {
		t.Error(err)
	}
	if len(system()) == 0 {
		t.Error("no server at all")
	}
}
