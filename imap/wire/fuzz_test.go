package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// arguments takes the rest of a command as a server would by its name.
func arguments(c *Command) error {
	name := c.Name
	if name == "UID" {
		name = c.Word()
	}
	switch name {
	case "LOGIN":
		c.SP()
		c.AString()
		c.SP()
		c.AString()
	case "SELECT":
		c.SP()
		c.Mailbox()
		c.Select()
	case "LIST":
		c.ListCommand()
	case "STATUS":
		c.SP()
		c.Mailbox()
		c.SP()
		c.StatusItems()
	case "APPEND":
		c.SP()
		c.Mailbox()
		c.SP()
		if c.Next('(') {
			c.FlagList()
			c.SP()
		}
		if c.Next('"') {
			c.DateTime()
			c.SP()
		}
		if _, body, _ := c.Literal8(1000); c.Err() == nil {
			if _, err := io.Copy(io.Discard, body); err != nil {
				return err
			}
			c.EndLiteral()
		}
	case "FETCH":
		c.SP()
		c.SetOrSaved()
		c.SP()
		c.Fetch()
	case "STORE":
		c.SP()
		c.Set()
		c.SP()
		c.Store()
	case "SEARCH":
		c.Search()
	case "SETMETADATA":
		c.SP()
		c.Mailbox()
		c.SP()
		c.List(func() {
			c.AString()
			c.SP()
			c.NString()
		})
	}
	return c.End()
}

// FuzzCommand reads whole streams. Whatever comes, it ends, stays within its
// bounds, and never reads a refused literal as commands.
func FuzzCommand(f *testing.F) {
	f.Add([]byte("a LOGIN \"alice@relay.test\" {3}\r\nabc\r\nb SELECT INBOX (CONDSTORE)\r\n"))
	f.Add([]byte("a UID FETCH 1:*,5 (FLAGS BODY.PEEK[1.2.HEADER.FIELDS (A \"b\")]<0.5>) (CHANGEDSINCE 5)\nb NOOP\n"))
	f.Add([]byte("a APPEND x (\\Seen k) \"01-Feb-2026 10:20:30 +0100\" {5+}\r\nhello\r\n"))
	f.Add([]byte("a SETMETADATA INBOX (/private/devicetoken \"1111\" )\n"))
	f.Add([]byte("a SELECT x (QRESYNC (1 2 3:4 (1,3 5,7)))\na UID FETCH $ (BINARY.SIZE[1] BINARY[1.2]<0.5>) (CHANGEDSINCE 5 VANISHED)\n"))
	f.Add([]byte("a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (INBOX x%) RETURN (CHILDREN STATUS (SIZE))\na STATUS x (SIZE)\na APPEND x ~{3+}\r\na\x00b\r\n"))
	f.Add([]byte("a SEARCH RETURN (MIN COUNT) CHARSET UTF-8 MODSEQ \"/flags/x\" all 5 $ UID $\n"))
	f.Add([]byte("a BOGUS {3+}\r\nb X\r\n"))
	f.Add([]byte("a LIST \"\" %*\r\na STORE 1:2 -FLAGS.SILENT \\Seen \\Deleted\r\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		var r Reader
		r.Reset(bytes.NewReader(stream))
		limits := Limits{Line: 1000, Literal: 500, Total: 3000, Tokens: 100, Skip: 2000}
		for range len(stream) + 1 {
			c, err := r.Next(limits, func() error { return nil })
			if c == nil {
				return
			}
			if err == nil {
				err = arguments(c)
			}
			if c.tokens > limits.Tokens+1 {
				t.Fatalf("%d tokens", c.tokens)
			}
			syntax, isSyntax := errors.AsType[SyntaxError](err)
			_, isBig := errors.AsType[TooBigError](err)
			if isSyntax && strings.ContainsAny(string(syntax), "\r\n") {
				t.Fatalf("%q", syntax)
			}
			if err != nil && !isSyntax && !isBig {
				return
			}
			if err != nil && c.Abandon() != nil {
				return
			}
			if c.Pending() {
				t.Fatal("a literal would be read as commands")
			}
		}
		t.Fatal("more commands than octets")
	})
}

// FuzzFetchItems: what is taken has a name that can be written and read back.
func FuzzFetchItems(f *testing.F) {
	f.Add("(UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE)])")
	f.Add("BODY[1.2.MIME]<1.2>")
	f.Add("(BINARY[1.2]<5.6> BINARY.PEEK[] BINARY.SIZE[3])")
	f.Add("FULL")
	f.Add("(RFC822.TEXT BODY BODYSTRUCTURE MODSEQ) (CHANGEDSINCE 12)")
	f.Add("BODY[]<1.9223372036854775807>")
	f.Add(`BODY[HEADER.FIELDS.NOT ("" "a b" {2+}` + "\r\nx]" + `)]`)
	f.Fuzz(func(t *testing.T, items string) {
		c, err := command("a FETCH 1 " + items + "\n")
		if err != nil {
			return
		}
		c.SP()
		c.Set()
		c.SP()
		got := c.Fetch()
		if c.End() != nil {
			return
		}
		if len(got.Items) == 0 || len(got.Items) > maxItems {
			t.Fatalf("%d items", len(got.Items))
		}
		for _, i := range got.Items {
			if i.Section == nil {
				continue
			}
			for _, b := range []byte(i.Name) {
				if b < ' ' || b > '~' {
					t.Fatalf("name %q", i.Name)
				}
			}
			if strings.HasPrefix(i.Name, "B") {
				c, err := command("a FETCH 1 " + i.Name + "\n")
				if err != nil {
					t.Fatal(err)
				}
				c.SP()
				c.Set()
				c.SP()
				again := c.Fetch()
				if err := c.End(); err != nil || again.Items[0].Name != i.Name {
					t.Fatalf("%q became %+v, %v", i.Name, again, err)
				}
			}
		}
	})
}

// FuzzSearch: keys are bounded in number and depth.
func FuzzSearch(f *testing.F) {
	f.Add(`CHARSET UTF-8 OR (FROM "x" NOT SEEN) UID 1:*,5`)
	f.Add(`NOT NOT NOT OR OR ALL ALL ALL`)
	f.Add(`HEADER "X" "" SENTSINCE 1-Feb-2026 LARGER 5 UNKEYWORD $x ((((ALL))))`)
	f.Fuzz(func(t *testing.T, keys string) {
		c, err := command("a SEARCH " + keys + "\n")
		if err != nil {
			return
		}
		key := c.Search().Key
		if c.End() != nil {
			return
		}
		if n, deep := measure(key); n > 3*maxKeys || deep > MaxNesting+4 {
			t.Fatalf("%d keys, %d deep", n, deep)
		}
	})
}

func measure(k SearchKey) (n, deep int) {
	n = 1
	for _, sub := range k.Sub {
		a, b := measure(sub)
		n += a
		deep = max(deep, b+1)
	}
	return n, deep
}

// FuzzStrings: what a Writer writes, a Command reads.
func FuzzStrings(f *testing.F) {
	f.Add("plain", "a \"b\" \\c", []byte{1, 2, 3, 9})
	f.Add("", "ä\r\nx NOOP", []byte{})
	f.Add("NIL", "nil", []byte{255, 0})
	f.Fuzz(func(t *testing.T, a, b string, set []byte) {
		if strings.ContainsRune(a+b, 0) { // becomes a space
			return
		}
		numbers := []uint32{1}
		for _, n := range set {
			numbers = append(numbers, numbers[len(numbers)-1]+uint32(n)+1)
		}
		var out bytes.Buffer
		var w Writer
		w.Reset(&out)
		w.Raw("a X ")
		w.AString(a)
		w.Raw(" ")
		w.String(b)
		w.Raw(" ")
		w.NString(b, len(a)%2 == 0)
		w.Raw(" " + FormatSet(numbers))
		w.EOL()
		w.Flush()
		var r Reader
		r.Reset(&out)
		c, err := r.Next(Limits{Line: 1 << 20, Literal: 1 << 20, Total: 1 << 24, Tokens: 100}, func() error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		c.SP()
		gotA := c.AString()
		c.SP()
		gotB := c.String()
		c.SP()
		gotN, ok := c.NString()
		c.SP()
		gotSet := c.Set().Resolve(0)
		if err := c.End(); err != nil || gotA != a || gotB != b || ok != (len(a)%2 == 0) || ok && gotN != b || gotSet.String() != FormatSet(numbers) {
			t.Fatalf("%q %q %q %s, %v", gotA, gotB, gotN, gotSet, err)
		}
	})
}
