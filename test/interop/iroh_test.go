package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"barid/internal/config"
	"barid/test/harness"
	"barid/test/netlab"
)

// irohURL is where the relay is for clients in their rooms.
const irohURL = "http://" + netlab.Hall + ":3340"

func irohRelay(t *testing.T) *harness.Relay {
	return harness.New(t, harness.Options{Change: func(c *config.Config) {
		c.Listen.HTTPClear = []string{netlab.Hall + ":3340"}
		c.Iroh.URL = irohURL
	}})
}

// irohPeer is a real client of iroh in a room of its own.
type irohPeer struct {
	t    *testing.T
	name string
	key  string // public
	in   io.Writer
	out  *bufio.Reader
}

// newIrohPeer starts a client of iroh 0.35 ("old") or 1.0 ("new").
func newIrohPeer(t *testing.T, room *netlab.Room, generation string, seed int) *irohPeer {
	t.Helper()
	version := map[string]string{"old": "0.35", "new": "1.1"}[generation]
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	dir, err := filepath.Abs("iroh")
	if err != nil {
		t.Fatal(err)
	}
	addon := fmt.Sprintf("%s/node_modules/iroh-%s-%s-%s/iroh.linux-%s-gnu.node", dir, version, runtime.GOOS, arch, arch)
	if _, err := os.Stat(addon); err != nil {
		t.Fatalf("iroh %s is not installed (`make counterparts`), or does not exist for %s: %v", version, arch, err)
	}
	args := []string{"--no-deprecation", dir + "/peer.cjs", addon, generation, strconv.Itoa(seed), irohURL}
	if generation == "new" {
		args = append(args, "a-token")
	}
	cmd := room.Command("node", args...)
	cmd.Env = append(os.Environ(), "RUST_LOG=error")
	cmd.Stderr = os.Stderr
	p := &irohPeer{t: t, name: fmt.Sprintf("%s %d", generation, seed)}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in, p.out = in, bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start node, which is in the Debian package nodejs: %v", err)
	}
	t.Cleanup(func() {
		in.Close()
		stop := time.AfterFunc(3*time.Second, func() { cmd.Process.Kill() })
		defer stop.Stop()
		if err := cmd.Wait(); err != nil && !isExit(err) {
			t.Errorf("%s: %v", p.name, err)
		}
	})
	p.key = p.answer().Ready
	return p
}

func isExit(err error) bool {
	_, ok := err.(*exec.ExitError)
	return ok
}

// irohAnswer is what a client says.
type irohAnswer struct {
	OK      bool
	Error   string
	Ready   string
	Same    bool // what came back is what was sent
	Relayed bool // and it went through the relay
	Path    any
	MS      int
}

func (p *irohPeer) answer() (a irohAnswer) {
	p.t.Helper()
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	if err := json.Unmarshal(line, &a); err != nil || a.Error != "" {
		p.t.Fatalf("%s says %s", p.name, line)
	}
	return a
}

func (p *irohPeer) order(what string, peer *irohPeer, octets int) irohAnswer {
	p.t.Helper()
	fmt.Fprintf(p.in, `{"do":%q,"peer":%q,"bytes":%d}`+"\n", what, peer.key, octets)
	return p.answer()
}

// echo sends octets to another client, which sends them back.
func (p *irohPeer) echo(to *irohPeer, octets int) {
	p.t.Helper()
	a := p.order("echo", to, octets)
	p.t.Logf("%s to %s: %d octets there and back in %d ms by %.60v", p.name, to.name, octets, a.MS, a.Path)
	if !a.Same || !a.Relayed {
		p.t.Errorf("%s to %s: %+v", p.name, to.name, a)
	}
}

// counters reads the relay's.
func irohCounters(t *testing.T, r *harness.Relay) map[string]float64 {
	t.Helper()
	resp, err := http.Get("http://" + r.Addr("metrics") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, m := range regexp.MustCompile(`(?m)^(relayserver_\S+(?: \S+"})?) (\S+)$`).FindAllStringSubmatch(string(text), -1) {
		if v, err := strconv.ParseFloat(m[2], 64); err == nil {
			out[m[1]] = v
		}
	}
	return out
}

// Clients of both generations reach each other through the relay and nothing
// else, also those of one with those of the other, and again after the relay
// was restarted.
func TestInteropIroh(t *testing.T) {
	netlab.Run(t, func(t *testing.T) {
		r := irohRelay(t)
		var peers []*irohPeer
		for i, generation := range []string{"old", "old", "new", "new"} {
			peers = append(peers, newIrohPeer(t, netlab.NewRoom(t, i+1), generation, i+1))
		}
		for _, a := range peers {
			for _, b := range peers {
				if a != b {
					a.order("add", b, 0)
				}
			}
		}
		const octets = 200_000
		all := func() {
			for _, a := range peers {
				for _, b := range peers {
					if a != b {
						a.echo(b, octets)
					}
				}
			}
		}
		all()
		got := irohCounters(t, r)
		if n := got["relayserver_bytes_sent_total"]; n < 2*12*octets {
			t.Errorf("%v octets went through the relay", n)
		}
		for name, least := range map[string]float64{
			`relayserver_logins_total{login="signature",protocol="p3"}`:            2,
			`relayserver_logins_total{login="challenge",protocol="iroh-relay-v2"}`: 2,
			`relayserver_disco_packets_recv_total`:                                 1, // of the old ones
		} {
			if got[name] < least {
				t.Errorf("%s is %v", name, got[name])
			}
		}
		for name, n := range got {
			if n > 0 && (strings.Contains(name, "refused") || strings.Contains(name, "unknown_frames") || strings.Contains(name, "queue")) {
				t.Errorf("%s is %v", name, n)
			}
		}
		r.Restart(t)
		all()

		// A second client with the same key does not fight with the first: it is
		// the one that is reached.
		again := newIrohPeer(t, netlab.NewRoom(t, 5), "old", 1)
		again.order("add", peers[2], 0)
		again.echo(peers[2], octets)
		again = newIrohPeer(t, netlab.NewRoom(t, 6), "new", 4)
		again.echo(peers[2], octets)
		peers[2].echo(again, octets)
		if n := irohCounters(t, r)["relayserver_accepts_total"]; n != 6 {
			t.Errorf("%v logins of six clients", n)
		}
	})
}
