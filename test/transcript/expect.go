package transcript

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// errDiffers is the difference that "want" and "got" show well enough.
var errDiffers = errors.New("the peer says something else")

// expect plays a step of the other side.
func (p *Player) expect(s *Script, st step) (got string, err error) {
	switch st.sign {
	case "--":
		got, err = p.cur.end(p.patience)
	case "-":
		d, _ := time.ParseDuration(st.arg)
		got, err = p.cur.silence(d)
	case "~":
		return p.expectPattern(s, st)
	case "*":
		return p.expectUntil(s, st)
	case "&":
		return p.expectSet(s, st)
	case ":":
		return p.expectLine(s, st)
	default:
		return p.expectOctets(s, st)
	}
	if err != nil {
		return show(st.who, got), err
	}
	return "", nil
}

func (p *Player) expectLine(s *Script, st step) (string, error) {
	want, err := s.expand(st.arg, p.vars, same)
	if err != nil {
		return "", err
	}
	line, err := p.cur.line(p.patience, false)
	if err == nil && line != want {
		err = errDiffers
	}
	if err != nil {
		return show(st.who, line), err
	}
	p.note(st.who, line)
	return "", nil
}

func (p *Player) expectPattern(s *Script, st step) (string, error) {
	re, err := s.compile(st, p.vars)
	if err != nil {
		return "", err
	}
	line, err := p.cur.line(p.patience, false)
	if err == nil && !p.match(re, line) {
		err = errDiffers
	}
	if err != nil {
		return show(st.who, line), err
	}
	p.note(st.who, line)
	return "", nil
}

// match keeps the named groups when it succeeds.
func (p *Player) match(re *regexp.Regexp, line string) bool {
	m := re.FindStringSubmatch(line)
	for i, name := range re.SubexpNames() {
		if m != nil && name != "" {
			p.vars[name] = m[i]
		}
	}
	return m != nil
}

// expectUntil passes over lines. Literals among them are lines as well, so
// their ends are not looked at.
func (p *Player) expectUntil(s *Script, st step) (string, error) {
	re, err := s.compile(st, p.vars)
	if err != nil {
		return "", err
	}
	deadline := time.Now().Add(p.patience)
	for {
		line, err := p.cur.line(time.Until(deadline), true)
		if err != nil {
			return show(st.who, line), fmt.Errorf("no line matched: %w", err)
		}
		p.note(st.who, line)
		if p.match(re, line) {
			return "", nil
		}
	}
}

func (p *Player) expectSet(s *Script, st step) (string, error) {
	var open []*regexp.Regexp
	for _, st := range append([]step{st}, st.more...) {
		re, err := s.compile(st, p.vars)
		if err != nil {
			return "", err
		}
		open = append(open, re)
	}
next:
	for len(open) > 0 {
		line, err := p.cur.line(p.patience, false)
		if err != nil {
			return show(st.who, line), fmt.Errorf("%d lines of the set did not come: %w", len(open), err)
		}
		for i, re := range open {
			if p.match(re, line) {
				p.note(st.who, line)
				open = append(open[:i], open[i+1:]...)
				continue next
			}
		}
		return show(st.who, line), errors.New("no line of the set that is still missing matches")
	}
	return "", nil
}

func (p *Player) expectOctets(s *Script, st step) (string, error) {
	want, err := s.octets(st, p.vars)
	if err != nil {
		return "", err
	}
	got, err := p.cur.octets(len(want), p.patience)
	if err == nil && !bytes.Equal(got, want) {
		at := 0
		for got[at] == want[at] {
			at++
		}
		from := max(0, at-40)
		err = fmt.Errorf("octet %d of %d differs: want %q, got %q", at+1, len(want),
			want[from:min(len(want), at+40)], got[from:min(len(got), at+40)])
	}
	if err != nil {
		return show(st.who, string(got[:min(len(got), 400)])), err
	}
	p.note(st.who, string(got))
	return "", nil
}

// compile makes the pattern of a step, matching a line as a whole.
func (s *Script) compile(st step, vars map[string]string) (*regexp.Regexp, error) {
	pattern, err := s.expand(st.arg, vars, regexp.QuoteMeta)
	if err != nil {
		return nil, err
	}
	return regexp.Compile(`\A(?:` + pattern + `)\z`)
}
