package deltachat

import (
	"context"
	"fmt"
	"time"

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

// count looks into the account's INBOX on the relay, past the core, and tells
// how many messages are there.
func (r Relay) count(ctx context.Context, a *Account) (int, error) {
	conn, err := r.DialIMAP(ctx)
	if err != nil {
		return 0, fmt.Errorf("dial IMAP: %w", err)
	}
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	client := imapclient.New(conn, nil)
	defer client.Close()
	if err := client.Login(a.login()).Wait(); err != nil {
		return 0, fmt.Errorf("log in: %w", err)
	}
	data, err := client.Select("INBOX", nil).Wait()
	if err != nil {
		return 0, fmt.Errorf("select: %w", err)
	}
	return int(data.NumMessages), client.Logout().Wait()
}

// waitEmpty waits until the core has taken all mail from the relay.
func (r Relay) waitEmpty(a *Account, timeout time.Duration) {
	t := a.core.t
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	left := -1
	for {
		n, err := r.count(ctx, a)
		switch {
		case err == nil && n == 0:
			return
		case err == nil:
			left = n
		case ctx.Err() == nil:
			t.Fatalf("%s: look into the mailbox: %v", a.Name, err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("%s: %d messages are still in the mailbox after %v", a.Name, left, timeout)
		}
	}
}
