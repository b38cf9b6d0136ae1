package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"

	"barid/internal/admin"
	"barid/internal/app"
	"barid/internal/config"
	"barid/smtp/queue"
	"barid/storage"
	"barid/test/harness"
)

// arrival waits for a mailbox to have so many messages and gives them.
func arrival(t *testing.T, c *imapclient.Client, exists <-chan uint32, want uint32) []string {
	t.Helper()
	idle, err := c.Idle()
	if err != nil {
		t.Fatal(err)
	}
	end := time.After(20 * time.Second)
	// What came before the mailbox was selected, no line tells.
	for n := c.Mailbox().NumMessages; n < want; {
		select {
		case n = <-exists:
		case <-end:
			t.Fatalf("never %d messages", want)
		}
	}
	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	got, _ := bodies(t, c)
	return got
}

// Mail goes from relay to relay by each channel: signed on its way, verified,
// without a trace of its author's client at the end.
func TestMailGoesToAnotherRelay(t *testing.T) {
	for what, change := range map[string]func(*config.Config){
		"whichever is first": func(*config.Config) {},
		"SMTP":               func(c *config.Config) { c.Listen.HTTPS = nil },
		"HTTPS":              func(c *config.Config) { c.Listen.SMTP = nil },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := harness.NewFederation(t)
			a := f.Relay("a.test", nil)
			b := f.Relay("b.test", change)
			bob, exists := imapLogin(t, b, "bob000001")
			content, _ := message(a.Address("alice0001"), "one")
			to := []string{b.Address("bob000001"), a.Address("carol0001")}
			carol, atCarol := imapLogin(t, a, "carol0001")
			if err := send(smtpLogin(t, a, "alice0001"), a.Address("alice0001"), to, content); err != nil {
				t.Fatal(err)
			}
			got := arrival(t, bob, exists, 1)
			if len(got) != 1 || !strings.HasPrefix(got[0], "Return-Path: <alice0001@a.test>\r\n") || !strings.HasSuffix(got[0], content[strings.Index(content, "\r\n\r\n"):]) {
				t.Errorf("got %q", got)
			}
			for _, trace := range []string{"DKIM-Signature", "Authentication-Results", "Received:", "127."} {
				if strings.Contains(got[0], trace) {
					t.Errorf("the copy has %q:\n%s", trace, got[0])
				}
			}
			if here := arrival(t, carol, atCarol, 1); len(here) != 1 {
				t.Errorf("here: %q", here)
			}
		})
	}
}

// A domain that begins with "_" has no public certificate and needs none.
func TestMailGoesToAndFromAnUnderscoreDomain(t *testing.T) {
	f := harness.NewFederation(t)
	a := f.Relay("a.test", nil)
	lab := f.Relay("_lab.test", nil)
	alice, atAlice := imapLogin(t, a, "alice0001")
	bob, atBob := imapLogin(t, lab, "bob000001")
	there, _ := message(a.Address("alice0001"), "there")
	if err := send(smtpLogin(t, a, "alice0001"), a.Address("alice0001"), []string{lab.Address("bob000001")}, there); err != nil {
		t.Fatal(err)
	}
	arrival(t, bob, atBob, 1)
	back, _ := message(lab.Address("bob000001"), "back")
	if err := send(smtpLogin(t, lab, "bob000001"), lab.Address("bob000001"), []string{a.Address("alice0001")}, back); err != nil {
		t.Fatal(err)
	}
	arrival(t, alice, atAlice, 1)
}

// The author hears of an account that does not exist elsewhere, by a signed
// notification when the other relay found out later.
func TestAnUnknownAccountElsewhereComesBack(t *testing.T) {
	f := harness.NewFederation(t)
	a, b := f.Relay("a.test", nil), f.Relay("b.test", nil)
	alice, exists := imapLogin(t, a, "alice0001")
	imapLogin(t, b, "bob000001")
	from := a.Address("alice0001")
	content, _ := message(from, "one")
	if err := send(smtpLogin(t, a, "alice0001"), from, []string{"missing01@b.test"}, content); err != nil {
		t.Fatal(err)
	}
	got := arrival(t, alice, exists, 1)
	if !strings.Contains(got[0], "missing01") || !strings.Contains(got[0], "From: Mail Delivery System <MAILER-DAEMON@a.test>") || !strings.Contains(got[0], "Action: failed") {
		t.Errorf("got %q", got[0])
	}
	// Some good, some not: the other relay takes it and reports.
	content, _ = message(from, "two")
	if err := send(smtpLogin(t, a, "alice0001"), from, []string{"missing02@b.test", "bob000001@b.test"}, content); err != nil {
		t.Fatal(err)
	}
	got = arrival(t, alice, exists, 2)
	if !strings.Contains(got[1], "missing02") || !strings.Contains(got[1], "From: Mail Delivery System <MAILER-DAEMON@b.test>") {
		t.Errorf("got %q", got[1])
	}
}

// Mail waits for a relay that is away, over a restart of ours.
func TestMailWaitsForARelayThatIsAway(t *testing.T) {
	f := harness.NewFederation(t)
	a := f.Relay("a.test", nil)
	later := f.Relay("later.test", nil)
	early, _ := imapLogin(t, later, "bob000001")
	early.Close() // or the relay waits for it
	if err := later.App().Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	content, _ := message(a.Address("alice0001"), "one")
	if err := send(smtpLogin(t, a, "alice0001"), a.Address("alice0001"), []string{"nobody@nowhere.test"}, content); err != nil {
		t.Fatal(err)
	}
	alice, exists := imapLogin(t, a, "alice0001")
	if got := arrival(t, alice, exists, 1); !strings.Contains(got[0], "does not exist") {
		t.Errorf("got %q", got[0])
	}
	for range 3 {
		if err := send(smtpLogin(t, a, "alice0001"), a.Address("alice0001"), []string{"bob000001@later.test"}, content); err != nil {
			t.Fatal(err)
		}
	}
	a.Restart(t)
	later.Restart(t)
	bob, atBob := imapLogin(t, later, "bob000001")
	if got := arrival(t, bob, atBob, 3); len(got) != 3 {
		t.Errorf("%d messages", len(got))
	}
}

// Mail that would come back to its own relay is refused at once, however it is
// addressed.
func TestMailDoesNotGoInCircles(t *testing.T) {
	f := harness.NewFederation(t)
	a := f.Relay("a.test", nil)
	addr := f.Announce("a.test")
	f.DNS.Add(t, "byname.test. 60 IN MX 10 a.test.", "byaddress.test. 60 IN A "+addr)
	alice, exists := imapLogin(t, a, "alice0001")
	sender := smtpLogin(t, a, "alice0001")
	for i, domain := range []string{"byname.test", "byaddress.test", "[" + addr + "]"} {
		content, _ := message(a.Address("alice0001"), domain)
		if err := send(sender, a.Address("alice0001"), []string{"bob000001@" + domain}, content); err != nil {
			t.Fatal(err)
		}
		got := arrival(t, alice, exists, uint32(i+1))
		if !strings.Contains(got[i], "Status: 5.4.6") || !strings.Contains(got[i], "would come back to this relay") {
			t.Errorf("%s: %s", domain, got[i])
		}
	}
}

// An operator sees what waits and why, holds it, lets it go, and ends it; what
// he holds stays so over a restart.
func TestAnOperatorLooksAfterTheQueue(t *testing.T) {
	f := harness.NewFederation(t)
	var data string
	a := f.Relay("a.test", func(c *config.Config) {
		data = c.DataDir
		c.Federation.FirstRetry = config.Duration(time.Hour) // only he makes things happen
	})
	later := f.Relay("later.test", nil)
	early, _ := imapLogin(t, later, "bob000001")
	early.Close() // or the relay waits for it
	if err := later.App().Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	alice, atAlice := imapLogin(t, a, "alice0001")
	sender := smtpLogin(t, a, "alice0001")
	for range 3 {
		content, _ := message(a.Address("alice0001"), "one")
		if err := send(sender, a.Address("alice0001"), []string{"bob000001@later.test"}, content); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(verb string, question, answer any) {
		t.Helper()
		if err := admin.Dial(data).Ask(t.Context(), verb, question, answer); err != nil {
			t.Fatalf("%s: %v", verb, err)
		}
	}
	ids := func(id ...storage.QueueID) app.QueueWhich { return app.QueueWhich{Which: queue.Which{IDs: id}} }
	all := app.QueueWhich{Which: queue.Which{All: true}}
	var list app.QueueList
	rows := func() []queue.Row { ask("/queue/list", all, &list); return list.Rows }
	for end := time.Now().Add(20 * time.Second); len(rows()) != 3 || list.Summary.Broken != 1; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v", list)
		}
	}
	first, second, third := list.Rows[0].ID, list.Rows[1].ID, list.Rows[2].ID
	var about app.QueueAbout
	ask("/queue/show", ids(second), &about)
	if about.From != "<alice0001@a.test>" || len(about.To) != 1 || about.To[0] != "bob000001@later.test" || !strings.Contains(about.Text, "later.test could not be reached") {
		t.Errorf("show: %+v", about)
	}
	var n app.QueueCount
	ask("/queue/hold", ids(first), &n)
	discard := ids(second)
	discard.Tell = true
	ask("/queue/discard", discard, &n)
	if got := arrival(t, alice, atAlice, 1); !strings.Contains(got[0], "Discarded by the operator") {
		t.Errorf("alice reads %s", got[0])
	}
	var peers []queue.Peer
	ask("/peers", nil, &peers)
	if len(peers) != 1 || peers[0].Name != "later.test" || peers[0].Breaker != "open" || peers[0].Waiting != 2 || peers[0].LastError == "" {
		t.Errorf("peers: %+v", peers)
	}
	a.Restart(t)
	later.Restart(t)
	bob, atBob := imapLogin(t, later, "bob000001")
	ask("/queue/retry", ids(third), &n)
	arrival(t, bob, atBob, 1)
	for end := time.Now().Add(20 * time.Second); len(rows()) != 1; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v", list)
		}
	}
	if r := list.Rows[0]; r.ID != first || r.State != "held" {
		t.Errorf("after the restart: %+v", r)
	}
	ask("/queue/release", all, &n)
	arrival(t, bob, atBob, 2)
	if s := a.App().Status(); s.Queue == nil || s.Queue.Most != 250000 {
		t.Errorf("status: %+v", s.Queue)
	}
}
