package filter

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"barid/smtp"
)

// sample is a file of testdata/messages: lines of "# key: value", an empty
// line, and a message with LF for CRLF. In it a line may be made:
//
//	%repeat N TEXT   TEXT and CRLF, N times
//	%raw "TEXT"      TEXT, quoted as in Go, and no line end
//	%base64 HEX      octets as lines of base64
//	%whole HEX       octets as an armor
//
// {x*9} in these is nine times x, {\r\n} is a line end.
type sample struct {
	name       string
	rules      []Rule // that it breaks, each on another way to pass
	then       []Rule // what it breaks when that rule does not count; none: it passes
	kind       Kind
	ways       []Direction
	recipients []smtp.Address
	content    []byte
}

func (s *sample) walk(d Direction, off Rule) *Walk { return without(off, d, s.recipients...) }

// why is the rule the verdict names.
func (s *sample) why() Rule {
	if len(s.rules) == 0 {
		return noRule
	}
	return s.rules[0]
}

func samples(t testing.TB) []*sample {
	files, err := filepath.Glob("testdata/messages/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no samples", err)
	}
	var all []*sample
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := &sample{name: strings.TrimSuffix(filepath.Base(file), ".txt"), ways: []Direction{Outgoing, Incoming}}
		head, body, _ := strings.Cut(string(text), "\n\n")
		for line := range strings.Lines(head + "\n") {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			if err := s.set(key, value); err != nil {
				t.Fatalf("%s: %q: %v", file, line, err)
			}
		}
		if s.content, err = expand(body); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, s)
	}
	return all
}

func (s *sample) set(key, value string) (err error) {
	rule := func(name string) (r Rule) {
		i := slices.Index(ruleNames[:], name)
		if i < 0 {
			err = fmt.Errorf("no rule %q", name)
			return noRule
		}
		return Rule(i)
	}
	switch key {
	case "# rule":
		for name := range strings.FieldsSeq(value) {
			name, then, _ := strings.Cut(name, ">")
			s.rules, s.then = append(s.rules, rule(name)), append(s.then, rule(then))
		}
	case "# verdict":
		for s.kind = Clear; s.kind.String() != value; s.kind++ {
		}
	case "# way":
		s.ways = map[string][]Direction{"outgoing": {Outgoing}, "incoming": {Incoming}}[value]
	case "# recipients":
		for one := range strings.FieldsSeq(value) {
			a, err := smtp.ParseAddress(one)
			if err != nil {
				return err
			}
			s.recipients = append(s.recipients, a)
		}
	}
	return err
}

var times = regexp.MustCompile(`\{(.*?)(?:\*(\d+))?\}`)

// expand makes a message of the text of a sample.
func expand(text string) (content []byte, err error) {
	for line := range strings.Lines(text) {
		line, ended := strings.CutSuffix(line, "\n")
		verb, rest, _ := strings.Cut(line, " ")
		if strings.HasPrefix(verb, "%") {
			rest = times.ReplaceAllStringFunc(rest, func(m string) string {
				sub := times.FindStringSubmatch(m)
				if sub[2] == "" {
					return strings.ReplaceAll(sub[1], `\r\n`, "\r\n")
				}
				n, _ := strconv.Atoi(sub[2])
				return strings.Repeat(sub[1], n)
			})
		}
		switch verb {
		case "%repeat":
			count, text, _ := strings.Cut(rest, " ")
			n, err := strconv.Atoi(count)
			if err != nil {
				return nil, err
			}
			content = append(content, strings.Repeat(text+"\r\n", n)...)
		case "%raw":
			s, err := strconv.Unquote(rest)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", line, err)
			}
			content = append(content, s...)
		case "%base64", "%whole":
			octets, err := hex.DecodeString(strings.ReplaceAll(rest, " ", ""))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", line, err)
			}
			if verb == "%whole" {
				content = append(content, armored(octets)...)
			} else {
				content = append(content, wrapped(octets)...)
			}
		default:
			content = append(content, line...)
			if ended {
				content = append(content, "\r\n"...)
			}
		}
	}
	return content, nil
}

// wrapped gives octets as lines of base64.
func wrapped(octets []byte) string {
	var b strings.Builder
	for line := range slices.Chunk([]byte(base64.StdEncoding.EncodeToString(octets)), 64) {
		b.Write(line)
		b.WriteString("\r\n")
	}
	return b.String()
}

func armored(octets []byte) string {
	return armorBegin + "\r\n" + wrapped(octets) + "=AAAA\r\n" + armorEnd + "\r\n"
}
