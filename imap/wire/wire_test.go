package wire

import (
	"bytes"
	"strings"
	"testing"
)

// command reads the first command of text as a server would.
func command(text string) (*Command, error) {
	var r Reader
	r.Reset(strings.NewReader(text))
	return r.Next(Limits{Line: 64 << 10, Literal: 4096, Total: 64 << 10, Tokens: 1000}, func() error { return nil })
}

func TestCommandOfTheCore(t *testing.T) {
	c, err := command("A0004 UID FETCH 1:500 (UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE)])\r\n")
	if err != nil || c.Tag != "A0004" || c.Name != "UID" || c.Word() != "FETCH" {
		t.Fatalf("%+v %v", c, err)
	}
	c.SP()
	set := c.Set()
	c.SP()
	f := c.Fetch()
	if err := c.End(); err != nil {
		t.Fatal(err)
	}
	if len(set) != 1 || set[0] != (Range{1, 500}) || len(f.Items) != 3 || f.Items[2].Name != "BODY[HEADER.FIELDS (MESSAGE-ID DATE)]" || !f.Items[2].Section.Peek {
		t.Fatalf("%v %+v", set, f)
	}
}

func TestLiteralsAreTakedBothWays(t *testing.T) {
	c, err := command("a LOGIN {5}\r\nalice {3+}\r\nx\"y\n")
	if err != nil {
		t.Fatal(err)
	}
	c.SP()
	user := c.AString()
	c.SP()
	pass := c.AString()
	if err := c.End(); err != nil || user != "alice" || pass != `x"y` {
		t.Fatalf("%q %q %v", user, pass, err)
	}
}

func TestRefusedNonSyncLiteralCannotBecomeCommands(t *testing.T) {
	c, err := command("a BOGUS {11+}\r\nINJ NOOP\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	if c.Abandon() != ErrLiteral {
		t.Fatal("the literal would be read as commands")
	}
}

func TestWriterChoosesLiterals(t *testing.T) {
	var out bytes.Buffer
	var w Writer
	w.Reset(&out)
	for _, s := range []string{"plain", `a"b`, `a\b`, "ä", "a\r\nb", ""} {
		w.String(s)
		w.Raw(" ")
	}
	w.Flush()
	want := "\"plain\" {3}\r\na\"b {3}\r\na\\b {2}\r\nä {4}\r\na\r\nb \"\" "
	if out.String() != want {
		t.Fatalf("%q", out.String())
	}
}
