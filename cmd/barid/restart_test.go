package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// loopbackConfig writes the configuration of a relay on free loopback ports.
func loopbackConfig(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "barid.toml")
	text := `domain = "_relay.test"
data_dir = "data"
[listen]
imaps = ["127.0.0.1:0"]
imap = []
submissions = []
submission = []
smtp = []
turn = []
turns = []
https = []
http = []
[limits]
max_load_1m = 0
[log]
format = "json"
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// listenerAddr takes the address of a listener out of the log.
func (p *process) listenerAddr(name string) string {
	p.t.Helper()
	line := p.until(p.stderr, `"listener":"`+name+`"`)
	_, rest, _ := strings.Cut(line[strings.LastIndex(strings.TrimSpace(line), "\n")+1:], `"addr":"`)
	addr, _, ok := strings.Cut(rest, `"`)
	if !ok {
		p.t.Fatalf("no address in %s", line)
	}
	return addr
}

// enterTLS logs in over TLS and gives the connection's state.
func enterTLS(t *testing.T, addr string, cfg *tls.Config) tls.ConnectionState {
	t.Helper()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(c)
	r.ReadString('\n')
	fmt.Fprintf(c, "a LOGIN somebody1@_relay.test a-long-password\r\n")
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "a OK") {
		t.Fatalf("%q, %v", line, err)
	}
	return c.ConnectionState()
}

func TestARestartInPlaceRefusesNobodyAndKnowsItsClients(t *testing.T) {
	path := loopbackConfig(t)
	p := start(t, nil, "run", "--config", path)
	addr := p.listenerAddr("imaps")
	client := &tls.Config{InsecureSkipVerify: true, ServerName: "_relay.test", ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	enterTLS(t, addr, client)

	stop := make(chan struct{})
	var refused error
	var knocking sync.WaitGroup
	knocking.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			c, err := net.DialTimeout("tcp", addr, 10*time.Second)
			if errors.Is(err, syscall.ECONNREFUSED) {
				refused = err
				return
			}
			if err == nil {
				c.Close()
			}
		}
	})
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(bin, "restart", "--config", path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "restarted, version 9.9.9") {
		t.Fatalf("%v\n%s", err, out)
	}
	close(stop)
	knocking.Wait()
	if refused != nil {
		t.Error("a client was refused:", refused)
	}
	if got := p.listenerAddr("imaps"); got != addr {
		t.Errorf("served on %s before and %s after", addr, got)
	}
	if state := enterTLS(t, addr, client); !state.DidResume {
		t.Error("the ticket of before is worth nothing")
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the process ended with %v", err)
	}
}

// What a successor could not start with is told before the relay ends for it.
func TestARestartThatCannotSucceedIsRefused(t *testing.T) {
	path := loopbackConfig(t)
	p := start(t, nil, "run", "--config", path)
	addr := p.listenerAddr("imaps")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, "[tls]\nmode = \"files\"\ncert = \"/nowhere/cert.pem\"\nkey = \"/nowhere/key.pem\"\n"...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(bin, "restart", "--config", path).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "tls.cert") {
		t.Errorf("%v\n%s", err, out)
	}
	enterTLS(t, addr, &tls.Config{InsecureSkipVerify: true})
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the process ended with %v", err)
	}
}

// An upgrade that moves the old binary away runs the one that took its place;
// while that cannot be run, the old one goes on.
func TestARestartRunsWhatLiesWhereItBegan(t *testing.T) {
	built = true
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir, config := t.TempDir(), loopbackConfig(t)
	here, ran := filepath.Join(dir, "barid"), filepath.Join(dir, "ran")
	text, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	put := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(here+".new", text, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(here+".new", here); err != nil {
			t.Fatal(err)
		}
	}
	put(text)
	p := startCommand(t, nil, here, "run", "--config", config)
	addr := p.listenerAddr("imaps")
	if err := os.Rename(here, here+".old"); err != nil {
		t.Fatal(err)
	}

	put([]byte("no program"))
	if out, err := exec.Command(bin, "restart", "--config", config).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p.until(p.stderr, "the program of before goes on")
	if got := p.listenerAddr("imaps"); got != addr {
		t.Errorf("served on %s before and %s after", addr, got)
	}
	enterTLS(t, addr, &tls.Config{InsecureSkipVerify: true})

	put([]byte("#!/bin/sh\necho \"$BARID_HANDOVER\" >" + ran + "\n"))
	ask := exec.Command(bin, "restart", "--config", config) // the script answers nobody
	if err := ask.Start(); err != nil {
		t.Fatal(err)
	}
	defer ask.Wait()
	defer ask.Process.Kill()
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the process ended with %v", err)
	}
	if got, err := os.ReadFile(ran); err != nil || len(got) < 2 {
		t.Errorf("what took the place of the binary got %q, %v", got, err)
	}
}

// What systemd opened is served in place of what the configuration names.
func TestASocketOfSystemdIsServed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	built = true
	// The variables must name the process that reads them, so a shell sets them
	// and becomes it.
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=imaps exec "$0" run --config "$1"`, bin, loopbackConfig(t))
	cmd.ExtraFiles = []*os.File{f}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	enterTLS(t, ln.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
