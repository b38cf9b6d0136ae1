package e2e

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"barid/imap/push"
	"barid/internal/admin"
	"barid/internal/app"
	"barid/internal/config"
	"barid/test/harness"
	"barid/test/transcript"
)

// gateway is a push gateway with a certificate that nobody knows.
type gateway struct {
	*httptest.Server
	got   chan string // the bodies of requests
	roots string      // PEM file

	mu     sync.Mutex // guards the fields below
	answer int        // status; 0 is 200
	hangs  bool       // never answers
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{got: make(chan string, 100), roots: filepath.Join(t.TempDir(), "roots.pem")}
	g.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.Proto != "HTTP/2.0" {
			t.Errorf("%s over %s: %v", r.Method, r.Proto, err)
		}
		g.mu.Lock()
		status, hangs := g.answer, g.hangs
		g.mu.Unlock()
		g.got <- string(body)
		if hangs {
			<-r.Context().Done()
		}
		if status != 0 {
			w.WriteHeader(status)
		}
	}))
	g.EnableHTTP2 = true
	g.StartTLS()
	t.Cleanup(g.Close)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: g.Certificate().Raw})
	if err := os.WriteFile(g.roots, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *gateway) say(status int, hangs bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answer, g.hangs = status, hangs
}

// change has a relay use the gateway.
func (g *gateway) change(cfg *config.Config) {
	cfg.Push = config.Push{Enabled: true, URL: g.URL + "/notify"}
	cfg.TLS.Roots = g.roots
}

// next waits for a request.
func (g *gateway) next(t *testing.T, within time.Duration) string {
	t.Helper()
	select {
	case token := <-g.got:
		return token
	case <-time.After(within):
		t.Fatalf("no request within %v", within)
		return ""
	}
}

// quiet sees to it that no request comes.
func (g *gateway) quiet(t *testing.T, what string) {
	t.Helper()
	select {
	case token := <-g.got:
		t.Fatalf("%s: %q was posted", what, token)
	case <-time.After(300 * time.Millisecond):
	}
}

// setToken registers a device, as a core does.
func setToken(t *testing.T, r *harness.Relay, name, token string) {
	t.Helper()
	transcript.Play(t, r.Dial(t, "imaps"), fmt.Sprintf(`S~ \* OK .*
C: a LOGIN %s %s
S~ a OK .*
C: b SETMETADATA "INBOX" (/private/devicetoken %q)
S: b OK Setmetadata completed
`, r.Address(name), harness.PasswordOf(name).Wire(), token))
}

// tokensOf reads the tokens of an account, as tests of the reference do.
func tokensOf(t *testing.T, r *harness.Relay, name, want string) {
	t.Helper()
	answer := fmt.Sprintf("S: * METADATA INBOX (/private/devicetoken {%d}\nS: %s)\n", len(want), want)
	transcript.Play(t, r.Dial(t, "imaps"), fmt.Sprintf(`S~ \* OK .*
C: a LOGIN %s %s
S~ a OK .*
C: b GETMETADATA INBOX /private/devicetoken
%sS: b OK Getmetadata completed
`, r.Address(name), harness.PasswordOf(name).Wire(), answer))
}

func sendTo(t *testing.T, r *harness.Relay, from, to string) {
	t.Helper()
	content, _ := message(r.Address(from), "push")
	if err := send(smtpLogin(t, r, from), r.Address(from), []string{r.Address(to)}, content); err != nil {
		t.Fatal(err)
	}
}

// A sleeping device is woken within a second of the delivery, another device
// of the account in IDLE or not; one's own copies wake nobody, and a message
// that is appended does not either.
func TestASleepingDeviceIsWokenWithinASecond(t *testing.T) {
	g := newGateway(t)
	r := harness.New(t, harness.Options{Change: g.change})
	setToken(t, r, "bob000001", "openpgp:token-of-the-phone")
	tablet, exists := imapLogin(t, r, "bob000001")
	idle, err := tablet.Idle()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	sendTo(t, r, "alice0001", "bob000001")
	if got := g.next(t, time.Second); got != "openpgp:token-of-the-phone" {
		t.Errorf("posted %q", got)
	}
	t.Logf("woken %v after the message was begun", time.Since(began))
	<-exists
	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	sendTo(t, r, "bob000001", "bob000001")
	content, _ := message(r.Address("bob000001"), "draft")
	put := tablet.Append("INBOX", int64(len(content)), nil)
	if _, err := io.WriteString(put, content); err != nil {
		t.Fatal(err)
	}
	if err := put.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := put.Wait(); err != nil {
		t.Fatal(err)
	}
	g.quiet(t, "an own copy or an APPEND")
	tokensOf(t, r, "bob000001", "openpgp:token-of-the-phone")
}

// A token that the gateway knows no more goes, and no other.
func TestAGoneTokenLeavesItsAccount(t *testing.T) {
	g := newGateway(t)
	r := harness.New(t, harness.Options{Change: g.change})
	setToken(t, r, "bob000001", "gone")
	g.say(http.StatusGone, false)
	sendTo(t, r, "alice0001", "bob000001")
	g.next(t, time.Second)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for late := time.After(10 * time.Second); r.App().Status().Counters["push_gone"] == 0; {
		select {
		case <-again.C:
		case <-late:
			t.Fatal("not counted as gone")
		}
	}
	tokensOf(t, r, "bob000001", "")
	setToken(t, r, "bob000001", "new")
	tokensOf(t, r, "bob000001", "new")
	r.Restart(t)
	tokensOf(t, r, "bob000001", "new")
}

// What a gateway has not taken when the relay ends is posted when it is there
// again.
func TestAWakeUpOutlivesARestart(t *testing.T) {
	g := newGateway(t)
	r := harness.New(t, harness.Options{Change: g.change})
	setToken(t, r, "bob000001", "waits")
	g.say(0, true)
	sendTo(t, r, "alice0001", "bob000001")
	g.next(t, time.Second)
	r.Restart(t)
	if got := g.next(t, 5*time.Second); got != "waits" {
		t.Errorf("posted %q", got)
	}
}

// With push off, or a gateway that is not there, mail goes on as ever.
func TestNothingDependsOnTheGateway(t *testing.T) {
	for name, c := range map[string]config.Push{
		"off":       {Enabled: false, URL: "http://127.0.0.1:1/"},
		"not there": {Enabled: true, URL: "http://127.0.0.1:1/"},
	} {
		t.Run(name, func(t *testing.T) {
			r := harness.New(t, harness.Options{Change: func(cfg *config.Config) { cfg.Push = c }})
			setToken(t, r, "bob000001", "token")
			sendTo(t, r, "alice0001", "bob000001")
			bob, _ := imapLogin(t, r, "bob000001")
			if got, _ := bodies(t, bob); len(got) != 1 {
				t.Errorf("%d messages", len(got))
			}
			tokensOf(t, r, "bob000001", "token")
		})
	}
}

// The operator's commands tell of tokens without showing any.
func TestTheOperatorSeesThatPushWorks(t *testing.T) {
	g := newGateway(t)
	dir := t.TempDir()
	r := harness.New(t, harness.Options{Change: g.change, DataDir: dir})
	setToken(t, r, "bob000001", "openpgp:very-secret")
	setToken(t, r, "bob000001", "fcm-chat.delta:very-secret")
	relay := admin.Dial(dir)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var told []string
	if err := admin.Follow(ctx, relay, "/push/test", app.PushTest{Account: "bob000001"}, func(x push.TestResult) error {
		told = append(told, fmt.Sprint(x.Platform, " ", x.Result))
		return nil
	}); err != nil || fmt.Sprint(told) != "[openpgp: sent fcm- sent]" {
		t.Errorf("%v %v", told, err)
	}
	var raw json.RawMessage
	if err := relay.Ask(ctx, "/push/status", nil, &raw); err != nil {
		t.Fatal(err)
	}
	var s push.Status
	if err := json.Unmarshal(raw, &s); err != nil || !s.Enabled || len(s.Platforms) != 2 || s.Platforms[0].Sent != 1 || strings.Contains(string(raw), "secret") {
		t.Errorf("%s %v", raw, err)
	}
	err := admin.Follow(ctx, relay, "/push/test", app.PushTest{Account: "nobody001@relay.test"}, func(push.TestResult) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "no such account") {
		t.Error(err)
	}
}
