package deltachat

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// maxLine bounds one line from the core, in octets. Answers carry no files, so
// the longest are some hundred kilobytes.
const maxLine = 16 << 20

// callTimeout bounds every call but Configure and get_next_event.
const callTimeout = 60 * time.Second

// Options of a Core. The zero value is right for nearly every test.
type Options struct {
	// Name tells several cores of one test apart in their logs. Default "core".
	Name string
	// Version asks for another core than that of every day, "2.33.0". It has to
	// be one that package.json names.
	Version string
	// Program is the path of deltachat-rpc-server. Default: see the package.
	Program string
	// Env is added to the environment, "DELTACHAT_BCC_SELF=1".
	Env []string
}

// Core is one running process of the Delta Chat core. It ends with the test
// that started it. Its methods may be called by many goroutines, those that
// can fail the test only by the test's own.
type Core struct {
	t    testing.TB
	name string
	log  *coreLog

	writeMu sync.Mutex // guards the field below
	stdin   io.WriteCloser

	mu       sync.Mutex // guards the fields below
	nextID   uint64
	waiting  map[uint64]chan answer
	accounts map[uint32]*Account
	ended    error // why no answer will come any more

	dead chan struct{} // closed when ended is set
}

type request struct {
	Version string `json:"jsonrpc"`
	Method  string `json:"method"`
	Params  []any  `json:"params"`
	ID      uint64 `json:"id"`
}

type answer struct {
	ID     uint64          `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *refusal        `json:"error"`
}

// refusal is the core's own word for what went wrong.
type refusal struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s", r.Code, r.Message) }

// unknownMethod tells that the core is too old, or too new, for a call.
//
// Source: JSON-RPC 2.0 section 5.1.
func unknownMethod(err error) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && r.Code == -32601
}

// Start runs a core until the test ends. When the program is not there the
// test is skipped, or fails where BARID_NEED_CORE is set.
func Start(t testing.TB, o Options) *Core {
	t.Helper()
	if o.Name == "" {
		o.Name = "core"
	}
	if o.Program == "" {
		o.Program = program(t, o.Version)
	}
	c := &Core{
		t: t, name: o.Name, log: newCoreLog(t, o.Name),
		waiting: map[uint64]chan answer{}, accounts: map[uint32]*Account{},
		dead: make(chan struct{}),
	}
	cmd := exec.Command(o.Program)
	cmd.Env = append(os.Environ(), "DC_ACCOUNTS_PATH="+filepath.Join(t.TempDir(), "accounts"))
	cmd.Env = append(cmd.Env, o.Env...)
	cmd.Stderr = c.log.writer("stderr")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("%s: pipe: %v", o.Name, err)
	}
	if c.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatalf("%s: pipe: %v", o.Name, err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", o.Program, err)
	}
	var loops sync.WaitGroup
	loops.Go(func() { c.readAnswers(stdout) })
	loops.Go(c.readEvents)
	t.Cleanup(func() {
		// The end of its input asks the core to leave; what does not leave is killed.
		c.stdin.Close()
		kill := time.AfterFunc(5*time.Second, func() { cmd.Process.Kill() })
		loops.Wait()
		cmd.Wait()
		kill.Stop()
		c.log.close(t)
	})
	return c
}

// program finds deltachat-rpc-server in the node_modules of this folder, the
// one of a version or, for "", the one of every day.
func program(t testing.TB, version string) string {
	t.Helper()
	if p := os.Getenv("BARID_CORE"); p != "" && version == "" {
		return p
	}
	platform := runtime.GOOS + "-" + map[string]string{"amd64": "x64", "arm64": "arm64", "386": "ia32"}[runtime.GOARCH]
	dirName := filepath.Join("@deltachat", "stdio-rpc-server-"+platform)
	if version != "" {
		dirName = "core-" + version + "-" + platform
	}
	tail := filepath.Join("test", "deltachat", "node_modules", dirName, "deltachat-rpc-server")
	dir, err := os.Getwd()
	for ; err == nil && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if p := filepath.Join(dir, tail); isFile(p) {
			return p
		}
	}
	why := "the Delta Chat core is not installed: run `make core` (npm ci in test/deltachat), or set BARID_CORE to a deltachat-rpc-server"
	if version != "" {
		why = fmt.Sprintf("the Delta Chat core %s is not installed (`make core`), or does not exist for %s", version, platform)
	}
	if os.Getenv("BARID_NEED_CORE") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
	return ""
}

func isFile(p string) bool {
	info, err := os.Stat(p)
	return err == nil && info.Mode().IsRegular()
}

// Call calls a method of the core with positional parameters and reads its
// answer into result, which may be nil.
func (c *Core) Call(result any, method string, params ...any) error {
	return c.call(callTimeout, result, method, params...)
}

// call waits for ever when the timeout is zero.
func (c *Core) call(timeout time.Duration, result any, method string, params ...any) error {
	if params == nil {
		params = []any{}
	}
	got := make(chan answer, 1)
	c.mu.Lock()
	c.nextID++
	id := c.nextID
	c.waiting[id] = got
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiting, id)
	}()
	line, err := json.Marshal(request{"2.0", method, params, id})
	if err != nil {
		return fmt.Errorf("call %s: %w", method, err)
	}
	if !strings.HasPrefix(method, "get_next_event") {
		c.log.printf("call  %s", line)
	}
	c.writeMu.Lock()
	_, err = c.stdin.Write(append(line, '\n'))
	c.writeMu.Unlock()
	if err != nil {
		return fmt.Errorf("call %s: %w", method, err)
	}
	var late <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case a := <-got:
		if a.Error != nil {
			return fmt.Errorf("call %s: the core says %w", method, a.Error)
		}
		if result == nil {
			return nil
		}
		if err := json.Unmarshal(a.Result, result); err != nil {
			return fmt.Errorf("call %s: read the answer: %w", method, err)
		}
		return nil
	case <-c.dead:
		return fmt.Errorf("call %s: %w", method, c.end())
	case <-late:
		return fmt.Errorf("call %s: no answer within %v", method, timeout)
	}
}

func (c *Core) end() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// must is Call for what has to work.
func (c *Core) must(result any, method string, params ...any) {
	c.t.Helper()
	if err := c.Call(result, method, params...); err != nil {
		c.t.Fatalf("%s: %v", c.name, err)
	}
}

// readAnswers hands each line of the core to whoever waits for it, until the
// core is gone.
func (c *Core) readAnswers(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for lines.Scan() {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		var a answer
		if err := json.Unmarshal(line, &a); err != nil {
			c.log.printf("stdout %s", line)
			continue
		}
		c.mu.Lock()
		w := c.waiting[a.ID]
		delete(c.waiting, a.ID)
		c.mu.Unlock()
		if w != nil {
			w <- a
		}
	}
	err := lines.Err()
	if err == nil {
		err = errors.New("the core has ended")
	}
	c.mu.Lock()
	c.ended = err
	c.mu.Unlock()
	close(c.dead)
}

// readEvents sorts the events by account until the core is gone.
func (c *Core) readEvents() {
	for {
		batch, err := c.nextEvents()
		if err != nil {
			c.log.printf("no more events: %v", err)
			return
		}
		for _, b := range batch {
			e := Event{Raw: b.Event}
			if err := json.Unmarshal(b.Event, &e); err != nil {
				c.log.printf("event %d %s: %v", b.Account, b.Event, err)
				continue
			}
			c.log.event(b.Account, e)
			c.mu.Lock()
			a := c.accounts[b.Account]
			c.mu.Unlock()
			if a != nil {
				a.take(e)
			}
		}
	}
}

// accountEvent is an event as it comes.
type accountEvent struct {
	Account uint32          `json:"contextId"`
	Event   json.RawMessage `json:"event"`
}

// nextEvents waits for events. Cores before 2.48 give them one by one only.
func (c *Core) nextEvents() ([]accountEvent, error) {
	var batch []accountEvent
	err := c.call(0, &batch, "get_next_event_batch")
	if !unknownMethod(err) {
		return batch, err
	}
	var e accountEvent
	err = c.call(0, &e, "get_next_event")
	return []accountEvent{e}, err
}

// SystemInfo gives what the core says about itself, "deltachat_core_version"
// among it.
func (c *Core) SystemInfo() map[string]string {
	c.t.Helper()
	var info map[string]string
	c.must(&info, "get_system_info")
	return info
}
