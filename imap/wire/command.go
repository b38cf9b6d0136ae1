package wire

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Limits bound one command.
type Limits struct {
	Line    int   // octets of one line
	Literal int64 // octets of one literal that is kept in memory
	Total   int64 // octets of all lines and such literals together
	Tokens  int   // atoms, strings, numbers and parentheses
	// Skip is how many octets of literals that come without asking are read and
	// dropped when their command is refused.
	Skip int64
	// UTF8: the client says the names of mailboxes in UTF-8 (RFC 9051).
	UTF8 bool
}

// MaxNesting is the depth of parentheses and search keys in one command.
const MaxNesting = 20

const (
	maxTag  = 128
	maxName = 32
)

// SyntaxError says why a command cannot be read; it is answered with BAD and
// leaves the stream in place. The text is ASCII and quotes nothing.
type SyntaxError string

func (e SyntaxError) Error() string { return string(e) }

// TooBigError refuses a literal that the client asked to send (it will not
// send it), or whose octets were skipped.
type TooBigError struct{ Size int64 }

func (e TooBigError) Error() string { return fmt.Sprintf("literal of %d octets is too big", e.Size) }

// Command is a cursor over one command. Its methods take one piece each and
// do nothing once one of them failed; Err and End tell the first fault.
// Strings they return are the caller's.
type Command struct {
	Tag  string
	Name string // upper case, of the first word only

	in     *Reader
	limits Limits
	ask    func() error // asks the client for its literal
	rest   []byte       // what is left of the current line
	total  int64
	tokens int
	err    error
}

// Next reads the first line of a command, and its tag and name. ask must
// write and flush a continuation request. A SyntaxError comes with a Command
// whose Tag is empty or good; every other error ends the connection.
func (r *Reader) Next(limits Limits, ask func() error) (*Command, error) {
	line, err := r.line(limits.Line)
	if err != nil {
		return nil, err
	}
	c := &Command{in: r, limits: limits, ask: ask, rest: line, total: int64(len(line))}
	tag := c.span(isTagChar)
	if tag == "" || len(tag) > maxTag {
		c.fail("Bad tag")
		return c, c.err
	}
	c.Tag = tag
	c.SP()
	c.Name = strings.ToUpper(c.span(isAtomChar))
	if c.Name == "" || len(c.Name) > maxName {
		c.fail("No command after the tag")
		return c, c.err
	}
	return c, c.err
}

// Word takes a space and an atom in upper case: the second word of UID FETCH.
func (c *Command) Word() string {
	c.SP()
	return strings.ToUpper(c.Atom())
}

// fail keeps the first fault.
func (c *Command) fail(why string) {
	if c.err == nil {
		c.err = SyntaxError(why)
	}
}

// Fail makes the command fail with a SyntaxError, as if its grammar had.
func (c *Command) Fail(why string) { c.fail(why) }

// Err gives the first fault.
func (c *Command) Err() error { return c.err }

// End demands the end of the command and gives the first fault. After nil the
// Command holds nothing of the Reader.
func (c *Command) End() error {
	if c.err == nil && len(bytes.TrimRight(c.rest, " ")) > 0 {
		c.fail("More arguments than expected")
	}
	if c.err == nil {
		c.rest = nil
	}
	return c.err
}

// Abandon leaves a command whose arguments are not wanted or faulty, and drops
// what belongs to it: literals that the client sends without asking, which
// would be taken for commands. It is ErrLiteral when they are more than
// Limits.Skip, ErrLine, or the error of the source.
func (c *Command) Abandon() error {
	if c.err == ErrLiteral {
		return ErrLiteral
	}
	for left := c.limits.Skip; c.Pending(); {
		size, _, _ := literalAtEnd(c.rest)
		if left -= size; left < 0 {
			return ErrLiteral
		}
		if _, err := io.CopyN(io.Discard, c.in, size); err != nil {
			return readError(err)
		}
		line, err := c.in.line(c.limits.Line)
		if err != nil {
			return readError(err)
		}
		left -= int64(len(line))
		c.rest = line
	}
	c.rest = nil
	return nil
}

// Pending tells whether a command that is refused goes on: the client sends a
// literal without asking.
func (c *Command) Pending() bool {
	_, sync, ok := literalAtEnd(c.rest)
	return ok && !sync
}

// literalAtEnd finds the literal that a line announces at its end.
func literalAtEnd(line []byte) (size int64, sync, ok bool) {
	inner, ok := bytes.CutSuffix(line, []byte("}"))
	if !ok {
		return 0, false, false
	}
	open := bytes.LastIndexByte(inner, '{')
	if open < 0 {
		return 0, false, false
	}
	digits, nonSync := bytes.CutSuffix(inner[open+1:], []byte("+"))
	if len(digits) == 0 || len(digits) > 18 {
		// A number this long is refused like any literal too big.
		return 1 << 62, !nonSync, len(digits) > 0
	}
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false, false
		}
		size = size*10 + int64(d-'0')
	}
	return size, !nonSync, true
}

// token counts one token.
func (c *Command) token() bool {
	if c.err != nil {
		return false
	}
	if c.tokens++; c.tokens > c.limits.Tokens {
		c.fail("Too many arguments")
		return false
	}
	return true
}

// span takes the longest run of octets that is holds for.
func (c *Command) span(is func(byte) bool) string {
	if c.err != nil {
		return ""
	}
	n := 0
	for n < len(c.rest) && is(c.rest[n]) {
		n++
	}
	s := string(c.rest[:n])
	c.rest = c.rest[n:]
	return s
}

// peek gives the next octet, zero at the end of the line.
func (c *Command) peek() byte {
	if c.err != nil || len(c.rest) == 0 {
		return 0
	}
	return c.rest[0]
}

// take takes b when it is next.
func (c *Command) take(b byte) bool {
	if c.peek() != b || b == 0 {
		return false
	}
	c.rest = c.rest[1:]
	return true
}

// More tells whether something other than spaces is left on the line.
func (c *Command) More() bool {
	return c.err == nil && len(bytes.TrimRight(c.rest, " ")) > 0
}

// Next tells whether b is the next octet.
func (c *Command) Next(b byte) bool { return b != 0 && c.peek() == b }

// SP takes the space between two arguments; more than one is forgiven.
func (c *Command) SP() {
	if !c.take(' ') {
		c.fail("Space expected")
	}
	for c.take(' ') {
	}
}

// Atom takes an atom.
func (c *Command) Atom() string {
	if !c.token() {
		return ""
	}
	s := c.span(isAtomChar)
	if s == "" {
		c.fail("Atom expected")
	}
	return s
}

// AString takes an atom, a quoted string or a literal.
func (c *Command) AString() string {
	if b := c.peek(); b == '"' || b == '{' {
		return c.String()
	}
	if !c.token() {
		return ""
	}
	s := c.span(isAStringChar)
	if s == "" {
		c.fail("String expected")
	}
	return s
}

// String takes a quoted string or a literal. Octets above 127 pass, NUL does
// not.
func (c *Command) String() string {
	if c.peek() == '{' {
		return c.literal()
	}
	if !c.token() {
		return ""
	}
	if !c.take('"') {
		c.fail("String expected")
		return ""
	}
	end, escaped := quotedEnd(c.rest)
	if end < 0 {
		c.fail("Unfinished quoted string")
		return ""
	}
	s := c.rest[:end]
	c.rest = c.rest[end+1:]
	if bytes.IndexByte(s, 0) >= 0 || bytes.IndexByte(s, '\r') >= 0 {
		c.fail("Control character in a quoted string")
		return ""
	}
	if !escaped {
		return string(s)
	}
	plain := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++ // quotedEnd has seen the octet behind it
		}
		plain = append(plain, s[i])
	}
	return string(plain)
}

// quotedEnd finds the quote that ends a quoted string, or -1.
func quotedEnd(s []byte) (end int, escaped bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return i, escaped
		case '\\':
			escaped = true
			i++
		}
	}
	return -1, escaped
}

// NString takes a string or NIL, for which ok is false.
func (c *Command) NString() (s string, ok bool) {
	if b := c.peek(); b == '"' || b == '{' {
		return c.String(), true
	}
	if a := c.Atom(); c.err == nil && !strings.EqualFold(a, "NIL") {
		c.fail("String or NIL expected")
	}
	return "", false
}

// literal takes a literal into memory.
func (c *Command) literal() string {
	size, body := c.Literal(c.limits.Literal)
	if c.err != nil {
		return ""
	}
	if c.total += size; c.total > c.limits.Total {
		c.err = ErrLine
		return ""
	}
	s := make([]byte, size)
	if _, err := io.ReadFull(body, s); err != nil {
		c.err = readError(err)
		return ""
	}
	c.EndLiteral()
	if bytes.IndexByte(s, 0) >= 0 {
		c.fail("NUL in a literal")
	}
	return string(s)
}

// Literal begins a literal of at most limit octets, which the caller reads
// to its end from body and then calls EndLiteral. A bigger one is a
// TooBigError when the client waits for leave, else ErrLiteral.
func (c *Command) Literal(limit int64) (size int64, body io.Reader) {
	if !c.token() {
		return 0, nil
	}
	size, sync, ok := literalAtEnd(c.rest)
	if !ok || c.rest[0] != '{' || bytes.IndexByte(c.rest, '}') != len(c.rest)-1 {
		c.fail("Literal expected")
		return 0, nil
	}
	if size > limit {
		c.err = ErrLiteral
		if sync {
			c.err = TooBigError{size}
			c.rest = nil
		}
		return size, nil
	}
	if sync {
		if err := c.ask(); err != nil {
			c.err = err
			return 0, nil
		}
	}
	c.rest = nil
	return size, io.LimitReader(c.in, size)
}

// Literal8 is Literal for one that may be binary (RFC 3516), and tells
// whether it is.
func (c *Command) Literal8(limit int64) (size int64, body io.Reader, binary bool) {
	binary = c.take('~')
	size, body = c.Literal(limit)
	return size, body, binary
}

// EndLiteral goes on with the line behind a literal.
func (c *Command) EndLiteral() {
	if c.err != nil {
		return
	}
	line, err := c.in.line(c.limits.Line)
	if err != nil {
		c.err = readError(err)
		return
	}
	if c.total += int64(len(line)); c.total > c.limits.Total {
		c.err = ErrLine
	}
	c.rest = line
}

func readError(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// List takes a parenthesised list, calling item for each element. Spaces
// before the closing parenthesis are forgiven.
func (c *Command) List(item func()) {
	if !c.token() {
		return
	}
	if !c.take('(') {
		c.fail("List expected")
		return
	}
	for {
		for c.take(' ') {
		}
		if c.take(')') {
			return
		}
		item()
		if c.err == nil && !c.Next(' ') && !c.Next(')') {
			c.fail("Unfinished list")
		}
		if c.err != nil {
			return
		}
	}
}

// Number takes a number that fits 32 bits.
func (c *Command) Number() uint32 {
	n := c.Number64()
	if n > 1<<32-1 {
		c.fail("Number too big")
		return 0
	}
	return uint32(n)
}

// Number64 takes a number of at most 63 bits.
func (c *Command) Number64() uint64 {
	if !c.token() {
		return 0
	}
	digits := c.span(isDigit)
	if digits == "" {
		c.fail("Number expected")
		return 0
	}
	var n uint64
	for i := range len(digits) {
		if n = n*10 + uint64(digits[i]-'0'); n > 1<<63-1 || i > 18 {
			c.fail("Number too big")
			return 0
		}
	}
	return n
}

// Mailbox takes a mailbox name; every spelling of INBOX becomes "INBOX".
// Other names are modified UTF-7 (RFC 3501 section 5.1.3) and stay so, or
// become it.
func (c *Command) Mailbox() string {
	name := inbox(c.AString())
	if c.limits.UTF8 {
		coded, ok := ToUTF7(name)
		if !ok {
			c.fail("A mailbox name that is no UTF-8")
		}
		return coded
	}
	return name
}

func inbox(name string) string {
	if strings.EqualFold(name, "INBOX") {
		return "INBOX"
	}
	return name
}

// ListMailbox takes a mailbox pattern, in which "%" and "*" need no quotes.
func (c *Command) ListMailbox() string {
	if b := c.peek(); b == '"' || b == '{' {
		return c.String()
	}
	if !c.token() {
		return ""
	}
	s := c.span(isListChar)
	if s == "" {
		c.fail("Mailbox pattern expected")
	}
	return s
}
