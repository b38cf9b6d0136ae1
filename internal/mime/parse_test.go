package mime

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

func parse(t testing.TB, text string) (*Part, string) {
	text = strings.ReplaceAll(text, "\n", "\r\n")
	p, err := Parse(strings.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	return p, text
}

func body(p *Part, text string) string { return text[p.Body : p.Body+p.BodyLen] }

const nested = `Subject: outer
Content-Type: multipart/mixed; boundary=a

preamble
--a
Content-Type: text/plain; charset=utf-8

one
two
--a
Content-Type: message/rfc822

Subject: inner
Content-Type: multipart/alternative; boundary="a b"

--a b

plain
--a b
Content-Type: text/html

<p>
--a b--
inner epilogue
--a
Content-Type: application/octet-stream

--a--
epilogue
`

func TestPartsOfANestedMessage(t *testing.T) {
	p, text := parse(t, nested)
	if p.Fields["subject"] != "outer" || len(p.Parts) != 3 {
		t.Fatalf("%+v", p)
	}
	for _, c := range []struct {
		numbers []int
		kind    string
		body    string
		lines   int64
	}{
		{[]int{1}, "text/plain", "one\r\ntwo", 2},
		{[]int{2, 1}, "text/plain", "plain", 1},
		{[]int{2, 2}, "text/html", "<p>", 1},
		{[]int{3}, "application/octet-stream", "", 0},
	} {
		part := p.Child(c.numbers)
		if part == nil {
			t.Fatalf("no part %v", c.numbers)
		}
		if part.Type+"/"+part.Subtype != c.kind || body(part, text) != c.body || part.Lines != c.lines {
			t.Errorf("%v: %s/%s %q, %d lines", c.numbers, part.Type, part.Subtype, body(part, text), part.Lines)
		}
	}
	if inner := p.Parts[1].Message; inner == nil || inner.Fields["subject"] != "inner" ||
		!strings.HasPrefix(body(p.Parts[1], text), "Subject: inner") || !strings.HasSuffix(body(p.Parts[1], text), "inner epilogue") {
		t.Errorf("%+v", p.Parts[1])
	}
	for _, none := range [][]int{{0}, {4}, {1, 1}, {2, 3}, {3, 1}} {
		if p.Child(none) != nil {
			t.Errorf("there is a part %v", none)
		}
	}
}

func TestMessageWithoutPartsIsItsPartOne(t *testing.T) {
	p, text := parse(t, "Subject: x\n\nhello\n")
	if c := p.Child([]int{1}); c != p || body(c, text) != "hello\r\n" || c.Lines != 1 {
		t.Fatalf("%+v", c)
	}
	if p.Child([]int{1, 1}) != nil || p.Child([]int{2}) != nil {
		t.Fatal("there are more parts")
	}
}

func TestHostileMessagesStayCheapAndValid(t *testing.T) {
	deep := strings.Repeat("Content-Type: message/rfc822\n\n", 30000)
	var bomb strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&bomb, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	many := "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\nx\n", 100000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for name, text := range map[string]string{
		"deep": deep, "bomb": bomb.String(), "many": many,
		"endless": "Content-Type: multipart/mixed; boundary=b\n\n--b\n",
		"no body": "Content-Type: multipart/mixed; boundary=b\n", "empty": "",
		"long": "Subject: " + strings.Repeat("x", 1<<20) + "\n\nbody\n",
	} {
		p, text := parse(t, text)
		if n := check(t, name, p, int64(len(text)), 0); n > MaxParts+1 {
			t.Errorf("%s: %d parts", name, n)
		}
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
		t.Errorf("%d octets allocated", grown)
	}
}

// check walks the tree and tells how many parts it has.
func check(t testing.TB, name string, p *Part, size int64, depth int) (n int) {
	if depth > MaxDepth+1 {
		t.Fatalf("%s: too deep", name)
	}
	if p.Header < 0 || p.HeaderLen < 0 || p.Body < p.Header || p.BodyLen < 0 || p.Body+p.BodyLen > size {
		t.Fatalf("%s: %+v outside of %d octets", name, p, size)
	}
	n = 1
	for _, c := range p.Parts {
		n += check(t, name, c, size, depth+1)
	}
	if p.Message != nil {
		n += check(t, name, p.Message, size, depth+1)
	}
	return n
}

// long is a message of size octets that begins with head and goes on in short
// lines.
type long struct {
	head string
	size int64
}

func (l long) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), l.size-off))
	for i := range n {
		switch at := off + int64(i); {
		case at < int64(len(l.head)):
			p[i] = l.head[at]
		case at%64 == 63:
			p[i] = '\n'
		default:
			p[i] = 'x'
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// A message may be longer than what is looked at, and nothing of it is lost:
// whoever reads the last part gets the rest.
func TestPartsGoToTheEndOfALongMessage(t *testing.T) {
	const size = MaxSize + 1000
	for name, test := range map[string]struct {
		head string
		last []int // the part that is cut
	}{
		"text":      {"Subject: x\r\n\r\n", []int{1}},
		"multipart": {"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\n", []int{2}},
		"message":   {"Content-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\n", []int{1}},
	} {
		t.Run(name, func(t *testing.T) {
			root, err := Parse(long{test.head, size}, size)
			if err != nil {
				t.Fatal(err)
			}
			last := root.Child(test.last)
			if last == nil || last.Body+last.BodyLen != size || root.Body+root.BodyLen != size {
				t.Errorf("the message ends at %d, part %v: %+v", root.Body+root.BodyLen, test.last, last)
			}
			if m := root.Message; m != nil && m.Body+m.BodyLen != size {
				t.Errorf("the message inside ends at %d", m.Body+m.BodyLen)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(strings.ReplaceAll(nested, "\n", "\r\n")))
	f.Add([]byte(nested))
	f.Add([]byte("Content-Type: multipart/digest; boundary=b\n\n--b\n\nA: b\n\nc\n--b--"))
	f.Add([]byte("Content-Type: multipart/x; boundary*0=b; boundary*1=c\n\n--bc\n--bc\r--bc--"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Parse(bytes.NewReader(text), int64(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		check(t, "fuzz", p, int64(len(text)), 0)
	})
}
