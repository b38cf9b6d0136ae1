package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// answerTime bounds the wait for any answer.
const answerTime = 60 * time.Second

// account is a name and a password that the default rules take.
type account struct{ address, password string }

// person gives the account of a number: nine characters before the "@", and a
// password of 22 as the core makes them.
func person(kind byte, n int) account {
	name := fmt.Sprintf("%c%08d", kind, n)
	return account{name + "@" + domain, name + "abcdefghijklm"}
}

// coreHello offers what the Delta Chat core offers: TLS 1.3 with X25519 and no
// resumption.
func coreHello() *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true, // the relay made its certificate itself
		MinVersion:         tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519},
		SessionTicketsDisabled: true,
	}
}

// quantumHello offers the hybrid key exchange first, as Go does.
func quantumHello() *tls.Config {
	cfg := coreHello()
	cfg.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768, tls.X25519}
	return cfg
}

func dial(ctx context.Context, addr string, cfg *tls.Config) (*tls.Conn, error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, cfg)
	c.SetDeadline(time.Now().Add(answerTime))
	if err := c.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return c, nil
}

// smtpClient is one submission connection, logged in. It sends as the core
// does: the envelope in one flight, then the content.
type smtpClient struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
	from string
}

func dialSMTP(ctx context.Context, addr string, a account) (*smtpClient, error) {
	conn, err := dial(ctx, addr, coreHello())
	if err != nil {
		return nil, fmt.Errorf("submission: %w", err)
	}
	c := &smtpClient{conn: conn, in: bufio.NewReader(conn), from: a.address}
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + a.address + "\x00" + a.password))
	for _, step := range []struct {
		line string
		code int
	}{{"", 220}, {"EHLO [127.0.0.1]\r\n", 250}, {"AUTH PLAIN " + plain + "\r\n", 235}} {
		if _, err := io.WriteString(conn, step.line); err != nil {
			conn.Close()
			return nil, fmt.Errorf("submission: %w", err)
		}
		if err := c.expect(step.code); err != nil {
			conn.Close()
			return nil, fmt.Errorf("submission: %w", err)
		}
	}
	return c, nil
}

// expect reads one reply and wants that code.
func (c *smtpClient) expect(code int) error {
	c.conn.SetDeadline(time.Now().Add(answerTime))
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return fmt.Errorf("wait for %d: %w", code, err)
		}
		if len(line) < 4 || line[:3] != strconv.Itoa(code) {
			return fmt.Errorf("%s instead of %d", strings.TrimSpace(line), code)
		}
		if line[3] != '-' {
			return nil
		}
	}
}

// send hands one message over and returns when it is acknowledged. started,
// when not nil, is called just before the first octet.
func (c *smtpClient) send(to []string, content []byte, started func()) error {
	c.out = fmt.Appendf(c.out[:0], "MAIL FROM:<%s> BODY=8BITMIME\r\n", c.from)
	for _, r := range to {
		c.out = fmt.Appendf(c.out, "RCPT TO:<%s>\r\n", r)
	}
	c.out = append(c.out, "DATA\r\n"...)
	if started != nil {
		started()
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return err
	}
	for range 1 + len(to) {
		if err := c.expect(250); err != nil {
			return err
		}
	}
	if err := c.expect(354); err != nil {
		return err
	}
	c.out = append(append(c.out[:0], content...), ".\r\n"...)
	if _, err := c.conn.Write(c.out); err != nil {
		return err
	}
	return c.expect(250)
}

func (c *smtpClient) Close() { c.conn.Close() }

// imapClient is one IMAP connection, logged in.
type imapClient struct {
	conn net.Conn
	in   *bufio.Reader
	tag  int
}

// dialIMAP connects and logs in, with small buffers: there will be thousands.
func dialIMAP(ctx context.Context, addr string, a account, hello *tls.Config) (*imapClient, error) {
	conn, err := dial(ctx, addr, hello)
	if err != nil {
		return nil, fmt.Errorf("IMAP: %w", err)
	}
	c := &imapClient{conn: conn, in: bufio.NewReaderSize(conn, 512)}
	if _, err := c.line(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("IMAP: greeting: %w", err)
	}
	if _, err := c.do(fmt.Sprintf("LOGIN %q %q", a.address, a.password)); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// line reads one line, literals in it included, without the last CRLF.
func (c *imapClient) line() (string, error) {
	c.conn.SetDeadline(time.Now().Add(answerTime))
	return readIMAPLine(c.in)
}

func readIMAPLine(in *bufio.Reader) (string, error) {
	var all strings.Builder
	for {
		part, err := in.ReadString('\n')
		if err != nil {
			return "", err
		}
		part = strings.TrimRight(part, "\r\n")
		all.WriteString(part)
		open := strings.LastIndexByte(part, '{')
		if open < 0 || !strings.HasSuffix(part, "}") {
			return all.String(), nil
		}
		n, err := strconv.Atoi(part[open+1 : len(part)-1])
		if err != nil || n < 0 || n > 64<<20 {
			return all.String(), nil
		}
		if _, err := io.CopyN(&all, in, int64(n)); err != nil {
			return "", err
		}
	}
}

// do sends a command and gives the untagged answers to it; any tagged answer
// but OK is an error.
func (c *imapClient) do(command string) ([]string, error) {
	c.tag++
	tag := "A" + strconv.Itoa(c.tag)
	name, _, _ := strings.Cut(command, " ")
	if _, err := io.WriteString(c.conn, tag+" "+command+"\r\n"); err != nil {
		return nil, fmt.Errorf("IMAP: %s: %w", name, err)
	}
	var untagged []string
	for {
		line, err := c.line()
		if err != nil {
			return nil, fmt.Errorf("IMAP: %s: %w", name, err)
		}
		rest, tagged := strings.CutPrefix(line, tag+" ")
		switch {
		case !tagged:
			untagged = append(untagged, line)
		case strings.HasPrefix(rest, "OK"):
			return untagged, nil
		default:
			return nil, fmt.Errorf("IMAP: %s: %s", name, rest)
		}
	}
}

// idle goes into IDLE and returns when the server is listening.
func (c *imapClient) idle() error {
	c.tag++
	if _, err := fmt.Fprintf(c.conn, "A%d IDLE\r\n", c.tag); err != nil {
		return err
	}
	for {
		line, err := c.line()
		if err != nil {
			return fmt.Errorf("IMAP: IDLE: %w", err)
		}
		if strings.HasPrefix(line, "+") {
			return nil
		}
		if !strings.HasPrefix(line, "* ") {
			return fmt.Errorf("IMAP: IDLE: %s", line)
		}
	}
}

// errHungUp says that the server ended a session it should have kept.
var errHungUp = errors.New("the server said BYE")

// exists waits in IDLE for the next number of messages.
func (c *imapClient) exists() (int, error) {
	for {
		line, err := c.line()
		if err != nil {
			return 0, err
		}
		var n int
		if _, err := fmt.Sscanf(line, "* %d EXISTS", &n); err == nil {
			return n, nil
		}
		if strings.HasPrefix(line, "* BYE") {
			return 0, errHungUp
		}
	}
}

func (c *imapClient) Close() { c.conn.Close() }
