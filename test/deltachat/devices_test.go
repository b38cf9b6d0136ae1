package deltachat

import (
	"slices"
	"testing"

	"github.com/emersion/go-imap/v2"

	"barid/test/harness"
)

// An account on two devices gets and sends on both, and each knows what the
// other did: the relay keeps the mail for both, with what was read.
func TestSecondDevice(t *testing.T) {
	t.Parallel()
	secondDevice(t, "")
}

// It is so with other cores.
func TestInteropSecondDevice(t *testing.T) {
	onlyInterop(t)
	for _, v := range versions() {
		t.Run(v, func(t *testing.T) {
			t.Parallel()
			secondDevice(t, v)
		})
	}
}

func secondDevice(t *testing.T, version string) {
	t.Helper()
	r := harness.New(t, harness.Options{Change: talkative, SelfSigned: true})
	relay := under(t, r, r.LoginURI("alice0001"), r.LoginURI("bob000001"))
	first := Start(t, Options{Name: "first", Version: version}).AddAccount("Alice")
	second := Start(t, Options{Name: "second", Version: version}).AddAccount("Alice, too")
	bob := Start(t, Options{Name: "bob", Version: version}).AddAccount("Bob")
	first.Configure(relay.Alice)
	bob.Configure(relay.Bob)
	toAlice, toBob := bob.Join(first, patience)

	backup := first.Backup()
	second.Restore(backup)
	if v := first.Config("bcc_self"); v != "1" {
		t.Fatalf("the first device does not know of the second: bcc_self %q", v)
	}

	// Mail for both.
	bob.SendText(toAlice, "To both of you.")
	atFirst := first.WaitText("To both of you.", patience)
	atSecond := second.WaitText("To both of you.", patience)
	letter := first.MessageID(atFirst.ID)

	// Mail of the other device.
	own := first.MessageID(first.SendText(toBob, "From the first."))
	bob.WaitText("From the first.", patience)
	second.WaitOwnText("From the first.", patience)
	second.SendText(second.GetMessage(atSecond.ID).Chat, "From the second.")
	bob.WaitText("From the second.", patience)
	first.WaitOwnText("From the second.", patience)

	// What one has read is read on the relay, and on the other.
	second.MarkSeen(atSecond.ID)
	relay.waitStored(first, "one with read mail", func(found map[string][]imap.Flag) bool {
		return slices.Contains(found[letter], imap.FlagSeen) && slices.Contains(found[own], imap.FlagSeen)
	}, patience)
	// Cores before 2.38 learn it from the flags, when they look the next time.
	first.NetworkChanged()
	for first.MessageState(atFirst.ID) != stateSeen {
		first.WaitEvent("MsgsNoticed", nil, patience)
	}

	// A setting.
	first.SetConfig("selfstatus", "By the sea.")
	for second.Config("selfstatus") != "By the sea." {
		second.WaitEvent("ConfigSynced", nil, patience)
	}

	// What one deletes leaves the relay.
	first.Delete(atFirst.ID)
	relay.waitStored(first, "one without the deleted mail", func(found map[string][]imap.Flag) bool {
		_, there := found[letter]
		_, others := found[own]
		return !there && others
	}, patience)
}
