package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"barid/internal/admin"
	"barid/internal/config"
)

// binary builds barid once for all tests here.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "barid-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "barid")
	out, err := exec.Command("go", "build", "-o", path, "-ldflags", "-X main.version=9.9.9 -X main.commit=abc1234", ".").CombinedOutput()
	if err != nil {
		return "", errors.New(string(out))
	}
	return path, nil
})

// built is set when a test asked for the binary.
var built bool

// hang makes this test binary a process that ends only by signals.
const hang = "BARID_TEST_HANG"

func TestMain(m *testing.M) {
	if os.Getenv(hang) != "" {
		ctx, _ := untilSignal(context.Background())
		fmt.Println("serving")
		<-ctx.Done()
		fmt.Println("draining")
		select {}
	}
	code := m.Run()
	if built {
		if path, err := binary(); err == nil {
			os.RemoveAll(filepath.Dir(path))
		}
	}
	os.Exit(code)
}

// process is a running barid.
type process struct {
	t              *testing.T
	cmd            *exec.Cmd
	pipe           io.Closer // of standard error
	stdout, stderr *bufio.Reader
}

// start runs the binary. What it does in half a minute must be done.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	built = true
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return startCommand(t, env, path, args...)
}

func startCommand(t *testing.T, env []string, path string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), env...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return &process{t, cmd, stderr, bufio.NewReader(stdout), bufio.NewReader(stderr)}
}

// until reads lines up to one that has the text, and gives them all.
func (p *process) until(r *bufio.Reader, text string) string {
	p.t.Helper()
	var all strings.Builder
	for {
		line, err := r.ReadString('\n')
		all.WriteString(line)
		if err != nil {
			p.t.Fatalf("no line with %q: %v\n%s", text, err, all.String())
		}
		if strings.Contains(line, text) {
			return all.String()
		}
	}
}

// end waits for the process and gives its exit code and the rest of what it
// wrote to standard error.
func (p *process) end() (code int, stderr string) {
	p.t.Helper()
	// Standard output is read beside it, so that neither pipe can fill up.
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(io.Discard, p.stdout) })
	rest, _ := io.ReadAll(p.stderr)
	wg.Wait()
	p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode(), string(rest)
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// laboratory writes a configuration with listeners on free loopback ports.
func laboratory(t *testing.T, dataDir string) (path string) {
	t.Helper()
	return file(t, fmt.Sprintf(`domain = "_relay.test"
data_dir = %q
[listen]
imaps = ["127.0.0.1:0"]
imap = []
submissions = ["127.0.0.1:0"]
submission = []
smtp = []
turn = []
turns = []
https = ["127.0.0.1:0"]
http = ["127.0.0.1:0"]
[limits]
max_load_1m = 0
min_available_memory = 0
min_free_disk_space = 0
min_free_inodes = 0
`, dataDir))
}

// A wrong configuration never starts a relay: all problems, exit 2, and the
// data directory is not even made.
func TestRunRefusesAWrongConfiguration(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	path := file(t, fmt.Sprintf("domain = \"relay\"\ndata_dir = %q\n[limit]\n", dir))
	code, stderr := start(t, nil, "run", "--config", path).end()
	want := path + ":1:10: domain: must have a dot: a whole name such as chat.example.org\n" +
		path + ":3:2: limit: unknown table, did you mean [limits]?\n"
	if code != exitUsage || stderr != want {
		t.Errorf("code %d, stderr\n%swant\n%s", code, stderr, want)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data directory: %v", err)
	}
}

// A relay runs, tells how it is, keeps a second one off its data directory,
// and ends well on SIGTERM.
func TestRunStatusEnd(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	path := laboratory(t, dir)
	p := start(t, nil, "run", "--config", path)
	log := p.until(p.stderr, "listening")

	status := start(t, nil, "status", "--json", "--config", path)
	text, err := io.ReadAll(status.stdout)
	if err != nil {
		t.Fatal(err)
	}
	if code, stderr := status.end(); code != 0 || stderr != "" {
		t.Fatalf("status: code %d, %s", code, stderr)
	}
	var s admin.Status
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	if s.Version != "9.9.9" || s.Commit != "abc1234" || s.Domain != "_relay.test" || len(s.Listeners) != 4 || s.Store.State != "ok" {
		t.Errorf("status %+v", s)
	}

	code, stderr := start(t, nil, "run", "--config", laboratory(t, dir)).end()
	if code != exitFailure || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "barid: ") || !strings.Contains(stderr, dir) {
		t.Errorf("a second process: code %d, %s", code, stderr)
	}
	t.Logf("the second process says: %s", stderr)

	begin := time.Now()
	p.signal(syscall.SIGTERM)
	code, rest := p.end()
	if code != 0 || time.Since(begin) > 10*time.Second {
		t.Errorf("code %d after %v\n%s%s", code, time.Since(begin), log, rest)
	}
	if _, err := os.Lstat(filepath.Join(dir, admin.SocketName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket: %v", err)
	}
}

// A port that somebody has is a failure that names listener and address.
func TestRunTellsATakenPort(t *testing.T) {
	dir := t.TempDir()
	first := start(t, nil, "run", "--config", laboratory(t, filepath.Join(dir, "a")))
	log := first.until(first.stderr, "listening")
	addr := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(log)
	path := file(t, fmt.Sprintf("domain = \"_relay.test\"\ndata_dir = %q\n[listen]\nimaps = [%q]\n", filepath.Join(dir, "b"), addr))
	code, stderr := start(t, nil, "run", "--config", path).end()
	last := stderr[strings.LastIndex(strings.TrimSuffix(stderr, "\n"), "\n")+1:]
	if code != exitFailure || !strings.HasPrefix(last, "barid: ") || !strings.Contains(last, addr) || !strings.Contains(last, "imaps") {
		t.Errorf("code %d, %s", code, stderr)
	}
}

// The demo prints two invites that work, and leaves nothing behind.
func TestDemo(t *testing.T) {
	tmp := t.TempDir()
	p := start(t, []string{"TMPDIR=" + tmp}, "run", "--demo")
	text := p.until(p.stdout, "End it")
	invites := regexp.MustCompile(`(?m)^dclogin:.*$`).FindAllString(text, -1)
	if len(invites) != 2 || invites[0] == invites[1] || !strings.Contains(text, "█") {
		t.Fatalf("invites %q in\n%s", invites, text)
	}
	for _, uri := range invites {
		login(t, uri)
	}
	dir := regexp.MustCompile(`--data-dir (\S+)`).FindStringSubmatch(text)[1]
	if code, stderr := start(t, nil, "status", "--data-dir", dir).end(); code != 0 {
		t.Errorf("status of the demo: code %d, %s", code, stderr)
	}
	p.signal(syscall.SIGINT)
	if code, stderr := p.end(); code != 0 {
		t.Errorf("code %d, %s", code, stderr)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A terminal that is closed ends a demo as Ctrl-C does.
func TestAClosedTerminalLeavesNothingBehind(t *testing.T) {
	tmp := t.TempDir()
	p := start(t, []string{"TMPDIR=" + tmp}, "run", "--demo")
	p.until(p.stdout, "End it")
	p.signal(syscall.SIGHUP)
	if code, stderr := p.end(); code != 0 {
		t.Errorf("code %d, %s", code, stderr)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Who reads the log may go; the relay stays.
func TestALogThatNobodyReadsEndsNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := start(t, nil, "run", "--config", laboratory(t, dir))
	log := p.until(p.stderr, "listener=http ")
	p.pipe.Close()
	c := dialIMAP(t, regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(log))
	c.ask("LOGIN abcdefghi@_relay.test correct-horse", "a OK") // "account created" is logged
	c.ask("NOOP", "a OK")
	p.signal(syscall.SIGTERM)
	p.cmd.Wait()
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("code %d", code)
	}
}

// login logs in to IMAP as an invite says.
func login(t *testing.T, uri string) {
	t.Helper()
	addr, query, _ := strings.Cut(strings.TrimPrefix(uri, "dclogin:"), "?")
	v, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	c := dialIMAP(t, net.JoinHostPort(v.Get("ih"), v.Get("ip")))
	c.ask(fmt.Sprintf("LOGIN %s %q", addr, v.Get("p")), "a OK")
}

// A second signal does not wait for anything, but the echo of the first is
// none.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := startCommand(t, []string{hang + "=1"}, self)
	p.until(p.stdout, "serving")
	begin := time.Now()
	p.signal(syscall.SIGTERM)
	p.until(p.stdout, "draining")
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	go func() {
		for p.cmd.Process.Signal(syscall.SIGTERM) == nil {
			<-again.C
		}
	}()
	code, stderr := p.end()
	if code != exitFailure || stderr != "barid: ended at once by a second signal\n" {
		t.Errorf("code %d, stderr %q", code, stderr)
	}
	if took := time.Since(begin); took < oneSignal {
		t.Errorf("took the echo for a second signal after %v", took)
	}
}

// The configuration knows no capability that the IMAP server has not.
func TestEveryCapabilityCanBeConfigured(t *testing.T) {
	path := laboratory(t, filepath.Join(t.TempDir(), "data"))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	words := config.LoginCapabilities()
	text = fmt.Appendf(text, "[imap]\ncompress = true\nlogin_capabilities = [\"%s\"]\n", strings.Join(words, `", "`))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, nil, "run", "--config", path)
	addr := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(p.until(p.stderr, "listener=imaps"))
	c := dialIMAP(t, addr)
	afterLogin := c.ask("LOGIN abcdefghi@_relay.test correct-horse", "a OK [CAPABILITY ")
	full := c.ask("CAPABILITY", "* CAPABILITY ")
	for name, got := range map[string]string{"LOGIN": afterLogin, "CAPABILITY": full} {
		list, _, _ := strings.Cut(got, "]")
		have := strings.Fields(list)
		for _, w := range words {
			if w == "APPENDLIMIT" {
				w += "=31457280"
			}
			if !slices.Contains(have, w) {
				t.Errorf("%s lacks %s: %q", name, w, have)
			}
		}
	}
}

// imapConn is a connection to an IMAP listener, with half a minute to live.
type imapConn struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

func dialIMAP(t *testing.T, addr string) *imapConn {
	t.Helper()
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // as ic=3 in an invite says
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return &imapConn{t, c, bufio.NewReader(c)}
}

// ask sends a command, wants a line with that beginning before its end, and
// gives what follows it.
func (c *imapConn) ask(command, prefix string) (rest string) {
	c.t.Helper()
	fmt.Fprintf(c.c, "a %s\r\n", command)
	found := false
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		if after, ok := strings.CutPrefix(line, prefix); ok {
			rest, found = strings.TrimSpace(after), true
		}
		if strings.HasPrefix(line, "a ") {
			if !found {
				c.t.Fatalf("no line begins %q; the last is %q", prefix, line)
			}
			return rest
		}
	}
}
