package preflight

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"barid/internal/finding"
	"barid/test/greeter"
)

func ids(all []finding.Finding) string {
	var b strings.Builder
	for _, f := range all {
		fmt.Fprintf(&b, "%s %s; ", f.ID, f.Severity)
		if f.Text == "" || f.Remedy == "" {
			b.WriteString("without a word; ")
		}
	}
	return strings.TrimSuffix(b.String(), "; ")
}

func TestATakenPortIsToldWithWhoHasIt(t *testing.T) {
	taken := greeter.Listen(t, "")
	found := Ports([]Port{{"listen.imaps", taken}, {"listen.imap", "127.0.0.1:0"}, {"listen.smtp", "203.0.113.77:0"}})
	_, port, _ := net.SplitHostPort(taken)
	if ids(found) != "port.taken fault; port.unusable fault" {
		t.Fatalf("%+v", found)
	}
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	if want := "Port " + port + " is occupied by " + strings.TrimSpace(string(comm)) + "."; found[0].Text != want || !strings.Contains(found[0].Remedy, "listen.imaps") {
		t.Errorf("%+v, want %s", found[0], want)
	}
}

// What cannot be seen is not guessed.
func TestNobodyKnowsWhoHasAPort(t *testing.T) {
	if who := occupant(t.TempDir(), "25"); who != "" {
		t.Error(who)
	}
	proc := t.TempDir()
	if err := os.MkdirAll(filepath.Join(proc, "net"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "a b c\n", "0: 00000000:0019 00000000:0000 0A 0:0 0:0 0 0 0 77\n"} {
		if err := os.WriteFile(filepath.Join(proc, "net", "tcp"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if who := occupant(proc, "25"); who != "" {
			t.Errorf("%q: %s", text, who)
		}
	}
}

func TestPort25ToTheOutside(t *testing.T) {
	open, silent, strange := greeter.Listen(t, "220 hello\r\n"), greeter.Listen(t, ""), greeter.Listen(t, "554 no\r\n")
	if found := Outgoing(t.Context(), []string{silent, open}); found != nil {
		t.Errorf("%+v", found)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	if found := Outgoing(ctx, []string{silent, strange}); ids(found) != "smtp.blocked warning" || time.Since(start) > reach {
		t.Errorf("%v %+v", time.Since(start), found)
	}
}

func TestTheClock(t *testing.T) {
	var date time.Time
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", date.UTC().Format(http.TimeFormat))
	}))
	defer s.Close()
	for offset, want := range map[time.Duration]bool{0: false, time.Minute: false, -time.Hour: true, time.Hour: true} {
		date = time.Now().Add(offset)
		if got := strings.Contains(ids(Clock(t.Context(), s.URL)), "clock.wrong fault"); got != want {
			t.Errorf("%s: %v", offset, got)
		}
	}
	s.Close()
	if got := ids(Clock(t.Context(), s.URL)); !strings.Contains(got, "acme.unreachable warning") {
		t.Error(got)
	}
}

func TestPortsThatNobodyReaches(t *testing.T) {
	open, closed := greeter.Listen(t, "x"), greeter.Listen(t, "x")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := l.Addr().String()
	l.Close()
	if found := Incoming(t.Context(), []string{open, gone, closed}); ids(found) != "port.unreachable warning" || !strings.Contains(found[0].Text, gone) {
		t.Errorf("%+v", found)
	}
}
