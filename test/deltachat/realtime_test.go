package deltachat

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"barid/internal/config"
	"barid/test/harness"
	"barid/test/netlab"
)

// webxdc writes an in-chat app that does nothing, and gives its path.
func webxdc(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range map[string]string{"manifest.toml": "name = \"Nothing\"\n", "index.html": "<html></html>\n"} {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(text)) // into memory
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "nothing.xdc")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// player is an account with an app open.
type player struct {
	*Account
	app uint32 // the message it came in
}

// join tells the chat that the app is open here.
func (p player) join() {
	p.core.t.Helper()
	p.core.must(nil, "send_webxdc_realtime_advertisement", p.ID, p.app)
}

// reaches sends data until another one has it; how long that took is given.
func (p player) reaches(to player, data []byte) time.Duration {
	p.core.t.Helper()
	numbers := make([]int, len(data)) // as the core wants octets
	for i, c := range data {
		numbers[i] = int(c)
	}
	arrived := func(e Event) bool {
		var got struct {
			Data []int `json:"data"`
		}
		if e.Message != to.app || json.Unmarshal(e.Raw, &got) != nil || len(got.Data) != len(numbers) {
			return false
		}
		for i := range numbers {
			if got.Data[i] != numbers[i] {
				return false
			}
		}
		return true
	}
	began := time.Now()
	for time.Since(began) < patience {
		p.core.must(nil, "send_webxdc_realtime_data", p.ID, p.app, numbers)
		if _, err := to.waitEvent("WebxdcRealtimeData", arrived, 200*time.Millisecond); err == nil {
			return time.Since(began)
		}
	}
	p.core.t.Fatalf("%s did not reach %s within %v", p.Name, to.Name, patience)
	return 0
}

// relayed tells how many octets the relay has passed on since its start.
func relayed(t *testing.T, r *harness.Relay) (octets float64) {
	t.Helper()
	resp, err := http.Get("http://" + r.Addr("metrics") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "relayserver_bytes_sent_total %g", &octets); err == nil {
			return octets
		}
	}
	t.Fatal("the relay has no such counter")
	return 0
}

// An app that two people have open exchanges its data through the relay, which
// is the only way between them, and again after the relay was restarted.
func TestInteropRealtime(t *testing.T) {
	netlab.Run(t, func(t *testing.T) {
		at := func(port string) []string { return []string{netlab.Hall + ":" + port} }
		r := harness.New(t, harness.Options{SelfSigned: true, Change: func(c *config.Config) {
			talkative(c)
			c.Listen.IMAPS, c.Listen.Submissions, c.Listen.HTTPClear = at("993"), at("465"), at("3340")
			c.Iroh.URL = "http://" + netlab.Hall + ":3340"
		}})
		room := 0
		for _, version := range [][2]string{{"", ""}, {"2.33.0", "2.62.0"}} {
			player := func(name, login, version string) *Account {
				room++
				c := Start(t, Options{Name: login, Program: netlab.NewRoom(t, room).Script(program(t, version))})
				a := c.AddAccount(name)
				a.Configure(r.LoginURI(login))
				return a
			}
			realtime(t, r, player("Alice", "alice000"+string('0'+byte(room)), version[0]), player("Bob", "bob00000"+string('0'+byte(room)), version[1]))
		}
	})
}

func realtime(t *testing.T, r *harness.Relay, a, b *Account) {
	t.Helper()
	mine, theirs := b.Join(a, patience)
	b.WaitState(b.SendText(mine, "Let us play."), StateDelivered, patience)
	a.WaitText("Let us play.", patience)
	alice := player{a, 0}
	a.core.must(&alice.app, "send_msg", a.ID, theirs, map[string]any{"viewtype": "Webxdc", "file": webxdc(t), "text": "An app"})
	bob := player{b, b.WaitText("An app", patience).ID}
	alice.join()
	bob.join()
	t.Logf("from Alice to Bob after %v", alice.reaches(bob, []byte("hello")))
	t.Logf("from Bob to Alice after %v", bob.reaches(alice, []byte("hello yourself")))
	t.Logf("100,000 octets after %v", alice.reaches(bob, bytes.Repeat([]byte("x"), 100_000)))
	if n := relayed(t, r); n < 100_000 {
		t.Errorf("%v octets went through the relay", n)
	}
	r.Restart(t)
	t.Logf("after a restart, from Alice to Bob after %v", alice.reaches(bob, []byte("still there?")))
	t.Logf("and back after %v", bob.reaches(alice, []byte("still here")))
	if n := relayed(t, r); n == 0 {
		t.Errorf("after the restart, nothing went through the relay")
	}
	for _, p := range []player{alice, bob} {
		p.core.must(nil, "leave_webxdc_realtime", p.ID, p.app)
	}
}
