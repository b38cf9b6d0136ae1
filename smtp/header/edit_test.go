package header

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

var someEdit = Edit{
	Remove:  []string{"Received", "X-Mailer"},
	Replace: []string{"Subject: [...]"},
	Missing: []Field{{"Date", "now"}, {"Message-ID", "<new@x.test>"}},
}

// edited runs a content through an Editor, whole and octet by octet.
func edited(t *testing.T, content string) string {
	t.Helper()
	var whole, bits strings.Builder
	for _, way := range []struct {
		out *strings.Builder
		in  io.Reader
	}{{&whole, strings.NewReader(content)}, {&bits, iotest.OneByteReader(strings.NewReader(content))}} {
		e := NewEditor(way.out, someEdit)
		if _, err := io.Copy(e, way.in); err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if whole.String() != bits.String() {
		t.Fatalf("whole %q, in pieces %q", whole.String(), bits.String())
	}
	return whole.String()
}

func TestEditor(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nothing to do", "Date: d\r\nMessage-Id: <1>\r\nFrom: a\r\n\r\nbody\r\n", "Date: d\r\nMessage-Id: <1>\r\nFrom: a\r\n\r\nbody\r\n"},
		{"folded lines go with their field", "Date: d\r\nReceived: from\r\n\tsomewhere\r\n by x\r\nMessage-ID: <1>\r\n\r\n", "Date: d\r\nMessage-ID: <1>\r\n\r\n"},
		{"letter case does not matter", "date: d\r\nRECEIVED: x\r\nsUBJECT: secret\r\n more\r\nmessage-id: <1>\r\n\r\nb", "date: d\r\nSubject: [...]\r\nmessage-id: <1>\r\n\r\nb"},
		{"every one of a name", "Subject: a\r\nSubject: b\r\nDate: d\r\nMessage-ID: <1>\r\n\r\n", "Subject: [...]\r\nSubject: [...]\r\nDate: d\r\nMessage-ID: <1>\r\n\r\n"},
		{"a blank before the colon", "X-Mailer : x\r\nDate: d\r\nMessage-ID: <1>\r\n\r\n", "Date: d\r\nMessage-ID: <1>\r\n\r\n"},
		{"what is missing is added at the end", "From: a\r\n\r\nbody", "From: a\r\nDate: now\r\nMessage-ID: <new@x.test>\r\n\r\nbody"},
		{"a name that only begins so stays", "Received-SPF: x\r\nX-Mailer-Too: y\r\nDate: d\r\nMessage-ID: <1>\r\n\r\n", "Received-SPF: x\r\nX-Mailer-Too: y\r\nDate: d\r\nMessage-ID: <1>\r\n\r\n"},
		{"the body is nobody's", "Date: d\r\nMessage-ID: <1>\r\n\r\nReceived: x\r\nSubject: y\r\n", "Date: d\r\nMessage-ID: <1>\r\n\r\nReceived: x\r\nSubject: y\r\n"},
		{"a body alone", "\r\nbody\r\n", "Date: now\r\nMessage-ID: <new@x.test>\r\n\r\nbody\r\n"},
		{"a header alone", "Received: x\r\nFrom: a\r\n", "From: a\r\nDate: now\r\nMessage-ID: <new@x.test>\r\n"},
	} {
		if got := edited(t, c.in); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
}

func TestEditorIsBounded(t *testing.T) {
	e := NewEditor(io.Discard, someEdit)
	_, err := io.Copy(e, strings.NewReader(strings.Repeat("A: b\r\n", MaxOctets)))
	if !errors.Is(err, ErrTooBig) {
		t.Errorf("%v", err)
	}
}
