package receive

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"barid/smtp"
	"barid/smtp/wire"
)

// What is valid DATA, and what comes out of it.
func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"\r\n": "\r\n", " .\r\n": " .\r\n", "..\r\n": ".\r\n", "Hello!\r\n..\r\n": "Hello!\r\n.\r\n", "Hello\r\n.world\r\n": "Hello\r\nworld\r\n",
		"...\r\n\r\n": "..\r\n\r\n", "x.\r\n": "x.\r\n", "\xff\x80\r\n": "\xff\x80\r\n", strings.Repeat("x", wire.LineLength) + "\r\n": strings.Repeat("x", wire.LineLength) + "\r\n",
		".." + strings.Repeat("x", wire.LineLength-1) + "\r\n": "." + strings.Repeat("x", wire.LineLength-1) + "\r\n",
	} {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(text), "in octets": iotest.OneByteReader(strings.NewReader(text)), "with the end": iotest.DataErrReader(strings.NewReader(text))} {
			got, err := io.ReadAll(&plain{r: r, left: 1 << 20})
			if err != nil || string(got) != want {
				t.Errorf("%q %s: %q, %v", text, name, got, err)
			}
		}
	}
	for _, text := range []string{
		"", ".", ".\r\n", "x\r\n.\r\n", "x\r\n.\r\nMAIL FROM:<>\r\n", "\n", "x\n", "\n\r", "x\r", "x", "a\nb\r\n", "a\rb\r\n", "a\r\r\n", "\nx\r\n", "\r", ".\n", ".\r.\r\n", "\n.\r\n", "a\r\n.\n",
		"a\r\n.\rb\r\n", "a\x00\r\n", strings.Repeat("x", wire.LineLength+1) + "\r\n", "..", "x\r\n.",
	} {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(text), "in octets": iotest.OneByteReader(strings.NewReader(text))} {
			got, err := io.ReadAll(&plain{r: r, left: 1 << 20})
			if !errors.Is(err, replyData) {
				t.Errorf("%q %s: %q, %v", text, name, got, err)
			}
		}
	}
	for left, want := range map[int64]error{5: nil, 4: replyTooBig} {
		if _, err := io.ReadAll(&plain{r: strings.NewReader("....\r\n"), left: left}); !errors.Is(err, want) {
			t.Errorf("%d octets: %v", left, err)
		}
	}
	broken := &plain{r: io.MultiReader(strings.NewReader("x\r\n"), iotest.ErrReader(io.ErrUnexpectedEOF)), left: 100}
	if _, err := io.ReadAll(broken); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a body that breaks: %v", err)
	}
	if n, err := broken.Read(make([]byte, 10)); n != 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("and stays so: %d, %v", n, err)
	}
}

// Line by line it is the same.
func FuzzPlain(f *testing.F) {
	for _, s := range []string{"", "\r\n", ".\r\n", "..\r\n", "Hello\r\n.world\r\n", "a\r\r\n", "a\nb\r\n", "a\r\n.\r\n"} {
		f.Add([]byte(s), uint8(1))
	}
	f.Fuzz(func(t *testing.T, text []byte, piece uint8) {
		want, ok := undotted(text)
		d := &plain{r: bytes.NewReader(text), left: 1 << 20}
		var got []byte
		buf := make([]byte, int(piece)+1)
		var err error
		for err == nil {
			var n int
			n, err = d.Read(buf)
			got = append(got, buf[:n]...)
		}
		if _, isReply := errors.AsType[*smtp.Reply](err); isReply == ok || ok && !bytes.Equal(got, want) {
			t.Fatalf("%q: %q, %v; line by line %q, %v", text, got, err, want, ok)
		}
	})
}

func undotted(text []byte) (out []byte, ok bool) {
	if !bytes.HasSuffix(text, []byte("\r\n")) {
		return nil, false
	}
	for line := range bytes.SplitSeq(bytes.TrimSuffix(text, []byte("\r\n")), []byte("\r\n")) {
		if bytes.ContainsAny(line, "\r\n\x00") || string(line) == "." {
			return nil, false
		}
		line = bytes.TrimPrefix(line, []byte("."))
		if len(line) > wire.LineLength {
			return nil, false
		}
		out = append(append(out, line...), "\r\n"...)
	}
	return out, true
}
