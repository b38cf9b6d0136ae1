package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"barid/dkim"
	"barid/internal/admin"
	"barid/smtp"
	"barid/smtp/queue"
	"barid/storage"
	"barid/storage/local"
	"barid/test/blackhole"
	"barid/test/letter"
)

// world is where relays find each other: names, an authority, an address on
// loopback for each, and two ports that are the same for all.
type world struct {
	dir         string
	roots       string // PEM file
	ca          *x509.Certificate
	key         *ecdsa.PrivateKey
	smtp, https string // ports
	names       *dns.Server
	resolver    string

	mu      sync.Mutex // guards the field below
	records map[string][]dns.RR
}

func newWorld(dir string) (*world, error) {
	w := &world{dir: dir, records: map[string][]dns.RR{}}
	for _, port := range []*string{&w.smtp, &w.https} {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		_, *port, _ = net.SplitHostPort(addr)
	}
	if err := w.makeAuthority(); err != nil {
		return nil, fmt.Errorf("an authority: %w", err)
	}
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("name server: %w", err)
	}
	w.resolver = socket.LocalAddr().String()
	w.names = &dns.Server{PacketConn: socket, Handler: w}
	go w.names.ActivateAndServe() // ends with close
	return w, nil
}

func (w *world) close() { w.names.Shutdown() }

func (w *world) makeAuthority() (err error) {
	if w.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	tmpl := certificate("bench")
	tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &w.key.PublicKey, w.key)
	if err != nil {
		return err
	}
	if w.ca, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	w.roots = filepath.Join(w.dir, "roots.pem")
	return writePEM(w.roots, "CERTIFICATE", der)
}

func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// add adds records in zone-file form.
func (w *world) add(records ...string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			return fmt.Errorf("record: %w", err)
		}
		name := strings.ToLower(rr.Header().Name)
		w.records[name] = append(w.records[name], rr)
	}
	return nil
}

// ServeDNS answers one question; dns.Server calls it.
func (w *world) ServeDNS(rw dns.ResponseWriter, q *dns.Msg) {
	a := new(dns.Msg)
	a.SetReply(q)
	a.Authoritative = true
	w.mu.Lock()
	all, exists := w.records[strings.ToLower(q.Question[0].Name)]
	for _, rr := range all {
		if rr.Header().Rrtype == q.Question[0].Qtype {
			a.Answer = append(a.Answer, rr)
		}
	}
	w.mu.Unlock()
	if !exists {
		a.Rcode = dns.RcodeNameError
	}
	rw.WriteMsg(a)
}

// citizen is a relay of the world.
type citizen struct {
	site
	domain string
	world  *world
	signer *dkim.Signer
}

// found makes a relay with a domain and an address. Ways are where it takes
// mail: "smtp", "https".
func (w *world) found(domain, addr string, ways ...string) (c citizen, err error) {
	c = citizen{domain: domain, world: w}
	if c.site, err = newSite(w.dir); err != nil {
		return c, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate(domain), w.ca, &key.PublicKey, w.key)
	if err != nil {
		return c, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return c, err
	}
	cert, keyFile := filepath.Join(c.dir, "cert.pem"), filepath.Join(c.dir, "key.pem")
	if err := errors.Join(writePEM(cert, "CERTIFICATE", der), writePEM(keyFile, "PRIVATE KEY", private)); err != nil {
		return c, err
	}
	if err := c.sign(); err != nil {
		return c, err
	}
	text, err := os.ReadFile(c.config)
	if err != nil {
		return c, err
	}
	replace := []string{
		fmt.Sprintf("domain = %q", "relay.test"), fmt.Sprintf("domain = %q", domain),
		"mode = \"self-signed\"", fmt.Sprintf("mode = \"files\"\ncert = %q\nkey = %q\nroots = %q", cert, keyFile, w.roots),
		"[limits]\n", "[limits]\nreceive_per_minute = 1000000\nreceive_burst = 1000000\nreceive_per_client = 0\nhttps_per_client = 0\n",
	}
	for _, way := range ways {
		port := map[string]string{"smtp": w.smtp, "https": w.https}[way]
		replace = append(replace, "\n"+way+" = []", fmt.Sprintf("\n%s = [%q]", way, net.JoinHostPort(addr, port)))
	}
	config := strings.NewReplacer(replace...).Replace(string(text)) + fmt.Sprintf(
		"\n[dns]\nresolver = %q\n\n[federation]\nsmtp_port = %s\nhttps_port = %s\nfirst_retry = \"1s\"\n", w.resolver, w.smtp, w.https)
	if err := os.WriteFile(c.config, []byte(config), 0o600); err != nil {
		return c, err
	}
	return c, w.add(domain+". 60 IN A "+addr, domain+". 60 IN MX 10 "+domain+".")
}

// sign makes the relay's keys and publishes them.
func (c *citizen) sign() error {
	if err := os.MkdirAll(c.data(), 0o700); err != nil {
		return err
	}
	keys, err := dkim.OpenKeys(filepath.Join(c.data(), "dkim"), time.Now())
	if err != nil {
		return err
	}
	for _, k := range keys {
		if err := c.world.add(k.Record().Line(c.domain)); err != nil {
			return err
		}
	}
	c.signer, err = dkim.NewSigner(dkim.SignerConfig{Domain: c.domain, Keys: keys})
	return err
}

// person gives the account of a number at this relay.
func (c citizen) person(kind byte, n int) account {
	a := person(kind, n)
	name, _, _ := strings.Cut(a.address, "@")
	return account{name + "@" + c.domain, a.password}
}

// stock puts messages into the queue of a relay that does not run: an entry
// each, a hundred of them with one content and signature.
func (c citizen) stock(ctx context.Context, n int, to func(i int) smtp.Address) error {
	s, err := local.Open(local.Config{Dir: c.data(), Domain: c.domain, NoSync: true, FreshBytes: 1 << 30, CheckpointBytes: 1 << 30})
	if err != nil {
		return err
	}
	const together, senders = 100, 16
	writers := make([]*letter.Writer, senders)
	for i := range writers {
		writers[i] = letter.New(fmt.Sprintf("stock-%d", i), c.person('q', i).address, letter.Size)
	}
	for first := 0; first < n && err == nil; first += together {
		if err = ctx.Err(); err != nil {
			break
		}
		who := first / together % senders
		var from smtp.Address
		if from, err = smtp.ParseAddress(c.person('q', who).address); err != nil {
			break
		}
		_, message := writers[who].Next()
		g := c.signer.Sign()
		g.Write(message)
		var fields []byte
		if fields, err = g.Fields(); err != nil {
			break
		}
		var d storage.Draft
		if d, err = s.Draft(ctx, int64(len(message))); err != nil {
			break
		}
		d.Write(message) // Commit tells of trouble
		var b storage.Batch
		for i := first; i < min(first+together, n); i++ {
			a := to(i)
			b.Ops = append(b.Ops, storage.Enqueue{Dest: a.Domain, From: smtp.Path{Address: from}, To: []smtp.Address{a}, Sender: from, Prefix: fields, Content: d})
		}
		var result storage.Result
		if result, err = s.Commit(ctx, b); err == nil {
			err = result.Per[0].Err
		}
		d.Discard()
	}
	return errors.Join(err, s.Close())
}

// waiting tells how many messages are in a running relay's queue.
func (c citizen) waiting(ctx context.Context) (int, error) {
	var list struct {
		Summary queue.Summary `json:"summary"`
	}
	err := admin.Dial(c.data()).Ask(ctx, "/queue/list", map[string]any{"destination": "nobody.test"}, &list)
	return list.Summary.Entries, err
}

// drained waits until so many are left, or the spell is over, and tells how
// many are.
func (c citizen) drained(ctx context.Context, left int, spell time.Duration) (int, error) {
	n, err := c.waiting(ctx)
	if err != nil {
		return 0, err
	}
	// To ask a large queue costs the relay some milliseconds.
	again := time.NewTicker(20*time.Millisecond + time.Duration(n)*10*time.Microsecond)
	defer again.Stop()
	over := time.NewTimer(spell)
	defer over.Stop()
	for {
		n, err := c.waiting(ctx)
		if err != nil || n <= left {
			return n, err
		}
		select {
		case <-again.C:
		case <-over.C:
			return n, nil
		case <-ctx.Done():
			return n, ctx.Err()
		}
	}
}

// twoRelays starts relays for a.test and b.test on one processor, in one process
// or in two; b takes mail by the given ways.
func twoRelays(ctx context.Context, o options, together bool, ways ...string) (w *world, a, b citizen, stop func() error, err error) {
	if w, err = newWorld(o.dir); err != nil {
		return
	}
	stop = func() error { w.close(); return nil }
	if a, err = w.found("a.test", "127.7.0.1"); err != nil {
		return
	}
	if b, err = w.found("b.test", "127.7.0.2", ways...); err != nil {
		return
	}
	if together {
		var both *server
		if both, err = startTogether(ctx, o, a, b); err == nil {
			stop = func() error { defer w.close(); return both.stop() }
		}
		return
	}
	atA, err := a.start(ctx, o.barid, o.serverCPU)
	if err != nil {
		return
	}
	atB, err := b.start(ctx, o.barid, o.serverCPU)
	stop = func() error {
		defer w.close()
		err := atA.stop()
		if atB != nil {
			err = errors.Join(err, atB.stop())
		}
		return err
	}
	return
}

// acrossPair is one at relay a who sends and one at relay b who waits.
func acrossPair(ctx context.Context, a, b citizen, n int) (*pair, error) {
	return joinPair(ctx, fmt.Sprintf("across-%d", n), a.smtp, a.person('s', n), b.imap, b.person('r', n))
}

// federation measures mail from one relay to another, by each way, with a
// process for each and with one for both.
func federation(ctx context.Context, o options) ([]Row, error) {
	var rows []Row
	for _, together := range []bool{false, true} {
		for _, way := range []string{"smtp", "https"} {
			more, err := acrossBy(ctx, o, together, way)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", way, err)
			}
			rows = append(rows, more...)
		}
	}
	return rows, nil
}

func acrossBy(ctx context.Context, o options, together bool, way string) (rows []Row, err error) {
	_, a, b, stop, err := twoRelays(ctx, o, together, way)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return nil, err
	}
	messages := 300
	if o.quick {
		messages = 30
	}
	p, err := acrossPair(ctx, a, b, 0)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	took, err := p.times(ctx, messages)
	if err != nil {
		return nil, err
	}
	name := "between relays by " + strings.ToUpper(way)
	if together {
		name = "between relays in one process by " + strings.ToUpper(way)
	}
	rows = []Row{
		{"MAIL to EXISTS " + name + ", p50", "ms", ms(quantile(took, 0.50)), lower, 0},
		{"MAIL to EXISTS " + name + ", p99", "ms", ms(quantile(took, 0.99)), lower, 0},
	}
	rate, err := acrossRate(ctx, o, a, b)
	return append(rows, Row{"messages per second " + name + ", 16 senders", "1/s", rate, higher, 0}), err
}

// acrossRate lets many send as fast as they may, until all is over there.
func acrossRate(ctx context.Context, o options, a, b citizen) (float64, error) {
	for i := range senders {
		c, err := dialIMAP(ctx, b.imap, b.person('t', i), coreHello())
		if err != nil {
			return 0, err
		}
		c.Close()
	}
	spell, cancel := context.WithTimeout(ctx, o.duration)
	defer cancel()
	began := time.Now()
	var sent sync.Map
	err := crowd(senders, func(i int) error {
		c, err := dialSMTP(ctx, a.smtp, a.person('t', i))
		if err != nil {
			return err
		}
		defer c.Close()
		content := letter.New(fmt.Sprintf("rate-%d", i), c.from, letter.Size)
		n := 0
		for ; spell.Err() == nil; n++ {
			_, message := content.Next()
			if err := c.send([]string{b.person('t', i).address}, message, nil); err != nil {
				return err
			}
		}
		sent.Store(i, n)
		return nil
	})
	if err != nil {
		return 0, err
	}
	left, err := a.drained(ctx, 0, time.Minute)
	if err == nil && left > 0 {
		err = fmt.Errorf("%d messages did not leave within a minute", left)
	}
	took := time.Since(began)
	total := 0
	sent.Range(func(_, n any) bool { total += n.(int); return true })
	return float64(total) / took.Seconds(), err
}

// isolation measures the way to one relay while thousands of messages wait for
// another one that nothing is heard of.
func isolation(ctx context.Context, o options) (rows []Row, err error) {
	waiting, messages := 10_000, 400
	if o.quick {
		waiting, messages = 500, 40
	}
	var alone, beside []time.Duration
	for _, hole := range []bool{false, true} {
		took, err := isolated(ctx, o, hole, waiting, messages)
		if err != nil {
			return nil, err
		}
		if hole {
			beside = took
		} else {
			alone = took
		}
	}
	p50, p99 := ms(quantile(alone, 0.50)), ms(quantile(alone, 0.99))
	with50, with99 := ms(quantile(beside, 0.50)), ms(quantile(beside, 0.99))
	name := fmt.Sprintf("MAIL to EXISTS at another relay while %d messages wait for a black hole", waiting)
	return []Row{
		{name + ", p50", "ms", with50, lower, 0},
		{name + ", p99", "ms", with99, lower, 0},
		{"the same p50, times that without", "", with50 / p50, lower, 1.2},
		{"the same p99, times that without", "", with99 / p99, lower, 2},
	}, nil
}

// openHole gives an address at which packets to these ports vanish: behind
// another network, which passes nothing on, or, without root, at ports here that
// take no more connections.
func openHole(ports ...string) (addr string, end func(), err error) {
	if os.Getuid() == 0 {
		f, err := newFar()
		if err != nil {
			return "", nil, err
		}
		if err := ip("route", "add", farBeyond, "via", farPeer); err != nil {
			f.close()
			return "", nil, err
		}
		return farBeyond, f.close, nil
	}
	fmt.Fprintln(os.Stderr, "  the black hole is at full ports of this host: another network needs root")
	addr = "127.7.0.3"
	var holes []*blackhole.Hole
	end = func() {
		for _, h := range holes {
			h.Close()
		}
	}
	for _, port := range ports {
		h, err := blackhole.Open(netip.MustParseAddrPort(net.JoinHostPort(addr, port)))
		if err != nil {
			end()
			return "", nil, err
		}
		holes = append(holes, h)
	}
	return addr, end, nil
}

func isolated(ctx context.Context, o options, hole bool, waiting, messages int) (took []time.Duration, err error) {
	w, err := newWorld(o.dir)
	if err != nil {
		return nil, err
	}
	defer w.close()
	a, err := w.found("a.test", "127.7.0.1")
	if err != nil {
		return nil, err
	}
	b, err := w.found("b.test", "127.7.0.2", "smtp", "https")
	if err != nil {
		return nil, err
	}
	if hole {
		addr, end, err := openHole(w.smtp, w.https)
		if err != nil {
			return nil, err
		}
		defer end()
		if err := w.add("hole.test. 60 IN A "+addr, "hole.test. 60 IN MX 10 hole.test."); err != nil {
			return nil, err
		}
		nobody := smtp.Address{LocalPart: "nobody001", Domain: "hole.test"}
		if err := a.stock(ctx, waiting, func(int) smtp.Address { return nobody }); err != nil {
			return nil, err
		}
	}
	atA, err := a.start(ctx, o.barid, o.serverCPU)
	if err != nil {
		return nil, err
	}
	defer atA.kill()
	atB, err := b.start(ctx, o.barid, o.serverCPU)
	if err != nil {
		return nil, err
	}
	defer atB.kill()
	p, err := acrossPair(ctx, a, b, 0)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if took, err = p.times(ctx, messages); err != nil {
		return nil, err
	}
	if left, err := a.waiting(ctx); err != nil || hole && left != waiting {
		return nil, errors.Join(err, fmt.Errorf("%d messages wait for the black hole, not %d", left, waiting))
	}
	return took, nil
}

// fullQueue measures a relay with a full queue: its memory, its start, and how
// fast the queue empties when the other relay is back.
func fullQueue(ctx context.Context, o options) (rows []Row, err error) {
	const many = 100_000
	n := many
	if o.quick {
		n = 2000
	}
	w, err := newWorld(o.dir)
	if err != nil {
		return nil, err
	}
	defer w.close()
	a, err := w.found("a.test", "127.7.0.1")
	if err != nil {
		return nil, err
	}
	b, err := w.found("b.test", "127.7.0.2", "smtp")
	if err != nil {
		return nil, err
	}
	empty, _, err := startAndWeigh(ctx, o, a)
	if err != nil {
		return nil, err
	}
	const people = 100
	if err := a.stock(ctx, n, func(i int) smtp.Address {
		name, _, _ := strings.Cut(b.person('r', i%people).address, "@")
		return smtp.Address{LocalPart: name, Domain: b.domain}
	}); err != nil {
		return nil, err
	}
	full, took, err := startAndWeigh(ctx, o, a)
	if err != nil {
		return nil, err
	}
	rate, err := drainRate(ctx, o, a, b, n, people)
	name := fmt.Sprintf("queue of %d messages", n)
	return []Row{
		{name + ": memory beyond an empty one", "MB", float64(full-empty) / (1 << 20), lower, 0},
		{name + ": start", "ms", ms(took), lower, 1000},
		{name + ": messages per second to another relay that is back", "1/s", rate, higher, 0},
	}, err
}

// startAndWeigh starts a relay whose peer is away, and tells how long that took
// and what memory it has after a while.
func startAndWeigh(ctx context.Context, o options, c citizen) (pss int64, took time.Duration, err error) {
	began := time.Now()
	s, err := c.start(ctx, o.barid, o.serverCPU)
	if err != nil {
		return 0, 0, err
	}
	defer s.kill()
	took = time.Since(began)
	select {
	case <-time.After(min(o.settle, 15*time.Second)):
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	if pss, err = s.pss(); err != nil {
		return 0, 0, err
	}
	return pss, took, s.stop()
}

// drainRate lets the queue of a flow to b for a while.
func drainRate(ctx context.Context, o options, a, b citizen, n, people int) (float64, error) {
	atB, err := b.start(ctx, o.barid, o.serverCPU)
	if err != nil {
		return 0, err
	}
	defer atB.kill()
	for i := range people {
		c, err := dialIMAP(ctx, b.imap, b.person('r', i), coreHello())
		if err != nil {
			return 0, err
		}
		c.Close()
	}
	atA, err := a.start(ctx, o.barid, o.serverCPU)
	if err != nil {
		return 0, err
	}
	defer atA.kill()
	// A tenth leaves before it counts: the windows open, keys are looked up.
	first, err := a.drained(ctx, n-n/10, time.Minute)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	left, err := a.drained(ctx, 0, o.duration)
	if err != nil {
		return 0, err
	}
	if left >= first {
		return 0, fmt.Errorf("%d messages wait and none leaves", left)
	}
	return float64(first-left) / time.Since(began).Seconds(), nil
}
