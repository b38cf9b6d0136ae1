package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	pion "github.com/pion/turn/v4"
)

// calls measures TURN: what a relayed message costs, beside coturn on the same
// machine with coturn's own client as the load of both; what an allocation
// takes; and how long a message takes through two of them.
func calls(ctx context.Context, o options) ([]Row, error) {
	if _, err := exec.LookPath("turnutils_uclient"); err != nil {
		return nil, errors.New("turnutils_uclient is missing: it is in the Debian package coturn")
	}
	ours, err := turnOfBarid(ctx, o, loopback)
	if err != nil {
		return nil, err
	}
	rows, err := ours.measure(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("barid: %w", err)
	}
	theirs, err := turnOfCoturn(ctx, o, loopback)
	if errors.Is(err, exec.ErrNotFound) {
		fmt.Fprintln(os.Stderr, "  turnserver is missing (Debian: coturn): nothing to compare with")
		return rows, nil
	}
	if err != nil {
		return nil, err
	}
	more, err := theirs.measure(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("coturn: %w", err)
	}
	for i := range rows { // the design's bound is the other
		if strings.HasPrefix(rows[i].Name, "calls: CPU") {
			rows[i].Target = more[i].Value
		}
	}
	rows = append(rows, more...)
	if more, err = foreign(ctx, o); err != nil {
		return nil, fmt.Errorf("peers elsewhere: %w", err)
	}
	return append(rows, more...), nil
}

const loopback = "127.0.0.1"

// turnServer is one under measurement.
type turnServer struct {
	*server
	name           string
	host, port     string // where it listens
	user, password string
}

func turnOfBarid(ctx context.Context, o options, host string) (*turnServer, error) {
	site, err := newSite(o.dir)
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	text, err := os.ReadFile(site.config)
	if err != nil {
		return nil, err
	}
	changed := strings.Replace(string(text), "\nturn = []\n", fmt.Sprintf("\nturn = [%q]\n", net.JoinHostPort(host, port)), 1) +
		"\n[turn]\nallow_peers = [\"" + farPeer + "\"]\nper_account = 10000\nmax_allocations = 10000\nbytes_per_second = \"1G\"\nbytes_per_day = \"100T\"\n"
	if err := os.WriteFile(site.config, []byte(changed), 0o600); err != nil {
		return nil, err
	}
	s, err := site.start(ctx, o.barid, o.serverCPU)
	if err != nil {
		return nil, err
	}
	t := &turnServer{server: s, name: "barid", host: host, port: port}
	c, err := dialIMAP(ctx, s.imap, person('r', 0), coreHello())
	if err != nil {
		s.kill()
		return nil, err
	}
	defer c.Close()
	said, err := c.do(`GETMETADATA "" (/shared/vendor/deltachat/turn)`)
	m := regexp.MustCompile(`:(\d+):(\d+):([A-Za-z0-9+/=]+)`).FindStringSubmatch(strings.Join(said, ""))
	if err != nil || m == nil {
		s.kill()
		return nil, fmt.Errorf("credentials: %q %w", said, err)
	}
	t.user, t.password = m[2], m[3]
	return t, nil
}

func turnOfCoturn(ctx context.Context, o options, host string) (*turnServer, error) {
	program, err := exec.LookPath("turnserver")
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.dir, "coturn-")
	if err != nil {
		return nil, err
	}
	t := &turnServer{name: "coturn", host: host, user: "user", password: "secret"}
	_, t.port, _ = net.SplitHostPort(addr)
	t.server, err = startProcess(ctx, []string{
		program, "-n", "--no-cli", "--no-tls", "--no-dtls", "-L", host, "-p", t.port, "--lt-cred-mech", "-u", t.user + ":" + t.password,
		"-r", domain, "--allow-loopback-peers", "--no-stdout-log", "-l", filepath.Join(dir, "log"), "--pidfile", filepath.Join(dir, "pid"),
		"-b", filepath.Join(dir, "db"),
	}, o.serverCPU, net.JoinHostPort(host, t.port))
	return t, err
}

// measure ends the server.
func (t *turnServer) measure(ctx context.Context, o options) ([]Row, error) {
	defer t.kill()
	row := func(what, unit string, v, target float64) Row {
		return Row{"calls: " + what + ", " + t.name, unit, v, lower, target}
	}
	var rows []Row
	memory, err := t.memory(ctx, o)
	if err != nil {
		return nil, err
	}
	rows = append(rows, row("PSS per allocation", "KB", memory/1e3, 16))
	// A client of coturn sends a message each millisecond; what it gets came
	// through two allocations.
	for _, clients := range []int{2, 8} {
		cpu, lost, err := t.load(ctx, o, clients)
		if err != nil {
			return nil, err
		}
		of := fmt.Sprintf("%d clients with 1,000/s each", clients)
		rows = append(rows, row("CPU per relayed message, "+of, "us", cpu, 0), row("lost of them, "+of, "%", lost, 0))
	}
	through, direct, err := t.delay(ctx, o)
	if err != nil {
		return nil, err
	}
	return append(rows, row("through two allocations instead of straight, p50", "ms", ms(quantile(through, 0.5)-quantile(direct, 0.5)), 0),
		row("the same, p99", "ms", ms(quantile(through, 0.99)-quantile(direct, 0.5)), 1)), nil
}

var (
	receivedMessages = regexp.MustCompile(`start_mclient: tot_send_msgs=(\d+), tot_recv_msgs=(\d+)`)
	lostMessages     = regexp.MustCompile(`Total lost packets \d+ \(([\d.]+)%\), total send dropped`)
)

// load lets coturn's client talk for a while. Each message passes two
// allocations, and is counted once.
func (t *turnServer) load(ctx context.Context, o options, clients int) (perMessage, lost float64, err error) {
	before, err := t.cpu()
	if err != nil {
		return 0, 0, err
	}
	each := int(o.duration.Seconds() * 1000 / 2)
	cmd := exec.CommandContext(ctx, "turnutils_uclient", "-y", "-c", "-m", strconv.Itoa(clients), "-n", strconv.Itoa(each), "-z", "1", "-l", "200",
		"-u", t.user, "-w", t.password, "-p", t.port, t.host)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("turnutils_uclient: %w\n%s", err, out)
	}
	after, err := t.cpu()
	if err != nil {
		return 0, 0, err
	}
	all := receivedMessages.FindAllStringSubmatch(string(out), -1)
	percent := lostMessages.FindStringSubmatch(string(out))
	if len(all) == 0 || percent == nil {
		return 0, 0, fmt.Errorf("turnutils_uclient said:\n%s", out)
	}
	received, _ := strconv.ParseFloat(all[len(all)-1][2], 64)
	if received == 0 {
		return 0, 0, fmt.Errorf("turnutils_uclient got nothing:\n%s", out)
	}
	lost, _ = strconv.ParseFloat(percent[1], 64)
	return float64(after.since(before).total.Microseconds()) / received, lost, nil
}

// caller is a client with an allocation.
type caller struct {
	conn    net.PacketConn
	client  *pion.Client
	relayed net.PacketConn
}

// call makes an allocation. coturn finds a nonce wrong now and then.
func (t *turnServer) call() (c *caller, err error) {
	for range 5 {
		if c, err = t.tryCall(); err == nil {
			break
		}
	}
	return c, err
}

func (t *turnServer) tryCall() (*caller, error) {
	conn, err := net.ListenPacket("udp4", t.host+":0")
	if err != nil {
		return nil, err
	}
	c := &caller{conn: conn}
	c.client, err = pion.NewClient(&pion.ClientConfig{TURNServerAddr: net.JoinHostPort(t.host, t.port), Username: t.user, Password: t.password, Conn: conn})
	if err == nil {
		err = c.client.Listen()
	}
	if err == nil {
		c.relayed, err = c.client.Allocate()
	}
	if err != nil {
		c.close()
		return nil, fmt.Errorf("allocation: %w", err)
	}
	return c, nil
}

func (c *caller) close() {
	if c.relayed != nil {
		c.relayed.Close()
	}
	if c.client != nil {
		c.client.Close()
	}
	c.conn.Close()
}

// memory gives what an allocation adds to the server's PSS, in octets.
func (t *turnServer) memory(ctx context.Context, o options) (float64, error) {
	n := 500
	if o.quick {
		n = 100
	}
	var all []*caller
	defer func() {
		for _, c := range all {
			c.close()
		}
	}()
	var before int64
	for i := range n + 50 {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if i == 50 { // what the first load once is not theirs
			var err error
			if before, err = t.pss(); err != nil {
				return 0, err
			}
		}
		c, err := t.call()
		if err != nil {
			return 0, err
		}
		all = append(all, c)
	}
	after, err := t.pss()
	return float64(after-before) / float64(n), err
}

// delay gives the times of messages from one client to another, through an
// allocation of each, and straight from socket to socket.
func (t *turnServer) delay(ctx context.Context, o options) (through, direct []time.Duration, err error) {
	a, err := t.call()
	if err != nil {
		return nil, nil, err
	}
	defer a.close()
	b, err := t.call()
	if err != nil {
		return nil, nil, err
	}
	defer b.close()
	if err := errors.Join(a.client.CreatePermission(b.relayed.LocalAddr()), b.client.CreatePermission(a.relayed.LocalAddr())); err != nil {
		return nil, nil, err
	}
	if through, err = oneWay(ctx, o, a.relayed, b.relayed); err != nil {
		return nil, nil, err
	}
	var plain [2]net.PacketConn
	for i := range plain {
		if plain[i], err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
			return nil, nil, err
		}
		defer plain[i].Close()
	}
	direct, err = oneWay(ctx, o, plain[0], plain[1])
	return through, direct, err
}

// oneWay sends one message after the other, every few milliseconds.
func oneWay(ctx context.Context, o options, from, to net.PacketConn) (took []time.Duration, err error) {
	messages := 1500
	if o.quick {
		messages = 100
	}
	const warm = 50
	b, p := make([]byte, 2000), make([]byte, 200)
	for i := range messages + warm {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		began := time.Now()
		if _, err := from.WriteTo(p, to.LocalAddr()); err != nil {
			return nil, err
		}
		to.SetReadDeadline(began.Add(2 * time.Second))
		if _, _, err := to.ReadFrom(b); err != nil {
			return nil, fmt.Errorf("a message did not come: %w", err)
		}
		if i >= warm {
			took = append(took, time.Since(began))
		}
		time.Sleep(2 * time.Millisecond)
	}
	return took, nil
}
