package intake

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"barid/smtp"
	"barid/smtp/header"
	"barid/storage"
)

// judge objects with its reply and keeps what it was shown.
type judge struct {
	bytes.Buffer
	reply *smtp.Reply
}

func (j *judge) Verdict() *smtp.Reply { return j.reply }

// mail is longer than a piece of Copy.
var mail = "From: <alice@relay.test>\r\n\r\n" + strings.Repeat("0123456789\r\n", 5000)

// failing is a draft that takes so many octets and then fails.
type failing struct {
	left int
	err  error
}

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, f.err
	}
	return len(p), nil
}

func TestEveryJudgeSeesAllContentAndTheFirstObjectionCounts(t *testing.T) {
	first, second := smtp.NewReply(550, "", "first"), smtp.NewReply(550, "", "second")
	for name, content := range map[string]io.Reader{
		"in large pieces": strings.NewReader(mail), "octet by octet": iotest.OneByteReader(strings.NewReader(mail)),
		"the last with the end": iotest.DataErrReader(strings.NewReader(mail)),
	} {
		judges := []*judge{{}, {reply: first}, {reply: second}}
		js := Judges{judges[0], judges[1], judges[2]}
		var draft bytes.Buffer
		if err := js.Copy(&draft, content); err != nil || draft.String() != mail {
			t.Errorf("%s: %v, %d octets", name, err, draft.Len())
		}
		for i, j := range judges {
			if j.String() != mail {
				t.Errorf("%s: judge %d saw %d octets", name, i, j.Len())
			}
		}
		if got := js.Verdict(); got != first {
			t.Errorf("%s: %v", name, got)
		}
		if got := js[:1].Verdict(); got != nil {
			t.Errorf("%s: %v without objection", name, got)
		}
	}
}

// Content that is cut off is an error, as it was told; a header that is too big
// to edit is read to its end, for the judges to say so; a draft that fails
// ends all, in words where the store is full.
func TestWhatEndsACopy(t *testing.T) {
	cut := smtp.NewReply(451, "4.4.2", "cut")
	fault := errors.New("a fault")
	for name, c := range map[string]struct {
		content io.Reader
		draft   io.Writer
		want    error
		seen    int // octets, at least
	}{
		"cut off":           {io.MultiReader(strings.NewReader(mail[:100]), iotest.ErrReader(cut)), io.Discard, cut, 100},
		"a header too big":  {strings.NewReader(mail), &failing{err: fmt.Errorf("edit: %w", header.ErrTooBig)}, nil, len(mail)},
		"too big, then cut": {io.MultiReader(strings.NewReader(mail), iotest.ErrReader(cut)), &failing{err: header.ErrTooBig}, cut, len(mail)},
		"a full store":      {strings.NewReader(mail), &failing{20000, storage.ErrFull}, replyFull, 1},
		"a fault":           {strings.NewReader(mail), &failing{20000, fault}, fault, 1},
	} {
		j := new(judge)
		if err := (Judges{j}).Copy(c.draft, c.content); !errors.Is(err, c.want) || j.Len() < c.seen {
			t.Errorf("%s: %v after %d octets", name, err, j.Len())
		}
	}
	if _, ok := errors.AsType[*smtp.Reply](StoreReply("try", fault)); ok {
		t.Error("a fault of ours has words for the peer")
	}
}

func TestContentHasOneAuthor(t *testing.T) {
	for head, want := range map[string]string{
		"From: A <Alice@Relay.test>\r\nX: y\r\n":               "",
		"X: y\r\n":                                             "500 Invalid FROM header: ",
		"From: <a@x.test>\r\nFrom: <b@x.test>\r\n":             "500 Invalid FROM header: ",
		"From: <a@x.test>, <b@x.test>\r\n":                     "500 Invalid FROM header: ",
		"no field\r\nFrom: <a@x.test>\r\n":                     "500 Failed to parse message: ",
		"From: <a@x.test>\r\n" + strings.Repeat("X:\r\n", 1e4): "500 Failed to parse message: ",
	} {
		a := new(Author)
		io.Copy(a, iotest.OneByteReader(strings.NewReader(head+"\r\nFrom: <body@x.test>\r\n")))
		r := a.Verdict()
		if (r == nil) != (want == "") || r != nil && !strings.HasPrefix(r.Wire(), want) {
			t.Errorf("%.40q: %v", head, r)
		}
		if r == nil && (a.Address().Wire() != "Alice@relay.test" || len(a.Fields()) != 2 || string(a.Head()) != head) {
			t.Errorf("%q: %s, %d fields, %q", head, a.Address().Wire(), len(a.Fields()), a.Head())
		}
	}
}
