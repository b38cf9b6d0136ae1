package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"barid/imap/push"
	"barid/internal/admin"
	"barid/test/letter"
)

// tokensEach is how many device tokens an account has in the push scenario: as
// many as it may.
const tokensEach = 32

// pushing measures what waking devices costs: deliveries while the gateway is
// down, beside such with push off; memory for what waits; and how fast that
// goes out over one connection when the gateway is there.
func pushing(ctx context.Context, o options) ([]Row, error) {
	accounts, messages := 3125, 500
	if o.quick {
		accounts, messages = 100, 50
	}
	off, err := woken(ctx, o, func(site) error { return nil }, messages)
	if err != nil {
		return nil, err
	}
	dead, err := newPushGateway(o.dir)
	if err != nil {
		return nil, err
	}
	down, err := woken(ctx, o, dead.use, messages)
	if err != nil {
		return nil, err
	}
	rows := []Row{
		{"MAIL to EXISTS, push off, p50", "ms", ms(quantile(off, 0.50)), lower, 0},
		{"MAIL to EXISTS, push off, p99", "ms", ms(quantile(off, 0.99)), lower, 0},
		{"MAIL to EXISTS, push gateway down, p50", "ms", ms(quantile(down, 0.50)), lower, 0},
		{"MAIL to EXISTS, push gateway down, p99", "ms", ms(quantile(down, 0.99)), lower, 0},
	}
	more, err := backlog(ctx, o, accounts)
	return append(rows, more...), err
}

// woken is latency of one pair, whose waiter has a phone, a tablet and another
// phone.
func woken(ctx context.Context, o options, change func(site) error, messages int) ([]time.Duration, error) {
	site, err := newSite(o.dir)
	if err == nil {
		err = change(site)
	}
	if err != nil {
		return nil, err
	}
	s, err := site.start(ctx, o.barid, o.serverCPU)
	if err != nil {
		return nil, err
	}
	defer s.kill()
	if err := giveTokens(ctx, s, 0, 3); err != nil {
		return nil, err
	}
	took, err := oneByOne(ctx, s, messages)
	if err != nil {
		return nil, err
	}
	return took, s.stop()
}

// backlog lets wake-ups pile up while there is no gateway, and then go.
func backlog(ctx context.Context, o options, accounts int) ([]Row, error) {
	site, err := newSite(o.dir)
	if err != nil {
		return nil, err
	}
	gateway, err := newPushGateway(o.dir)
	if err == nil {
		err = gateway.use(site)
	}
	if err != nil {
		return nil, err
	}
	s, err := site.start(ctx, o.barid, o.serverCPU)
	if err != nil {
		return nil, err
	}
	defer s.kill()
	var next atomic.Int64
	if err := crowd(8, func(int) error {
		for i := next.Add(1) - 1; i < int64(accounts) && ctx.Err() == nil; i = next.Add(1) - 1 {
			if err := giveTokens(ctx, s, int(i), tokensEach); err != nil {
				return fmt.Errorf("account %d: %w", i, err)
			}
		}
		return ctx.Err()
	}); err != nil {
		return nil, err
	}
	before, err := s.pss()
	if err != nil {
		return nil, err
	}
	if err := mailAll(ctx, s, accounts); err != nil {
		return nil, err
	}
	relay, all := admin.Dial(site.data()), accounts*tokensEach
	if err := until(ctx, relay, func(st push.Status) bool { return st.Waiting == all }); err != nil {
		return nil, err
	}
	time.Sleep(time.Second) // until all is written
	full, err := s.pss()
	if err != nil {
		return nil, err
	}
	file, err := os.Stat(filepath.Join(site.data(), "push", "queue"))
	if err != nil {
		return nil, err
	}
	used, err := s.cpu()
	if err != nil {
		return nil, err
	}
	if err := gateway.open(); err != nil {
		return nil, err
	}
	defer gateway.close()
	if err := until(ctx, relay, func(st push.Status) bool { return st.Waiting == 0 }); err != nil {
		return nil, err
	}
	spent, err := s.cpu()
	if err != nil {
		return nil, err
	}
	if n := gateway.connections.Load(); n != 1 {
		return nil, fmt.Errorf("%d connections to the gateway instead of one", n)
	}
	took := time.Unix(0, gateway.last.Load()).Sub(time.Unix(0, gateway.first.Load()))
	n := float64(gateway.requests.Load())
	return []Row{
		{fmt.Sprintf("memory for %d wake-ups that wait, mail included", all), "MB", float64(full-before) / (1 << 20), lower, 0},
		{"disk for them", "MB", float64(file.Size()) / (1 << 20), lower, 0},
		{"wake-ups per second over one connection", "1/s", n / took.Seconds(), higher, 2000},
		{"CPU per 1,000 wake-ups", "s", spent.since(used).total.Seconds() / n * 1000, lower, 0},
	}, s.stop()
}

// giveTokens lets so many devices of account n register, which is born.
func giveTokens(ctx context.Context, s *server, n, tokens int) error {
	c, err := dialIMAP(ctx, s.imap, person('r', n), coreHello())
	if err != nil {
		return err
	}
	defer c.Close()
	var pairs []string
	for t := range tokens {
		pairs = append(pairs, fmt.Sprintf(`/private/devicetoken "openpgp:%08d-%02d-%s"`, n, t, strings.Repeat("x", 80)))
	}
	_, err = c.do(`SETMETADATA "INBOX" (` + strings.Join(pairs, " ") + ")")
	return err
}

// mailAll sends messages to accounts 0 to n-1, one to each.
func mailAll(ctx context.Context, s *server, n int) error {
	sender, err := dialSMTP(ctx, s.smtp, person('s', 0))
	if err != nil {
		return err
	}
	defer sender.Close()
	content := letter.New("push", sender.from, letter.Size)
	for first := 0; first < n; first += 500 {
		var to []string
		for i := first; i < min(first+500, n); i++ {
			to = append(to, person('r', i).address)
		}
		_, message := content.Next()
		if err := sender.send(to, message, nil); err != nil {
			return err
		}
	}
	return nil
}

// until asks the relay until its push is as wanted.
func until(ctx context.Context, relay *admin.Client, good func(push.Status) bool) error {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	late := time.NewTimer(5 * time.Minute) // a gateway that is back is noticed within one
	defer late.Stop()
	var st push.Status
	for {
		if err := relay.Ask(ctx, "/push/status", nil, &st); err != nil {
			return err
		}
		if good(st) {
			return nil
		}
		select {
		case <-again.C:
		case <-late.C:
			return fmt.Errorf("%d wake-ups wait, after five minutes", st.Waiting)
		}
	}
}

// pushGateway is a gateway that is not there until it is opened.
type pushGateway struct {
	addr        string
	cert        tls.Certificate
	roots       string // PEM file
	server      *http.Server
	requests    atomic.Int64
	connections atomic.Int64
	first, last atomic.Int64 // times of requests, in nanoseconds since 1970
}

func newPushGateway(dir string) (*pushGateway, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("certificate of the gateway: %w", err)
	}
	f, err := os.CreateTemp(dir, "roots-*.pem")
	if err != nil {
		return nil, err
	}
	err = pem.Encode(f, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return &pushGateway{addr: addr, cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots: f.Name()}, nil
}

// use has the relay of a site use the gateway.
func (g *pushGateway) use(s site) error {
	text, err := os.ReadFile(s.config)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	set := strings.NewReplacer("[push]\nenabled = false\n", fmt.Sprintf("[push]\nurl = \"https://%s/notify\"\n", g.addr),
		"[tls]\n", fmt.Sprintf("[tls]\nroots = %q\n", g.roots))
	return os.WriteFile(s.config, []byte(set.Replace(string(text))), 0o600)
}

// open begins to answer.
func (g *pushGateway) open() error {
	l, err := net.Listen("tcp", g.addr)
	if err != nil {
		return err
	}
	g.server = &http.Server{
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{g.cert}},
		ErrorLog:  log.New(io.Discard, "", 0),
		ConnState: func(_ net.Conn, st http.ConnState) {
			if st == http.StateNew {
				g.connections.Add(1)
			}
		},
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			now := time.Now().UnixNano()
			g.first.CompareAndSwap(0, now)
			g.last.Store(now)
			g.requests.Add(1)
		}),
	}
	go g.server.ServeTLS(l, "", "") // ends with close
	return nil
}

func (g *pushGateway) close() { g.server.Close() }
