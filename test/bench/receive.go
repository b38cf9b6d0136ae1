package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"barid/dkim"
	"barid/test/letter"
)

// peers is how many other servers deliver at once, each over a connection
// that stays.
const peers = 16

// received measures mail from other servers: persistent connections with
// STARTTLS, each message signed. With keys remembered all messages have one
// selector; without, each has another one, which the name server knows.
func received(ctx context.Context, o options) ([]Row, error) {
	names, err := serveKeys()
	if err != nil {
		return nil, err
	}
	defer names.close()
	var rows []Row
	for _, algorithm := range []string{"rsa", "ed25519"} {
		for _, remembered := range []bool{true, false} {
			r, err := receiveOne(ctx, o, names, algorithm, remembered)
			if err != nil {
				return nil, err
			}
			rows = append(rows, r...)
		}
	}
	return rows, nil
}

func receiveOne(ctx context.Context, o options, names *keyServer, algorithm string, remembered bool) ([]Row, error) {
	// A relay that looks a key up for each message is measured with as many
	// messages as were signed in advance: to sign costs more than to verify.
	stock := 200
	if !remembered {
		stock = 3000
		if o.quick {
			stock = 300
		}
	}
	messages, err := names.signed(algorithm, stock, remembered)
	if err != nil {
		return nil, err
	}
	s, addr, err := startReceiver(ctx, o, names.addr)
	if err != nil {
		return nil, err
	}
	defer s.kill()
	if err := firstLogins(ctx, s, 'r', mailboxes, 8); err != nil {
		return nil, err
	}
	clients, err := newCrew(peers, func(int) (*smtpClient, error) { return dialPeer(ctx, addr) })
	if err != nil {
		return nil, err
	}
	defer clients.Close()
	ctx, cancel := context.WithTimeout(ctx, o.duration)
	defer cancel()
	var next, done atomic.Int64
	took, spent, err := s.cost(func() error {
		return crowd(peers, func(i int) error {
			for ctx.Err() == nil {
				n := next.Add(1) - 1
				if !remembered && n >= int64(stock) {
					return nil
				}
				to := []string{person('r', int(n)%mailboxes).address}
				if err := clients[i].send(to, messages[int(n)%stock], nil); err != nil {
					return err
				}
				done.Add(1)
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	n := float64(done.Load())
	how := algorithm + ", key remembered"
	if !remembered {
		how = algorithm + ", another key each time"
	}
	return []Row{
		{"received per second, " + how, "1/s", n / took.Seconds(), higher, 0},
		{"CPU per 1,000 received, " + how, "s", spent.total.Seconds() / n * 1000, lower, 0},
	}, s.stop()
}

// startReceiver starts a relay with port 25 somewhere else, which asks the
// given name server.
func startReceiver(ctx context.Context, o options, resolver string) (s *server, addr string, err error) {
	site, err := newSite(o.dir)
	if err != nil {
		return nil, "", err
	}
	if addr, err = freeAddr(); err != nil {
		return nil, "", err
	}
	text, err := os.ReadFile(site.config)
	if err != nil {
		return nil, "", err
	}
	config := strings.Replace(string(text), "[limits]\n", "[limits]\nreceive_per_minute = 1000000\nreceive_burst = 1000000\n", 1)
	config = strings.Replace(config, "smtp = []\n", fmt.Sprintf("smtp = [%q]\n", addr), 1)
	config += fmt.Sprintf("\n[dns]\nresolver = %q\n", resolver)
	if err := os.WriteFile(site.config, []byte(config), 0o600); err != nil {
		return nil, "", err
	}
	s, err = site.start(ctx, o.barid, o.serverCPU)
	return s, addr, err
}

// author is who writes all these messages.
const author = "writer@author.test"

// dialPeer connects as another server does, and starts TLS.
func dialPeer(ctx context.Context, addr string) (*smtpClient, error) {
	var d net.Dialer
	plain, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &smtpClient{conn: plain, in: bufio.NewReader(plain), from: author}
	for _, step := range []struct {
		say  string
		code int
	}{{"", 220}, {"EHLO mx.author.test\r\n", 250}, {"STARTTLS\r\n", 220}} {
		if _, err := plain.Write([]byte(step.say)); err != nil {
			plain.Close()
			return nil, err
		}
		if err := c.expect(step.code); err != nil {
			plain.Close()
			return nil, err
		}
	}
	conn := tls.Client(plain, &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}})
	c.conn, c.in = conn, bufio.NewReader(conn)
	if _, err := fmt.Fprintf(conn, "EHLO mx.author.test\r\n"); err != nil {
		conn.Close()
		return nil, err
	}
	if err := c.expect(250); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// keyServer is a name server that knows one RSA and one Ed25519 key under
// any selector that begins with the algorithm.
type keyServer struct {
	addr    string
	dir     string
	files   map[string]string // of the keys, by algorithm
	records map[string]string
	server  *dns.Server
	done    chan struct{}
}

func serveKeys() (*keyServer, error) {
	dir, err := os.MkdirTemp("", "barid-bench-keys-")
	if err != nil {
		return nil, err
	}
	k := &keyServer{dir: dir, files: map[string]string{}, records: map[string]string{}, done: make(chan struct{})}
	keys, err := dkim.OpenKeys(dir, time.Now())
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		k.files[key.Algorithm()] = dir + "/" + key.Selector + ".pem"
		k.records[key.Algorithm()] = key.Record().Text
	}
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k.addr = socket.LocalAddr().String()
	k.server = &dns.Server{PacketConn: socket, Handler: k}
	go func() { defer close(k.done); k.server.ActivateAndServe() }()
	return k, nil
}

func (k *keyServer) close() {
	k.server.Shutdown()
	<-k.done
	os.RemoveAll(k.dir)
}

// ServeDNS answers one question; dns.Server calls it.
func (k *keyServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	a := new(dns.Msg)
	a.SetReply(q)
	name := q.Question[0].Name
	algorithm := "rsa"
	if strings.HasPrefix(name, "ed25519") {
		algorithm = "ed25519"
	}
	if rr, err := dns.NewRR(dkim.Record{Name: strings.TrimSuffix(name, ".author.test."), Text: k.records[algorithm]}.Line("author.test")); err == nil {
		a.Answer = []dns.RR{rr}
	}
	w.WriteMsg(a)
}

// signed gives n messages: of one selector, or of one each.
func (k *keyServer) signed(algorithm string, n int, same bool) ([][]byte, error) {
	content := letter.New("peer-"+algorithm, author, letter.Size)
	var all [][]byte
	for i := range n {
		selector := algorithm
		if !same {
			selector = fmt.Sprintf("%s-%d", algorithm, i)
		}
		key, err := dkim.ReadKey(k.files[algorithm], selector)
		if err != nil {
			return nil, err
		}
		signer, err := dkim.NewSigner(dkim.SignerConfig{Domain: "author.test", Keys: []dkim.Key{key}})
		if err != nil {
			return nil, err
		}
		_, message := content.Next()
		g := signer.Sign()
		g.Write(message)
		fields, err := g.Fields()
		if err != nil {
			return nil, err
		}
		all = append(all, append(fields, message...))
	}
	return all, nil
}
