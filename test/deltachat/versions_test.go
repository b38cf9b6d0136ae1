package deltachat

import (
	"os"
	"strings"
	"testing"

	"barid/test/harness"
)

// versions gives the cores that are tried beside the one of every day: those
// that people still use, and the newest.
func versions() []string { return []string{"1.142.12", "2.33.0", "2.48.0", "2.62.0"} }

// Two cores of one version talk, old or new.
func TestInteropVersions(t *testing.T) {
	for _, v := range versions() {
		t.Run(v, func(t *testing.T) {
			t.Parallel()
			between(t, v, v)
		})
	}
}

// An old core and a new one talk. 1.142 cannot read what any of the others
// answers in the handshake, so it talks with its own kind only; 2.33 shows the
// picture of a newer one as two messages, so it is the one that sends it.
func TestInteropOldWithNew(t *testing.T) {
	for _, pair := range [][2]string{{"2.33.0", "2.62.0"}, {"2.62.0", "2.48.0"}} {
		t.Run(pair[0]+" invites "+pair[1], func(t *testing.T) {
			t.Parallel()
			between(t, pair[0], pair[1])
		})
	}
}

// between runs the exchange of two versions over TLS.
func between(t *testing.T, alice, bob string) {
	t.Helper()
	onlyInterop(t)
	r := harness.New(t, harness.Options{Change: talkative, SelfSigned: true})
	ExchangeBetween(t, under(t, r, r.LoginURI("alice0001"), r.LoginURI("bob000001")), alice, bob)
}

// The versions are those they say they are.
func TestInteropVersionsAreWhatTheySay(t *testing.T) {
	onlyInterop(t)
	for _, v := range versions() {
		if got := Start(t, Options{Name: v, Version: v}).SystemInfo()["deltachat_core_version"]; strings.TrimPrefix(got, "v") != v {
			t.Errorf("core %q calls itself %q", v, got)
		}
	}
}

// onlyInterop skips a test that takes long, or needs more than Go and npm.
func onlyInterop(t *testing.T) {
	t.Helper()
	if os.Getenv("BARID_INTEROP") == "" {
		t.Skip("takes long: `make interop` runs it")
	}
}
