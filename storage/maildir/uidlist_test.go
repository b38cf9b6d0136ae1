package maildir_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"barid/storage/maildir"
)

const dovecots = `3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1
25006 :1276528487.M364837P9451.kurkku,S=1355,W=1394:2,
25017 W2481 O7 :1276533073.M242911P3632.kurkku,S=2437
25021 :1276533080.M1.kurkku,S=10
`

func TestDovecotsListIsReadAndWritten(t *testing.T) {
	l, err := maildir.ReadUIDList(strings.NewReader(dovecots))
	if err != nil {
		t.Fatal(err)
	}
	want := &maildir.UIDList{
		UIDValidity: 1275660208, UIDNext: 25022, GUID: "3085f01b7f11094c501100008c4a11c1",
		Entries: []maildir.UIDEntry{
			{25006, "", "1276528487.M364837P9451.kurkku,S=1355,W=1394"},
			{25017, "W2481 O7", "1276533073.M242911P3632.kurkku,S=2437"},
			{25021, "", "1276533080.M1.kurkku,S=10"},
		},
	}
	if !reflect.DeepEqual(l, want) {
		t.Errorf("%+v", l)
	}
	var b bytes.Buffer
	if err := l.Write(&b); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), strings.Replace(dovecots, ":2,", "", 1); got != want {
		t.Errorf("written:\n%s", got)
	}
}

func TestADamagedListGivesWhatIsWhole(t *testing.T) {
	l, err := maildir.ReadUIDList(strings.NewReader("3 N1 V7 X9 Gzz\r\n" +
		"nonsense\n0 :zero\n\n9 :nine\n4294967296 :large\n3 :three\n9 :again\n5 :.hidden\n6 :a/b\n7 \n8 :eight,S=1"))
	if err != nil {
		t.Fatal(err)
	}
	if l.UIDValidity != 7 || l.UIDNext != 10 || l.GUID != "" {
		t.Errorf("%+v", l)
	}
	if got := fmt.Sprint(l.Entries); got != "[{3  three} {8  eight,S=1} {9  nine}]" {
		t.Error(got)
	}
	if l, err = maildir.ReadUIDList(strings.NewReader("1 5 20\n3 three\n4 four:2,S\n")); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(*l); got != "{5 20  [{3  three} {4  four}]}" {
		t.Error(got)
	}
	if l, err = maildir.ReadUIDList(strings.NewReader("3 V5 N2\n1 :first\n4294967295 :last\n")); err != nil || fmt.Sprint(*l) != "{5 2  [{1  first}]}" {
		t.Error(l, err) // what has the last UID gets another: none would be left for what comes
	}
}

func TestWhatIsNoListIsAnError(t *testing.T) {
	for _, text := range []string{"", "\n", "2 V1 N1\n", "3\n", "3 N5\n", "3 V0 N5\n", "1 5\n", "3 V4294967295 N5\n", "3 V5 N4294967295\n", "1 4294967295 5\n", "3 V1 N1\n" + strings.Repeat("x", 5000)} {
		if l, err := maildir.ReadUIDList(strings.NewReader(text)); !errors.Is(err, maildir.ErrUIDList) {
			t.Errorf("%.20q: %+v, %v", text, l, err)
		}
	}
}

func FuzzUIDList(f *testing.F) {
	f.Add([]byte(dovecots))
	f.Add([]byte("1 5 20\n3 three\n4 four:2,S\n"))
	f.Add([]byte("3 V1 N1 G\n1 :\n2  :a\n3 a  b :c :d\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := maildir.ReadUIDList(bytes.NewReader(b))
		if err != nil {
			return
		}
		last := uint32(0)
		for _, e := range l.Entries {
			if e.UID <= last || e.UID >= l.UIDNext {
				t.Fatalf("UID %d after %d, next is %d", e.UID, last, l.UIDNext)
			}
			last = e.UID
		}
		if l.UIDValidity > math.MaxUint32-1<<20 || l.UIDNext > math.MaxUint32-1<<20 {
			t.Fatalf("%d and %d leave no room", l.UIDValidity, l.UIDNext)
		}
		var w bytes.Buffer
		if err := l.Write(&w); err != nil {
			t.Fatal(err)
		}
		back, err := maildir.ReadUIDList(&w)
		if err != nil || !reflect.DeepEqual(back, l) {
			t.Fatalf("%+v\nbecomes %+v, %v", l, back, err)
		}
	})
}

func BenchmarkReadUIDList(b *testing.B) {
	var text bytes.Buffer
	fmt.Fprintf(&text, "3 V1 N10001\n")
	for i := range 10_000 {
		fmt.Fprintf(&text, "%d :1775324677.Q%dN0.barid,S=5000,U=%d\n", i+1, i+1, i+1)
	}
	for b.Loop() {
		if _, err := maildir.ReadUIDList(bytes.NewReader(text.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
}

func TestSubscriptions(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "[]",
		"INBOX\nA.B\nA.B\n../x\n\nC": "[INBOX A.B C]",
		"V\t2\n\nINBOX\nA\tB\n":      "[INBOX A.B]",
	} {
		names, err := maildir.ReadSubscriptions(strings.NewReader(text))
		if err != nil || fmt.Sprint(names) != want {
			t.Errorf("%q: %v, %v", text, names, err)
		}
	}
	var b bytes.Buffer
	if err := maildir.WriteSubscriptions(&b, []string{"INBOX", "A.B"}); err != nil || b.String() != "INBOX\nA.B\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
	for _, text := range []string{strings.Repeat("x", 2000), manyNames()} {
		if _, err := maildir.ReadSubscriptions(strings.NewReader(text)); !errors.Is(err, maildir.ErrSubscriptions) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

func manyNames() string {
	var b strings.Builder
	for i := range 10_001 {
		fmt.Fprintf(&b, "m%d\n", i)
	}
	return b.String()
}

func FuzzSubscriptions(f *testing.F) {
	f.Add("INBOX\nA.B\n")
	f.Add("V\t2\n\nA\tB\n")
	f.Fuzz(func(t *testing.T, text string) {
		names, err := maildir.ReadSubscriptions(strings.NewReader(text))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := maildir.WriteSubscriptions(&b, names); err != nil {
			t.Fatal(err)
		}
		back, err := maildir.ReadSubscriptions(&b)
		if err != nil || !reflect.DeepEqual(back, names) {
			t.Fatalf("%q becomes %q, %v", names, back, err)
		}
	})
}
