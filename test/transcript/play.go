package transcript

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"
	"time"
)

// Option changes how a dialogue is played.
type Option func(*Player)

// Timeout is the longest wait for one step. Default 5s.
func Timeout(d time.Duration) Option { return func(p *Player) { p.patience = d } }

// TLS is the configuration for the step "TLS". The client's default takes any
// certificate; a server has no default.
func TLS(cfg *tls.Config) Option { return func(p *Player) { p.tls = cfg } }

// Vars are known as ${name} from the start.
func Vars(vars map[string]string) Option { return func(p *Player) { maps.Copy(p.vars, vars) } }

// Dial opens the connections that "@ name" asks for.
func Dial(dial func(name string) (net.Conn, error)) Option {
	return func(p *Player) { p.dial = dial }
}

// Player plays one dialogue after the other over the same connections. Names
// that a dialogue kept stay known to the next.
type Player struct {
	patience time.Duration
	tls      *tls.Config
	vars     map[string]string
	dial     func(name string) (net.Conn, error)
	me       byte // 'C' or 'S'

	peers map[string]*peer
	cur   *peer
	past  []string // the last lines that went over the wire, for errors
}

// New makes a player of the client's side. The connection stays the caller's;
// those that Dial opened are closed when the test ends.
func New(t testing.TB, conn net.Conn, opts ...Option) *Player {
	p := &Player{patience: 5 * time.Second, vars: map[string]string{}, me: 'C', peers: map[string]*peer{}}
	p.cur = newPeer(conn)
	p.peers["@"] = p.cur
	for _, opt := range opts {
		opt(p)
	}
	t.Cleanup(func() {
		for name, peer := range p.peers {
			if name != "@" {
				peer.close()
			}
		}
	})
	return p
}

// Play plays text as the client and ends the test at the first difference.
// The error names the line and shows both sides.
func Play(t testing.TB, conn net.Conn, text string, opts ...Option) {
	t.Helper()
	New(t, conn, opts...).Play(t, text)
}

// Serve plays text as the server. It may run in a goroutine of its own, so it
// returns the difference instead of ending the test, as an error that names
// the line.
func Serve(t testing.TB, conn net.Conn, text string, opts ...Option) error {
	p := New(t, conn, opts...)
	p.me = 'S'
	s, err := Parse("dialogue", text)
	if err != nil {
		return err
	}
	return p.Run(s)
}

// Play plays text; lines are counted from 1 in "dialogue".
func (p *Player) Play(t testing.TB, text string) {
	t.Helper()
	s, err := Parse("dialogue", text)
	if err == nil {
		err = p.Run(s)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Run plays a script that was read before and returns the first difference.
func (p *Player) Run(s *Script) error {
	err := p.run(s)
	for _, peer := range p.peers {
		if err != nil {
			peer.conn.SetWriteDeadline(time.Now()) // nobody will read what is left
		}
		if werr := peer.flush(); werr != nil && err == nil && !peer.gone {
			err = fmt.Errorf("%s: send: %w", s.Name, werr)
		}
		if !peer.gone {
			peer.conn.SetDeadline(time.Time{})
		}
	}
	return err
}

func (p *Player) run(s *Script) error {
	for _, st := range s.steps {
		got, err := p.step(s, st)
		if err == nil {
			continue
		}
		text := &strings.Builder{}
		fmt.Fprintf(text, "%s:%d: %v\n\twant  %s\n", s.Name, st.line, err, st.src)
		for _, other := range st.more {
			fmt.Fprintf(text, "\t      %s\n", other.src)
		}
		fmt.Fprintf(text, "\tgot   %s", got)
		if len(p.past) > 0 {
			fmt.Fprintf(text, "\n\tafter\n\t\t%s", strings.Join(p.past, "\n\t\t"))
		}
		return errors.New(text.String())
	}
	return nil
}

// step plays one step; got is what came instead, ready to be shown.
func (p *Player) step(s *Script, st step) (got string, err error) {
	switch {
	case st.sign == "TLS":
		return "", p.startTLS()
	case st.sign == "DEFLATE":
		return "", p.cur.startDeflate()
	case st.sign == "@":
		return "", p.change(st.arg)
	case st.sign == "--" && (st.who == p.me || st.who == 0):
		err := p.cur.flush()
		p.cur.close()
		return "", err
	case st.who == p.me:
		return "", p.send(s, st)
	}
	return p.expect(s, st)
}

func (p *Player) send(s *Script, st step) error {
	octets, err := s.octets(st, p.vars)
	if err != nil {
		return err
	}
	if p.cur.gone {
		return errors.New("the connection is closed")
	}
	p.cur.send(octets, len(s.steps), p.patience)
	p.note(st.who, string(octets))
	return nil
}

// octets gives what a step stands for exactly; an error for patterns.
func (s *Script) octets(st step, vars map[string]string) ([]byte, error) {
	switch st.sign {
	case ":":
		text, err := s.expand(st.arg, vars, same)
		return []byte(text + "\r\n"), err
	case `\`:
		text, err := unquote(st.arg)
		return []byte(text), err
	case "<":
		data, _ := s.Wire(st.arg)
		return data, nil
	case ".":
		data, _ := s.Wire(st.arg)
		return stuffed(data), nil
	}
	return nil, fmt.Errorf("%q can be expected, not sent", st.sign)
}

func same(s string) string { return s }

// note remembers a line for errors.
func (p *Player) note(who byte, text string) {
	text = strings.TrimSuffix(text, "\r\n")
	if len(text) > 200 {
		text = fmt.Sprintf("%s... (%d octets)", text[:200], len(text))
	}
	p.past = append(p.past, show(who, text))
	if len(p.past) > 12 {
		p.past = p.past[1:]
	}
}

// show writes octets so that none of them can be overlooked.
func show(who byte, text string) string {
	for i := range len(text) {
		if text[i] < 0x20 || text[i] > 0x7e {
			return fmt.Sprintf("%c\\ %q", who, text)
		}
	}
	return fmt.Sprintf("%c: %s", who, text)
}

func (p *Player) startTLS() error {
	cfg := p.tls
	if cfg == nil && p.me == 'S' {
		return errors.New("a server needs the option TLS")
	}
	if cfg == nil {
		cfg = &tls.Config{InsecureSkipVerify: true} // what is tested is the dialogue
	}
	return p.cur.startTLS(cfg, p.me == 'S', p.patience)
}

func (p *Player) change(name string) error {
	if have, ok := p.peers[name]; ok {
		p.cur = have
		p.past = append(p.past, "@ "+name)
		return nil
	}
	if p.dial == nil {
		return errors.New("another connection needs the option Dial")
	}
	conn, err := p.dial(name)
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	p.cur = newPeer(conn)
	p.peers[name] = p.cur
	p.past = append(p.past, "@ "+name)
	return nil
}
