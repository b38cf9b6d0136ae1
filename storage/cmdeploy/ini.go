package cmdeploy

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Bounds of an INI file.
const (
	maxINI      = 256 << 10 // octets
	maxINIKeys  = 500
	iniSection  = "params"
	mebi        = 1 << 20
	maxMegabyte = math.MaxInt64 / mebi
)

// ErrINI means that a file is no configuration of the reference.
var ErrINI = errors.New("bad chatmail.ini")

// INI is the configuration of the reference: the keys of its one section, in
// the order of the file. Values are as they stand there, trimmed.
type INI struct{ keys []INIKey }

// INIKey is one key with its value and the line it stands in, from 1.
type INIKey struct {
	Name, Value string
	Line        int
}

// ReadINI reads "key = value" and "key: value" in the section [params]. Lines
// that begin with "#" or ";" are comments; what follows a value belongs to it.
// An indented line continues the value before it, a key that comes twice is an
// error, as the reference has it. ErrINI, with the line.
func ReadINI(r io.Reader) (*INI, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxINI+1))
	if err != nil {
		return nil, fmt.Errorf("read chatmail.ini: %w", err)
	}
	if len(text) > maxINI {
		return nil, fmt.Errorf("%w: larger than %d octets", ErrINI, maxINI)
	}
	ini, section, n := &INI{}, "", 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimRight(line, " \t\r\n")
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';':
			continue
		case line[0] == ' ' || line[0] == '\t':
			if err = ini.carryOn(trimmed); err != nil {
				return nil, fmt.Errorf("%w: line %d: %w", ErrINI, n, err)
			}
			continue
		case line[0] == '[':
			section = strings.TrimSuffix(line[1:], "]")
			continue
		case section != iniSection:
			return nil, fmt.Errorf("%w: line %d: a key outside of the section [%s]", ErrINI, n, iniSection)
		}
		if err = ini.add(line, n); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrINI, n, err)
		}
	}
	if domain, _ := ini.Get("mail_domain"); domain == "" {
		return nil, fmt.Errorf("%w: no mail_domain", ErrINI)
	}
	return ini, nil
}

func (i *INI) add(line string, n int) error {
	at := strings.IndexAny(line, "=:")
	if at <= 0 {
		return errors.New(`neither a comment nor "key = value"`)
	}
	name := strings.ToLower(strings.TrimSpace(line[:at]))
	if _, there := i.Get(name); there {
		return fmt.Errorf("%q stands there twice", name)
	}
	if len(i.keys) == maxINIKeys {
		return fmt.Errorf("more than %d keys", maxINIKeys)
	}
	i.keys = append(i.keys, INIKey{name, strings.TrimSpace(line[at+1:]), n})
	return nil
}

// carryOn appends a line to the last value.
func (i *INI) carryOn(text string) error {
	if len(i.keys) == 0 {
		return errors.New("continues nothing")
	}
	last := &i.keys[len(i.keys)-1]
	last.Value = strings.TrimSpace(last.Value + "\n" + text)
	return nil
}

// Keys gives all keys, in the order of the file. Nobody changes them.
func (i *INI) Keys() []INIKey { return i.keys }

// Get gives the value of a key, and false when it is not set.
func (i *INI) Get(name string) (string, bool) {
	for _, k := range i.keys {
		if k.Name == name {
			return k.Value, true
		}
	}
	return "", false
}

// Domain is mail_domain: the bare domain, a name or an IPv4 address.
func (i *INI) Domain() string {
	domain, _ := i.Get("mail_domain")
	return strings.ToLower(domain)
}

// Bool is true only for "true", in any letter case.
func Bool(value string) bool { return strings.EqualFold(value, "true") }

// Megabytes reads a size as the reference writes it, "500M", "1G", "256", and
// gives octets. Fractions and other units are errors.
func Megabytes(value string) (int64, error) {
	s := strings.TrimSuffix(strings.ToUpper(strings.TrimSpace(value)), "B")
	unit := int64(1)
	if digits, ok := strings.CutSuffix(s, "G"); ok {
		s, unit = digits, 1024
	} else {
		s = strings.TrimSuffix(s, "M")
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 0 || n > maxMegabyte/unit {
		return 0, fmt.Errorf("%q is no size", value)
	}
	return n * unit * mebi, nil
}
