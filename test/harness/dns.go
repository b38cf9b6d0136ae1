package harness

import (
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// DNS is a name server for a test: it answers with the records it was told
// and "no such name" to everything else.
type DNS struct {
	Addr string // "127.0.0.1:port", UDP and TCP

	mu      sync.Mutex // guards the fields below
	records map[string][]dns.RR
}

// NewDNS starts a name server on addr ("127.0.0.1:0" for any port) that ends
// with the test.
func NewDNS(t testing.TB, addr string) *DNS {
	t.Helper()
	d := &DNS{records: map[string][]dns.RR{}}
	udp, tcp, err := listenBoth(addr)
	for range 20 { // a free UDP port may be somebody's TCP port
		if err == nil || !strings.HasSuffix(addr, ":0") {
			break
		}
		udp, tcp, err = listenBoth(addr)
	}
	if err != nil {
		t.Fatalf("name server: %v", err)
	}
	d.Addr = udp.LocalAddr().String()
	for _, s := range []*dns.Server{{PacketConn: udp, Handler: d}, {Listener: tcp, Handler: d}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		done := make(chan struct{})
		go func() { defer close(done); s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { s.Shutdown(); <-done })
	}
	return d
}

// listenBoth listens on one port of UDP and TCP.
func listenBoth(addr string) (net.PacketConn, net.Listener, error) {
	udp, err := net.ListenPacket("udp", addr)
	if err != nil {
		return nil, nil, err
	}
	tcp, err := net.Listen("tcp", udp.LocalAddr().String())
	if err != nil {
		udp.Close()
		return nil, nil, err
	}
	return udp, tcp, nil
}

// Add adds records in zone-file form: "relay.test. 60 IN A 127.0.0.1".
func (d *DNS) Add(t testing.TB, records ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatalf("record %q: %v", text, err)
		}
		name := strings.ToLower(rr.Header().Name)
		d.records[name] = append(d.records[name], rr)
	}
}

// ServeDNS answers one question; dns.Server calls it.
func (d *DNS) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	a := new(dns.Msg)
	a.SetReply(q)
	a.Authoritative = true
	if len(q.Question) != 1 {
		a.Rcode = dns.RcodeFormatError
		w.WriteMsg(a)
		return
	}
	d.mu.Lock()
	all, exists := d.records[strings.ToLower(q.Question[0].Name)]
	for _, rr := range all {
		if rr.Header().Rrtype == q.Question[0].Qtype {
			a.Answer = append(a.Answer, rr)
		}
	}
	d.mu.Unlock()
	if !exists {
		a.Rcode = dns.RcodeNameError
	}
	w.WriteMsg(a)
}
