package filter

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// inPieces writes content in pieces that cut draws.
func inPieces(w *Walk, content []byte, cut func(n int) int) Verdict {
	for len(content) > 0 {
		n := min(max(cut(len(content)), 1), len(content))
		piece := bytes.Clone(content[:n])
		w.Write(piece)
		clear(piece) // nobody may have kept it
		content = content[n:]
	}
	return w.Verdict()
}

func TestRecordedMessagesGetTheirVerdictFromBothSides(t *testing.T) {
	list, err := os.ReadFile("testdata/recorded/verdicts.txt")
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	seen := 0
	for line := range strings.Lines(string(list)) {
		if line[0] == '#' {
			continue
		}
		var name, kind string
		var want Packets
		if _, err := fmt.Sscan(line, &name, &kind, &want.PKESK, &want.SKESK, &want.SEIPD); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile("testdata/recorded/" + name)
		if err != nil {
			t.Fatal(err)
		}
		seen++
		for _, d := range []Direction{Outgoing, Incoming} {
			v, err := Read(bytes.NewReader(content), d)
			if err != nil || v.Kind.String() != kind || v.Packets != want || v.Why != noRule {
				t.Errorf("%s: %v %v %+v", name, v.Kind, v.Why, v.Packets)
			}
			for range 5 {
				top := 1 << r.IntN(12)
				if again := inPieces(New(d), content, func(int) int { return r.IntN(top) + 1 }); again != v {
					t.Fatalf("%s in pieces up to %d: %v %v", name, top, again.Kind, again.Why)
				}
			}
		}
	}
	if seen != 67 {
		t.Errorf("%d messages", seen)
	}
}

func TestReadTellsWhatTheReaderSaid(t *testing.T) {
	if _, err := Read(brokenReader{}, Outgoing); err != os.ErrDeadlineExceeded {
		t.Errorf("%v", err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }
