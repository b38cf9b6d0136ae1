package deltachat

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/smtp"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"barid/internal/config"
	"barid/test/harness"
	"barid/test/letter"
)

// pushVersion is the one core whose library is published with the call that
// takes a device token; JSON-RPC has none.
const pushVersion = "1.138.0"

// deviceToken is what the platform gave the app.
const deviceToken = "fcm-chat.delta:token-of-a-phone"

// A core that was given a device token registers it when it logs in, and is
// woken within a second of a delivery, by that token.
func TestInteropTheCoreIsWoken(t *testing.T) {
	onlyInterop(t)
	got := make(chan string, 100)
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- string(body)
	}))
	defer gateway.Close()
	r := harness.New(t, harness.Options{SelfSigned: true, Change: func(cfg *config.Config) {
		cfg.Push = config.Push{Enabled: true, URL: gateway.URL + "/notify"}
	}})
	c := Start(t, pushCore(t))
	if v := c.SystemInfo()["deltachat_core_version"]; v != "v"+pushVersion {
		t.Fatalf("core version %q", v)
	}
	c.giveToken(deviceToken)
	bob := c.AddAccount("Bob")
	bob.Configure(r.ClearLoginURI("bob000001")) // it checks the certificate of submission, whatever it is told
	// The call returns before the token is set, perhaps after the first login.
	bob.StopIO()
	bob.Forget("ImapInboxIdle")
	bob.StartIO()
	bob.WaitEvent("ImapInboxIdle", nil, time.Minute)

	began := time.Now()
	sendLetter(t, r, "alice0001", "bob000001")
	select {
	case token := <-got:
		// Newer cores encrypt the token to the gateway.
		if token != deviceToken && !strings.HasPrefix(token, "openpgp:") {
			t.Errorf("posted %q", token)
		}
		t.Logf("a token that begins %.8q came %v after the message was begun", token, time.Since(began))
	case <-time.After(time.Second):
		t.Fatal("not woken within a second")
	}
}

// giveToken is the call that an app makes when the platform gave it a token.
func (c *Core) giveToken(token string) {
	c.t.Helper()
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if _, err := fmt.Fprintf(c.stdin, "push-token %s\n", token); err != nil {
		c.t.Fatal(err)
	}
}

// pushCore builds the program around the library.
func pushCore(t *testing.T) Options {
	t.Helper()
	library, err := filepath.Abs(filepath.Join("node_modules", "core-library-"+pushVersion, "node", "prebuilds", "linux-x64", "node.napi.node"))
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOARCH != "amd64" || !isFile(library) {
		t.Skipf("the library of core %s is not installed (`make core`), or does not exist for %s", pushVersion, runtime.GOARCH)
	}
	program := filepath.Join(t.TempDir(), "pushcore")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "cc", "-O1", "-rdynamic", "-o", program, filepath.Join("testdata", "pushcore.c"), "-ldl", "-lpthread").CombinedOutput()
	if err != nil {
		t.Fatalf("build the program around the core (needs a C compiler): %v\n%s", err, out)
	}
	return Options{Name: "push", Program: program, Env: []string{"CORE_LIBRARY=" + library}}
}

// sendLetter sends an encrypted message, as far as the relay can tell.
func sendLetter(t *testing.T, r *harness.Relay, from, to string) {
	t.Helper()
	conn := r.Dial(t, "submissions")
	conn.SetDeadline(time.Now().Add(time.Minute))
	c, err := smtp.NewClient(conn, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, content := letter.New("push", r.Address(from), letter.Size).Next()
	for _, step := range []func() error{
		func() error {
			return c.Auth(smtp.PlainAuth("", r.Address(from), harness.PasswordOf(from).Wire(), "127.0.0.1"))
		},
		func() error { return c.Mail(r.Address(from)) },
		func() error { return c.Rcpt(r.Address(to)) },
		func() error {
			w, err := c.Data()
			if err != nil {
				return err
			}
			if _, err := w.Write(content); err != nil {
				return err
			}
			return w.Close()
		},
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}
