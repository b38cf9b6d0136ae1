package deltachat

import (
	"slices"
	"testing"
	"time"

	"barid/internal/admin"
	"barid/internal/config"
	"barid/test/harness"
)

// compressing offers COMPRESS where cores look for it.
func compressing(cfg *config.Config) {
	talkative(cfg)
	cfg.IMAP.Compress = true
	cfg.IMAP.LoginCapabilities = append(cfg.IMAP.LoginCapabilities, "COMPRESS=DEFLATE")
}

// Cores that are told of COMPRESS use it, and get everything.
func TestCoresCompress(t *testing.T) {
	t.Parallel()
	r := harness.New(t, harness.Options{Change: compressing, SelfSigned: true})
	x := newExchange(t, under(t, r, r.LoginURI("alice0001"), r.LoginURI("bob000001")), "", "")
	x.run([]step{
		{"log in", x.logIn},
		{"securejoin", x.join},
		{"texts both ways", x.texts},
		{"sessions that compress", func() {
			for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
				limits := r.App().Status().Limits
				i := slices.IndexFunc(limits, func(l admin.Limit) bool { return l.Name == "imap_compressed_sessions" })
				if i >= 0 && limits[i].Use >= 2 {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("of two cores too few compress: %+v", limits)
				}
			}
		}},
		{"a group", x.group},
		{"a picture", x.picture},
		{"everything once", x.once},
		{"empty mailboxes", x.empty},
	})
}
