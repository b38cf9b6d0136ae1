package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"barid/internal/admin"
	"barid/internal/config"
	"barid/smtp/queue"
	"barid/test/blackhole"
	"barid/test/harness"
)

// A domain of which nothing is heard takes some attempts and no more, however
// much mail waits for it: who shares a message with it, and who is written to
// beside it, notice nothing. "make bench" measures how little.
func TestADeadDomainDelaysNoOther(t *testing.T) {
	f := harness.NewFederation(t)
	var data string
	a := f.Relay("a.test", func(c *config.Config) {
		data = c.DataDir
		c.Limits.MaxUserSendBurstSize, c.Limits.MaxUserSendPerMinute = 1000, 6000
		c.Federation.MaxAttempts = 10
	})
	b := f.Relay("b.test", nil)
	for _, port := range []int{f.Port.SMTP, f.Port.HTTPS} {
		h, err := blackhole.Open(netip.MustParseAddrPort(net.JoinHostPort(f.Announce("hole.test"), fmt.Sprint(port))))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Close)
	}
	bob, exists := imapLogin(t, b, "bob000001")
	sender := smtpLogin(t, a, "alice0001")
	const dead, alive = 200, 20
	for range dead {
		content, _ := message(a.Address("alice0001"), "nobody hears")
		if err := send(sender, a.Address("alice0001"), []string{"nobody001@hole.test"}, content); err != nil {
			t.Fatal(err)
		}
	}
	for i := range alive {
		began := time.Now()
		content, _ := message(a.Address("alice0001"), "both")
		if err := send(sender, a.Address("alice0001"), []string{"nobody001@hole.test", b.Address("bob000001")}, content); err != nil {
			t.Fatal(err)
		}
		arrival(t, bob, exists, uint32(i+1))
		// A connection to the hole takes ten seconds to fail.
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("message %d took %v", i, took)
		}
	}
	// What was sent is noted a moment after it has arrived.
	var there, hole queue.Peer
	for end := time.Now().Add(20 * time.Second); there.Sent != alive; time.Sleep(10 * time.Millisecond) {
		var peers []queue.Peer
		if err := admin.Dial(data).Ask(t.Context(), "/peers", nil, &peers); err != nil {
			t.Fatal(err)
		}
		for _, p := range peers {
			switch p.Name {
			case "b.test":
				there = p
			case "hole.test":
				hole = p
			}
		}
		if time.Now().After(end) {
			t.Fatalf("%+v", peers)
		}
	}
	if there.Waiting != 0 || there.Breaker != "closed" {
		t.Errorf("%+v", there)
	}
	if hole.Waiting+hole.InFlight != dead+alive || hole.InFlight > 2 || hole.Sent != 0 {
		t.Errorf("%+v", hole)
	}
	// What stops in the middle of an attempt stops at once.
	began := time.Now()
	if err := a.App().Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("stopped after %v", took)
	}
}
