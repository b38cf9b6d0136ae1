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

func TestRefusedLiteralsCannotBecomeCommands(t *testing.T) {
	for stream, want := range map[string]string{
		"a BOGUS {10+}\r\nINJ NOOP\r\n\r\nb NOOP\r\n":                              "b",
		"a BOGUS {10+}\r\nINJ NOOP\r\n {8+}\r\nINJ NOOP more\r\nb NOOP\r\n":        "b",
		"a BOGUS {10+}\r\nINJ NOOP\r\n {8}\r\nb NOOP\r\n":                          "b", // the client waits for leave
		"a BOGUS {2000+}\r\nINJ NOOP\r\n":                                          "",
		"a BOGUS {900+}\r\n" + strings.Repeat("x", 900) + "{900+}\r\nINJ NOOP\r\n": "",
		"a BOGUS {10+}\r\nINJ":                                                     "",
	} {
		var r Reader
		r.Reset(strings.NewReader(stream))
		limits := Limits{Line: 100, Literal: 100, Total: 300, Tokens: 10, Skip: 1000}
		c, err := r.Next(limits, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = c.Abandon()
		if (err == nil) != (want != "") {
			t.Errorf("%.40q: %v", stream, err)
			continue
		}
		if err != nil {
			continue
		}
		if c, err = r.Next(limits, nil); err != nil || c.Tag != want {
			t.Errorf("%.40q: then %+v, %v", stream, c, err)
		}
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

func TestNumbersBecomeFewAscendingRanges(t *testing.T) {
	for _, c := range []struct {
		set     string
		largest uint32
		want    Set
	}{
		{"1:500", 3, Set{{1, 500}}},
		{"*", 7, Set{{7, 7}}},
		{"*", 0, Set{}},
		{"9:*", 7, Set{{7, 9}}},
		{"5:3,4,1", 9, Set{{1, 1}, {3, 5}}},
		{"1,2,3:4294967295,*", 9, Set{{1, 4294967295}}},
		{"1:200000000,7", 9, Set{{1, 200000000}}},
	} {
		cmd, err := command("a FETCH " + c.set + "\r\n")
		if err != nil {
			t.Fatal(err)
		}
		cmd.SP()
		set := cmd.Set()
		if err := cmd.End(); err != nil {
			t.Fatalf("%s: %v", c.set, err)
		}
		got := set.Resolve(c.largest)
		if len(got) != len(c.want) {
			t.Fatalf("%s: %v", c.set, got)
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Fatalf("%s: %v", c.set, got)
			}
		}
	}
	for _, bad := range []string{"0", "1:", ":1", "1,", "a", "4294967296", "1:0", ""} {
		cmd, _ := command("a FETCH " + bad + "\r\n")
		cmd.SP()
		cmd.Set()
		if cmd.End() == nil {
			t.Errorf("%q passed", bad)
		}
	}
	s := Set{{3, 5}, {9, 9}}
	for n, want := range map[uint32]bool{2: false, 3: true, 5: true, 6: false, 9: true, 10: false} {
		if s.Has(n) != want {
			t.Errorf("Has(%d)", n)
		}
	}
	if got := FormatSet([]uint32{1, 2, 3, 7, 9, 10}); got != "1:3,7,9:10" {
		t.Error(got)
	}
}

func TestNestingTokensAndLinesAreBounded(t *testing.T) {
	for name, text := range map[string]string{
		"NOT":    strings.Repeat("NOT ", 10000) + "ALL",
		"OR":     strings.Repeat("OR ALL ", 3000) + "ALL",
		"lists":  strings.Repeat("(", 10000),
		"tokens": strings.Repeat("ALL ", 5000) + "ALL",
		"texts":  strings.Repeat("BODY x ", 100) + "ALL",
	} {
		c, err := command("a SEARCH " + text + "\r\n")
		if err != nil {
			t.Fatal(name, err)
		}
		c.Search()
		if _, ok := c.End().(SyntaxError); !ok {
			t.Errorf("%s: %v", name, c.End())
		}
	}
	if _, err := command("a SEARCH " + strings.Repeat("x", 70000)); err != ErrLine {
		t.Errorf("a long line: %v", err)
	}
	c, _ := command("a LOGIN {5000}\r\n")
	c.SP()
	c.AString()
	if _, ok := c.End().(TooBigError); !ok || c.Abandon() != nil {
		t.Error(c.End())
	}
	c, _ = command("a LOGIN {99999999999999999999+}\r\n")
	c.SP()
	c.AString()
	if c.End() != ErrLiteral || c.Abandon() != ErrLiteral {
		t.Error(c.End())
	}
	// Many small literals are bounded together.
	c, _ = command("a SETMETADATA INBOX (" + strings.Repeat("{4000+}\r\n"+strings.Repeat("x", 4000)+" ", 30))
	c.SP()
	c.Mailbox()
	c.SP()
	c.List(func() { c.AString() })
	if c.End() != ErrLine {
		t.Error(c.End())
	}
}

// A Writer whose source fails must not end the answer as if it were whole.
func TestWriterSpoilsTheStreamWhenItsSourceFails(t *testing.T) {
	var out bytes.Buffer
	var w Writer
	w.Reset(&out)
	w.Raw("* 1 FETCH (BODY[] ")
	w.Literal(strings.NewReader("short"), 0, 10)
	w.Raw(")\r\n")
	if _, ok := w.Flush().(SourceError); !ok || strings.Contains(out.String(), ")\r\n") {
		t.Fatalf("%q", out.String())
	}
}

// One write carries what fits a TLS record, whatever the pieces are.
func TestWriterWritesInRecords(t *testing.T) {
	var sizes []int
	var w Writer
	w.Reset(writerFunc(func(p []byte) (int, error) {
		sizes = append(sizes, len(p))
		return len(p), nil
	}))
	for range 1000 {
		w.Raw("* 1 FETCH (FLAGS ())\r\n")
	}
	w.Literal(strings.NewReader(strings.Repeat("x", 40000)), 0, 40000)
	w.Flush()
	if len(sizes) != 4 || sizes[0] != 16<<10 || sizes[1] != 16<<10 || sizes[2] != 16<<10 {
		t.Fatal(sizes)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// The same twice is told once, but for sections, which nobody compares.
func TestItemsOfAFetchAreTakenOnce(t *testing.T) {
	for line, want := range map[string]int{
		"(FLAGS ENVELOPE FLAGS ENVELOPE BODYSTRUCTURE BODY)": 4,
		"(UID BODY.PEEK[1] BODY.PEEK[1] BINARY[1])":          4,
		"(" + strings.Repeat("ENVELOPE ", 100) + "UID)":      2,
		"FULL": 5,
	} {
		c, err := command("a FETCH 1 " + line + "\r\n")
		if err != nil {
			t.Fatal(err)
		}
		c.SP()
		c.Set()
		c.SP()
		if f := c.Fetch(); c.End() != nil || len(f.Items) != want {
			t.Errorf("%.60s: %d items (%v), want %d", line, len(f.Items), c.Err(), want)
		}
	}
}
