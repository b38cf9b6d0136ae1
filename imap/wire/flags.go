package wire

import (
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

// StoreMode says what STORE does with its flags.
type StoreMode int

// The modes.
const (
	StoreReplace StoreMode = iota
	StoreAdd
	StoreRemove
)

// Store is the arguments of STORE behind its set.
type Store struct {
	Mode   StoreMode
	Silent bool
	Flags  []imap.Flag
	// UnchangedSince is nil where it is not given (RFC 7162).
	UnchangedSince *uint64
}

// Store takes the arguments of STORE, to the end of the command.
func (c *Command) Store() Store {
	var s Store
	if c.Next('(') {
		c.List(func() {
			if strings.ToUpper(c.Atom()) != "UNCHANGEDSINCE" {
				c.fail("Unknown STORE modifier")
			}
			c.SP()
			n := c.Number64()
			s.UnchangedSince = &n
		})
		c.SP()
	}
	switch {
	case c.take('+'):
		s.Mode = StoreAdd
	case c.take('-'):
		s.Mode = StoreRemove
	}
	switch strings.ToUpper(c.Atom()) {
	case "FLAGS":
	case "FLAGS.SILENT":
		s.Silent = true
	default:
		c.fail("Unknown STORE item")
	}
	c.SP()
	if c.Next('(') {
		s.Flags = c.FlagList()
		return s
	}
	for {
		s.Flags = append(s.Flags, c.flag())
		if !c.More() {
			return s
		}
		c.SP()
	}
}

// FlagList takes a list of flags in parentheses.
func (c *Command) FlagList() []imap.Flag {
	var flags []imap.Flag
	c.List(func() { flags = append(flags, c.flag()) })
	return flags
}

func (c *Command) flag() imap.Flag {
	if c.take('\\') {
		return imap.Flag(`\` + c.Atom())
	}
	return imap.Flag(c.Atom())
}

// Flags writes a list of flags.
func (w *Writer) Flags(flags []imap.Flag) {
	w.Raw("(")
	for i, f := range flags {
		if i > 0 {
			w.Raw(" ")
		}
		w.Raw(string(f))
	}
	w.Raw(")")
}

// DateTime takes a date-time in its quotes.
func (c *Command) DateTime() time.Time {
	if !c.Next('"') {
		c.fail("Date expected")
		return time.Time{}
	}
	t, err := time.Parse("_2-Jan-2006 15:04:05 -0700", c.String())
	if err != nil {
		c.fail("Bad date")
		return time.Time{}
	}
	return t
}

// Date takes a day without a time, in UTC.
func (c *Command) Date() time.Time {
	t, err := time.Parse("2-Jan-2006", c.AString())
	if err != nil {
		c.fail("Bad date")
		return time.Time{}
	}
	return t
}
