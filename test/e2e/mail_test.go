package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/textproto"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"barid/test/harness"
)

// bodies fetches all messages, in the order of their UIDs.
func bodies(t testing.TB, c *imapclient.Client) (texts []string, uids []imap.UID) {
	t.Helper()
	section := &imap.FetchItemBodySection{Peek: true}
	msgs, err := c.Fetch(imap.UIDSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range msgs {
		texts = append(texts, string(m.FindBodySection(section)))
		uids = append(uids, m.UID)
	}
	return texts, uids
}

// A message arrives at a client that idles, exactly as it was sent, behind a
// Return-Path and nothing else.
func TestAMessageReachesTheIdleClient(t *testing.T) {
	r := harness.New(t, harness.Options{})
	bob, exists := imapLogin(t, r, "bob000001")
	idle, err := bob.Idle()
	if err != nil {
		t.Fatal(err)
	}
	content, _ := message(r.Address("alice0001"), "one")
	if err := send(smtpLogin(t, r, "alice0001"), r.Address("alice0001"), []string{r.Address("bob000001")}, content); err != nil {
		t.Fatal(err)
	}
	select {
	case n := <-exists:
		if n != 1 {
			t.Errorf("%d EXISTS", n)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no EXISTS")
	}
	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	got, _ := bodies(t, bob)
	if want := "Return-Path: <alice0001@relay.test>\r\n" + content; len(got) != 1 || got[0] != want {
		t.Errorf("got %q", got)
	}
}

// Nobody sends under the name of another, and the refusal is that of
// the recipient, where clients look for it.
func TestASenderMustOwnTheReversePath(t *testing.T) {
	r := harness.New(t, harness.Options{})
	c := smtpLogin(t, r, "alice0001")
	if err := c.Mail(r.Address("bob000001")); err != nil {
		t.Fatal(err)
	}
	var reply *textproto.Error
	if err := c.Rcpt(r.Address("bob000001")); !errors.As(err, &reply) || reply.Code != 553 {
		t.Errorf("RCPT: %v", err)
	}
}

// One message for three recipients, one of them gone: the two others get it,
// and the sender learns of the third.
func TestOneLostRecipientSilencesNobody(t *testing.T) {
	r := harness.New(t, harness.Options{})
	alice, _ := imapLogin(t, r, "alice0001")
	bob, _ := imapLogin(t, r, "bob000001")
	carol, _ := imapLogin(t, r, "carol0001")
	to := []string{r.Address("bob000001"), r.Address("nobody001"), r.Address("carol0001")}
	content, id := message(r.Address("alice0001"), "three")
	if err := send(smtpLogin(t, r, "alice0001"), r.Address("alice0001"), to, content); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*imapclient.Client{"bob": bob, "carol": carol} {
		if got, _ := bodies(t, c); len(got) != 1 || !strings.Contains(got[0], id) {
			t.Errorf("%s has %q", name, got)
		}
	}
	got, _ := bodies(t, alice)
	if len(got) != 1 || !strings.Contains(got[0], "MAILER-DAEMON@") || !strings.Contains(got[0], "nobody001@relay.test") ||
		!strings.Contains(got[0], "Action: failed") || !strings.Contains(got[0], id) {
		t.Errorf("alice has %q", got)
	}
}

// When nobody gets the message, the transaction says so and no notification
// follows.
func TestNoGoodRecipientRefusesTheContent(t *testing.T) {
	r := harness.New(t, harness.Options{})
	alice, _ := imapLogin(t, r, "alice0001")
	c := smtpLogin(t, r, "alice0001")
	for to, want := range map[string]int{"nobody001@relay.test": 550, "somebody@example.test": 550} {
		var reply *textproto.Error
		content, _ := message(r.Address("alice0001"), "none")
		err := send(c, r.Address("alice0001"), []string{to}, content)
		if !errors.As(err, &reply) || reply.Code != want || strings.HasPrefix(err.Error(), "RCPT") {
			t.Errorf("%s: %v", to, err)
		}
	}
	if got, _ := bodies(t, alice); len(got) != 0 {
		t.Errorf("alice has %q", got)
	}
}

// What was acknowledged is there after a restart, under the same UIDs, and
// what comes after it has higher ones.
func TestARestartLosesNothing(t *testing.T) {
	r := harness.New(t, harness.Options{})
	imapLogin(t, r, "bob000001")
	var ids []string
	for i := range 5 {
		c := smtpLogin(t, r, "alice0001")
		content, id := message(r.Address("alice0001"), fmt.Sprint("m", i))
		ids = append(ids, id)
		if err := send(c, r.Address("alice0001"), []string{r.Address("bob000001")}, content); err != nil {
			t.Fatal(err)
		}
		r.Restart(t)
	}
	bob, _ := imapLogin(t, r, "bob000001")
	got, uids := bodies(t, bob)
	if len(got) != 5 {
		t.Fatalf("%d messages", len(got))
	}
	for i := range got {
		if uids[i] != imap.UID(i+1) || !strings.Contains(got[i], ids[i]) {
			t.Errorf("message %d has UID %d: %q", i, uids[i], got[i])
		}
	}
}

// A message that is fetched and deleted at once never becomes a file.
func TestAShortLifeLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	r := harness.New(t, harness.Options{DataDir: dir})
	bob, _ := imapLogin(t, r, "bob000001")
	content, _ := message(r.Address("alice0001"), "brief")
	if err := send(smtpLogin(t, r, "alice0001"), r.Address("alice0001"), []string{r.Address("bob000001")}, content); err != nil {
		t.Fatal(err)
	}
	_, uids := bodies(t, bob)
	if err := bob.Store(imap.UIDSetNum(uids...), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if err := bob.UnselectAndExpunge().Wait(); err != nil {
		t.Fatal(err)
	}
	bob.Close()
	r.App().Stop(context.Background())
	for _, sub := range []string{"cur", "new", "tmp"} {
		if files, _ := filepath.Glob(filepath.Join(dir, "mail", "*", "bob000001@relay.test", sub, "*")); len(files) != 0 {
			t.Errorf("%s has %v", sub, files)
		}
	}
}
