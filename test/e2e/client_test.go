package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"

	"barid/test/harness"
	"barid/test/letter"
)

// imapFor connects without login. New messages are announced on the channel.
func imapFor(t testing.TB, r *harness.Relay) (*imapclient.Client, <-chan uint32) {
	t.Helper()
	exists := make(chan uint32, 100)
	c := imapclient.New(r.Dial(t, "imaps"), &imapclient.Options{
		UnilateralDataHandler: &imapclient.UnilateralDataHandler{
			Mailbox: func(d *imapclient.UnilateralDataMailbox) {
				if d.NumMessages != nil {
					exists <- *d.NumMessages
				}
			},
		},
	})
	t.Cleanup(func() { c.Close() })
	return c, exists
}

// imapLogin gives a session of the account with INBOX selected.
func imapLogin(t testing.TB, r *harness.Relay, name string) (*imapclient.Client, <-chan uint32) {
	t.Helper()
	c, exists := imapFor(t, r)
	if err := c.Login(r.Address(name), harness.PasswordOf(name).Wire()).Wait(); err != nil {
		t.Fatalf("log in %s: %v", name, err)
	}
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatalf("select for %s: %v", name, err)
	}
	return c, exists
}

// smtpFor connects without login.
func smtpFor(t testing.TB, r *harness.Relay) *smtp.Client {
	t.Helper()
	conn := r.Dial(t, "submissions")
	conn.SetDeadline(time.Now().Add(60 * time.Second))
	c, err := smtp.NewClient(conn, "127.0.0.1")
	if err != nil {
		t.Fatalf("greet: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// smtpAuth logs in.
func smtpAuth(c *smtp.Client, address, password string) error {
	return c.Auth(smtp.PlainAuth("", address, password, "127.0.0.1"))
}

// smtpLogin gives a session of the account.
func smtpLogin(t testing.TB, r *harness.Relay, name string) *smtp.Client {
	t.Helper()
	c := smtpFor(t, r)
	if err := smtpAuth(c, r.Address(name), harness.PasswordOf(name).Wire()); err != nil {
		t.Fatalf("authenticate %s: %v", name, err)
	}
	return c
}

// message is an encrypted message, and its Message-ID.
func message(from, prefix string) (content, id string) {
	id, octets := letter.New(prefix, from, letter.Size).Next()
	return string(octets), "<" + id + ">"
}

// send does one transaction.
func send(c *smtp.Client, from string, to []string, content string) error {
	if err := c.Mail(from); err != nil {
		return fmt.Errorf("MAIL: %w", err)
	}
	for _, r := range to {
		if err := c.Rcpt(r); err != nil {
			return fmt.Errorf("RCPT: %w", err)
		}
	}
	w, err := c.Data()
	if err != nil {
		return fmt.Errorf("DATA: %w", err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		return err
	}
	return w.Close()
}

// dialALPN asks port 443 for a protocol.
func dialALPN(t testing.TB, r *harness.Relay, protocol string) net.Conn {
	t.Helper()
	cfg := r.TLSConfig()
	cfg.NextProtos = []string{protocol}
	conn, err := tls.Dial("tcp", r.Addr("https"), cfg)
	if err != nil {
		t.Fatalf("443 with %s: %v", protocol, err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
