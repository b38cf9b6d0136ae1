package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"barid/test/letter"
)

// acrossHosts are the servers that the relay sends to, by how they behave.
var acrossHosts = []string{"good", "stalls", "defers", "hangsup", "refuses"}

// heardWithin is how long after a reply to the content a kill excuses that the
// message comes again: its end is on disk within 50 ms, on a machine that has
// the time.
const heardWithin = 500 * time.Millisecond

// stranger is a mail server without TLS that remembers what it took.
type stranger struct {
	manner string

	mu     sync.Mutex             // guards the fields below
	taken  map[string][]time.Time // Message-IDs, when they came
	healed bool
}

// errs tells whether the server is up to its mischief this time.
func (p *stranger) errs() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.healed && rand.IntN(3) == 0
}

func (p *stranger) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.healed = true
}

func (p *stranger) listen(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() { defer conn.Close(); p.serve(conn) }()
	}
}

// serve holds a session; it ends with the connection.
func (p *stranger) serve(conn net.Conn) {
	in := bufio.NewReader(conn)
	say := func(line string) { io.WriteString(conn, line+"\r\n") }
	say("220 stranger")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb := strings.ToUpper(line[:min(4, len(line))])
		if verb != "EHLO" && verb != "QUIT" && p.errs() {
			switch {
			case p.manner == "stalls":
				io.Copy(io.Discard, in)
				return
			case p.manner == "hangsup" && verb != "DATA":
				return
			case p.manner == "defers" && verb != "RSET":
				say("451 4.3.0 later")
				continue
			}
		}
		switch verb {
		case "EHLO":
			say("250-stranger\r\n250 PIPELINING")
		case "RCPT":
			if p.manner == "refuses" {
				say("550 5.1.1 nobody")
				continue
			}
			say("250 fine")
		case "DATA":
			say("354 go on")
			id, err := messageIDOf(in)
			if err != nil {
				return
			}
			errs := p.errs()
			switch {
			case errs && p.manner == "stalls":
				io.Copy(io.Discard, in)
				return
			case errs && p.manner == "defers":
				say("451 4.3.0 later")
				continue
			}
			p.mu.Lock()
			p.taken[id] = append(p.taken[id], time.Now())
			p.mu.Unlock()
			if errs && p.manner == "hangsup" {
				return // it has the message, and the sender cannot know
			}
			say("250 taken")
		case "QUIT":
			return
		default:
			say("250 fine")
		}
	}
}

// messageIDOf reads a content to its end.
func messageIDOf(in *bufio.Reader) (id string, err error) {
	for {
		line, err := in.ReadString('\n')
		if err != nil || line == ".\r\n" {
			return id, err
		}
		if rest, ok := strings.CutPrefix(line, "Message-ID: <"); ok && id == "" {
			id = strings.TrimSuffix(rest, ">\r\n")
		}
	}
}

// TestSoakKillsLoseNothingOnTheWay kills the relay while it sends to servers
// that take mail, stall, put off, hang up and refuse. What the relay had
// acknowledged comes to its server, or to its sender as a refusal; twice only
// where the sender was killed, or heard nothing, behind the content.
func TestSoakKillsLoseNothingOnTheWay(t *testing.T) {
	program, kills, longest := soakForm(t)
	w, err := newWorld(soakDir(t))
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	c, err := w.found("a.test", "127.7.1.1")
	if err != nil {
		t.Fatal(err)
	}
	peers := map[string]*stranger{}
	var domains []string
	for i, manner := range acrossHosts {
		p := &stranger{manner: manner, taken: map[string][]time.Time{}}
		addr := fmt.Sprintf("127.7.1.%d", 2+i)
		l, err := net.Listen("tcp", net.JoinHostPort(addr, w.smtp))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go p.listen(l)
		peers[manner] = p
		host := manner + ".test"
		domains = append(domains, strconv.Quote(host))
		if err := w.add(host+". 60 IN A "+addr, host+". 60 IN MX 10 "+host+"."); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.federate("max_retry = \"1s\"\ncleartext_domains = [" + strings.Join(domains, ", ") + "]\n"); err != nil {
		t.Fatal(err)
	}
	acked := map[string]map[string]bool{} // Message-IDs by manner
	for _, manner := range acrossHosts {
		acked[manner] = map[string]bool{}
	}
	var mu sync.Mutex // guards acked
	var killed []time.Time
	for round := range kills {
		s, err := c.start(t.Context(), program, -1)
		if err != nil {
			t.Fatal(err)
		}
		dead := make(chan struct{})
		time.AfterFunc(300*time.Millisecond+rand.N(longest), func() { close(dead); s.kill() })
		err = crowd(len(acrossHosts), func(i int) error {
			manner := acrossHosts[i]
			sender := c.person('s', i)
			client, err := dialSMTP(t.Context(), c.smtp, sender)
			if err != nil {
				return unlessClosed(dead, err)
			}
			defer client.Close()
			content := letter.New(fmt.Sprintf("across-%s-%d", manner, round), sender.address, 2000)
			for n := 0; ; n++ {
				select {
				case <-dead:
					return nil
				default:
				}
				id, message := content.Next()
				if err := client.send([]string{"bob@" + manner + ".test"}, message, nil); err != nil {
					return unlessClosed(dead, err)
				}
				mu.Lock()
				acked[manner][id] = true
				mu.Unlock()
				if manner != "good" {
					time.Sleep(10 * time.Millisecond) // or it takes long until all is over
				}
			}
		})
		<-dead
		<-s.done
		killed = append(killed, time.Now())
		if err != nil {
			t.Fatalf("life %d: %v\nthe relay said:\n%s", round, err, s.log)
		}
	}
	for _, p := range peers {
		p.heal()
	}
	s, err := c.start(t.Context(), program, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.kill()
	if left, err := c.drained(t.Context(), 0, 2*time.Minute); err != nil || left > 0 {
		t.Fatalf("%d are left in the queue: %v", left, err)
	}
	told, err := c.mailOf(t.Context(), s, c.person('s', len(acrossHosts)-1)) // of "refuses", the last one
	if err != nil {
		t.Fatal(err)
	}
	total, again := 0, 0
	for _, manner := range acrossHosts {
		p := peers[manner]
		p.mu.Lock()
		for id := range acked[manner] {
			total++
			if n := holding(told, "<"+id+">"); manner == "refuses" && n != 1 {
				t.Errorf("%s: its sender was told %d times of %s", manner, n, id)
			}
			if manner != "refuses" && len(p.taken[id]) == 0 {
				t.Errorf("%s: %s is lost", manner, id)
			}
		}
		for id, came := range p.taken {
			again += len(came) - 1
			for _, at := range came[:len(came)-1] {
				if manner != "hangsup" && !slices.ContainsFunc(killed, func(k time.Time) bool { return k.After(at) && k.Sub(at) < heardWithin }) {
					t.Errorf("%s: %s came again though its end was told", manner, id)
				}
			}
		}
		if len(acked[manner]) < kills {
			t.Errorf("%s: only %d messages in %d lives: nothing was shown", manner, len(acked[manner]), kills)
		}
		p.mu.Unlock()
	}
	t.Logf("%d kills: %d messages acknowledged, none lost, %d times one came again", kills, total, again)
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

// unlessClosed gives err while the relay is not killed.
func unlessClosed(dead <-chan struct{}, err error) error {
	select {
	case <-dead:
		return nil
	default:
		return err
	}
}

// federate adds lines to the [federation] of a relay, the last part of its
// configuration.
func (c citizen) federate(lines string) error {
	f, err := os.OpenFile(c.config, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(lines)
	return errors.Join(err, f.Close())
}

// mailOf gives what a mailbox has, each message as IMAP gives it.
func (c citizen) mailOf(ctx context.Context, s *server, who account) ([]string, error) {
	client, err := dialIMAP(ctx, s.imap, who, coreHello())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if _, err := client.do(`SELECT "INBOX"`); err != nil {
		return nil, err
	}
	return client.do("UID FETCH 1:* (UID BODY.PEEK[])")
}

// holding counts the texts with a part.
func holding(all []string, part string) (n int) {
	for _, text := range all {
		if strings.Contains(text, part) {
			n++
		}
	}
	return n
}
