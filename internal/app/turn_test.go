package app_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"barid/internal/config"
	"barid/internal/finding"
	"barid/test/harness"
	"barid/turn"
)

var turnEntry = regexp.MustCompile(`(?s)/shared/vendor/deltachat/turn (?:"([^"]+)"|\{\d+\}\r\n([^)\s]+)|(NIL))`)

// told gives what an account is told of TURN in METADATA: host, port, user name
// and password, or nothing.
func told(t *testing.T, r *harness.Relay, name string) []string {
	t.Helper()
	c := r.Dial(t, "imaps")
	defer c.Close()
	address := r.Address(name)
	if r.Domain[0] >= '0' && r.Domain[0] <= '9' {
		address = name + "@[" + r.Domain + "]"
	}
	fmt.Fprintf(c, "a LOGIN \"%s\" %s\r\nb GETMETADATA \"\" (/shared/vendor/deltachat/turn)\r\n", address, harness.PasswordOf(name).Wire())
	var said strings.Builder
	for in := bufio.NewReader(c); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		said.WriteString(line)
		if strings.HasPrefix(line, "b ") {
			break
		}
	}
	m := turnEntry.FindStringSubmatch(said.String())
	if m == nil || m[3] != "" {
		return nil
	}
	return strings.SplitN(m[1]+m[2], ":", 4)
}

// Accounts are told credentials with which they make calls: over UDP, TCP and
// TLS, on the ports of TURN and on 443 beside everything else.
func TestCallsWithCredentialsFromMetadata(t *testing.T) {
	r := harness.New(t, harness.Options{})
	alice, bob := told(t, r, "alice1234"), told(t, r, "bob123456")
	_, port, _ := strings.Cut(r.Addr("turn"), ":")
	if len(alice) != 4 || alice[0] != "relay.test" || alice[1] != port {
		t.Fatalf("told %q", alice)
	}
	ends, err := strconv.ParseInt(alice[2], 10, 64)
	if left := time.Until(time.Unix(ends, 0)); err != nil || left < 24*time.Hour {
		t.Errorf("credentials end in %v, %v", left, err)
	}
	if alice[2] == bob[2] {
		t.Error("two accounts share a budget")
	}
	c := turn.Credentials{Username: alice[2], Password: alice[3]}
	for _, way := range []struct{ network, listener string }{{"udp", "turn"}, {"tcp", "turn"}, {"tls", "turns"}, {"tls", "https"}, {"tcp", "https"}} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := turn.Probe(ctx, way.network, r.Addr(way.listener), c); err != nil {
			t.Errorf("%s to %s: %v", way.network, way.listener, err)
		}
		if err := turn.Probe(ctx, way.network, r.Addr(way.listener), turn.Credentials{Username: c.Username, Password: "north"}); err == nil {
			t.Errorf("%s to %s: a wrong password made a call", way.network, way.listener)
		}
		cancel()
	}
	// What is told stays good after a restart.
	r.Restart(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := turn.Probe(ctx, "udp", r.Addr("turn"), c); err != nil {
		t.Error("after a restart:", err)
	}
	if again := told(t, r, "alice1234"); strings.Join(again, ":") != strings.Join(alice, ":") {
		t.Errorf("told %q after a restart", again)
	}
}

// The name that is told can be another one, and nothing is told where nothing
// is served.
func TestWhatIsToldOfCalls(t *testing.T) {
	for _, c := range []struct {
		opt  harness.Options
		host string // empty for none
	}{
		{harness.Options{Domain: "192.0.2.7", SelfSigned: true}, "192.0.2.7"},
		{harness.Options{Change: func(c *config.Config) { c.TURN.Announce = "turn.relay.test" }}, "turn.relay.test"},
		{harness.Options{Change: func(c *config.Config) { c.TURN.Enabled = false }}, ""},
		{harness.Options{Change: func(c *config.Config) { c.Listen.TURN = nil }}, ""},
	} {
		r := harness.New(t, c.opt)
		got := told(t, r, "alice1234")
		if c.host == "" && got != nil || c.host != "" && (len(got) != 4 || got[0] != c.host) {
			t.Errorf("told %q, want %q", got, c.host)
		}
	}
}

// Status tells when calls do not come through.
func TestTURNFindings(t *testing.T) {
	of := func(r *harness.Relay) (list []finding.Finding) {
		for _, f := range r.App().Status().Findings {
			if strings.HasPrefix(f.ID, "turn.") {
				list = append(list, f)
			}
		}
		return list
	}
	if list := of(harness.New(t, harness.Options{})); len(list) != 0 {
		t.Errorf("a relay that works: %v", list)
	}
	full := harness.New(t, harness.Options{Change: func(c *config.Config) { c.TURN.MaxAllocations = 1 }})
	if list := of(full); len(list) != 1 || list[0].ID != "turn.unusable" || list[0].Severity != finding.Fault {
		t.Errorf("a relay without room: %v", list)
	}
}

// A web client that names no protocol is served on 443 as before.
func TestHTTPWithoutALPNBesideCalls(t *testing.T) {
	r := harness.New(t, harness.Options{})
	c := r.Dial(t, "https")
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: relay.test\r\nConnection: close\r\n\r\n")
	if page, _ := io.ReadAll(c); !strings.HasPrefix(string(page), "HTTP/1.1 200 ") {
		t.Errorf("%.60q", page)
	}
}
