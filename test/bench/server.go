package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// domain of the measured relay.
const domain = "relay.test"

// server is one running process under measurement.
type server struct {
	cmd        *exec.Cmd
	pid        int
	done       chan struct{} // closed when the process has ended
	imap, smtp string        // addresses
	log        *bytes.Buffer
}

// site is a data directory with the configuration of a relay on it. A relay
// can be started on it again and again.
type site struct {
	dir        string
	config     string
	imap, smtp string
}

// newSite makes a configuration with TLS on loopback and limits that stand in
// nobody's way.
func newSite(parent string) (site, error) {
	dir, err := os.MkdirTemp(parent, "site-")
	if err != nil {
		return site{}, fmt.Errorf("data directory: %w", err)
	}
	s := site{dir: dir, config: filepath.Join(dir, "barid.toml")}
	for _, addr := range []*string{&s.imap, &s.smtp} {
		if *addr, err = freeAddr(); err != nil {
			return site{}, err
		}
	}
	text := fmt.Sprintf(`domain = %q
data_dir = %q

[listen]
imaps = [%q]
imap = []
submissions = [%q]
submission = []
smtp = []
https = []
http = []
turn = []
turns = []

[limits]
max_user_send_per_minute = 1000000
max_user_send_burst_size = 1000000
max_connections = 0
max_imap_connections = 0
max_smtp_connections = 0
imap_per_client = 0
submission_per_client = 0
imap_sessions_per_account = 0
signup_burst = 0
max_load_1m = 0
min_available_memory = 0
min_free_disk_space = 0
min_free_inodes = 0

[tls]
mode = "self-signed"

[push]
enabled = false

[log]
level = "warn"
`, domain, s.data(), s.imap, s.smtp)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		return site{}, fmt.Errorf("configuration: %w", err)
	}
	return s, nil
}

// data is where the relay keeps its state.
func (s site) data() string { return filepath.Join(s.dir, "data") }

// settleAfter sets how long content waits for its file, from the next start on.
func (s site) settleAfter(d time.Duration) error {
	text, err := os.ReadFile(s.config)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	before, _, _ := strings.Cut(string(text), "\n[storage]\n")
	if err := os.WriteFile(s.config, []byte(before+"\n[storage]\nsettle_after = \""+d.String()+"\"\n"), 0o600); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	return nil
}

// freeAddr gives a loopback address that nobody listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// start runs barid on the site, bound to a processor (any, when negative), and
// returns when it takes connections.
func (s site) start(ctx context.Context, program string, cpu int) (*server, error) {
	args := []string{program, "run", "--config", s.config}
	p, err := startProcess(ctx, args, cpu, s.imap, s.smtp)
	if err != nil {
		return nil, err
	}
	p.imap, p.smtp = s.imap, s.smtp
	return p, nil
}

// startFresh starts barid on a site of its own.
func startFresh(ctx context.Context, o options) (*server, error) {
	site, err := newSite(o.dir)
	if err != nil {
		return nil, err
	}
	return site.start(ctx, o.barid, o.serverCPU)
}

// startProcess runs a program and waits until the addresses take connections.
func startProcess(ctx context.Context, args []string, cpu int, addrs ...string) (*server, error) {
	if cpu >= 0 {
		args = append([]string{"taskset", "-c", strconv.Itoa(cpu)}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	p := &server{cmd: cmd, done: make(chan struct{}), log: &bytes.Buffer{}}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	cmd.Env = os.Environ()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	p.pid = cmd.Process.Pid // taskset becomes the program
	go func() {
		defer close(p.done)
		cmd.Wait()
	}()
	for _, addr := range addrs {
		if err := p.await(ctx, addr); err != nil {
			p.kill()
			return nil, fmt.Errorf("%w; it said:\n%s", err, p.log)
		}
	}
	return p, nil
}

// await returns when addr takes connections.
func (p *server) await(ctx context.Context, addr string) error {
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	for {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			conn.Close()
			return nil
		}
		select {
		case <-again.C:
		case <-p.done:
			return errors.New("the server ended before it took connections")
		case <-late.C:
			return fmt.Errorf("the server takes no connection: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stop ends the process as an operator would.
func (p *server) stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(25 * time.Second):
		p.kill()
		return errors.New("the server did not end on SIGTERM within 25 s")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("the server ended with %d; it said:\n%s", code, p.log)
	}
	return nil
}

// kill ends the process as a power cut would, for the process.
func (p *server) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// usage is the processor time of a process, of all its threads.
type usage struct{ total, kernel time.Duration }

func (u usage) since(before usage) usage {
	return usage{u.total - before.total, u.kernel - before.kernel}
}

// cost does work, and tells how long it took and what the process spent
// meanwhile.
func (p *server) cost(work func() error) (took time.Duration, spent usage, err error) {
	before, err := p.cpu()
	if err != nil {
		return 0, usage{}, err
	}
	began := time.Now()
	if err := work(); err != nil {
		return 0, usage{}, err
	}
	took = time.Since(began)
	after, err := p.cpu()
	return took, after.since(before), err
}

// cpu tells the processor time of the process since it began.
func (p *server) cpu() (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return usage{}, fmt.Errorf("processor time: %w", err)
	}
	return parseStat(string(stat))
}

// parseStat reads the user and system time of a line of /proc/PID/stat, in
// ticks of 10 ms (proc_pid_stat(5)).
func parseStat(stat string) (usage, error) {
	// Behind the name, which may have spaces and brackets.
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return usage{}, fmt.Errorf("processor time: strange line of %d octets", len(stat))
	}
	user, err1 := strconv.Atoi(fields[11])
	kernel, err2 := strconv.Atoi(fields[12])
	const tick = 10 * time.Millisecond
	return usage{time.Duration(user+kernel) * tick, time.Duration(kernel) * tick}, errors.Join(err1, err2)
}

// pss tells the memory of the process in octets, shared pages by halves.
func (p *server) pss() (int64, error) {
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid))
	if err != nil {
		return 0, fmt.Errorf("memory: %w", err)
	}
	return parseRollup(string(rollup))
}

func parseRollup(rollup string) (int64, error) {
	for line := range strings.Lines(rollup) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("memory: no Pss line")
}
