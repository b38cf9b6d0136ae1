package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"barid/smtp"
)

// Client speaks SMTP to a peer as a client: greeting, EHLO, STARTTLS, and any
// number of transactions, pipelined where the peer allows. go-smtp's client
// says "localhost" before STARTTLS and pipelines nothing.
//
// It is for one goroutine. After an error that is no reply the connection is
// of no more use. Close it in any case.
type Client struct {
	conn net.Conn
	in   *bufio.Reader
	out  *bufio.Writer
	wait Patience
	over atomic.Bool // the context of the present call has ended: no more waits

	name       string
	peer       string            // first word of its greeting
	extensions map[string]string // by keyword in upper case
}

// Patience bounds the waits for a peer.
type Patience struct {
	Command time.Duration // for the greeting and each reply; default 60s
	Content time.Duration // for the reply to the end of content; default 10m (RFC 5321 section 4.5.3.2.6)
	Write   time.Duration // for each piece of content to leave; default 60s
}

// ErrNoTLS says that the peer does not offer STARTTLS.
var ErrNoTLS = errors.New("the peer does not offer STARTTLS")

// Dialogue reads the greeting on conn and says EHLO with name. It owns conn
// from now on. Context bounds this dialogue, not what follows. A peer that
// refuses us gives its *smtp.Reply.
func Dialogue(ctx context.Context, conn net.Conn, name string, wait Patience) (*Client, error) {
	set := func(d *time.Duration, to time.Duration) {
		if *d <= 0 {
			*d = to
		}
	}
	set(&wait.Command, time.Minute)
	set(&wait.Content, 10*time.Minute)
	set(&wait.Write, time.Minute)
	c := &Client{conn: conn, name: name, wait: wait}
	c.talk(conn)
	defer c.bound(ctx)()
	c.expect(wait.Command)
	reply, lines, err := readReply(c.in)
	if err == nil && reply.Code != 220 {
		err = reply
	}
	if err == nil {
		c.peer, _, _ = strings.Cut(lines[0], " ")
	}
	if err == nil {
		err = c.hello()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("greet: %w", err)
	}
	return c, nil
}

// talk makes the reader and writer of a connection.
func (c *Client) talk(conn net.Conn) {
	c.conn = conn
	c.in = bufio.NewReaderSize(conn, maxReplyLine)
	c.out = bufio.NewWriterSize(conn, 16<<10)
}

// bound lets the end of ctx end what waits for the peer.
func (c *Client) bound(ctx context.Context) (stop func()) {
	conn := c.conn
	end := context.AfterFunc(ctx, func() {
		c.over.Store(true)
		conn.SetDeadline(past)
	})
	return func() { end() }
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// expect begins a wait for the peer; one that begins when the context has ended
// is over at once, whichever of the two deadlines is set last.
func (c *Client) expect(d time.Duration) {
	c.conn.SetDeadline(time.Now().Add(d))
	if c.over.Load() {
		c.conn.SetDeadline(past)
	}
}

// hello says EHLO and takes down the extensions.
func (c *Client) hello() error {
	reply, lines, err := c.ask("EHLO " + c.name)
	if err != nil {
		return err
	}
	if reply.Code != 250 {
		return reply
	}
	c.extensions = map[string]string{}
	for _, line := range lines[1:] {
		word, rest, _ := strings.Cut(line, " ")
		c.extensions[strings.ToUpper(word)] = rest
	}
	return nil
}

// ask says a command and reads the reply.
func (c *Client) ask(command string) (*smtp.Reply, []string, error) {
	c.expect(c.wait.Command)
	if _, err := c.out.WriteString(command + "\r\n"); err != nil {
		return nil, nil, err
	}
	if err := c.out.Flush(); err != nil {
		return nil, nil, err
	}
	return readReply(c.in)
}

// Peer is what the peer calls itself in its greeting (RFC 5321 section 4.2),
// which nobody vouches for.
func (c *Client) Peer() string { return c.peer }

// Offers tells whether the peer has an extension (RFC 5321 section 4.1.1.1).
func (c *Client) Offers(keyword string) bool {
	_, ok := c.extensions[keyword]
	return ok
}

// MaxSize is the largest message that the peer says it takes, in octets; zero
// when it does not say (RFC 1870).
func (c *Client) MaxSize() int64 {
	n, err := strconv.ParseInt(c.extensions["SIZE"], 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// StartTLS begins TLS (RFC 3207) and says EHLO again. ErrNoTLS where the peer
// does not offer it.
func (c *Client) StartTLS(ctx context.Context, cfg *tls.Config) error {
	if !c.Offers("STARTTLS") {
		return ErrNoTLS
	}
	defer c.bound(ctx)()
	reply, _, err := c.ask("STARTTLS")
	switch {
	case err != nil:
		return fmt.Errorf("STARTTLS: %w", err)
	case reply.Code != 220:
		return fmt.Errorf("STARTTLS: %w", reply)
	case c.in.Buffered() > 0:
		return errors.New("STARTTLS: octets in the clear behind the reply")
	}
	c.expect(c.wait.Command)
	secure := tls.Client(c.conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	c.talk(secure)
	if err := c.hello(); err != nil {
		return fmt.Errorf("EHLO after STARTTLS: %w", err)
	}
	return nil
}

// TLS gives the TLS layer, nil while there is none.
func (c *Client) TLS() *tls.Conn {
	t, _ := c.conn.(*tls.Conn)
	return t
}

// Alive tells whether the peer still answers, by RSET, which also clears what
// a transaction may have left.
func (c *Client) Alive(ctx context.Context) bool {
	defer c.bound(ctx)()
	reply, _, err := c.ask("RSET")
	return err == nil && reply.Code/100 == 2
}

// Close says QUIT without waiting for an answer, and closes the connection.
func (c *Client) Close() {
	c.conn.SetDeadline(time.Now().Add(time.Second))
	c.out.WriteString("QUIT\r\n")
	c.out.Flush()
	c.conn.Close()
}

// Envelope is a message without its content.
type Envelope struct {
	From smtp.Path
	To   []smtp.Address
	// Size of the content, in octets; announced where the peer wants to know.
	Size int64
}

// Send does one transaction. It gives a reply for each recipient: that to the
// content for those whose RCPT was taken, else what refused them. The error
// is nil when all of them are the peer's; then the connection can be used
// again. After an error no recipient has the message for certain, unless it
// came while the reply to the content was waited for; sent says so.
func (c *Client) Send(ctx context.Context, e Envelope, content io.Reader) (per []*smtp.Reply, sent bool, err error) {
	defer c.bound(ctx)()
	mail := "MAIL FROM:" + e.From.Wire()
	if c.Offers("SIZE") && e.Size > 0 {
		mail += " SIZE=" + strconv.FormatInt(e.Size, 10)
	}
	commands := make([]string, 0, len(e.To)+2)
	commands = append(commands, mail)
	for _, to := range e.To {
		commands = append(commands, "RCPT TO:<"+to.Wire()+">")
	}
	replies, err := c.commands(commands)
	if err != nil {
		return nil, false, err
	}
	per = make([]*smtp.Reply, len(e.To))
	taken := 0
	for i := range e.To {
		per[i] = replies[0]
		if replies[0].Code/100 == 2 {
			per[i] = replies[i+1]
		}
		if per[i].Code/100 == 2 {
			taken++
		}
	}
	if taken == 0 {
		return per, false, c.reset()
	}
	reply, _, err := c.ask("DATA")
	if err != nil {
		return nil, false, err
	}
	switch {
	case reply.Code/100 < 4 && reply.Code != 354:
		// Only a reply to the content may say that it was taken.
		return nil, false, fmt.Errorf("%w to DATA: %s", errReply, reply.Wire())
	case reply.Code != 354:
		c.spread(per, reply)
		return per, false, c.reset()
	}
	if err := c.content(content); err != nil {
		return nil, false, err
	}
	c.expect(c.wait.Content)
	reply, _, err = readReply(c.in)
	if err != nil {
		return nil, true, err
	}
	c.spread(per, reply)
	return per, true, nil
}

// spread gives a reply to all whose RCPT was taken.
func (c *Client) spread(per []*smtp.Reply, reply *smtp.Reply) {
	for i := range per {
		if per[i].Code/100 == 2 {
			per[i] = reply
		}
	}
}

// reset ends a transaction that came to nothing.
func (c *Client) reset() error {
	reply, _, err := c.ask("RSET")
	if err == nil && reply.Code/100 != 2 {
		err = reply
	}
	return err
}

// group is how many commands are sent before replies are read: their replies
// must fit into the buffers of the network, or both sides wait for ever.
const group = 100

// commands says commands and gives their replies, in groups where the peer
// has PIPELINING (RFC 2920). MAIL that is refused is not followed by RCPT
// where nothing is pipelined; its reply then stands for theirs.
func (c *Client) commands(all []string) ([]*smtp.Reply, error) {
	size := 1
	if c.Offers("PIPELINING") {
		size = group
	}
	replies := make([]*smtp.Reply, 0, len(all))
	for len(replies) < len(all) {
		part := all[len(replies):min(len(replies)+size, len(all))]
		c.expect(c.wait.Command)
		for _, command := range part {
			if _, err := c.out.WriteString(command + "\r\n"); err != nil {
				return nil, err
			}
		}
		if err := c.out.Flush(); err != nil {
			return nil, err
		}
		for range part {
			c.expect(c.wait.Command)
			reply, _, err := readReply(c.in)
			if err != nil {
				return nil, err
			}
			replies = append(replies, reply)
		}
		if replies[0].Code/100 != 2 {
			for len(replies) < len(all) {
				replies = append(replies, replies[0])
			}
		}
		if last := replies[len(replies)-1]; last.Code == 421 {
			return nil, last
		}
	}
	return replies, nil
}

// content sends a message, dots doubled, and the end of it. Lines end with
// CRLF, or the peer would take a line of the message for its end.
func (c *Client) content(r io.Reader) error {
	w := NewStuffer(patient{c})
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			// Nothing must look like the end of the message.
			c.conn.Close()
			return fmt.Errorf("read the content: %w", err)
		}
	}
	if err := w.End(); err != nil {
		c.conn.Close()
		return err
	}
	if _, err := c.out.WriteString(".\r\n"); err != nil {
		return err
	}
	return c.out.Flush()
}

// patient writes, each time with a new deadline.
type patient struct{ c *Client }

func (p patient) Write(b []byte) (int, error) {
	p.c.expect(p.c.wait.Write)
	return p.c.out.Write(b)
}
