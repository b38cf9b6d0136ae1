package zone

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// world is a DNS of its own on loopback addresses that share a port: the zone
// "test." at 127.0.7.1, two name servers of "relay.test." at .2 and .3, and a
// resolver at .4 that knows what they know.
type world struct {
	t    *testing.T
	port uint16

	mu    sync.Mutex // guards the fields below
	hosts map[string]*host
}

// host is one server. Zones has its records by zone.
type host struct {
	zones    map[string]map[string][]dns.RR
	recurses bool
	// change may answer in its own way; nil leaves it to the records.
	change func(q, a *dns.Msg) *dns.Msg
	silent bool
}

const (
	parentIP, ns1IP, ns2IP, resolverIP = "127.0.7.1", "127.0.7.2", "127.0.7.3", "127.0.7.4"
)

func newWorld(t *testing.T) *world {
	w := &world{t: t, hosts: map[string]*host{}}
	for tries := 0; ; tries++ {
		if w.listen() {
			break
		}
		if tries == 20 {
			t.Fatal("no port is free on all addresses")
		}
	}
	w.add(parentIP, "test.", "test. 60 IN SOA ns.test. x. 1 60 60 60 60", "test. 60 IN NS ns.test.", "ns.test. 60 IN A "+parentIP,
		"relay.test. 60 IN NS ns1.relay.test.", "relay.test. 60 IN NS ns2.relay.test.",
		"ns1.relay.test. 60 IN A "+ns1IP, "ns2.relay.test. 60 IN A "+ns2IP)
	w.hosts[resolverIP].recurses = true
	return w
}

// listen opens all servers on one port.
func (w *world) listen() bool {
	var open []interface{ Close() error }
	var servers []*dns.Server
	port := "0"
	for _, ip := range []string{parentIP, ns1IP, ns2IP, resolverIP} {
		udp, err := net.ListenPacket("udp", net.JoinHostPort(ip, port))
		if err == nil {
			open = append(open, udp)
			_, port, _ = net.SplitHostPort(udp.LocalAddr().String())
			var tcp net.Listener
			if tcp, err = net.Listen("tcp", net.JoinHostPort(ip, port)); err == nil {
				open = append(open, tcp)
				servers = append(servers, &dns.Server{PacketConn: udp, Handler: w.handler(ip)}, &dns.Server{Listener: tcp, Handler: w.handler(ip)})
			}
		}
		if err != nil {
			for _, o := range open {
				o.Close()
			}
			return false
		}
		w.hosts[ip] = &host{zones: map[string]map[string][]dns.RR{}}
	}
	n, err := net.LookupPort("udp", port)
	if err != nil {
		w.t.Fatal(err)
	}
	w.port = uint16(n)
	for _, s := range servers {
		done := make(chan struct{})
		go func() { defer close(done); s.ActivateAndServe() }()
		w.t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			s.ShutdownContext(ctx)
			<-done
		})
	}
	return true
}

// add gives a server records of a zone.
func (w *world) add(ip, zone string, records ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.hosts[ip]
	if h.zones[zone] == nil {
		h.zones[zone] = map[string][]dns.RR{}
	}
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			w.t.Fatalf("record %q: %v", text, err)
		}
		name := strings.ToLower(rr.Header().Name)
		h.zones[zone][name] = append(h.zones[zone][name], rr)
	}
}

// publish puts records on both name servers.
func (w *world) publish(records ...string) {
	apex := []string{"relay.test. 60 IN SOA ns1.relay.test. x. 1 60 60 60 60", "relay.test. 60 IN NS ns1.relay.test.", "relay.test. 60 IN NS ns2.relay.test.",
		"ns1.relay.test. 60 IN A " + ns1IP, "ns2.relay.test. 60 IN A " + ns2IP}
	for _, ip := range []string{ns1IP, ns2IP} {
		w.add(ip, "relay.test.", append(apex, records...)...)
	}
}

func (w *world) config() CheckConfig {
	return CheckConfig{Resolvers: []string{net.JoinHostPort(resolverIP, strconv.Itoa(int(w.port)))}, Port: w.port, TryTime: 300 * time.Millisecond}
}

func (w *world) handler(ip string) dns.Handler {
	return dns.HandlerFunc(func(out dns.ResponseWriter, q *dns.Msg) {
		w.mu.Lock()
		defer w.mu.Unlock()
		h := w.hosts[ip]
		if h.silent || len(q.Question) != 1 {
			return
		}
		a := w.answer(h, q)
		if h.change != nil {
			if a = h.change(q, a); a == nil {
				return
			}
		}
		out.WriteMsg(a)
	})
}

// answer is what a server makes of its zones.
func (w *world) answer(h *host, q *dns.Msg) *dns.Msg {
	a := new(dns.Msg)
	a.SetReply(q)
	name, kind := strings.ToLower(q.Question[0].Name), q.Question[0].Qtype
	if h.recurses {
		for _, server := range []string{ns1IP, parentIP} {
			if kind == dns.TypeDS {
				server = parentIP
			}
			if h.zones["cached."][name] != nil {
				server = resolverIP
			}
			for zone, records := range w.hosts[server].zones {
				if dns.IsSubDomain(zone, name) || zone == "cached." && server == resolverIP {
					fromZone(a, zone, records, name, kind, true)
					a.Authoritative = false
					return a
				}
			}
		}
		a.Rcode = dns.RcodeNameError
		return a
	}
	for zone, records := range h.zones {
		if dns.IsSubDomain(zone, name) {
			fromZone(a, zone, records, name, kind, false)
			return a
		}
	}
	a.Rcode = dns.RcodeRefused
	return a
}

func fromZone(a *dns.Msg, zone string, records map[string][]dns.RR, name string, kind uint16, recursed bool) {
	if at := cut(zone, records, name); at != "" && !recursed && (kind != dns.TypeDS || at != name) {
		for _, rr := range records[at] {
			a.Ns = append(a.Ns, rr)
			if ns, ok := rr.(*dns.NS); ok {
				a.Extra = append(a.Extra, records[ns.Ns]...)
			}
		}
		return
	}
	a.Authoritative = true
	for range 3 {
		all, exists := records[name]
		if !exists && len(a.Answer) == 0 {
			a.Rcode = dns.RcodeNameError
		}
		alias := ""
		for _, rr := range all {
			if rr.Header().Rrtype == kind {
				a.Answer = append(a.Answer, rr)
			} else if c, ok := rr.(*dns.CNAME); ok {
				a.Answer = append(a.Answer, rr)
				alias = strings.ToLower(c.Target)
			}
		}
		if alias == "" {
			break
		}
		name = alias
	}
	if len(a.Answer) == 0 {
		for _, rr := range records[zone] {
			if rr.Header().Rrtype == dns.TypeSOA {
				a.Ns = append(a.Ns, rr)
			}
		}
	}
}

// cut finds where a zone hands on what a name is in.
func cut(zone string, records map[string][]dns.RR, name string) string {
	for at := name; at != zone && at != "."; {
		for _, rr := range records[at] {
			if rr.Header().Rrtype == dns.TypeNS {
				return at
			}
		}
		i, end := dns.NextLabel(at, 0)
		if end {
			return ""
		}
		at = at[i:]
	}
	return ""
}
