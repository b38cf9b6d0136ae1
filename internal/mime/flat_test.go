package mime

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// record keeps what a Visitor was told; bodies are joined.
type record struct {
	told   []string
	types  []string
	bodies map[int]string
	flaws  []Flaw
	stop   func() // called at the first body
}

func (r *record) Head(n int, h *Head) {
	r.types = append(r.types, h.Type+"/"+h.Subtype)
	r.told = append(r.told, fmt.Sprintf("head %d %s/%s %q", n, h.Type, h.Subtype, h.fields))
}

func (r *record) Body(n int, p []byte) {
	if len(p) == 0 {
		panic("an empty piece")
	}
	r.bodies[n] += string(p)
	if r.stop != nil {
		r.stop()
	}
}

func (r *record) End(n int) {
	r.told = append(r.told, fmt.Sprintf("end %d %q", n, r.bodies[n]))
}

func (r *record) Flaw(f Flaw) {
	r.flaws = append(r.flaws, f)
	r.told = append(r.told, fmt.Sprintf("flaw %d", f))
}

// flat walks text in pieces that cut draws.
func flat(text []byte, cut func() int) *record {
	r := &record{bodies: map[int]string{}}
	s := NewFlat(r, "subject")
	for len(text) > 0 {
		n := min(cut(), len(text))
		piece := bytes.Clone(text[:n])
		s.Write(piece)
		clear(piece)
		text = text[n:]
	}
	s.Close()
	s.Close()
	return r
}

func whole() int { return 1 << 30 }
func ones() int  { return 1 }

func TestFlatTellsTheOutermostParts(t *testing.T) {
	// "--a b" begins as "--a" does, which Flat does not let pass.
	text := strings.ReplaceAll(strings.ReplaceAll(nested, "a b", "c d"), "\n", "\r\n")
	for _, cut := range []func() int{whole, ones, func() int { return 7 }} {
		r := flat([]byte(text), cut)
		if want := []string{"multipart/mixed", "text/plain", "message/rfc822", "application/octet-stream"}; !slices.Equal(r.types, want) {
			t.Errorf("%v", r.types)
		}
		if len(r.flaws) > 0 || r.bodies[1] != "one\r\ntwo" || !strings.HasSuffix(r.bodies[2], "--c d--\r\ninner epilogue") || r.bodies[3] != "" {
			t.Errorf("%v %v", r.flaws, r.bodies)
		}
	}
}

func TestFlatBodies(t *testing.T) {
	const head = "Content-Type: multipart/x; boundary=b\r\n\r\n"
	for text, want := range map[string]string{
		"A: b\r\n\r\nbody\r\n--b":         "0 body\r\n--b",
		"":                                "",
		"\r\n":                            "",
		"\r\nx":                           "0 x",
		head + "--b\r\n\r\n--b--":         "",
		head + "--b\r\n\r\n\r\n--b--":     "",
		head + "--b\r\n\r\n\r\n\r\n--b--": "1 \r\n",
		head + "--b\r\n\r\nx\r":           "1 x\r",
		head + "--b\r\n\r\nx\r\n--":       "1 x\r\n--",
		head + "--b\r\n\r\nx\r\r\n--b\r\n\r\ny\r\n-b":   "1 x\r, 2 y\r\n-b",
		head + "--b\r\n\r\n-\r\n\r\n-- b\r\n--b-- \r\n": "1 -\r\n\r\n-- b",
		head + "pre\r\n--b \t\r\n\r\n--c\r\n--b--post":  "1 --c",
	} {
		for _, cut := range []func() int{whole, ones} {
			r := flat([]byte(text), cut)
			var got []string
			for n := range 3 {
				if r.bodies[n] != "" {
					got = append(got, fmt.Sprintf("%d %s", n, r.bodies[n]))
				}
			}
			if s := strings.Join(got, ", "); s != want {
				t.Errorf("%q: %q, want %q", text, s, want)
			}
		}
	}
}

func TestFlatTellsFlaws(t *testing.T) {
	const head = "Content-Type: multipart/x; boundary=b\r\n"
	for text, want := range map[string]Flaw{
		strings.Repeat("A: b\r\n", MaxHeadFields+1):             FlawSize,
		"A: " + strings.Repeat("b", MaxHeadOctets):              FlawSize,
		"Subject: " + strings.Repeat("b", maxField):             FlawSize,
		"Subject: x\r\n" + strings.Repeat(" b\r\n", maxField/4): FlawSize,
		"no field\r\n\r\n":       FlawLine,
		" folded\r\n\r\n":        FlawLine,
		": x\r\n\r\n":            FlawLine,
		"A: b\n\r\n":             FlawLine,
		"A: b\r\n\rC: d\r\n\r\n": FlawLine,
		head + "content-type : text/plain\r\n\r\n":                          FlawTwice,
		"Content-Type: multipart/x; boundary=\"b \"\r\n\r\n":                FlawBoundary,
		"Content-Type: multipart/x; boundary*0=b\r\n\r\n":                   FlawContinued,
		"Content-Type: multipart/x; boundary=b; x=\"; boundary=c\"\r\n\r\n": FlawBoundary,
		"Content-Type: multipart/x; boundary=\"c;b\"\r\n\r\n":               FlawBoundary,
		"Content-Type: multipart/x; boundary=\"c\\b\"\r\n\r\n":              FlawBoundary,
		"Content-Type: multipart/x; boundary=\"a\r\n b\"\r\n\r\n":           FlawBoundary,
		"Content-Type: multipart/x; boundary=b; x=\"=?a?q?c?=\"\r\n\r\n":    FlawBoundary,
		"Content-Type: text/x; x=" + strings.Repeat("x", maxValue) + "\r\n": FlawSize,
		head + "\r\n--bc\r\n": FlawDelimiter,
		head + "\r\n--b" + strings.Repeat(" ", maxTail) + "\r\n":           FlawDelimiter,
		head + "\r\n--b\r\n--bA: b\r\n\r\n":                                FlawDelimiter,
		head + "\r\n--b\n":                                                 FlawDelimiter,
		head + "\r\n--b--\r\n--b\r\n":                                      FlawAfter,
		head + "\r\n--b--\r\n--b--":                                        FlawAfter,
		head + "\r\n--b\r\nContent-Type: a/b\r\nContent-Type: a/b\r\n\r\n": FlawTwice,
	} {
		for _, cut := range []func() int{whole, ones} {
			if r := flat([]byte(text), cut); !slices.Equal(r.flaws, []Flaw{want}) {
				t.Errorf("%.60q: %v, want %v", text, r.flaws, want)
			}
		}
	}
	// What is long and does not matter is no flaw, and hides nothing.
	r := flat([]byte("Subject: x\r\nAutocrypt: "+strings.Repeat("b", 3*maxField)+"\r\n\tc\r\nContent-Type: a/b\r\n\r\n"), ones)
	if len(r.flaws) > 0 || !strings.Contains(r.told[0], "a/b") || !strings.Contains(r.told[0], "{subject x}") && !strings.Contains(r.told[0], `{"subject" "x"}`) {
		t.Errorf("%v %v", r.flaws, r.told)
	}
}

// Nothing is guessed about a type that cannot be read.
func TestFlatGuessesNoType(t *testing.T) {
	for _, v := range []string{"", "text", "text/plain (c)", "text/plain; a=b; a=c", "appli cation/octet-stream"} {
		if r := flat([]byte("Content-Type: "+v+"\r\n\r\n"), whole); r.types[0] != "/" {
			t.Errorf("%q: %v", v, r.types)
		}
	}
}

func TestStopEndsTheWalk(t *testing.T) {
	r := &record{bodies: map[int]string{}}
	s := NewFlat(r)
	r.stop = s.Stop
	s.Write([]byte("Content-Type: multipart/x; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--"))
	s.Write([]byte("\r\n--b\r\n\r\n"))
	s.Close()
	if len(r.types) != 2 || r.bodies[1] != "one" || r.bodies[2] != "" {
		t.Errorf("%v %v", r.told, r.bodies)
	}
}

// FuzzFlat: what is told does not depend on how the message was cut, and
// where there is no flaw, Parse finds the same parts.
func FuzzFlat(f *testing.F) {
	for _, seed := range []string{
		strings.ReplaceAll(nested, "\n", "\r\n"), "A: b", "A: b\r\n c\r\n\r\n",
		"Content-Type: multipart/x; boundary=b\r\n\r\npre\r\n--b\r\n\r\none\r\n--b \r\nA: b\r\n\r\n\r\n--b--\r\npost",
		"Content-Type: multipart/x; boundary=b\r\n\r\n--b\r\n\r\n\r\n-\r\n--\r\n--b\r--b--\r\n--b--",
		"Content-Type: multipart/x; boundary*=''b\r\n\r\n--b--\r\n--b\r\n",
	} {
		f.Add([]byte(seed), uint64(len(seed)))
	}
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		want := flat(text, whole)
		for _, cut := range []func() int{ones, func() int {
			seed = seed*6364136223846793005 + 1442695040888963407
			return int(seed>>33)%9 + 1
		}} {
			if got := flat(text, cut); !slices.Equal(got.told, want.told) {
				t.Fatalf("in pieces %q, whole %q", got.told, want.told)
			}
		}
		if bytes.Count(text, []byte("\n")) != bytes.Count(text, []byte("\r\n")) || len(want.flaws) > 0 {
			return
		}
		p, err := Parse(bytes.NewReader(text), int64(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		if len(want.types) < 2 || len(p.Params["boundary"]) > 70 || slices.ContainsFunc(want.types[1:], func(kind string) bool {
			return strings.HasPrefix(kind, "multipart/") || kind == "message/rfc822"
		}) || p.Subtype == "digest" {
			return
		}
		if len(p.Parts) != len(want.types)-1 {
			t.Fatalf("Parse finds %d parts, Flat %q", len(p.Parts), want.types)
		}
		for i, part := range p.Parts {
			if want.types[i+1] == "/" {
				want.types[i+1] = "application/octet-stream" // Parse guesses
			}
			if body := string(text[part.Body : part.Body+part.BodyLen]); body != want.bodies[i+1] || part.Type+"/"+part.Subtype != want.types[i+1] {
				t.Fatalf("part %d: Parse has %q of %s/%s, Flat %q", i+1, body, part.Type, part.Subtype, want.told)
			}
		}
	})
}
