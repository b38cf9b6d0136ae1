package transmit

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"barid/internal/resolver"
	"barid/smtp"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is the Internet of a test: names, an authority, ports.
type world struct {
	t           *testing.T
	ca          *x509.Certificate
	key         *ecdsa.PrivateKey
	roots       *x509.CertPool
	smtp, https uint16

	mu    sync.Mutex // guards the fields below
	mx    map[string]resolver.Answer[resolver.MX]
	addrs map[string][]netip.Addr
	txt   map[string][]string
	tlsa  map[string]resolver.Answer[resolver.TLSA]
	fail  map[string]error // of any look-up of a name
	hosts int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, roots: x509.NewCertPool(), mx: map[string]resolver.Answer[resolver.MX]{}, addrs: map[string][]netip.Addr{},
		txt: map[string][]string{}, tlsa: map[string]resolver.Answer[resolver.TLSA]{}, fail: map[string]error{}}
	w.ca, w.key = w.issue(nil, nil, "an authority", true)
	w.roots.AddCert(w.ca)
	// Two ports that are free on every loopback address we use.
	for _, port := range []*uint16{&w.smtp, &w.https} {
		l, err := net.Listen("tcp", "0.0.0.0:0")
		if err != nil {
			t.Fatal(err)
		}
		*port = uint16(l.Addr().(*net.TCPAddr).Port)
		l.Close()
	}
	return w
}

// issue makes a certificate; parent nil signs itself.
func (w *world) issue(parent *x509.Certificate, by *ecdsa.PrivateKey, name string, isCA bool) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: isCA, BasicConstraintsValid: true}
	if isCA {
		tmpl.KeyUsage = x509.KeyUsageCertSign
	} else {
		tmpl.DNSNames = []string{name}
	}
	if parent == nil {
		parent, by = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, by)
	if err != nil {
		w.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		w.t.Fatal(err)
	}
	return cert, key
}

// certificate gives a chain for a name; strange ones nobody trusts.
func (w *world) certificate(name string, strange bool) tls.Certificate {
	parent, by := w.ca, w.key
	if strange {
		parent, by = nil, nil
	}
	cert, key := w.issue(parent, by, name, false)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// The world's Resolver.

func (w *world) failure(name string) error {
	if err := w.fail[name]; err != nil {
		return err
	}
	return resolver.ErrNoRecord
}

func (w *world) MX(_ context.Context, domain string) (resolver.Answer[resolver.MX], error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.mx[domain]
	if !ok {
		return a, w.failure(domain)
	}
	return a, nil
}

func (w *world) Addrs(_ context.Context, host string) (a resolver.Answer[netip.Addr], err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.Records = w.addrs[host]; len(a.Records) == 0 {
		return a, w.failure(host)
	}
	return a, nil
}

func (w *world) TXT(_ context.Context, name string) (a resolver.Answer[string], err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.Records = w.txt[name]; len(a.Records) == 0 {
		return a, w.failure(name)
	}
	return a, nil
}

func (w *world) TLSA(_ context.Context, name string) (resolver.Answer[resolver.TLSA], error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.tlsa[name]
	if !ok {
		return a, w.failure(name)
	}
	return a, nil
}

// newHost gives a name an address of its own on loopback.
func (w *world) newHost(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts++
	addr := netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + w.hosts)})
	w.addrs[name] = []netip.Addr{addr}
	return addr.String()
}

// exchangers sets the MX records of a domain, in order.
func (w *world) exchangers(domain string, hosts ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var a resolver.Answer[resolver.MX]
	for i, h := range hosts {
		a.Records = append(a.Records, resolver.MX{Preference: uint16(10 * i), Host: h})
	}
	w.mx[domain] = a
}

// transmitter makes one in this world.
func (w *world) transmitter(change func(*Config)) *Transmitter {
	cfg := Config{Resolver: w, Hostname: "relay.test", Roots: w.roots, SMTPPort: w.smtp, HTTPSPort: w.https, Connect: 5 * time.Second, Session: 20 * time.Second}
	if change != nil {
		change(&cfg)
	}
	t := New(cfg)
	w.t.Cleanup(t.Close)
	return t
}

// mta is a mail server of a test.
type mta struct {
	noTLS   bool
	cert    tls.Certificate
	banner  string // default 220
	offers  []string
	rcpt    func(to string) string
	after   string // the reply to the content; "" hangs up instead
	hangUp  bool   // after the first transaction
	stall   bool   // says nothing at all
	stallAt string // the command that it does not answer; "." is the content
	garbage string // said instead of a greeting

	mu       sync.Mutex // guards the fields below
	got      []string   // contents
	sessions int
	froms    []string
	hellos   []string
}

func (m *mta) taken() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.got...)
}

// count is how many connections it had.
func (m *mta) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sessions
}

// mail starts an mta for a host name that gets an address of its own.
func (w *world) mail(name string, m *mta) *mta {
	return w.mailAt(name, w.newHost(name), m)
}

func (w *world) mailAt(name, addr string, m *mta) *mta {
	w.t.Helper()
	if m.cert.Leaf == nil {
		m.cert = w.certificate(name, false)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(addr, strconv.Itoa(int(w.smtp))))
	if err != nil {
		w.t.Fatal(err)
	}
	var all sync.WaitGroup
	var open sync.Map
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Store(c, true)
			all.Go(func() { defer c.Close(); m.serve(c) })
		}
	})
	w.t.Cleanup(func() {
		l.Close()
		open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		all.Wait()
	})
	return m
}

func (m *mta) serve(conn net.Conn) {
	m.mu.Lock()
	m.sessions++
	m.mu.Unlock()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	in := bufio.NewReader(conn)
	say := func(line string) { io.WriteString(conn, line+"\r\n") }
	switch {
	case m.stall:
		in.ReadByte()
		return
	case m.garbage != "":
		io.WriteString(conn, m.garbage)
		return
	case m.banner != "" && m.banner[0] != '2':
		say(m.banner)
		return
	case m.banner != "":
		say(m.banner)
	default:
		say("220 mail")
	}
	secure := false
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if verb == m.stallAt {
			in.ReadByte()
			return
		}
		switch strings.ToUpper(verb) {
		case "EHLO":
			m.mu.Lock()
			m.hellos = append(m.hellos, rest)
			m.mu.Unlock()
			offers := append([]string{"mail"}, m.offers...)
			if !m.noTLS && !secure {
				offers = append(offers, "STARTTLS")
			}
			for i, o := range offers {
				mark := "-"
				if i == len(offers)-1 {
					mark = " "
				}
				say("250" + mark + o)
			}
		case "STARTTLS":
			say("220 go")
			t := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{m.cert}})
			if t.Handshake() != nil {
				return
			}
			conn, secure = t, true
			in = bufio.NewReader(conn)
		case "MAIL":
			m.mu.Lock()
			m.froms = append(m.froms, rest)
			m.mu.Unlock()
			say("250 2.1.0 fine")
		case "RCPT":
			reply := "250 2.1.5 fine"
			if m.rcpt != nil {
				reply = m.rcpt(rest)
			}
			say(reply)
		case "DATA":
			say("354 go")
			var content strings.Builder
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				content.WriteString(strings.TrimPrefix(line, "."))
			}
			if m.stallAt == "." {
				in.ReadByte()
			}
			if m.after == "" || m.stallAt == "." {
				return
			}
			if m.after[0] == '2' {
				m.mu.Lock()
				m.got = append(m.got, content.String())
				m.mu.Unlock()
			}
			say(m.after)
			if m.hangUp {
				return
			}
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 fine")
		}
	}
}

// web starts an HTTPS server for a host that has an address.
func (w *world) web(name string, strange bool, h http.HandlerFunc) {
	w.t.Helper()
	w.mu.Lock()
	if w.addrs[name] == nil {
		w.mu.Unlock()
		w.newHost(name)
		w.mu.Lock()
	}
	addr := w.addrs[name][0].String()
	w.mu.Unlock()
	l, err := tls.Listen("tcp", net.JoinHostPort(addr, strconv.Itoa(int(w.https))), &tls.Config{Certificates: []tls.Certificate{w.certificate(name, strange)}, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		w.t.Fatal(err)
	}
	s := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	w.t.Cleanup(func() { s.Close(); <-done })
}

// relay is a web handler that takes mail, or answers so.
type relay struct {
	status int
	answer string

	mu  sync.Mutex // guards the fields below
	got []string   // bodies with their envelopes
}

func (r *relay) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if q.URL.Path != "/mxdeliv" {
		http.NotFound(w, q)
		return
	}
	if q.Method != http.MethodPost {
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(q.Body)
	if err != nil || q.ContentLength != int64(len(body)) {
		http.Error(w, "400 bad length", http.StatusBadRequest)
		return
	}
	if r.status == http.StatusOK {
		r.mu.Lock()
		r.got = append(r.got, fmt.Sprintf("%s > %s: %s", q.Header.Get("X-MAIL-FROM"), strings.Join(q.Header["X-Mail-To"], ","), body))
		r.mu.Unlock()
	}
	w.WriteHeader(r.status)
	io.WriteString(w, r.answer)
}

func (r *relay) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.got...)
}

// text is a storage.Content.
type text struct{ *strings.Reader }

func content(s string) *text { return &text{strings.NewReader(s)} }

func (t *text) Size() int64 { return t.Reader.Size() }

// letter makes a message.
func letter(dest string, names ...string) Message {
	m := Message{
		From:    smtp.Path{Address: smtp.Address{LocalPart: "us", Domain: "relay.test"}},
		Prefix:  []byte("DKIM-Signature: x\r\n"),
		Content: content("Subject: [...]\r\n\r\n.hidden\r\n"),
	}
	for _, n := range names {
		m.To = append(m.To, smtp.Address{LocalPart: n, Domain: dest})
	}
	return m
}

const wholeLetter = "DKIM-Signature: x\r\nSubject: [...]\r\n\r\n.hidden\r\n"

// outcome prints what became of a message.
func outcome(o Outcome) string {
	var all []string
	for _, r := range o.Per {
		all = append(all, strconv.Itoa(r.Code)+" "+r.Enhanced)
	}
	return strings.Join(all, ", ")
}
