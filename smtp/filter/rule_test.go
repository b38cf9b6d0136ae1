package filter

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// Every rule has messages that break it and no other.
func TestSamplesGetTheirVerdict(t *testing.T) {
	for _, s := range samples(t) {
		t.Run(s.name, func(t *testing.T) {
			for _, d := range s.ways {
				v, err := Read(bytes.NewReader(s.content), d, s.recipients...)
				if err != nil || v.Kind != s.kind || v.Why != s.why() {
					t.Errorf("direction %d: %v %v, want %v %v", d, v.Kind, v.Why, s.kind, s.why())
				}
			}
		})
	}
}

// A verdict does not depend on how the message was cut into pieces.
func TestPiecesMakeNoDifference(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, s := range samples(t) {
		for _, d := range s.ways {
			want := inPieces(s.walk(d, noRule), s.content, func(n int) int { return n })
			for _, top := range []int{1, 2, 3, 5, 30, 300} {
				if len(s.content) > 50000 && top < 30 {
					continue
				}
				if v := inPieces(s.walk(d, noRule), s.content, func(int) int { return r.IntN(top) + 1 }); v != want {
					t.Errorf("%s in pieces up to %d: %v %v, want %v %v", s.name, top, v.Kind, v.Why, want.Kind, want.Why)
				}
			}
		}
	}
}

// Without a rule exactly the messages that name it are judged otherwise: they
// pass, or break what they say they break then. And each rule has one.
func TestEachRuleIsNeededAndGuarded(t *testing.T) {
	all := samples(t)
	for off := noRule + 1; off < rules; off++ {
		judgedOtherwise, named := map[string]bool{}, map[string]bool{}
		passing := 0
		for _, s := range all {
			at := slices.Index(s.rules, off)
			named[s.name] = at >= 0
			for _, d := range s.ways {
				v := inPieces(s.walk(d, off), s.content, func(n int) int { return n })
				if v.Kind != s.kind || v.Why != s.why() {
					judgedOtherwise[s.name] = true
				}
				if at >= 0 && v.Why != s.then[at] {
					t.Errorf("without %v %s breaks %q, not %q", off, s.name, v.Why, s.then[at])
				}
				if at >= 0 && v.Pass() {
					passing++
				}
			}
		}
		maps.DeleteFunc(named, func(_ string, is bool) bool { return !is })
		if !maps.Equal(judgedOtherwise, named) {
			t.Errorf("without %v: judged otherwise %v, but %v name it", off, slices.Sorted(maps.Keys(judgedOtherwise)), slices.Sorted(maps.Keys(named)))
		}
		if passing == 0 {
			t.Errorf("no message would pass without %v", off)
		}
		t.Logf("%-18v %2d messages; without it %2d walks let one pass", off, len(named), passing)
	}
}
