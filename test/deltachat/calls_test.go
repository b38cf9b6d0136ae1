package deltachat

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"barid/internal/config"
	"barid/test/harness"
	"barid/turn"
)

// What the core tells WebRTC of the relay is enough to make a call.
func TestCoreFindsTheRelayForCalls(t *testing.T) {
	t.Parallel()
	r := harness.New(t, harness.Options{SelfSigned: true, Change: func(c *config.Config) {
		talkative(c)
		c.TURN.Announce = "127.0.0.1" // no resolver of the core's knows the relay's name
	}})
	relay := under(t, r, r.LoginURI("alice0001"), r.LoginURI("bob000001"))
	alice := Start(t, Options{Name: "alice"}).AddAccount("Alice")
	alice.Configure(relay.Alice)
	type server struct {
		URLs       []string `json:"urls"`
		Username   string   `json:"username"`
		Credential string   `json:"credential"`
	}
	var servers []server
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) { // the core asks once it is connected, until then it has public ones
		var text string
		alice.core.must(&text, "ice_servers", alice.ID)
		if err := json.Unmarshal([]byte(text), &servers); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if len(servers) == 1 && strings.HasPrefix(servers[0].URLs[0], "turn:127.0.0.1:") {
			break
		}
		if time.Since(began) > patience {
			t.Fatalf("the core has %s", text)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c := turn.Credentials{Username: servers[0].Username, Password: servers[0].Credential}
	if err := turn.Probe(ctx, "udp", strings.TrimPrefix(servers[0].URLs[0], "turn:"), c); err != nil {
		t.Error(err)
	}
}
