package deltachat

import (
	"strings"
	"testing"

	"barid/test/harness"
)

// two gives two configured accounts on one relay.
func two(t *testing.T) (alice, bob *Account) {
	r := harness.New(t, harness.Options{SelfSigned: true, Change: talkative})
	alice = Start(t, Options{Name: "alice"}).AddAccount("Alice")
	bob = Start(t, Options{Name: "bob"}).AddAccount("Bob")
	alice.Configure(r.LoginURI("alice0001"))
	bob.Configure(r.LoginURI("bob000001"))
	return alice, bob
}

// Invites of old cores have no "v=3"; then the handshake begins with a request
// in the clear, which the encryption rule lets pass.
func TestSecurejoinBeginsInTheClear(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	qr := alice.SecureJoinQR()
	old := strings.Replace(qr, "&v=3", "", 1)
	if old == qr {
		t.Fatalf("the invite has no v=3: %s", qr)
	}
	chat, _ := bob.JoinBy(alice, old, patience)
	bob.WaitState(bob.SendText(chat, "Met in the old way."), StateDelivered, patience)
	if m := alice.WaitText("Met in the old way.", patience); !m.Encrypted {
		t.Error("the text came unencrypted")
	}
}

// A text in the clear is refused, and the core tells its user why.
func TestTextInTheClearIsRefused(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.SetConfig("force_encryption", "0")
	chat := alice.ChatWith(alice.CreateContact(bob.Address()))
	id := alice.SendText(chat, "In the clear.")
	alice.WaitEvent("MsgFailed", func(e Event) bool { return e.Message == id }, patience)
	m := alice.GetMessage(id)
	if m.State != StateFailed || !strings.Contains(m.ErrorText, "Invalid Unencrypted Mail") {
		t.Errorf("state %d, error %q", m.State, m.ErrorText)
	}
}
