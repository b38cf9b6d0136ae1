package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// browsers are the connections over which pages are asked for, each of which
// stays open.
const browsers = 16

// pages measures requests over kept TLS connections: the first page, as it is
// and compressed, and new accounts.
func pages(ctx context.Context, o options) ([]Row, error) {
	site, err := newSite(o.dir)
	if err != nil {
		return nil, err
	}
	https, err := site.withPages()
	if err != nil {
		return nil, err
	}
	s, err := site.start(ctx, o.barid, o.serverCPU)
	if err != nil {
		return nil, err
	}
	defer s.kill()
	if err := s.await(ctx, https); err != nil {
		return nil, err
	}
	var rows []Row
	for _, c := range []struct{ name, request string }{
		{"the first page", "GET / HTTP/1.1\r\nHost: " + domain + "\r\nAccept-Language: de-AT,de;q=0.9,en;q=0.5\r\n\r\n"},
		{"the first page, compressed", "GET / HTTP/1.1\r\nHost: " + domain + "\r\nAccept-Encoding: gzip, br\r\nAccept-Language: fa\r\n\r\n"},
		{"new accounts of /new", "POST /new HTTP/1.1\r\nHost: " + domain + "\r\nContent-Length: 0\r\n\r\n"},
	} {
		done, cpu, err := askOften(ctx, o, s, https, c.request)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		rows = append(rows,
			Row{c.name + " per second, 16 kept connections", "1/s", done / o.duration.Seconds(), higher, 5000},
			Row{c.name + ", processor time of the server each", "us", cpu.Seconds() * 1e6 / done, lower, 0})
	}
	return rows, nil
}

// withPages opens the web listener, without the limits that would be in the
// way, and gives its address.
func (s site) withPages() (addr string, err error) {
	if addr, err = freeAddr(); err != nil {
		return "", err
	}
	text, err := os.ReadFile(s.config)
	if err != nil {
		return "", fmt.Errorf("configuration: %w", err)
	}
	changed := strings.Replace(string(text), "https = []", fmt.Sprintf("https = [%q]", addr), 1)
	changed = strings.Replace(changed, "[limits]\n", "[limits]\nnew_burst = 1000000000\nnew_per_second = 1000000000\n", 1)
	return addr, os.WriteFile(s.config, []byte(changed), 0o600)
}

// askOften asks for the same again and again and gives the number of answers
// and the processor time that they took of the server.
func askOften(ctx context.Context, o options, s *server, addr, request string) (done float64, cpu time.Duration, err error) {
	before, err := s.cpu()
	if err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.duration)
	defer cancel()
	var n atomic.Int64
	err = crowd(browsers, func(int) error {
		conn, err := dial(context.WithoutCancel(ctx), addr, coreHello())
		if err != nil {
			return err
		}
		defer conn.Close()
		return converse(ctx, conn, request, &n)
	})
	if err != nil {
		return 0, 0, err
	}
	after, err := s.cpu()
	return float64(n.Load()), after.since(before).total, err
}

// converse asks over one connection until ctx ends.
func converse(ctx context.Context, conn net.Conn, request string, n *atomic.Int64) error {
	r := bufio.NewReaderSize(conn, 64<<10)
	method, _, _ := strings.Cut(request, " ")
	asked := &http.Request{Method: method}
	for ctx.Err() == nil {
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			return err
		}
		if _, err := io.WriteString(conn, request); err != nil {
			return err
		}
		answer, err := http.ReadResponse(r, asked)
		if err != nil {
			return err
		}
		octets, err := io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK || octets < 50 {
			return fmt.Errorf("%s with %d octets: %w", answer.Status, octets, err)
		}
		n.Add(1)
	}
	return nil
}
