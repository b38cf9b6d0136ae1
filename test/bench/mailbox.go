package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"sync/atomic"
	"time"

	"barid/test/letter"
)

// The two mailboxes of the mailbox scenario.
const (
	smallMailbox = 10
	largeMailbox = 10_000
)

// afterSettling is when what was delivered lies in its files: the default of
// storage.settle_after is 10 s, and then they must be written.
const afterSettling = 20 * time.Second

// mailbox measures how fast mail is listed and read: at 10 messages and at
// 10,000, which lie in files.
func mailbox(ctx context.Context, o options) ([]Row, error) {
	site, err := newSite(o.dir)
	if err != nil {
		return nil, err
	}
	large, files := largeMailbox, afterSettling
	if o.quick {
		large, files = 300, time.Second
	}
	s, err := site.start(ctx, o.barid, o.serverCPU)
	if err != nil {
		return nil, err
	}
	for n, messages := range []int{smallMailbox, large} {
		if err := fill(ctx, s, person('r', n), messages); err != nil {
			s.kill()
			return nil, err
		}
	}
	if err := wait(ctx, files); err != nil {
		s.kill()
		return nil, err
	}
	if err := s.stop(); err != nil {
		return nil, err
	}
	// A new process: nothing is in its memory.
	if s, err = site.start(ctx, o.barid, o.serverCPU); err != nil {
		return nil, err
	}
	defer s.kill()
	rows, err := readMailbox(ctx, s, person('r', 0), smallMailbox, 0, 0)
	if err != nil {
		return nil, err
	}
	more, err := readMailbox(ctx, s, person('r', 1), large, 3, 10)
	if err != nil {
		return nil, err
	}
	return append(rows, more...), s.stop()
}

// fill delivers messages of 5 kB to one account.
func fill(ctx context.Context, s *server, to account, messages int) error {
	c, err := dialIMAP(ctx, s.imap, to, coreHello())
	if err != nil {
		return err
	}
	c.Close()
	var next atomic.Int64
	return crowd(senders, func(i int) error {
		c, err := dialSMTP(ctx, s.smtp, person('s', i))
		if err != nil {
			return err
		}
		defer c.Close()
		content := letter.New(fmt.Sprintf("sender-%d", i), c.from, letter.Size)
		for next.Add(1) <= int64(messages) && ctx.Err() == nil {
			_, message := content.Next()
			if err := c.send([]string{to.address}, message, nil); err != nil {
				return fmt.Errorf("fill a mailbox: %w", err)
			}
		}
		return ctx.Err()
	})
}

// readMailbox measures on one mailbox; the targets are in ms.
func readMailbox(ctx context.Context, s *server, a account, messages int, selecting, listing float64) ([]Row, error) {
	began := time.Now()
	c, err := dialIMAP(ctx, s.imap, a, coreHello())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.in = bufio.NewReaderSize(c.conn, 256<<10)
	if _, err := c.swallow(`SELECT "INBOX"`); err != nil {
		return nil, err
	}
	first := time.Since(began)
	selected, _, err := c.again(21, `SELECT "INBOX"`)
	if err != nil {
		return nil, err
	}
	listed, _, err := c.again(21, "UID FETCH 1:* (UID FLAGS RFC822.SIZE)")
	if err != nil {
		return nil, err
	}
	before, err := s.cpu()
	if err != nil {
		return nil, err
	}
	const readings = 5
	read, octets, err := c.again(readings, "UID FETCH 1:* (UID BODY.PEEK[])")
	if err != nil {
		return nil, err
	}
	after, err := s.cpu()
	if err != nil {
		return nil, err
	}
	of := fmt.Sprintf(", %d messages", messages)
	rows := []Row{
		{"connect, LOGIN, SELECT, the first after a start" + of, "ms", ms(first), lower, 0},
		{"SELECT" + of, "ms", ms(selected), lower, selecting},
		{"UID FETCH 1:* (UID FLAGS RFC822.SIZE)" + of, "ms", ms(listed), lower, listing},
	}
	if listing == 0 {
		return append(rows, Row{"all bodies" + of, "ms", ms(read), lower, 0}), nil
	}
	megabytes := float64(octets) / 1e6
	return append(rows,
		Row{"all bodies" + of, "MB/s", megabytes / read.Seconds(), higher, 90},
		Row{"CPU for 1 GB of bodies", "s", after.since(before).total.Seconds() / (readings * megabytes) * 1000, lower, 0},
	), nil
}

// again does a command some times and gives the median of how long it took,
// and the octets of literals in its last answer.
func (c *imapClient) again(times int, command string) (time.Duration, int64, error) {
	var took []time.Duration
	var octets int64
	for range times {
		began := time.Now()
		var err error
		if octets, err = c.swallow(command); err != nil {
			return 0, 0, err
		}
		took = append(took, time.Since(began))
	}
	return quantile(took, 0.5), octets, nil
}

// swallow does a command without keeping the answer, so that the client costs
// little beside the server. It gives the octets of literals.
func (c *imapClient) swallow(command string) (octets int64, err error) {
	c.tag++
	tag := []byte("A" + strconv.Itoa(c.tag) + " ")
	c.conn.SetDeadline(time.Now().Add(answerTime))
	if _, err := fmt.Fprintf(c.conn, "%s%s\r\n", tag, command); err != nil {
		return 0, fmt.Errorf("IMAP: %s: %w", command, err)
	}
	for start := true; ; {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return octets, fmt.Errorf("IMAP: %s: %w", command, err)
		}
		if rest, tagged := bytes.CutPrefix(line, tag); start && tagged {
			if !bytes.HasPrefix(rest, []byte("OK")) {
				return octets, fmt.Errorf("IMAP: %s: %s", command, bytes.TrimSpace(rest))
			}
			return octets, nil
		}
		n := literal(line)
		if start = n < 0; start {
			continue
		}
		octets += n
		if _, err := io.CopyN(io.Discard, c.in, n); err != nil {
			return octets, fmt.Errorf("IMAP: %s: %w", command, err)
		}
	}
}

// literal gives the size of the literal that a line ends with, -1 without.
func literal(line []byte) int64 {
	line, ok := bytes.CutSuffix(line, []byte("}\r\n"))
	open := bytes.LastIndexByte(line, '{')
	if !ok || open < 0 {
		return -1
	}
	n, err := strconv.ParseInt(string(line[open+1:]), 10, 32)
	if err != nil || n < 0 {
		return -1
	}
	return n
}
