package deltachat

import (
	"context"
	"fmt"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// login gives the address and the password with which the account logs in.
func (a *Account) login() (address, password string) {
	a.core.t.Helper()
	var transports []struct {
		Address  string `json:"addr"`
		Password string `json:"password"`
	}
	err := a.core.Call(&transports, "list_transports", a.ID)
	if unknownMethod(err) { // the 1.x series
		return a.Address(), a.Config("mail_pw")
	}
	if err != nil {
		a.core.t.Fatalf("%s: %v", a.Name, err)
	}
	if len(transports) == 0 {
		a.core.t.Fatalf("%s: no transport is configured", a.Name)
	}
	return transports[0].Address, transports[0].Password
}

// stored gives the flags of the messages in the account's INBOX on the relay
// by their Message-IDs without brackets, looking past the core.
func (r Relay) stored(ctx context.Context, a *Account) (map[string][]imap.Flag, error) {
	conn, err := r.DialIMAP(ctx)
	if err != nil {
		return nil, fmt.Errorf("dial IMAP: %w", err)
	}
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	client := imapclient.New(conn, nil)
	defer client.Close()
	if err := client.Login(a.login()).Wait(); err != nil {
		return nil, fmt.Errorf("log in: %w", err)
	}
	data, err := client.Select("INBOX", nil).Wait()
	if err != nil {
		return nil, fmt.Errorf("select: %w", err)
	}
	found := map[string][]imap.Flag{}
	if data.NumMessages > 0 {
		all, err := client.Fetch(imap.SeqSet{{Start: 1}}, &imap.FetchOptions{Envelope: true, Flags: true}).Collect()
		if err != nil {
			return nil, fmt.Errorf("fetch: %w", err)
		}
		for _, m := range all {
			found[m.Envelope.MessageID] = m.Flags
		}
	}
	return found, client.Logout().Wait()
}

// waitStored waits until the account's INBOX on the relay is one that match
// says yes to; what says what that is.
func (r Relay) waitStored(a *Account, what string, match func(map[string][]imap.Flag) bool, timeout time.Duration) {
	t := a.core.t
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	late := time.Now().Add(timeout)
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	var last map[string][]imap.Flag
	for {
		found, err := r.stored(ctx, a)
		switch {
		case err == nil && match(found):
			return
		case err == nil:
			last = found
		case time.Until(late) > time.Second: // the last look may be cut off
			t.Fatalf("%s: look into the mailbox: %v; before it had %d messages: %v", a.Name, err, len(last), last)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("%s: the mailbox is not %s after %v, but has %d messages: %v", a.Name, what, timeout, len(last), last)
		}
	}
}

// waitEmpty waits until the core has taken all mail from the relay.
func (r Relay) waitEmpty(a *Account, timeout time.Duration) {
	a.core.t.Helper()
	r.waitStored(a, "empty", func(found map[string][]imap.Flag) bool { return len(found) == 0 }, timeout)
}
