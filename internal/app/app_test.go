package app_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"barid/internal/app"
	"barid/internal/config"
	"barid/internal/journal"
	"barid/test/harness"
)

// Two relays live in one process and know nothing of each other.
func TestTwoRelaysInOneProcess(t *testing.T) {
	a := harness.New(t, harness.Options{Domain: "a.test"})
	b := harness.New(t, harness.Options{Domain: "b.test"})
	for relay, want := range map[*harness.Relay]string{a: "a.test", b: "b.test"} {
		if got := relay.App().Status().Domain; got != want {
			t.Errorf("%s says it is %s", want, got)
		}
		if line := firstLine(t, relay, "imaps"); !strings.HasPrefix(line, "* OK ") {
			t.Errorf("%s greets with %q", want, line)
		}
	}
}

func firstLine(t *testing.T, r *harness.Relay, listener string) string {
	t.Helper()
	conn := r.Dial(t, listener)
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// A data directory has one owner; the second is told so, and disturbs nothing.
func TestASecondRelayOnTheSameDataIsRefused(t *testing.T) {
	dir := t.TempDir()
	first := harness.New(t, harness.Options{DataDir: dir})
	cfg := config.Default("relay.test")
	cfg.TLS.Mode = config.TLSSelfSigned
	cfg.DataDir = dir
	second, err := app.New(cfg, app.Options{})
	if !errors.Is(err, journal.ErrLocked) || second != nil {
		t.Fatalf("%v, %v", second, err)
	}
	if !strings.Contains(err.Error(), "another") {
		t.Errorf("what it says: %v", err)
	}
	firstLine(t, first, "imaps")
}

// What cannot start undoes what it began: the data directory is free again.
func TestAFailedStartLeavesNothingBehind(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := config.Default("relay.test")
	cfg.TLS.Mode = config.TLSSelfSigned
	cfg.DataDir = t.TempDir()
	cfg.Listen = config.Listen{IMAPS: []string{"127.0.0.1:0", taken.Addr().String()}}
	for range 2 {
		a, err := app.New(cfg, app.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "imaps") {
			t.Errorf("start on a taken port: %v", err)
		}
		if err := a.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if err := a.Stop(context.Background()); err != nil {
			t.Errorf("stopped again: %v", err)
		}
	}
}

// A web server that has port 80 keeps nobody from mail: the relay serves the
// rest and says what is missing.
func TestAPortOfPagesThatIsTakenIsAFinding(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := config.Default("relay.test")
	cfg.TLS.Mode = config.TLSSelfSigned
	cfg.DataDir = t.TempDir()
	cfg.Listen = config.Listen{IMAPS: []string{"127.0.0.1:0"}, HTTP: []string{taken.Addr().String()}}
	a, err := app.New(cfg, app.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop(context.Background())
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := a.Status()
	if len(s.Listeners) != 1 || s.Listeners[0].Name != "imaps" {
		t.Errorf("listeners: %v", s.Listeners)
	}
	for _, f := range s.Findings {
		if f.ID == "listen.http-taken" && strings.Contains(f.Text, taken.Addr().String()) {
			return
		}
	}
	t.Errorf("not told: %v", s.Findings)
}

// Stop says goodbye to a session that waits, and does not wait for it.
func TestStopSaysGoodbye(t *testing.T) {
	r := harness.New(t, harness.Options{})
	conn := r.Dial(t, "imaps")
	lines := bufio.NewReader(conn)
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	go r.App().Stop(context.Background())
	if line, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(line, "* BYE") {
		t.Errorf("%q, %v", line, err)
	}
}

// A client that stops in the middle of its content is cut when the time is
// over, and the relay ends well all the same.
func TestAClientThatHangsIsNoFault(t *testing.T) {
	r := harness.New(t, harness.Options{})
	conn := r.Dial(t, "submission_clear")
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	lines := bufio.NewReader(conn)
	login := base64.StdEncoding.EncodeToString([]byte("\x00abcdefghi@relay.test\x00correct-horse"))
	for _, say := range []string{
		"", "EHLO phone", "AUTH PLAIN " + login, "MAIL FROM:<abcdefghi@relay.test>", "RCPT TO:<abcdefghi@relay.test>", "DATA",
	} {
		if say != "" {
			fmt.Fprintf(conn, "%s\r\n", say)
		}
		for line := "250-"; line[3] == '-'; {
			var err error
			if line, err = lines.ReadString('\n'); err != nil || line[0] > '3' {
				t.Fatalf("%s: %q, %v", say, line, err)
			}
		}
	}
	fmt.Fprint(conn, "Subject: half\r\n")
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := r.App().Stop(ctx); err != nil {
		t.Error(err)
	}
}

// A relay on which no account is born offers none.
func TestClosedRegistrationIsSaidOnTheWeb(t *testing.T) {
	r := harness.New(t, harness.Options{Change: func(c *config.Config) { c.Accounts.Registration = config.RegistrationClosed }})
	resp, err := http.Post("http://"+r.Addr("http_clear")+"/new", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("/new answers %s", resp.Status)
	}
}

// Metrics are served on their own listener and nowhere else.
func TestMetricsAreNotOnTheWeb(t *testing.T) {
	r := harness.New(t, harness.Options{})
	for listener, want := range map[string]int{"metrics": 200, "http_clear": 404} {
		resp, err := http.Get("http://" + r.Addr(listener) + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s answers %s", listener, resp.Status)
		}
	}
	if def := config.Default("relay.test"); len(def.Listen.Metrics) != 0 {
		t.Errorf("metrics are on by default: %v", def.Listen.Metrics)
	}
}
