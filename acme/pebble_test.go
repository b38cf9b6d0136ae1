package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"barid/test/authority"

	"github.com/miekg/dns"
)

// front is the ports of a relay: they serve a Source that is set later.
type front struct {
	http, tls int
	source    atomic.Pointer[Source]
}

func newFront(t *testing.T) *front {
	t.Helper()
	f := &front{}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.http, f.tls = plain.Addr().(*net.TCPAddr).Port, secure.Addr().(*net.TCPAddr).Port
	var all sync.WaitGroup
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.source.Load().HTTPChallenge(http.NotFoundHandler()).ServeHTTP(w, r)
	})}
	all.Go(func() { server.Serve(plain) })
	all.Go(func() { f.serveTLS(secure, &all) })
	t.Cleanup(func() { server.Close(); secure.Close(); all.Wait() })
	return f
}

// serveTLS echoes, on the certificate of the moment.
func (f *front) serveTLS(l net.Listener, all *sync.WaitGroup) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		all.Go(func() {
			defer c.Close()
			c.SetDeadline(time.Now().Add(time.Minute))
			s := f.source.Load()
			if s == nil {
				return
			}
			cfg := s.TLSConfig()
			cfg.NextProtos = []string{ChallengeProtocol, "echo"}
			secure := tls.Server(c, cfg)
			io.Copy(secure, secure)
		})
	}
}

// resolver answers every name with the loopback address and keeps TXT
// records that it is told by signed updates.
type resolver struct {
	addr string
	key  string // TSIG secret of "barid."

	mu  sync.Mutex
	txt map[string][]string
	all int // updates taken
}

func newResolver(t *testing.T) *resolver {
	t.Helper()
	r := &resolver{txt: map[string][]string{}, key: base64.StdEncoding.EncodeToString([]byte("a secret of thirty-two octets!!!"))}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	var udp net.PacketConn
	for tries := 0; err == nil && tries < 20; tries++ {
		r.addr = tcp.Addr().String()
		if udp, err = net.ListenPacket("udp", r.addr); err == nil {
			break
		}
		tcp.Close() // its number is taken for UDP
		tcp, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{"barid.": r.key}
	accept := func(h dns.Header) dns.MsgAcceptAction {
		if h.Bits&(1<<15) != 0 {
			return dns.MsgIgnore
		}
		return dns.MsgAccept
	}
	for _, s := range []*dns.Server{
		{PacketConn: udp, Handler: r, TsigSecret: secrets, MsgAcceptFunc: accept},
		{Listener: tcp, Handler: r, TsigSecret: secrets, MsgAcceptFunc: accept},
	} {
		started, done := make(chan struct{}), make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { defer close(done); s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { s.Shutdown(); <-done })
	}
	return r
}

// ServeDNS implements dns.Handler.
func (r *resolver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	a := new(dns.Msg).SetReply(q)
	a.Authoritative = true
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case q.Opcode == dns.OpcodeUpdate:
		if q.IsTsig() == nil || w.TsigStatus() != nil {
			a.Rcode = dns.RcodeRefused
			break
		}
		r.update(q.Ns)
		a.SetTsig("barid.", dns.HmacSHA256, 300, time.Now().Unix())
	default:
		r.answer(a, q.Question[0])
	}
	w.WriteMsg(a)
}

func (r *resolver) update(ns []dns.RR) {
	r.all++
	for _, rr := range ns {
		name := strings.ToLower(rr.Header().Name)
		txt := rr.(*dns.TXT)
		if rr.Header().Class == dns.ClassINET {
			r.txt[name] = append(r.txt[name], strings.Join(txt.Txt, ""))
		} else {
			delete(r.txt, name)
		}
	}
}

func (r *resolver) answer(a *dns.Msg, q dns.Question) {
	name := strings.ToLower(q.Name)
	head := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: 1}
	switch {
	case q.Qtype == dns.TypeA:
		a.Answer = append(a.Answer, &dns.A{Hdr: head, A: net.IPv4(127, 0, 0, 1)})
	case q.Qtype == dns.TypeTXT:
		for _, text := range r.txt[name] {
			a.Answer = append(a.Answer, &dns.TXT{Hdr: head, Txt: []string{text}})
		}
	case q.Qtype == dns.TypeSOA && strings.Count(name, ".") == 2:
		a.Answer = append(a.Answer, &dns.SOA{Hdr: head, Ns: "ns." + name, Mbox: "root." + name})
	}
}

// issuing makes a Source of the acme mode behind a front.
func issuing(t *testing.T, f *front, name string, roots *x509.CertPool, change func(*Config)) *Source {
	t.Helper()
	cfg := Config{Mode: ACME, Names: []string{name}, Dir: t.TempDir(), Issuance: &Issuance{
		Roots: roots, Host: "127.0.0.1", HTTPPort: f.http, TLSPort: f.tls,
	}}
	change(&cfg)
	s := open(t, cfg)
	f.source.Store(s)
	return s
}

// shake does a handshake with the front.
func (f *front) shake(t *testing.T, name string) *tls.Conn {
	t.Helper()
	d := &net.Dialer{Timeout: 10 * time.Second}
	c, err := tls.DialWithDialer(d, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(f.tls)), &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"echo"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (f *front) leaf(t *testing.T, name string) *x509.Certificate {
	c := f.shake(t, name)
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

// waitFor looks until it is so; a handshake with an authority takes about a
// second.
func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if so() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func TestCertificatesAreIssuedByEachChallengeAndSwappedUnderOpenConnections(t *testing.T) {
	r := newResolver(t)
	for what, change := range map[string]func(*Issuance){
		"tls-alpn-01": func(i *Issuance) { i.HTTPPort = 0 },
		"http-01":     func(i *Issuance) { i.TLSPort = 0 },
		"dns-01": func(i *Issuance) {
			i.HTTPPort, i.TLSPort = 0, 0
			i.DNS = &DNSUpdate{Server: r.addr, KeyName: "barid", Algorithm: "hmac-sha256", Secret: r.key}
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := newFront(t)
			a := authority.New(t, authority.Options{HTTPPort: f.http, TLSPort: f.tls, DNS: r.addr})
			domain := strings.ReplaceAll(what, "-", "") + ".test"
			s := issuing(t, f, domain, authority.Pool(a), func(c *Config) {
				c.Issuance.Authorities = []Authority{{Directory: a.URL}}
				change(c.Issuance)
			})
			before := f.shake(t, domain)
			defer before.Close()
			if !s.Status()[0].SelfSigned {
				t.Fatal("no self-signed certificate before the first one")
			}
			wantIDs(t, s, "tls.waiting", "tls.waiting", "tls.waiting")
			s.Start()
			defer s.Close()
			for _, name := range []string{domain, "www." + domain, "mta-sts." + domain} {
				waitFor(t, name+" is issued", func() bool {
					return f.leaf(t, name).Issuer.CommonName != domain && covers(f.leaf(t, name), nameOf(t, name))
				})
			}
			if got := f.leaf(t, "unknown.test"); !covers(got, nameOf(t, domain)) {
				t.Error("an unknown name does not get the domain's certificate")
			}
			wantIDs(t, s)
			for _, served := range s.Status() {
				if served.SelfSigned || served.Failures != 0 || served.Key != s.Status()[0].Key {
					t.Errorf("served: %+v", served)
				}
			}
			if len(s.Accounts()) != 1 {
				t.Errorf("accounts: %v", s.Accounts())
			}
			echo(t, before)
			if what == "dns-01" {
				r.mu.Lock()
				defer r.mu.Unlock()
				if r.all < 6 || len(r.txt) != 0 {
					t.Errorf("%d updates, left: %v", r.all, r.txt)
				}
			}
		})
	}
}

// echo shows that a connection still works.
func echo(t *testing.T, c *tls.Conn) {
	t.Helper()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write([]byte("still here")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 10)
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("a connection of before the swap: %v", err)
	}
}

func TestAnAddressGetsAShortLivedCertificate(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*Issuance){
		"tls-alpn-01": func(i *Issuance) { i.HTTPPort = 0 },
		"http-01":     func(i *Issuance) { i.TLSPort = 0 },
	} {
		t.Run(what, func(t *testing.T) {
			f := newFront(t)
			a := authority.New(t, authority.Options{HTTPPort: f.http, TLSPort: f.tls, DNS: newResolver(t).addr})
			s := issuing(t, f, "[127.0.0.1]", authority.Pool(a), func(c *Config) {
				c.Issuance.Authorities = []Authority{{Directory: a.URL}}
				change(c.Issuance)
			})
			s.Start()
			defer s.Close()
			waitFor(t, "issued", func() bool { return !s.Status()[0].SelfSigned })
			leaf := f.leaf(t, "")
			if !covers(leaf, nameOf(t, "127.0.0.1")) || leaf.NotAfter.Sub(leaf.NotBefore) > 7*24*time.Hour {
				t.Errorf("certificate for %v from %v to %v", leaf.IPAddresses, leaf.NotBefore, leaf.NotAfter)
			}
		})
	}
}

func TestASecondAuthorityWithABoundAccountIssuesWhenTheFirstIsDown(t *testing.T) {
	t.Parallel()
	f, r := newFront(t), newResolver(t)
	key := base64.RawURLEncoding.EncodeToString([]byte("the key of an external account!!"))
	down := authority.New(t, authority.Options{HTTPPort: f.http, TLSPort: f.tls, DNS: r.addr})
	down.Down.Store(true)
	bound := authority.New(t, authority.Options{HTTPPort: f.http, TLSPort: f.tls, DNS: r.addr, Bound: map[string]string{"kid": key}})
	s := issuing(t, f, "second.test", authority.Pool(down, bound), func(c *Config) {
		c.Issuance.Authorities = []Authority{{Directory: down.URL}, {Directory: bound.URL, EABKeyID: "kid", EABKey: key}}
	})
	s.Start()
	defer s.Close()
	waitFor(t, "the second issues", func() bool { return !s.Status()[0].SelfSigned })
}

func TestFailuresPauseAndArePausedOverARestart(t *testing.T) {
	t.Parallel()
	f, r := newFront(t), newResolver(t)
	a := authority.New(t, authority.Options{HTTPPort: f.http, TLSPort: f.tls, DNS: r.addr})
	a.Down.Store(true)
	var cfg Config
	s := issuing(t, f, "pause.test", authority.Pool(a), func(c *Config) {
		c.Issuance.Authorities = []Authority{{Directory: a.URL}}
		cfg = *c
	})
	s.Start()
	waitFor(t, "three failures", func() bool {
		all := s.Status()
		return all[0].Failures == 1 && all[1].Failures == 1 && all[2].Failures == 1
	})
	s.Close()
	wantIDs(t, s, "tls.not-issued", "tls.not-issued", "tls.not-issued")

	s = open(t, cfg)
	f.source.Store(s)
	a.Down.Store(false)
	s.Start()
	defer s.Close()
	if wait := time.Until(s.Status()[0].NextTry); wait < 30*time.Second || wait > time.Minute {
		t.Errorf("next try in %v", wait)
	}
	if !s.Status()[0].SelfSigned || a.Orders.Load() != 0 {
		t.Error("asked again at once after a restart")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Renew(ctx); err != nil {
		t.Fatal(err)
	}
	if got := s.Status()[0]; got.SelfSigned || got.Failures != 0 {
		t.Errorf("after a renewal by hand: %+v", got)
	}
}

// While no authority answers, another key changes nothing, whoever asks for it
// how often.
func TestAnotherKeyWaitsForItsCertificate(t *testing.T) {
	t.Parallel()
	f, r := newFront(t), newResolver(t)
	a := authority.New(t, authority.Options{HTTPPort: f.http, TLSPort: f.tls, DNS: r.addr})
	var cfg Config
	s := issuing(t, f, "nokey.test", authority.Pool(a), func(c *Config) {
		c.Issuance.Authorities = []Authority{{Directory: a.URL}}
		cfg = *c
	})
	s.Start()
	waitFor(t, "issued", func() bool { return !s.Status()[0].SelfSigned && !s.Status()[2].SelfSigned })
	before, file := s.Status()[0].Key, mustRead(t, filepath.Join(cfg.Dir, selfSignedKey))
	a.Down.Store(true)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if err := s.NewKey(t.Context()); err == nil {
				t.Error("another key without a certificate")
			}
		})
	}
	both.Wait()
	if got := s.Status()[0].Key; got != before || mustRead(t, filepath.Join(cfg.Dir, selfSignedKey)) != file {
		t.Error("the key changed")
	}
	a.Down.Store(false)
	if err := s.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.Status()[0].Key; got != before {
		t.Error("a renewal took the key that was not to be")
	}
	s.Close()
	entries, err := os.ReadDir(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), selfSignedKey+".") {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}

// A renewal that failed is not tried again before its pause is over, by
// whatever process; the operator may.
func TestARenewalWaitsForTheEndOfItsPause(t *testing.T) {
	t.Parallel()
	f, r := newFront(t), newResolver(t)
	a := authority.New(t, authority.Options{HTTPPort: f.http, TLSPort: f.tls, DNS: r.addr})
	var cfg Config
	s := issuing(t, f, "renew.test", authority.Pool(a), func(c *Config) {
		c.Issuance.Authorities = []Authority{{Directory: a.URL}}
		cfg = *c
	})
	s.Start()
	waitFor(t, "issued", func() bool { return !s.Status()[0].SelfSigned && !s.Status()[2].SelfSigned })
	a.Down.Store(true)
	if err := s.Renew(t.Context()); err == nil {
		t.Fatal("renewed by nobody")
	}
	s.Close()
	a.Down.Store(false)
	s = open(t, cfg)
	f.source.Store(s)
	defer s.Close()
	asked := a.Orders.Load()
	// As certmagic does by itself.
	if err := s.issue.magic.RenewCertSync(t.Context(), "renew.test", true); !errors.Is(err, errPaused) || a.Orders.Load() != asked {
		t.Errorf("%v, %d orders", err, a.Orders.Load()-asked)
	}
	if err := s.Renew(t.Context()); err != nil || s.Status()[0].Failures != 0 {
		t.Errorf("by hand: %v", err)
	}
}

// A clock that is far off is told; what there is goes on being served.
func TestAWrongClockIsToldAndChangesNothing(t *testing.T) {
	t.Parallel()
	f, r := newFront(t), newResolver(t)
	a := authority.New(t, authority.Options{HTTPPort: f.http, TLSPort: f.tls, DNS: r.addr})
	var cfg Config
	s := issuing(t, f, "clock.test", authority.Pool(a), func(c *Config) {
		c.Issuance.Authorities = []Authority{{Directory: a.URL}}
		cfg = *c
	})
	s.Start()
	waitFor(t, "issued", func() bool {
		return !s.Status()[0].SelfSigned && !s.Status()[1].SelfSigned && !s.Status()[2].SelfSigned
	})
	serial := f.leaf(t, "clock.test").SerialNumber
	s.Close()
	for off, want := range map[time.Duration]string{
		365 * 24 * time.Hour:  "tls.expired",
		-365 * 24 * time.Hour: "tls.not-yet-valid",
	} {
		cfg.Now = func() time.Time { return time.Now().Add(off) }
		s := open(t, cfg)
		f.source.Store(s)
		if got := ids(s.Findings()); !slices.Contains(got, want) {
			t.Errorf("%v: findings %q, want %s", off, got, want)
		}
		if f.leaf(t, "clock.test").SerialNumber.Cmp(serial) != 0 {
			t.Errorf("%v: another certificate is served", off)
		}
		s.Close()
	}
}

// One who asks too often is told so, and then leaves the authority alone.
func TestAnAuthorityThatSaysTooOftenIsLeftAloneForAnHour(t *testing.T) {
	t.Parallel()
	f, r := newFront(t), newResolver(t)
	a := authority.New(t, authority.Options{HTTPPort: f.http, TLSPort: f.tls, DNS: r.addr})
	a.Busy.Store(true)
	s := issuing(t, f, "busy.test", authority.Pool(a), func(c *Config) {
		c.Issuance.Authorities = []Authority{{Directory: a.URL}}
	})
	s.Start()
	defer s.Close()
	waitFor(t, "a failure", func() bool { return s.Status()[0].Failures == 1 })
	if got := s.Status()[0]; time.Until(got.NextTry) < 59*time.Minute || !strings.Contains(got.LastError, "too many certificates") {
		t.Errorf("%+v", got)
	}
}

// A name that leads to another machine is not proved; mail goes on with what
// there is, and the finding says what to look at.
func TestANameThatLeadsElsewhereIsTold(t *testing.T) {
	t.Parallel()
	f, elsewhere, r := newFront(t), newFront(t), newResolver(t)
	other := open(t, Config{Mode: SelfSigned, Names: []string{"other.test"}, Dir: t.TempDir()})
	elsewhere.source.Store(other)
	a := authority.New(t, authority.Options{HTTPPort: elsewhere.http, TLSPort: elsewhere.tls, DNS: r.addr})
	s := issuing(t, f, "moved.test", authority.Pool(a), func(c *Config) {
		c.Issuance.Authorities = []Authority{{Directory: a.URL}}
	})
	s.Start()
	defer s.Close()
	waitFor(t, "a failure", func() bool { return s.Status()[0].Failures == 1 })
	if got := f.leaf(t, "moved.test"); !covers(got, nameOf(t, "moved.test")) {
		t.Error("nothing is served meanwhile")
	}
	found := s.Findings()
	if len(found) == 0 || found[0].ID != "tls.not-issued" || !strings.Contains(found[0].Remedy, "records point here") {
		t.Errorf("%+v", found)
	}
}

func TestRenewalKeepsTheKeyUnlessAnotherIsWanted(t *testing.T) {
	t.Parallel()
	f, r := newFront(t), newResolver(t)
	a := authority.New(t, authority.Options{HTTPPort: f.http, TLSPort: f.tls, DNS: r.addr})
	var cfg Config
	s := issuing(t, f, "key.test", authority.Pool(a), func(c *Config) {
		c.Issuance.Authorities = []Authority{{Directory: a.URL}}
		c.Issuance.Profile = "default" // else the authority takes any
		cfg = *c
	})
	first := s.Status()[0]
	s.Start()
	waitFor(t, "issued", func() bool {
		return !s.Status()[0].SelfSigned && !s.Status()[2].SelfSigned && !s.Status()[1].SelfSigned
	})
	issued, serial := s.Status()[0], f.leaf(t, "key.test").SerialNumber
	if err := s.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.leaf(t, "key.test").SerialNumber.Cmp(serial) == 0 {
		t.Error("the same certificate after a renewal")
	}
	if got := s.Status()[0]; first.Key != issued.Key || got.Key != issued.Key {
		t.Errorf("keys: %s self-signed, %s issued, %s renewed", first.Key, issued.Key, got.Key)
	}
	wantIDs(t, s)
	a.Down.Store(true)
	if err := s.Renew(t.Context()); err == nil {
		t.Error("renewed by nobody")
	}
	wantIDs(t, s, "tls.not-renewed", "tls.not-renewed", "tls.not-renewed")
	if f.leaf(t, "key.test").Issuer.CommonName == "key.test" {
		t.Error("a failed renewal took the certificate out of service")
	}
	a.Down.Store(false)
	if err := s.NewKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, s)
	for _, got := range s.Status() {
		if got.Key == issued.Key || got.SelfSigned {
			t.Errorf("after another key: %+v", got)
		}
	}
	renewed := s.Status()[0]
	s.Close()

	cfg.Now = func() time.Time { return time.Now().Add(85 * 24 * time.Hour) }
	s = open(t, cfg) // a restart, late and with no authority at hand
	f.source.Store(s)
	if got := s.Status()[0]; got.SelfSigned || got.Key != renewed.Key {
		t.Errorf("after a restart: %+v", got)
	}
	wantIDs(t, s, "tls.expires-soon", "tls.expires-soon", "tls.expires-soon")
}

// An authority that must revoke says so in its renewal information; its
// certificate is replaced long before it ends, without anybody's doing.
func TestAnAuthorityCanAskForAnEarlyRenewal(t *testing.T) {
	t.Parallel()
	f, r := newFront(t), newResolver(t)
	a := authority.New(t, authority.Options{HTTPPort: f.http, TLSPort: f.tls, DNS: r.addr})
	a.Hurry.Store(true)
	s := issuing(t, f, "[127.0.0.1]", authority.Pool(a), func(c *Config) {
		c.Issuance.Authorities = []Authority{{Directory: a.URL}}
		c.Issuance.renewCheck = 200 * time.Millisecond
	})
	s.Start()
	defer s.Close()
	waitFor(t, "issued", func() bool { return !s.Status()[0].SelfSigned })
	first := f.leaf(t, "").SerialNumber
	waitFor(t, "renewed", func() bool { return f.leaf(t, "").SerialNumber.Cmp(first) != 0 })
	a.Hurry.Store(false)
}

func TestOnlyTheModeThatIssuesRenews(t *testing.T) {
	s := open(t, put(t, t.TempDir(), issue{names: allNames}))
	if err := s.Renew(t.Context()); !errors.Is(err, ErrNotIssued) {
		t.Error(err)
	}
	if err := s.NewKey(t.Context()); !errors.Is(err, ErrNotIssued) {
		t.Error(err)
	}
}

func nameOf(t *testing.T, text string) name {
	t.Helper()
	n, err := parseName(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
