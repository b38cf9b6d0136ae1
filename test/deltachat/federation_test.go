package deltachat

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"barid/internal/admin"
	"barid/internal/app"
	"barid/internal/config"
	"barid/test/harness"
)

// bounceTime is how long mail to nobody at another relay may take to come back.
const bounceTime = 30 * time.Second

// Two people of two relays talk, by whichever way their relays find.
func TestCoresOfTwoRelays(t *testing.T) {
	t.Parallel()
	acrossRelays(t, func(*config.Config) {})
}

// They talk as well where the relays have one way only: port 25, or HTTPS as
// on machines whose provider blocks port 25.
func TestInteropCoresOfTwoRelaysByOneWay(t *testing.T) {
	if os.Getenv("BARID_INTEROP") == "" {
		t.Skip("takes minutes beside the test with both ways: `make interop` runs it")
	}
	for way, change := range map[string]func(*config.Config){
		"SMTP": func(c *config.Config) { c.Listen.HTTPS = nil },
		"HTTPS": func(c *config.Config) {
			c.Listen.SMTP = nil
			c.Federation.Outgoing = config.OutgoingHTTPS
		},
	} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			acrossRelays(t, change)
		})
	}
}

// crossing is an exchange whose two persons are at different relays.
type crossing struct {
	*exchange
	there   *harness.Relay // Bob's
	atBob   Relay
	bobData string // the data directory of Bob's relay
}

// acrossRelays runs the exchange between two relays, and then what happens between relays alone.
func acrossRelays(t *testing.T, change func(*config.Config)) {
	t.Helper()
	f := harness.NewFederation(t)
	f.Announce("b.test")
	var data string
	shape := func(c *config.Config) {
		talkative(c)
		change(c)
		data = c.DataDir
	}
	here := f.Relay("a.test", shape)
	there := f.Relay("b.test", shape)
	atAlice, atBob := under(t, here, here.LoginURI("alice0001"), there.LoginURI("bob000001")), under(t, there, "", "")
	x := &crossing{exchange: newExchange(t, atAlice, "", ""), there: there, atBob: atBob, bobData: data}
	x.run([]step{
		{"log in", x.logIn},
		{"securejoin", x.join},
		{"texts both ways", x.texts},
		{"a group", x.group},
		{"a picture", x.picture},
		{"a read receipt", x.receipt},
		{"relays away", x.away},
		{"everything once", x.once},
		{"no errors", x.noErrors},
		{"empty mailboxes", func() {
			x.relay.waitEmpty(x.alice.Account, patience)
			x.atBob.waitEmpty(x.bob.Account, patience)
		}},
		{"mail to nobody", x.nobody},
	})
}

// away sends while Bob's relay is not there: Alice's takes the texts at once
// and keeps them, over a restart of its own.
//
// Both cores are done with their mailboxes before: a core whose relay leaves
// between a STORE and its answer takes that for success, and leaves the
// message there. They are offline meanwhile, or they would wait for half a
// minute after some logins in a row.
func (x *crossing) away() {
	x.relay.waitEmpty(x.alice.Account, patience)
	x.atBob.waitEmpty(x.bob.Account, patience)
	x.bob.StopIO()
	x.atBob.Stop()
	var texts []string
	for i := range 10 {
		texts = append(texts, fmt.Sprintf("Your relay is away, %d.", i))
		x.alice.WaitState(x.alice.say(texts[i]), StateDelivered, patience)
	}
	x.alice.StopIO()
	x.relay.Stop()
	x.relay.Start()
	x.alice.StartIO()
	x.atBob.Start()
	x.bob.StartIO()
	for _, text := range texts {
		x.bob.WaitText(text, patience)
	}
	x.bob.say("It is back.")
	x.alice.WaitText("It is back.", patience)
}

// noErrors looks for anything that the relays refused: a receipt that does not
// pass marks the message that it is about.
func (x *crossing) noErrors() {
	for _, p := range []*person{&x.alice, &x.bob} {
		for _, chat := range []uint32{p.chat, p.group} {
			for _, m := range p.Messages(chat) {
				if m.ErrorText != "" || m.State == StateFailed {
					x.t.Errorf("%s: message %d has state %d and the error %q", p.Name, m.ID, m.State, m.ErrorText)
				}
			}
		}
	}
}

// nobody lets Alice write to Carol, whose account at Bob's relay is gone. Her
// own relay has taken the mail, so she hears of it by mail, and goes on.
func (x *crossing) nobody() {
	carol := Start(x.t, Options{Name: "carol"}).AddAccount("Carol")
	carol.Configure(x.there.LoginURI("carol0001"))
	_, chat := carol.Join(x.alice.Account, patience)
	address := carol.Address()
	carol.StopIO()
	ctx, cancel := context.WithTimeout(x.t.Context(), 10*time.Second)
	defer cancel()
	if err := admin.Dial(x.bobData).Ask(ctx, "/accounts/delete", app.AccountName{Address: address}, &app.AccountRow{}); err != nil {
		x.t.Fatal(err)
	}
	// Her core takes mail from the relay as soon as it comes; so it looks away
	// while the notification does.
	x.bob.StopIO()
	x.atBob.Stop()
	x.alice.WaitState(x.alice.SendText(chat, "Are you there?"), StateDelivered, patience)
	x.alice.StopIO()
	x.atBob.Start()
	name, _, _ := strings.Cut(address, "@")
	took := x.relay.waitNotification(x.alice.Account, name)
	x.t.Logf("the notification came after %v", took)
	x.alice.StartIO()
	x.relay.waitEmpty(x.alice.Account, patience)
	x.alice.SendText(x.alice.chat, "Carol is gone.")
	x.bob.StartIO()
	x.bob.WaitText("Carol is gone.", patience)
}

// waitNotification waits until the account's INBOX has a report about a
// recipient of that name.
func (r Relay) waitNotification(a *Account, name string) time.Duration {
	t := a.core.t
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), bounceTime)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		all, err := r.contents(ctx, a)
		if err != nil && ctx.Err() == nil {
			t.Fatalf("%s: look into the mailbox: %v", a.Name, err)
		}
		for _, content := range all {
			head, _, _ := strings.Cut(content, "\r\n\r\n")
			head = strings.ToLower(head)
			if strings.Contains(content, name) && (strings.Contains(head, "undelivered") || strings.Contains(head, "mail delivery")) {
				return time.Since(began)
			}
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("%s: no notification about %s within %v", a.Name, name, bounceTime)
		}
	}
}

// contents reads the account's INBOX past the core.
func (r Relay) contents(ctx context.Context, a *Account) ([]string, error) {
	conn, err := r.DialIMAP(ctx)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	client := imapclient.New(conn, nil)
	defer client.Close()
	if err := client.Login(a.login()).Wait(); err != nil {
		return nil, err
	}
	data, err := client.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil || data.NumMessages == 0 {
		return nil, err
	}
	section := &imap.FetchItemBodySection{Peek: true}
	messages, err := client.Fetch(imap.SeqSet{{Start: 1}}, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	var all []string
	for _, m := range messages {
		all = append(all, string(m.FindBodySection(section)))
	}
	return all, err
}
