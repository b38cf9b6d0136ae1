package wire

import "strings"

// Bounds of one LIST command.
const (
	maxPatterns    = 50
	maxStatusItems = 20
)

// List is the arguments of LIST (RFC 9051 section 6.3.9).
type List struct {
	Reference string   // as the client spells it, as are the patterns
	Patterns  []string // at least one
	// Extended tells that the command has a part that RFC 3501 does not know.
	Extended bool

	// What is selected.
	Subscribed, SpecialUse, Recursive bool
	// What is told of each. Children are told anyway.
	ReturnSubscribed, ReturnSpecialUse bool
	Status                             []string // items in upper case; nil for no STATUS lines
}

// ListCommand takes the arguments of LIST, to the end of the command.
func (c *Command) ListCommand() List {
	var l List
	c.SP()
	if c.Next('(') {
		l.Extended = true
		c.List(func() { l.selection(c) })
		if l.Recursive && !l.Subscribed && !l.SpecialUse {
			c.fail("RECURSIVEMATCH needs another option")
		}
		c.SP()
	}
	l.Reference = inbox(c.AString())
	c.SP()
	pattern := func() {
		if l.Patterns = append(l.Patterns, c.ListMailbox()); len(l.Patterns) > maxPatterns {
			c.fail("Too many patterns")
		}
	}
	if c.Next('(') {
		l.Extended = true
		if c.List(pattern); len(l.Patterns) == 0 {
			c.fail("No pattern")
		}
	} else {
		pattern()
	}
	if c.More() {
		l.Extended = true
		if c.Word() != "RETURN" {
			c.fail("RETURN expected")
		}
		c.SP()
		c.List(func() { l.result(c) })
	}
	return l
}

func (l *List) selection(c *Command) {
	switch strings.ToUpper(c.Atom()) {
	case "SUBSCRIBED":
		l.Subscribed = true
	case "REMOTE": // there are none
	case "RECURSIVEMATCH":
		l.Recursive = true
	case "SPECIAL-USE":
		l.SpecialUse = true
	default:
		c.fail("Unknown LIST selection option")
	}
}

func (l *List) result(c *Command) {
	switch strings.ToUpper(c.Atom()) {
	case "SUBSCRIBED":
		l.ReturnSubscribed = true
	case "CHILDREN":
	case "SPECIAL-USE":
		l.ReturnSpecialUse = true
	case "STATUS":
		c.SP()
		l.Status = c.StatusItems()
	default:
		c.fail("Unknown LIST return option")
	}
}

// StatusItems takes the items of STATUS, in upper case: at least one, and so
// many at most. Whether they mean something is for the caller to know.
func (c *Command) StatusItems() []string {
	var items []string
	c.List(func() {
		if items = append(items, strings.ToUpper(c.Atom())); len(items) > maxStatusItems {
			c.fail("Too many STATUS items")
		}
	})
	if len(items) == 0 {
		c.fail("No STATUS item")
	}
	return items
}
