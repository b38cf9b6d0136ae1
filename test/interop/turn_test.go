package interop

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"

	"barid/internal/config"
	"barid/test/harness"
)

var turnEntry = regexp.MustCompile(`(?s)deltachat/turn (?:"([^"]+)"|\{\d+\}\r\n([^)\s]+))`)

// turnCredentials asks for the credentials of an account as its client does,
// with METADATA.
func turnCredentials(t *testing.T, r *harness.Relay, name string) (username, password string) {
	t.Helper()
	c := r.Dial(t, "imaps").(*tls.Conn)
	defer c.Close()
	fmt.Fprintf(c, "a LOGIN %s %s\r\nb GETMETADATA \"\" (/shared/vendor/deltachat/turn)\r\n", r.Address(name), harness.PasswordOf(name).Wire())
	var said strings.Builder
	for in := bufio.NewReader(c); !strings.Contains(said.String(), "\nb "); {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		said.WriteString(line)
	}
	m := turnEntry.FindStringSubmatch(said.String())
	if m == nil {
		t.Fatalf("no TURN in %s", said.String())
	}
	fields := strings.SplitN(m[1]+m[2], ":", 4)
	return fields[2], fields[3]
}

// coturn's own client makes calls between its clients, with credentials from
// METADATA: over UDP, TCP and TLS, in channels and by indications, relayed at
// IPv4 and IPv6, and on port 443.
func TestInteropCallsOfCoturnsClient(t *testing.T) {
	need(t, "turnutils_uclient", "coturn")
	r := harness.New(t, harness.Options{Change: func(c *config.Config) { c.TURN.PerAccount = 200 }})
	user, password := turnCredentials(t, r, "alice1234")
	call := func(listener, password string, flags ...string) string {
		host, port, err := net.SplitHostPort(r.Addr(listener))
		if err != nil {
			t.Fatal(err)
		}
		args := append([]string{"turnutils_uclient", "-y", "-c", "-m", "4", "-n", "20", "-u", user, "-w", password, "-p", port}, flags...)
		out, _ := run(t, t.TempDir(), append(args, host)...)
		return out
	}
	const none = "Total lost packets 0 (0.000000%), total send dropped 0 (0.000000%)"
	for name, c := range map[string]struct {
		listener string
		flags    []string
	}{
		"UDP": {"turn", nil}, "TCP": {"turn", []string{"-t"}}, "TLS": {"turns", []string{"-t", "-S"}}, "TLS on 443": {"https", []string{"-t", "-S"}},
		"indications": {"turn", []string{"-s"}}, "IPv6": {"turn", []string{"-x"}}, "large": {"turn", []string{"-l", "1200"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if out := call(c.listener, password, c.flags...); !strings.Contains(out, none) {
				t.Errorf("it said:\n%s", out)
			}
		})
	}
	t.Run("wrong password", func(t *testing.T) {
		t.Parallel()
		if out := call("turn", "north"); !strings.Contains(out, "Cannot complete Allocation") {
			t.Errorf("it said:\n%s", out)
		}
	})
}
