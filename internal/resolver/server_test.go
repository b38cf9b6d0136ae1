package resolver

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a name server that says what a test tells it to, and counts.
type server struct {
	addr string

	mu     sync.Mutex                               // guards the fields below
	answer func(network string, q, a *dns.Msg) bool // false says nothing at all
	asked  map[string]int                           // by "TXT relay.test. udp"
}

// serve starts one; its zone is what records says.
func serve(t testing.TB, records ...string) *server {
	t.Helper()
	s := &server{asked: map[string]int{}}
	s.zone(t, records...)
	udp, tcp := listen(t)
	s.addr = udp.LocalAddr().String()
	for network, d := range map[string]*dns.Server{"udp": {PacketConn: udp}, "tcp": {Listener: tcp}} {
		d.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { s.serve(network, w, q) })
		started, done := make(chan struct{}), make(chan struct{})
		d.NotifyStartedFunc = func() { close(started) }
		go func() { defer close(done); d.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { d.Shutdown(); <-done })
	}
	return s
}

// listen finds a port that is free for both.
func listen(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 20 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if udp, err := net.ListenPacket("udp", tcp.Addr().String()); err == nil {
			return udp, tcp
		}
		tcp.Close()
	}
	t.Fatal("no port is free for UDP and TCP")
	return nil, nil
}

func (s *server) serve(network string, w dns.ResponseWriter, q *dns.Msg) {
	a := new(dns.Msg)
	a.SetReply(q)
	s.mu.Lock()
	s.asked[dns.TypeToString[q.Question[0].Qtype]+" "+q.Question[0].Name+" "+network]++
	answer := s.answer
	s.mu.Unlock()
	if answer(network, q, a) {
		w.WriteMsg(a)
	}
}

// zone makes the server say records of that type, or its name's CNAME.
func (s *server) zone(t testing.TB, records ...string) {
	t.Helper()
	zone := map[string][]dns.RR{}
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		zone[rr.Header().Name] = append(zone[rr.Header().Name], rr)
	}
	s.say(func(_ string, q, a *dns.Msg) bool {
		name := strings.ToLower(q.Question[0].Name)
		if zone[name] == nil {
			a.Rcode = dns.RcodeNameError
		}
		for _, rr := range zone[name] {
			if t := rr.Header().Rrtype; t == q.Question[0].Qtype || t == dns.TypeCNAME {
				a.Answer = append(a.Answer, rr)
			}
		}
		return true
	})
}

func (s *server) say(answer func(network string, q, a *dns.Msg) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// times tells how often a question was asked: "TXT relay.test. udp".
func (s *server) times(question string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[question]
}

// clock is a time that tests turn.
type clock struct {
	mu  sync.Mutex // guards the field below
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// resolver makes a Resolver that asks s, with a short patience.
func (s *server) resolver(t testing.TB, change func(*Config)) (*Resolver, *clock) {
	t.Helper()
	c := &clock{now: time.Unix(1795600000, 0)}
	cfg := Config{Servers: []string{s.addr}, TryTime: 100 * time.Millisecond, Tries: 2, Now: c.Now}
	if change != nil {
		change(&cfg)
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, c
}
