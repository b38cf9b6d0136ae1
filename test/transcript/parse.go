package transcript

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/tools/txtar"
)

// Script is a dialogue that was read, with the files beside it.
type Script struct {
	// Name stands before the line number in errors: the file's path.
	Name  string
	steps []step
	files map[string][]byte
}

// step is one line of the dialogue, or several S& lines in a row.
type step struct {
	line int    // in the file, from 1
	src  string // as written
	who  byte   // 'C', 'S', or 0 for TLS, DEFLATE and @
	sign string // ":", "\\", "<", ".", "~", "*", "&", "-", "--", "TLS", "DEFLATE", "@"
	arg  string
	more []step // the other S& lines of the row
}

// Parse reads a dialogue. The error names the line.
func Parse(name, text string) (*Script, error) {
	archive := txtar.Parse([]byte(text))
	s := &Script{Name: name, files: map[string][]byte{}}
	for _, f := range archive.Files {
		s.files[f.Name] = f.Data
	}
	for i, line := range strings.Split(string(archive.Comment), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" || line[0] == '#' {
			continue
		}
		st, err := s.parseStep(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w\n\t%s", name, i+1, err, line)
		}
		st.line, st.src = i+1, line
		if last := len(s.steps) - 1; st.sign == "&" && last >= 0 && s.steps[last].sign == "&" && s.steps[last].who == st.who {
			s.steps[last].more = append(s.steps[last].more, st)
			continue
		}
		s.steps = append(s.steps, st)
	}
	if len(s.steps) == 0 {
		return nil, fmt.Errorf("%s: a dialogue without a step", name)
	}
	return s, nil
}

// File gives a file of the archive as it is written there, with LF.
func (s *Script) File(name string) ([]byte, bool) {
	data, ok := s.files[name]
	return data, ok
}

// Wire gives a file of the archive with CRLF, as C< sends it.
func (s *Script) Wire(name string) ([]byte, bool) {
	data, ok := s.files[name]
	if !ok {
		return nil, false
	}
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n")), true
}

func (s *Script) parseStep(line string) (step, error) {
	switch {
	case line == "TLS", line == "DEFLATE":
		return step{sign: line}, nil
	case line == "--":
		return step{sign: "--"}, nil
	case strings.HasPrefix(line, "@ ") && len(line) > 2:
		return step{sign: "@", arg: line[2:]}, nil
	case len(line) < 2 || line[0] != 'C' && line[0] != 'S':
		return step{}, fmt.Errorf("no step begins so; see the package's documentation")
	}
	st := step{who: line[0], sign: line[1:2], arg: line[2:]}
	if st.arg == "-" && st.sign == "-" {
		return step{who: st.who, sign: "--"}, nil
	}
	if st.arg != "" {
		rest, ok := strings.CutPrefix(st.arg, " ")
		if !ok {
			return step{}, fmt.Errorf("a space is missing after %q", line[:2])
		}
		st.arg = rest
	}
	return st, s.check(st)
}

// check finds what is wrong with a step before anything is played.
func (s *Script) check(st step) error {
	switch st.sign {
	case ":":
	case `\`:
		_, err := unquote(st.arg)
		return err
	case "<", ".":
		if _, ok := s.files[st.arg]; !ok {
			return fmt.Errorf("the archive has no file %q", st.arg)
		}
	case "~", "*", "&":
		_, err := regexp.Compile(variable.ReplaceAllString(st.arg, "x"))
		return err
	case "-":
		_, err := time.ParseDuration(st.arg)
		return err
	default:
		return fmt.Errorf("no sign %q", st.sign)
	}
	return nil
}

// unquote reads Go's escapes; a quote needs none.
func unquote(arg string) (string, error) {
	out, err := strconv.Unquote(`"` + strings.ReplaceAll(arg, `"`, `\x22`) + `"`)
	if err != nil {
		return "", fmt.Errorf("the escapes of %q: %w", arg, err)
	}
	return out, nil
}

// variable is ${name} or ${#file}.
var variable = regexp.MustCompile(`\$\{(#?[A-Za-z_][\w.-]*)\}`)

// expand puts in what is known under the names; in a pattern it is quoted.
func (s *Script) expand(arg string, vars map[string]string, quote func(string) string) (string, error) {
	var missing error
	out := variable.ReplaceAllStringFunc(arg, func(ref string) string {
		name := ref[2 : len(ref)-1]
		if file, ok := strings.CutPrefix(name, "#"); ok {
			if data, ok := s.Wire(file); ok {
				return strconv.Itoa(len(data))
			}
		} else if v, ok := vars[name]; ok {
			return quote(v)
		}
		missing = fmt.Errorf("nobody gave ${%s}", name)
		return ref
	})
	return out, missing
}

// stuffed doubles leading dots and ends the content (RFC 5321 section 4.5.2).
func stuffed(data []byte) []byte {
	out := bytes.ReplaceAll(append([]byte("\n"), data...), []byte("\n."), []byte("\n.."))[1:]
	if len(out) > 0 && !bytes.HasSuffix(out, []byte("\r\n")) {
		out = append(out, "\r\n"...)
	}
	return append(out, ".\r\n"...)
}
