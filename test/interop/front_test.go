package interop

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"barid/internal/config"
	"barid/test/harness"
)

// The servers in front run with what "barid config snippets" prints, on the
// real ports, and the relay sees through them: IMAP and HTTPS on 443, port 80.
func TestInteropServersInFront(t *testing.T) {
	for name, argv := range map[string]func(t *testing.T, dir, snippet string) []string{
		"nginx":   nginx,
		"haproxy": haproxy,
	} {
		t.Run(name, func(t *testing.T) {
			if name == "nginx" {
				need(t, "nginx", "nginx")
			} else {
				need(t, "haproxy", "haproxy")
			}
			harness.InNamespace(t, []string{"relay.test", "www.relay.test"}, func(t *testing.T, _ *harness.DNS) {
				dir := t.TempDir()
				r := behind(t, dir)
				snippet := snippetOf(t, dir, name)
				serve(t, argv(t, dir, snippet))
				throughFront(t, r)
				clientsAreKnown(t, r)
			})
		})
	}
}

// behind starts a relay that listens for a server in front, as the snippets
// tell the operator.
func behind(t *testing.T, dir string) *harness.Relay {
	return harness.New(t, harness.Options{Change: func(c *config.Config) {
		c.Listen.HTTPS = []string{"unix:" + filepath.Join(dir, "https")}
		c.Listen.HTTP = []string{"127.0.0.1:8080"}
		c.Listen.Proxies = []string{"unix"}
		c.Limits.HTTPSPerClient = 1
	}})
}

// snippetOf asks the binary for the snippet.
func snippetOf(t *testing.T, dir, server string) string {
	t.Helper()
	conf := write(t, filepath.Join(dir, "barid.toml"), `domain = "relay.test"
[listen]
https = ["unix:`+filepath.Join(dir, "https")+`"]
http = ["127.0.0.1:8080"]
proxies = ["unix"]
`)
	out, err := exec.CommandContext(t.Context(), "go", "run", "barid/cmd/barid", "config", "snippets", server, "--config", conf).Output()
	if err != nil {
		t.Fatalf("snippet: %v", err)
	}
	return string(out)
}

// nginx gives the command line of one with the snippet, whose part for http
// stands in comments.
func nginx(t *testing.T, dir, snippet string) []string {
	stream, http, _ := strings.Cut(snippet, "# Inside http { }")
	var plain strings.Builder
	for line := range strings.Lines(http) {
		if text, ok := strings.CutPrefix(line, "# "); ok {
			plain.WriteString(text)
		}
	}
	conf := write(t, filepath.Join(dir, "nginx.conf"), `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; user root; pid `+dir+`/nginx.pid; error_log stderr;
events {}
`+stream+`
http { access_log off; client_body_temp_path `+dir+`; proxy_temp_path `+dir+`; fastcgi_temp_path `+dir+`; uwsgi_temp_path `+dir+`; scgi_temp_path `+dir+`;
`+plain.String()+`}
`)
	return []string{"nginx", "-p", dir, "-e", "stderr", "-c", conf}
}

func haproxy(t *testing.T, dir, snippet string) []string {
	conf := write(t, filepath.Join(dir, "haproxy.cfg"), snippet)
	return []string{"haproxy", "-db", "-f", conf}
}

// serve runs a server until the test ends, and waits until it listens.
func serve(t *testing.T, argv []string) {
	t.Helper()
	var said strings.Builder
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", argv[0], said.String())
		}
	})
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", "127.0.0.1:443"); err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not listen", argv[0])
		}
	}
}

// throughFront uses what comes through.
func throughFront(t *testing.T, r *harness.Relay) {
	t.Helper()
	imap := dialALPN(t, r, "imap")
	defer imap.Close()
	in := bufio.NewReader(imap)
	in.ReadString('\n')
	io.WriteString(imap, "a LOGIN "+r.Address("somebody1")+" a-long-password\r\n")
	if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "a OK") {
		t.Errorf("login on 443: %q, %v", line, err)
	}
	web := dialALPN(t, r, "http/1.1")
	defer web.Close()
	io.WriteString(web, "GET / HTTP/1.1\r\nHost: relay.test\r\nConnection: close\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(web), nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("home page on 443: %v, %v", resp, err)
	}
	plain := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: 10 * time.Second}
	resp, err = plain.Get("http://relay.test/somewhere")
	if err != nil || resp.StatusCode/100 != 3 || !strings.HasPrefix(resp.Header.Get("Location"), "https://relay.test") {
		t.Errorf("port 80: %v, %v", resp, err)
	}
}

// clientsAreKnown shows that the relay counts clients behind the server by
// their own addresses: each may have one connection on 443.
func clientsAreKnown(t *testing.T, r *harness.Relay) {
	t.Helper()
	for _, client := range []string{"198.51.100.7/32", "198.51.100.8/32"} {
		if out, err := exec.CommandContext(t.Context(), "ip", "addr", "add", client, "dev", "lo").CombinedOutput(); err != nil {
			t.Fatalf("an address for a client: %v\n%s", err, out)
		}
	}
	greeted := func(client string) bool {
		d := &net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}
		c, err := tls.DialWithDialer(d, "tcp", client+":443", &tls.Config{ServerName: "relay.test", RootCAs: r.CA.Pool, NextProtos: []string{"imap"}})
		if err != nil {
			return false
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(10 * time.Second))
		line, _ := bufio.NewReader(c).ReadString('\n')
		return strings.HasPrefix(line, "* OK")
	}
	if a, b, again := greeted("198.51.100.7"), greeted("198.51.100.8"), greeted("198.51.100.7"); !a || !b || again {
		t.Errorf("one client %v, another %v, the first once more %v", a, b, again)
	}
}

func dialALPN(t *testing.T, r *harness.Relay, protocol string) *tls.Conn {
	t.Helper()
	addr := netip.MustParseAddrPort("127.0.0.1:443").String()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", addr, &tls.Config{ServerName: "relay.test", RootCAs: r.CA.Pool, NextProtos: []string{protocol}})
	if err != nil {
		t.Fatalf("%s on 443: %v", protocol, err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}
