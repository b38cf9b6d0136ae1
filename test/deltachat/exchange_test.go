package deltachat

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"barid/internal/config"
	"barid/test/harness"
)

// talkative lets an account send as fast as the exchange does: its quick texts
// are more than a person may send.
func talkative(cfg *config.Config) {
	cfg.Limits.MaxUserSendBurstSize = 1000
	cfg.Limits.MaxUserSendPerMinute = 6000
}

// under is what Exchange knows of a relay in this process.
func under(t *testing.T, r *harness.Relay, alice, bob string) Relay {
	return Relay{
		Alice: alice, Bob: bob,
		Stop: func() {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := r.App().Stop(ctx); err != nil {
				t.Fatalf("stop the relay: %v", err)
			}
		},
		Start: func() { r.Restart(t) },
		DialIMAP: func(ctx context.Context) (net.Conn, error) {
			d := tls.Dialer{Config: r.TLSConfig()}
			return d.DialContext(ctx, "tcp", r.Addr("imaps"))
		},
	}
}

// Two accounts of one relay talk, over connections in the clear.
func TestExchangeInTheClear(t *testing.T) {
	t.Parallel()
	r := harness.New(t, harness.Options{Change: talkative})
	Exchange(t, under(t, r, r.ClearLoginURI("alice0001"), r.ClearLoginURI("bob000001")))
}

// Two accounts of one relay talk, over TLS with a certificate that the relay
// made itself.
func TestExchangeOverSelfSignedTLS(t *testing.T) {
	t.Parallel()
	r := harness.New(t, harness.Options{Change: talkative, SelfSigned: true})
	Exchange(t, under(t, r, r.LoginURI("alice0001"), r.LoginURI("bob000001")))
}
